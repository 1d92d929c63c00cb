//! How a model shares the processors of a CPU.
//!
//! A small model runs in lanes: each batch is computed by one thread, over weights that all lanes share. So no thread ever
//! waits for another one - on a busy machine such waits cost more than the work - and results do not depend on how many
//! there are. The batches of a large model are computed by all threads together, for activations of many batches at once
//! may not fit in memory; then the last digits depend on the number of threads.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{EncoderLane, Lane};
use crate::device::{caught, set_threads};
use crate::error::{Error, Fault, Result};
use crate::model::{Encoder, Head, Score};
use crate::pack::TokenBatch;
use crate::runtime::threads;

/// Bytes of weights from which on a model counts as large.
const LARGE: u64 = 1 << 30;

/// Who computes a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One thread each; so many batches at a time.
    Lanes(usize),
    /// So many threads together; one batch at a time.
    Together(usize),
}

impl Layout {
    /// The layout for `bytes` of weights on so many threads.
    pub fn of(bytes: u64, threads: usize) -> Self {
        if bytes < LARGE || threads == 1 { Self::Lanes(threads) } else { Self::Together(threads) }
    }

    /// Lanes of this layout in the memory of `name`: around `encoder`, and around others that share its weights.
    ///
    /// # Errors
    /// [`Fault::Threads`] where the system does not allow so many threads.
    pub fn lanes<E: Encoder + Clone + 'static>(self, name: &str, encoder: E) -> Result<Vec<Box<dyn Lane>>> {
        let (lanes, threads) = match self {
            Self::Lanes(lanes) => (lanes, 1),
            Self::Together(threads) => {
                // libtorch's own threads end the process, or never come, where the system refuses one.
                prove(threads)?;
                (1, threads)
            }
        };
        let lane = |encoder| EncoderLane::new(name, Box::new(OnThreads { encoder, threads }));
        Ok(vec![encoder; lanes].into_iter().map(|encoder| Box::new(lane(encoder)) as Box<dyn Lane>).collect())
    }

    /// For the log.
    pub fn words(self) -> String {
        match self {
            Self::Lanes(1) | Self::Together(1) => "1 thread".to_owned(),
            Self::Lanes(lanes) => format!("{lanes} threads, a batch each"),
            Self::Together(threads) => format!("{threads} threads, one batch together"),
        }
    }
}

/// Starts so many threads at a time, which do nothing.
fn prove(count: usize) -> Result<()> {
    let wait = Mutex::new(());
    let held = wait.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let started =
            (0..count).try_for_each(|_| threads::spawn_scoped(scope, "probe", || drop(wait.lock())).map(drop));
        drop(held);
        started
    })
}

/// Lets libtorch use so many threads in the calling thread, which keeps that number.
fn use_threads(threads: usize) {
    thread_local!(static SET: Cell<usize> = const { Cell::new(0) });
    if SET.replace(threads) != threads {
        set_threads(threads);
    }
}

/// An encoder that computes on a number of threads, whichever thread it is called from.
struct OnThreads<E> {
    encoder: E,
    threads: usize,
}

impl<E: Encoder> Encoder for OnThreads<E> {
    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        use_threads(self.threads);
        caught(|| self.encoder.embed(batch))
    }
}

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
                    use_threads(1);
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
    use crate::model::mock::{MockEncoder, MockHead};

    #[test]
    fn small_models_run_in_lanes_and_large_ones_together() {
        assert_eq!(Layout::of(100 << 20, 8), Layout::Lanes(8));
        assert_eq!(Layout::of(11 << 30, 8), Layout::Together(8));
        assert_eq!(Layout::of(11 << 30, 1), Layout::Lanes(1));
        assert_eq!(Layout::Lanes(3).lanes("cpu", MockEncoder::new(5)).unwrap().len(), 3);
        assert_eq!(Layout::Together(3).lanes("cpu", MockEncoder::new(5)).unwrap().len(), 1);
    }

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
