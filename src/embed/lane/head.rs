//! The head on several threads: rows in pieces, each scored by one.

use std::thread;

use crate::error::{Error, Fault, Result};
use crate::model::{Head, Score};
use crate::runtime::threads;

/// Rows that a thread takes at a time.
const ROWS: usize = 256;

/// A head on so many threads.
pub struct HeadLanes<H> {
    head: H,
    threads: usize,
}

impl<H: Head> HeadLanes<H> {
    /// On so many threads, at least one.
    pub fn new(head: H, threads: usize) -> Self {
        Self { head, threads: threads.max(1) }
    }
}

impl<H: Head> Head for HeadLanes<H> {
    fn dim(&self) -> usize {
        self.head.dim()
    }

    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>> {
        let rows = vectors.len() / self.dim().max(1);
        let share = rows.div_ceil(self.threads).next_multiple_of(ROWS) * self.dim();
        if vectors.len() <= share {
            return self.head.score(vectors);
        }
        thread::scope(|scope| {
            let parts = vectors.chunks(share);
            let start = |part| threads::spawn_scoped(scope, "head", move || self.head.score(part));
            let started = parts.map(start).collect::<Result<Vec<_>>>()?;
            let panicked = |_| Err(Error::new(Fault::Bug, "a thread that scores panicked"));
            let scores = started.into_iter().map(|part| part.join().unwrap_or_else(panicked));
            Ok(scores.collect::<Result<Vec<_>>>()?.concat())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mock::MockHead;

    #[test]
    fn scores_come_in_order_from_any_number_of_lanes() {
        let vectors: Vec<f32> = (0..3 * 1111).map(|value| (value % 97) as f32 / 50.0).collect();
        let alone = MockHead::new(3).score(&vectors).unwrap();
        for lanes in [1, 2, 5, 64] {
            assert_eq!(HeadLanes::new(MockHead::new(3), lanes).score(&vectors).unwrap(), alone, "{lanes} lanes");
        }
        assert_eq!(HeadLanes::new(MockHead::new(3), 2).score(&[]).unwrap(), []);
    }
}
