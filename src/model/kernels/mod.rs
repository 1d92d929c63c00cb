//! What a processor computes between matrix products: plain loops over rows that fit in its cache, on the calling thread.
//!
//! Values are f32 inside, whatever the format of the weights: they are turned as they are read, and rounded as they are
//! written. Rows do not depend on each other, and sums have one order on every processor.

#[cfg(feature = "torch")]
pub(super) mod attention;
#[cfg(feature = "torch")]
pub(super) mod norm;
mod processor;
pub(super) mod product;
#[cfg(feature = "torch")]
mod softmax;
#[cfg(feature = "torch")]
mod tensor;

#[cfg(feature = "torch")]
use processor::{Kernel, on_widest_vectors};
use processor::{LANES, Vectors, widest_vectors};
#[cfg(feature = "torch")]
pub(in crate::model) use tensor::take;
#[cfg(feature = "torch")]
use tensor::{Element, values, values_mut};
