//! Devices that models run on: which there are, which of them and which number format a run takes, and what a failure
//! of theirs means.

#[cfg(feature = "torch")]
mod library;
#[cfg(feature = "torch")]
mod meaning;
#[cfg(feature = "torch")]
mod placement;
#[cfg(feature = "torch")]
pub mod products;

#[cfg(feature = "torch")]
pub use library::cuda_devices;
#[cfg(feature = "torch")]
pub use placement::{Placement, set_threads};
