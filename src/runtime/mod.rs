//! The machine around the work: devices, processors, signals, messages.

#[cfg(feature = "torch")]
pub mod device;
pub mod interrupt;
pub mod logging;
pub mod machine;
pub mod progress;
