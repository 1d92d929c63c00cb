//! The encoders and the head: tensors in, numbers out. No file, no sequence, no message.
//!
//! One model, one file: `esm2`, `dnabert`, `classifier`; what they share is in `nn`, `parameters` and `input`. [`schema`]
//! says what each is made of and [`mock`] stands in for all of them, both without libtorch.

#[cfg(feature = "torch")]
use crate::device::attention::Kernel;
use crate::error::Result;
use crate::pack::TokenBatch;

#[cfg(feature = "torch")]
mod attention;
#[cfg(feature = "torch")]
pub mod classifier;
#[cfg(feature = "torch")]
pub mod dnabert;
#[cfg(feature = "torch")]
pub mod esm2;
#[cfg(feature = "torch")]
pub mod input;
#[cfg(feature = "torch")]
mod kernels;
pub mod mock;
#[cfg(feature = "torch")]
pub mod nn;
#[cfg(feature = "torch")]
mod parameters;
#[cfg(feature = "torch")]
pub mod random;
pub mod schema;

/// Turns token ids into one vector per sequence.
pub trait Encoder: Send {
    /// Width of a vector.
    fn dim(&self) -> usize;

    /// Pooled vectors of the batch, row-major f32 [sequences, dim], in batch order.
    ///
    /// # Errors
    /// Out of memory, or anything else that libtorch refuses.
    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>>;
}

/// An encoder whose vectors stay on its device until somebody takes them.
#[cfg(feature = "torch")]
pub trait TensorEncoder: Encoder {
    /// Lets another kernel compute attention; at first it is one that serves everywhere on the device.
    fn set_attention(&mut self, kernel: Kernel);

    /// What the device needs of a batch, proved to be what the model can take.
    ///
    /// # Errors
    /// A batch that the tokeniser of this model would not give.
    fn words(&self, batch: &TokenBatch) -> Result<Vec<i32>>;

    /// Pooled vectors, f32 [sequences, dim], on the device. A GPU has only been told what to do when this returns.
    ///
    /// # Errors
    /// Out of memory, or anything else that libtorch refuses.
    fn pool(&self, batch: &input::DeviceBatch<'_>) -> Result<tch::Tensor>;
}

/// Turns merged vectors into scores.
pub trait Head: Send {
    /// Width of a merged vector: DNABERT-S and ESM-2 side by side.
    fn dim(&self) -> usize;

    /// Scores of `vectors`, row-major f32 [rows, dim].
    ///
    /// # Errors
    /// Out of memory, or anything else that libtorch refuses.
    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>>;
}

/// Softmax of the two classes; they add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Probability of class 0, anything but a virus.
    pub others: f32,
    /// Probability of class 1, a virus.
    pub virus: f32,
}
