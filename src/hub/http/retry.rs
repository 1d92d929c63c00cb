//! How often and how soon a server is asked again.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::runtime::interrupt;

/// Tries of one thing before it has failed.
const TRIES: u32 = 5;
/// Longest time spent waiting between the tries of one thing.
const LONGEST: Duration = Duration::from_secs(120);
/// Time between two looks for a signal.
const TICK: Duration = Duration::from_millis(100);

/// How a request failed.
pub(in crate::hub) enum Failed {
    /// It may succeed another time, not before `after` where the server says so.
    Again { error: Error, after: Option<Duration> },
    /// It will not.
    Finally(Error),
}

impl Failed {
    /// A failure that may pass.
    pub(in crate::hub) fn again(error: Error) -> Self {
        Self::Again { error, after: None }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Finally(error)
    }
}

/// Tries of one thing.
pub(in crate::hub) struct Tries {
    first_wait: Duration,
    failures: u32,
    waited: Duration,
}

impl Tries {
    /// Nothing was tried yet. The wait after the first failure is `first_wait`; it doubles each time.
    pub(in crate::hub) fn new(first_wait: Duration) -> Self {
        Self { first_wait, failures: 0, waited: Duration::ZERO }
    }

    /// Something was gained: earlier failures do not count any more.
    pub(in crate::hub) fn progress(&mut self) {
        *self = Self::new(self.first_wait);
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// The failure itself, if another try is of no use or the server wants too much patience.
    pub(in crate::hub) fn wait(&mut self, failed: Failed) -> Result<()> {
        let (error, after) = match failed {
            Failed::Again { error, after } => (error, after),
            Failed::Finally(error) => return Err(error),
        };
        self.failures += 1;
        let backoff = self.first_wait.saturating_mul(1 << (self.failures - 1).min(6)).mul_f64(jitter());
        let pause = after.unwrap_or_default().max(backoff);
        if self.failures >= TRIES || self.waited.saturating_add(pause) > LONGEST {
            return Err(error);
        }
        log::warn!("{error}; try {} of {TRIES} in {:.1} s", self.failures + 1, pause.as_secs_f64());
        self.waited += pause;
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            interrupt::check()?;
            thread::sleep(left.min(TICK));
        }
        interrupt::check()
    }
}

/// Tries until it succeeds or has failed.
pub(in crate::hub) fn persist<T>(first_wait: Duration, mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T> {
    let mut tries = Tries::new(first_wait);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failed) => tries.wait(failed)?,
        }
    }
}

/// A factor from 0.75 to 1.25, so that many jobs that failed together do not come back together.
fn jitter() -> f64 {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let mixed = nanoseconds.wrapping_mul(0x9E37_79B9) ^ std::process::id().wrapping_mul(0x85EB_CA6B);
    0.75 + f64::from(mixed % 1024) / 2048.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    fn broken(after: Option<Duration>) -> Failed {
        Failed::Again { error: Error::new(Fault::Network, "broken"), after }
    }

    #[test]
    fn five_tries_and_no_more() {
        let mut tried = 0;
        let outcome: Result<()> = persist(Duration::ZERO, || {
            tried += 1;
            Err(broken(None))
        });
        assert_eq!((outcome.unwrap_err().fault(), tried), (Fault::Network, TRIES));
    }

    #[test]
    fn what_cannot_pass_is_tried_once() {
        let mut tried = 0;
        let outcome: Result<()> = persist(Duration::ZERO, || {
            tried += 1;
            Err(Error::new(Fault::DownloadRefused, "no").into())
        });
        assert_eq!((outcome.unwrap_err().fault(), tried), (Fault::DownloadRefused, 1));
    }

    #[test]
    fn a_server_that_wants_an_hour_is_not_waited_for() {
        let started = Instant::now();
        let mut tries = Tries::new(Duration::from_millis(1));
        assert!(tries.wait(broken(None)).is_ok());
        for wish in [Duration::from_secs(3600), Duration::from_secs(u64::MAX), Duration::MAX] {
            assert_eq!(tries.wait(broken(Some(wish))).unwrap_err().fault(), Fault::Network);
        }
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn the_server_says_when_to_come_back() {
        let started = Instant::now();
        assert!(Tries::new(Duration::ZERO).wait(broken(Some(Duration::from_millis(300)))).is_ok());
        assert!(started.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn progress_gives_all_tries_back() {
        let mut tries = Tries::new(Duration::ZERO);
        for _ in 0..20 {
            assert!(tries.wait(broken(None)).is_ok());
            tries.progress();
        }
    }
}
