//! The machine around the work: processors, signals, messages.

pub mod interrupt;
pub mod logging;
pub mod machine;
pub mod memory;
pub mod picture;
pub mod progress;
pub mod threads;
