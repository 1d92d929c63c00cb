//! Lanes: what computes batches. A lane owns its model and what it runs on; `recovery` drives it.

#[cfg(feature = "torch")]
pub mod cpu;
mod encoder;
#[cfg(feature = "torch")]
pub mod gpu;
pub mod head;
pub mod mock;
pub mod scorer;

pub use encoder::EncoderLane;

use crate::error::Result;
use crate::pack::TokenBatch;
use crate::runtime::picture::MemoryPicture;

/// Computes the vectors of one batch after the other. All calls come from one thread.
pub trait Lane: Send {
    /// The memory it computes in, as `cpu` or `cuda:1`. Lanes of one name share it.
    fn name(&self) -> &str;

    /// Width of a vector.
    fn dim(&self) -> usize;

    /// Batches that may be under way at a time: 1 where `submit` computes, more where it only starts.
    fn depth(&self) -> usize {
        1
    }

    /// Whether a vector is the same to the last bit whatever else is in its batch.
    fn is_exact(&self) -> bool {
        false
    }

    /// Starts a batch.
    ///
    /// # Errors
    /// Out of memory, a device that stopped working, or anything else; then the batch is not under way.
    fn submit(&mut self, batch: &TokenBatch) -> Result<()>;

    /// Vectors of the oldest batch that is under way, row-major f32 [sequences, dim]; waits for them.
    ///
    /// # Errors
    /// The same; then that batch is not under way any more, while younger ones are.
    fn collect(&mut self) -> Result<Vec<f32>>;

    /// Frees what is only kept for later.
    fn clear_cache(&mut self) {}

    /// What its memory looks like now.
    fn memory(&self) -> Option<MemoryPicture> {
        None
    }
}
