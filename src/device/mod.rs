//! Devices that models run on: which there are, which of them and which number format a run takes, and what a failure
//! of theirs means.

pub mod attention;
#[cfg(feature = "torch")]
pub mod gpu;
#[cfg(feature = "torch")]
pub mod kernels;
#[cfg(feature = "torch")]
mod library;
#[cfg(feature = "torch")]
mod meaning;
pub mod memory;
pub mod pinning;
#[cfg(feature = "torch")]
mod placement;
#[cfg(feature = "torch")]
pub mod products;
#[cfg(feature = "torch")]
mod shim;
pub mod staging;
#[cfg(feature = "torch")]
pub mod stream;
#[cfg(feature = "torch")]
pub mod transfer;
#[cfg(feature = "torch")]
pub mod yardstick;

#[cfg(feature = "torch")]
pub use library::cuda_devices;
#[cfg(feature = "torch")]
pub use meaning::caught;
#[cfg(feature = "torch")]
pub use placement::{Placement, multiplies_bf16, set_threads};
