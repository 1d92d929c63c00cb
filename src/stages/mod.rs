//! The stages of the pipeline: each reads what the one before it wrote, and proves that nothing got lost.
//!
//! chunk → embed-dnabert, embed-esm → merge → predict; `run` is all of them in one process. train fits a head to what merge
//! wrote, evaluate measures what predict wrote.

pub mod chunk;
pub mod embed;
pub mod evaluate;
pub mod merge;
pub mod predict;
pub mod run;
pub mod train;

mod cleanup;
mod cut_windows;
mod direct;
mod discoveries;
mod frame_scores;
mod input_digest;
mod join;
mod keeping;
mod legacy;
mod region_table;
mod shard_sequences;
mod shard_vectors;
mod shards;
mod upstream;
mod vector_files;
mod verdict;
mod verdict_tables;
mod viral_fasta;
