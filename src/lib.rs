//! Finds viral DNA in metagenomic reads and contigs.

pub mod bundle;
pub mod error;
pub mod model;
pub mod pack;
pub mod tokenize;
pub mod units;
