//! Finds viral DNA in metagenomic reads and contigs.

pub mod error;
pub mod model;
pub mod pack;
pub mod runtime;
pub mod units;
