//! Lanes on a CPU: each computes its batches on one thread, over weights that all of them share.
//!
//! So no thread ever waits for another one - on a busy machine such waits cost more than the work - and nothing depends on how
//! many there are. Threads that share out each product instead are never faster (`docs/performance.md`), and spin while they
//! wait.

use std::cell::Cell;

use super::{EncoderLane, Lane};
use crate::device::products::rows_are_independent;
use crate::device::{caught, set_threads};
use crate::error::Result;
use crate::model::Encoder;
use crate::pack::TokenBatch;
use crate::runtime::memory;

/// So many lanes, at least one, in the memory of `name`: around `encoder`, and around others that share its weights.
pub fn lanes<E: Encoder + Clone + 'static>(name: &str, encoder: E, count: usize) -> Vec<Box<dyn Lane>> {
    let exact = rows_are_independent();
    let lane = |encoder| Box::new(EncoderLane::new(name, Box::new(OnOneThread(encoder)), exact)) as Box<dyn Lane>;
    vec![encoder; count.max(1)].into_iter().map(lane).collect()
}

/// Lets libtorch use no thread but the calling one, for as long as that lives.
pub fn one_thread() {
    thread_local!(static SET: Cell<bool> = const { Cell::new(false) });
    if !SET.replace(true) {
        set_threads(1);
    }
}

/// An encoder that computes on the thread it is called from.
struct OnOneThread<E>(E);

impl<E: Encoder> Encoder for OnOneThread<E> {
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        one_thread();
        memory::check_address_space()?;
        caught(|| self.0.embed(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mock::MockEncoder;

    #[test]
    fn lanes_share_a_memory_and_there_is_one_at_least() {
        for (count, expected) in [(0, 1), (1, 1), (3, 3)] {
            let lanes = lanes("cpu f32", MockEncoder::new(5), count);
            assert_eq!(lanes.len(), expected);
            assert!(lanes.iter().all(|lane| lane.name() == "cpu f32" && lane.dim() == 5));
        }
    }
}
