//! The head on a CPU: rows in pieces, each scored by one thread.

use std::sync::{Mutex, PoisonError};
use std::thread;

use super::cpu::one_thread;
use crate::error::{Error, Fault, Result};
use crate::model::{Head, Score};
use crate::runtime::threads;

/// Rows that a lane scores at a time: always as many, so that their number does not depend on that of the lanes.
const ROWS: usize = 256;

/// A head in lanes.
pub struct HeadLanes<H>(Vec<Mutex<H>>);

impl<H: Head + Clone> HeadLanes<H> {
    /// So many lanes, at least one.
    pub fn new(head: H, lanes: usize) -> Self {
        Self((0..lanes.max(1)).map(|_| Mutex::new(head.clone())).collect())
    }
}

impl<H: Head> Head for HeadLanes<H> {
    fn dim(&self) -> usize {
        self.0.first().map_or(0, |head| head.lock().unwrap_or_else(PoisonError::into_inner).dim())
    }

    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>> {
        let pieces: Vec<&[f32]> = vectors.chunks((ROWS * self.dim()).max(1)).collect();
        let share = pieces.len().div_ceil(self.0.len()).max(1);
        thread::scope(|scope| {
            let lanes = pieces.chunks(share).zip(&self.0).map(|(pieces, head)| {
                threads::spawn_scoped(scope, "head", move || {
                    one_thread();
                    let head = head.lock().unwrap_or_else(PoisonError::into_inner);
                    let scores = pieces.iter().map(|piece| head.score(piece)).collect::<Result<Vec<_>>>()?;
                    Ok(scores.concat())
                })
            });
            let lanes = lanes.collect::<Result<Vec<_>>>()?;
            let panicked = |_| Err(Error::new(Fault::Bug, "a thread that scores panicked"));
            let scores = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(panicked));
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
