//! What the machine offers: devices, and how this process uses them.

#[cfg(feature = "torch")]
pub mod device;
