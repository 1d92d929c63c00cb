//! The encoders and the head: tensors in, numbers out. No file, no sequence, no message.
//!
//! One model, one file: `esm2`, `dnabert`, `classifier`; what the encoders share is in `nn`, `parameters` and `input`.
//! [`schema`] says what each is made of and [`mock`] stands in for all of them. Those two and the head need no libtorch.

use std::sync::Arc;

#[cfg(feature = "torch")]
use crate::device::attention::Kernel;
use crate::error::Result;
use crate::pack::TokenBatch;

#[cfg(feature = "torch")]
mod attention;
pub mod classifier;
pub mod composition;
#[cfg(feature = "torch")]
pub mod dnabert;
#[cfg(feature = "torch")]
pub mod esm2;
#[cfg(feature = "torch")]
pub mod input;
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
pub trait Head: Send + Sync {
    /// Width of a merged vector: the encoders side by side.
    fn dim(&self) -> usize;

    /// Scores of `vectors`, row-major f32 [rows, dim].
    ///
    /// # Errors
    /// Vectors of another width.
    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>>;
}

impl<H: Head + ?Sized> Head for Arc<H> {
    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>> {
        (**self).score(vectors)
    }
}

/// What the head says of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Logarithm of the odds of a virus.
    pub logit: f32,
    /// Probability of class 0, anything but a virus.
    pub others: f32,
    /// Probability of class 1, a virus; both add up to 1.
    pub virus: f32,
}

impl Score {
    /// Softmax of two classes whose logits are so far apart.
    pub fn of(logit: f32) -> Self {
        let probability = |logit: f64| (1.0 / (1.0 + (-logit).exp())) as f32;
        Self { logit, others: probability(-f64::from(logit)), virus: probability(f64::from(logit)) }
    }
}
