//! SIGINT, SIGTERM and SIGHUP: work stops at the next safe point. Work that reaches none in time, or a user who asks again,
//! ends the process.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::error::{Error, Fault, Result};
use crate::runtime::threads;

static FLAGS: OnceLock<Flags> = OnceLock::new();
static ADVICE: OnceLock<&'static str> = OnceLock::new();

struct Flags {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// Time that work has to reach a safe point. A process that waits for a pipe or a driver never does; nothing is lost
/// by ending it, since unfinished files have no final name. Schedulers give 30 seconds.
const GRACE: Duration = Duration::from_secs(10);
/// Signals within this time are one request: `timeout` and schedulers send to a process and to its group.
const TOGETHER: Duration = Duration::from_millis(500);
/// How often a wait looks for signals.
pub const TICK: Duration = Duration::from_millis(100);

/// What the watch over signals needs to know of the work.
#[derive(Clone, Copy)]
pub struct Work {
    /// Whether it waits for another process and cannot come to a safe point by itself.
    pub is_waiting: fn() -> bool,
    /// What is done when the process must end without the work having returned.
    pub last_words: fn(&Error),
}

/// Installs the handlers. Without this call [`check`] never stops anything.
///
/// # Errors
/// The operating system refuses a handler.
pub fn install(work: Work) -> Result<()> {
    let flags = FLAGS.get_or_init(|| Flags { interrupted: Arc::default(), terminated: Arc::default() });
    let refused = |error: io::Error| Error::new(Fault::Bug, "a signal cannot be handled").caused_by(error);
    for (signal, stop) in [(SIGINT, &flags.interrupted), (SIGTERM, &flags.terminated), (SIGHUP, &flags.terminated)] {
        flag::register(signal, Arc::clone(stop)).map_err(refused)?;
    }
    // A file that grows beyond its limit is an error of writing, not the end of the process.
    flag::register(SIGXFSZ, Arc::default()).map_err(refused)?;
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(refused)?;
    threads::spawn("signals", move || watch(signals, work)).map(drop)
}

/// Ends the process when work has not stopped in time after a signal, or when a second request arrives.
fn watch(mut signals: Signals, work: Work) {
    let mut first: Option<Instant> = None;
    for _ in signals.forever() {
        match first {
            None => {
                first = Some(Instant::now());
                log::warn!("stopping at the next safe point; a second signal (Ctrl-C) stops at once");
                // Without this thread the user has to ask again.
                let _ = threads::spawn("grace", move || {
                    wait_for(work);
                    end(work);
                });
            }
            Some(first) if first.elapsed() < TOGETHER => {}
            Some(_) => end(work),
        }
    }
}

/// Gives work its time to come to an end, and less where it can do nothing but wait.
fn wait_for(work: Work) {
    let (started, mut waiting) = (Instant::now(), Duration::ZERO);
    while started.elapsed() < GRACE && waiting < TOGETHER {
        thread::sleep(TICK);
        waiting = if (work.is_waiting)() { waiting + TICK } else { Duration::ZERO };
    }
}

fn end(work: Work) {
    if let Err(error) = check() {
        (work.last_words)(&error);
        signal_hook::low_level::exit(i32::from(error.fault().exit_code()));
    }
}

/// Says what to do after a signal, for work of which nothing is kept.
pub fn advise(advice: &'static str) {
    let _ = ADVICE.set(advice);
}

/// Says so if the user or the scheduler wants the process to stop. Called wherever stopping is safe.
///
/// # Errors
/// A signal has arrived.
pub fn check() -> Result<()> {
    let Some(flags) = FLAGS.get() else { return Ok(()) };
    let (fault, signal) = if flags.interrupted.load(Ordering::Relaxed) {
        (Fault::Interrupted, "SIGINT")
    } else if flags.terminated.load(Ordering::Relaxed) {
        (Fault::Terminated, "SIGTERM or SIGHUP")
    } else {
        return Ok(());
    };
    let kept = "run the same command again: finished work is kept and the rest is done";
    Err(Error::new(fault, format!("stopped by {signal}")).advice(*ADVICE.get().unwrap_or(&kept)))
}

/// Sleeps for `time`.
///
/// # Errors
/// A signal has arrived.
pub fn sleep(time: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        check()?;
        let left = time.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(TICK));
    }
}
