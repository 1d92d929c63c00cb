//! Bytes on disk: what appears, appears whole; what is done, is proved by content. No libtorch here.

mod checkpoint;
mod float_text;
mod manifest;
mod parquet_file;
mod parquet_table;
mod refusals;
mod removal;
mod row;
mod stage_dir;
mod table;
pub mod tables;
mod vectors;

pub use checkpoint::{Checkpoint, Checkpoints, FOLDER as CHECKPOINT_FOLDER, KeptRows};
pub use float_text::float32_text;
pub use manifest::{
    FILE as MANIFEST_FILE, FORMAT as MANIFEST_FORMAT, Manifest, ModelStamp, Origin, ShardEntry, setting_differences,
};
pub use removal::{Removal, remove_empty};
pub use row::{Cell, Column, Kind, Row, Value};
pub use stage_dir::{Fingerprint, MadeFrom, StageDir, retract};
pub use table::{Provenance, TableReader, TableSpool, TableWriter};
pub use vectors::{ProteinDigest, VectorBlock, VectorBlocks, VectorReader, VectorWriter};
