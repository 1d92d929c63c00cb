//! Bytes on disk: what appears, appears whole; what is done, is proved by content. No libtorch here.

mod atomic;
mod manifest;
mod stage_dir;
mod table;
mod vectors;

pub use atomic::{AtomicFile, FileDigest};
pub use manifest::{Manifest, ModelStamp, ShardEntry};
pub use stage_dir::{Fingerprint, Resume, StageDir};
pub use table::{TableReader, TableWriter};
pub use vectors::{VectorBlock, VectorReader, VectorWriter};
