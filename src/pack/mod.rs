//! Batches as plain data: no tensor, no file.

mod batch;
mod plan;

pub use batch::{LengthGroup, TokenBatch};
pub use plan::plan;
