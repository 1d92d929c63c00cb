//! The commands around the pipeline, and what commands say on stdout.

pub mod bench;
pub mod evaluation_table;
pub mod fetch;
pub mod import;
pub mod info;
pub mod man;
pub mod models;
pub mod verdict_table;
pub mod verify;

mod import_report;
