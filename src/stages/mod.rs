//! The stages of the pipeline: each reads what the one before it wrote, and proves that nothing got lost.
//!
//! chunk → embed-dnabert, embed-esm → merge → predict; `run` is all of them in one process.

pub mod chunk;
pub mod embed;
pub mod fetch;
pub mod info;
pub mod merge;
pub mod models;
pub mod predict;
pub mod report;
pub mod run;
pub mod verify;

mod handover;
mod import_report;
mod legacy;
mod load;
mod rows;
mod shards;
mod verdict;
