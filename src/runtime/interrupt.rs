//! SIGINT, SIGTERM and SIGHUP: work stops at the next safe point; a second signal stops it at once.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Error, Fault, Result};

static FLAGS: OnceLock<Flags> = OnceLock::new();

struct Flags {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// Seconds that work has to reach a safe point. A process that waits for a pipe or a driver never does; nothing is lost
/// by ending it, since unfinished files have no final name. Schedulers give 30 seconds.
const GRACE: Duration = Duration::from_secs(10);
/// How often a wait looks for signals.
pub const TICK: Duration = Duration::from_millis(100);

/// Installs the handlers. Without this call [`check`] never stops anything.
///
/// # Errors
/// The operating system refuses a handler.
pub fn install() -> io::Result<()> {
    let flags = FLAGS.get_or_init(|| Flags { interrupted: Arc::default(), terminated: Arc::default() });
    for (signal, code, stop) in
        [(SIGINT, 130, &flags.interrupted), (SIGTERM, 143, &flags.terminated), (SIGHUP, 143, &flags.terminated)]
    {
        // In this order: the first signal finds the flag down and raises it, the second exits.
        flag::register_conditional_shutdown(signal, code, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    thread::Builder::new().name("signals".to_owned()).spawn(enforce)?;
    Ok(())
}

/// Ends the process when work has not stopped in time after a signal.
fn enforce() {
    loop {
        thread::sleep(Duration::from_millis(200));
        if let Err(error) = check() {
            thread::sleep(GRACE);
            signal_hook::low_level::exit(i32::from(error.fault().exit_code()));
        }
    }
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
    Err(Error::new(fault, format!("stopped by {signal}"))
        .advice("run the same command again: finished work is kept and the rest is done"))
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
