//! Messages on stderr: plain lines or JSON, never in the way of a progress bar.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use indicatif::MultiProgress;
use log::{LevelFilter, Log, Metadata, Record};

use crate::error::printable;

/// Form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFormat {
    /// One line for a person.
    Text,
    /// One JSON object per line.
    Json,
}

struct Logger {
    format: MessageFormat,
    level: LevelFilter,
    started: Instant,
    colour: bool,
    bars: MultiProgress,
}

/// Whether the last line has been written, which no message of another thread may follow.
static CLOSED: Mutex<bool> = Mutex::new(false);

/// Writes a line to stderr after which no message comes. stderr may be gone or full: the exit code is what counts then.
pub fn last_line(line: &str) {
    let mut closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    *closed = true;
    let _ = writeln!(io::stderr(), "{line}");
}

/// Sends messages of `level` and above to stderr, above the progress bars of `bars`.
pub fn install(level: LevelFilter, format: MessageFormat, bars: MultiProgress) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logger = Logger { format, level, started: Instant::now(), colour, bars };
    // A second logger is refused; the first one keeps working.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        // Libraries speak only when something is wrong.
        let ours = metadata.target().starts_with("virnucpro");
        metadata.level() <= if ours { self.level } else { self.level.min(LevelFilter::Warn) }
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = match self.format {
            MessageFormat::Text => self.text(record),
            MessageFormat::Json => json(record),
        };
        // stderr may be gone or full: the work matters more than the message.
        let write = || {
            let closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
            if !*closed {
                let _ = writeln!(io::stderr(), "{line}");
            }
        };
        self.bars.suspend(write);
    }

    fn flush(&self) {}
}

impl Logger {
    fn text(&self, record: &Record) -> String {
        let seconds = self.started.elapsed().as_secs();
        let level = record.level().as_str().to_lowercase();
        let message = printable(&record.args().to_string(), 1000);
        let level = match (self.colour, record.level()) {
            (true, log::Level::Error) => format!("\x1b[31m{level}\x1b[0m"),
            (true, log::Level::Warn) => format!("\x1b[33m{level}\x1b[0m"),
            _ => level,
        };
        format!("[{:02}:{:02}:{:02}] {level}: {message}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

fn json(record: &Record) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    serde_json::json!({
        "message_type": "log",
        "time": time,
        "level": record.level().as_str().to_lowercase(),
        "message": record.args().to_string(),
    })
    .to_string()
}
