//! How far a stage is: a bar on a terminal, a line now and then in a log, nothing where nobody looks.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::logging::{self, MessageFormat};
use crate::units::Bytes;

/// Where progress goes.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Bars on a terminal.
    Bars(MultiProgress),
    /// Lines through the log, one after so much time; in JSON also at the end of a task.
    Lines(MessageFormat, Duration),
    /// Nowhere.
    Silent,
}

impl Progress {
    /// Bars where stderr is a terminal that a person reads, lines otherwise.
    pub fn detect(format: MessageFormat, every: Duration) -> Self {
        match format {
            MessageFormat::Text if io::stderr().is_terminal() => Self::Bars(MultiProgress::new()),
            _ if every.is_zero() => Self::Silent,
            _ => Self::Lines(format, every),
        }
    }

    /// What the logger must write around.
    pub fn bars(&self) -> MultiProgress {
        match self {
            Self::Bars(bars) => bars.clone(),
            _ => MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    /// Starts a task that counts `unit`s, up to `total` where that is known.
    pub fn task(&self, name: &str, unit: &'static str, total: Option<u64>) -> TaskProgress {
        self.start(name, Unit::Things(unit), total)
    }

    /// Starts a task that counts bytes, up to `total` where that is known.
    pub fn bytes(&self, name: &str, total: Option<u64>) -> TaskProgress {
        self.start(name, Unit::Bytes, total)
    }

    fn start(&self, name: &str, unit: Unit, total: Option<u64>) -> TaskProgress {
        let bar = match self {
            Self::Bars(bars) => {
                let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
                let bar = bar.with_style(unit.style(total.is_some())).with_prefix(name.to_owned());
                let bar = bar.with_message(unit.name());
                let bar = bars.add(bar);
                bar.enable_steady_tick(Duration::from_millis(200));
                bar
            }
            _ => ProgressBar::hidden(),
        };
        let lines = match *self {
            Self::Lines(format, every) => {
                Some(Mutex::new(Lines { format, every, done: 0, given: 0, last: Instant::now() }))
            }
            _ => None,
        };
        TaskProgress { bar, name: name.to_owned(), unit, total, started: Instant::now(), lines }
    }
}

/// What a task counts.
#[derive(Clone, Copy)]
enum Unit {
    Things(&'static str),
    Bytes,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Things(name) => name,
            Self::Bytes => "",
        }
    }

    /// Its name in JSON.
    fn key(self) -> &'static str {
        match self {
            Self::Things(name) => name,
            Self::Bytes => "bytes",
        }
    }

    fn style(self, bounded: bool) -> ProgressStyle {
        let template = match (self, bounded) {
            (Self::Things(_), true) => "{prefix:14} {bar:30} {human_pos}/{human_len} {msg}, {rate}, {eta} left",
            (Self::Things(_), false) => "{prefix:14} {spinner} {human_pos} {msg}, {rate}",
            (Self::Bytes, true) => {
                "{prefix:14} {bar:30} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left"
            }
            (Self::Bytes, false) => "{prefix:14} {spinner} {decimal_bytes}, {decimal_bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
            let _ = write!(text, "{}/s", HumanCount(state.per_sec() as u64));
        })
    }

    /// A number of these, in words.
    fn count(self, n: u64) -> String {
        match self {
            Self::Things(name) => format!("{n} {name}"),
            Self::Bytes => Bytes(n).to_string(),
        }
    }
}

/// A task under way.
pub struct TaskProgress {
    bar: ProgressBar,
    name: String,
    unit: Unit,
    total: Option<u64>,
    started: Instant,
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    format: MessageFormat,
    every: Duration,
    done: u64,
    /// Part of it that was there before the work started: it says nothing about the rate.
    given: u64,
    last: Instant,
}

impl TaskProgress {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        lines.done += n;
        if lines.last.elapsed() >= lines.every {
            lines.last = Instant::now();
            self.tell(&lines);
        }
    }

    /// Sets how many are done: some were there already, or have to be done again.
    pub fn set(&self, done: u64) {
        if self.bar.position() != done {
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        lines.given = (lines.given + done).saturating_sub(lines.done);
        lines.done = done;
    }

    fn tell(&self, lines: &Lines) {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let rate = lines.done.saturating_sub(lines.given) as f64 / seconds;
        match lines.format {
            MessageFormat::Text => log::info!("{}", self.line(lines.done, rate)),
            MessageFormat::Json => log::info!(target: logging::JSON, "{}", self.object(lines.done, rate)),
        }
    }

    fn object(&self, done: u64, rate: f64) -> serde_json::Value {
        serde_json::json!({
            "message_type": "progress",
            "time": logging::now(),
            "stage": self.name,
            "done": done,
            "total": self.total,
            "unit": self.unit.key(),
            "per_second": rate,
        })
    }

    fn line(&self, done: u64, rate: f64) -> String {
        let (count, speed) = (self.unit.count(done), self.unit.count(rate.round() as u64));
        match self.total {
            Some(total) => {
                let left = (total.saturating_sub(done)) as f64 / rate.max(1e-9);
                let count = match self.unit {
                    Unit::Things(_) => done.to_string(),
                    Unit::Bytes => count,
                };
                let total = self.unit.count(total);
                format!("{}: {count} of {total}, {speed}/s, about {left:.0} s left", self.name)
            }
            None => format!("{}: {count}, {speed}/s", self.name),
        }
    }
}

impl Drop for TaskProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let Some(lines) = self.lines.take() else { return };
        let lines = lines.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        if lines.format == MessageFormat::Json {
            self.tell(&lines);
        }
    }
}
