//! Where tokens meet a model: one engine for both encoders.

mod engine;
pub mod load;

pub use engine::{Batching, Engine, Sequence, Sink};
