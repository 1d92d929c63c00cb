//! Devices that models run on: which there are, which of them and which number format a run takes, and what a failure
//! of theirs means.

#[cfg(feature = "torch")]
pub mod products;
#[cfg(feature = "torch")]
mod torch;
#[cfg(feature = "torch")]
pub mod yardstick;

#[cfg(feature = "torch")]
pub use torch::{Placement, caught, cuda_devices, multiplies_bf16, set_threads};
