//! Batches as plain data: no tensor, no file.

mod batch;

pub use batch::{Run, TokenBatch};
