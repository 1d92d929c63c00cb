//! What a session does with its time: counters that any thread may add to, and nobody waits for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::units::counted;

/// What a thread of a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The reader reads.
    Read,
    /// The planner tokenises and plans.
    Plan,
    /// The planner waits until the lanes have taken what is ready.
    Blocked,
    /// A lane waits for a batch.
    Starved,
    /// A lane computes, or waits for its device to.
    Compute,
    /// A lane waits for the writer.
    Behind,
    /// The writer writes.
    Write,
}

impl Work {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Plan, Self::Blocked, Self::Starved, Self::Compute, Self::Behind, Self::Write];
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Sequences that have their vectors.
    Sequences,
    /// Their tokens.
    Tokens,
    /// Batches that went well.
    Batches,
    /// Batches that did not fit in memory and were tried again.
    Retries,
    /// Sequences whose vectors are copies, among all that have theirs.
    Copies,
}

/// The counters of a session.
#[derive(Debug, Default)]
pub struct Meter {
    counts: [AtomicU64; 5],
    nanoseconds: [AtomicU64; 7],
}

impl Meter {
    /// Adds to a count.
    pub fn add(&self, count: Count, number: u64) {
        self.counts[count as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// A count so far.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// Does `work`, and adds the time it takes.
    pub fn time<T>(&self, kind: Work, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds[kind as usize].fetch_add(spent, Ordering::Relaxed);
        done
    }

    /// Time spent so far, added up over the threads that do this.
    pub fn spent(&self, kind: Work) -> Duration {
        Duration::from_nanos(self.nanoseconds[kind as usize].load(Ordering::Relaxed))
    }

    /// The share of the lanes' time in which they waited for batches; none before they began.
    pub fn starved(&self) -> Option<f64> {
        let kinds = [Work::Starved, Work::Compute, Work::Behind];
        let [waited, computed, behind] = kinds.map(|kind| self.spent(kind).as_secs_f64());
        let all = waited + computed + behind;
        (all > 0.0).then(|| waited / all)
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [(Count::Sequences, "sequence"), (Count::Tokens, "token")];
        let [sequences, tokens] = counts.map(|(count, noun)| counted(self.count(count), noun));
        write!(f, "{sequences}, {tokens}, batches: {}", self.count(Count::Batches))?;
        let [read, plan, blocked, starved, compute, behind, write] =
            Work::ALL.map(|kind| self.spent(kind).as_secs_f64());
        write!(f, "; reading {read:.2} s, tokenising and planning {plan:.2} s and {blocked:.2} s blocked, ")?;
        write!(f, "lanes computing {compute:.2} s and waiting {starved:.2} s")?;
        if let Some(share) = self.starved() {
            write!(f, " ({:.1} %)", 100.0 * share)?;
        }
        write!(f, " and {behind:.2} s for the writer, writing {write:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_counts_add_up_and_are_told() {
        let meter = Meter::default();
        meter.add(Count::Sequences, 2);
        meter.add(Count::Sequences, 1);
        assert_eq!(meter.starved(), None);
        let slept = meter.time(Work::Compute, || {
            std::thread::sleep(Duration::from_millis(2));
            7
        });
        assert_eq!((slept, meter.count(Count::Sequences), meter.count(Count::Tokens)), (7, 3, 0));
        assert!(meter.spent(Work::Compute) >= Duration::from_millis(2) && meter.spent(Work::Read).is_zero());
        assert_eq!(meter.starved(), Some(0.0));
        for part in
            ["3 sequences, 0 tokens, batches: 0", "lanes computing 0.0", "waiting 0.00 s (0.0 %) and 0.00 s for the"]
        {
            assert!(meter.to_string().contains(part), "{meter}");
        }
    }

    #[test]
    fn the_counters_are_in_the_order_of_their_names() {
        for (place, kind) in Work::ALL.into_iter().enumerate() {
            assert_eq!(place, kind as usize);
        }
    }
}
