//! Batches as plain data: no tensor, no file.

mod batch;
mod plan;

pub use batch::{Run, TokenBatch};
pub use plan::plan;
