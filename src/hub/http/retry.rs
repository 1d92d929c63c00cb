//! How often and how soon a server is asked again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::runtime::interrupt;

/// How often one thing is tried.
const TRIES: u32 = 5;
/// The longest time spent waiting between the tries of one thing.
const LONGEST: Duration = Duration::from_secs(120);

/// How a request failed.
pub enum Failed {
    /// It may succeed later, but not before `after` if the server says so.
    Again { error: Error, after: Option<Duration> },
    /// Other bytes came than were announced, which is worth one more try.
    Wrong(Error),
    /// It will not succeed.
    Finally(Error),
}

impl Failed {
    /// A failure that may be temporary.
    pub fn again(error: Error) -> Self {
        Self::Again { error, after: None }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Finally(error)
    }
}

/// Tries of one thing.
pub struct Tries {
    first_wait: Duration,
    failures: u32,
    waited: Duration,
    was_wrong: bool,
}

impl Tries {
    /// The wait after the first failure is `first_wait`; it doubles each time.
    pub fn new(first_wait: Duration) -> Self {
        Self { first_wait, failures: 0, waited: Duration::ZERO, was_wrong: false }
    }

    /// Forgets earlier failures, because something was gained.
    pub fn progress(&mut self) {
        (self.failures, self.waited) = (0, Duration::ZERO);
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// The failure itself, if trying again does not help or takes too long.
    pub fn wait(&mut self, failed: Failed) -> Result<()> {
        let (error, after) = match failed {
            Failed::Again { error, after } => (error, after),
            Failed::Wrong(error) if !self.was_wrong => {
                self.was_wrong = true;
                log::warn!("{error}; once more");
                return interrupt::check();
            }
            Failed::Wrong(error) | Failed::Finally(error) => return Err(error),
        };
        self.failures += 1;
        let backoff = self.first_wait.saturating_mul(1 << (self.failures - 1).min(6)).mul_f64(jitter());
        let pause = after.unwrap_or_default().max(backoff);
        if self.failures >= TRIES || self.waited.saturating_add(pause) > LONGEST {
            return Err(error);
        }
        log::warn!("{error}; try {} of {TRIES} in {:.1} s", self.failures + 1, pause.as_secs_f64());
        self.waited += pause;
        interrupt::sleep(pause)
    }
}

/// Tries until it succeeds, or fails for good.
pub fn persist<T>(mut tries: Tries, mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T> {
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failed) => tries.wait(failed)?,
        }
    }
}

/// A factor from 0.75 to 1.25, so that many jobs that failed together do not come back at the same moment.
fn jitter() -> f64 {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let mixed = nanoseconds.wrapping_mul(0x9E37_79B9) ^ std::process::id().wrapping_mul(0x85EB_CA6B);
    0.75 + f64::from(mixed % 1024) / 2048.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;
    use std::time::Instant;

    fn broken(after: Option<Duration>) -> Failed {
        Failed::Again { error: Error::new(Fault::Network, "broken"), after }
    }

    #[test]
    fn five_tries_and_no_more() {
        let mut tried = 0;
        let outcome: Result<()> = persist(Tries::new(Duration::ZERO), || {
            tried += 1;
            Err(broken(None))
        });
        assert_eq!((outcome.unwrap_err().fault(), tried), (Fault::Network, TRIES));
    }

    #[test]
    fn wrong_bytes_are_asked_for_twice_even_after_progress() {
        let wrong = || Failed::Wrong(Error::new(Fault::DownloadDigest, "wrong"));
        let mut tries = Tries::new(Duration::MAX);
        assert!(tries.wait(wrong()).is_ok());
        tries.progress();
        assert_eq!(tries.wait(wrong()).unwrap_err().fault(), Fault::DownloadDigest);
    }

    #[test]
    fn a_permanent_failure_is_tried_once() {
        let mut tried = 0;
        let outcome: Result<()> = persist(Tries::new(Duration::ZERO), || {
            tried += 1;
            Err(Error::new(Fault::DownloadRefused, "no").into())
        });
        assert_eq!((outcome.unwrap_err().fault(), tried), (Fault::DownloadRefused, 1));
    }

    #[test]
    fn a_server_that_asks_for_an_hour_is_not_waited_for() {
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
