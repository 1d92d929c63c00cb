//! Where tokens meet a model: one engine for both encoders.

mod engine;

pub use engine::{Engine, Lanes, Sequence, Sink};
