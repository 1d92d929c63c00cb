//! Where tokens meet a model: one engine for both encoders.

mod engine;
#[cfg(feature = "torch")]
mod lanes;
pub mod load;

pub use engine::{Batching, Engine, Sequence, Sink};
