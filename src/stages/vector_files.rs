//! Files of vectors, as the stages hand them on: their names, who wrote them, and what those of one side have in common.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::shards::is_numbered;
use crate::store::VectorReader;

/// The stage of the nucleotide side.
pub const DNABERT: &str = "embed-dnabert";
/// The stage of the protein side.
pub const ESM: &str = "embed-esm";

/// Key of a vector file's metadata: digest of the FASTA file that was embedded.
pub const SOURCE: &str = "input_blake3";

/// Key of a vector file's metadata: digest of the encoders, whatever head their bundle has.
pub const ENCODERS: &str = "encoders";

/// What all vector files of one side have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vectors {
    /// Width.
    pub dim: usize,
    /// Number format they were computed in, where the files say so.
    pub dtype: Option<String>,
    /// How tokens were pooled, likewise.
    pub pooling: Option<String>,
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        write!(f, "{}, pooling {}", named(&self.dtype), named(&self.pooling))
    }
}

/// Whether a file of vectors bears this name: `shard-00001.parquet`, or the name of a FASTA file of the user's own.
pub fn is_vector_shard(name: &str) -> bool {
    name.ends_with(".parquet")
}

/// Whether it is the name of the vectors of a numbered shard: what a killed run may leave behind.
pub fn is_numbered_shard(name: &str) -> bool {
    is_numbered(name, &[".parquet"])
}

/// Whether a file of vectors in `folder` says that `stage` wrote it.
pub fn holds_vectors_of(folder: &Path, stage: &str) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.is_file() && path.extension().is_some_and(|extension| extension == "parquet")).any(
        |path| VectorReader::open(&path).is_ok_and(|file| file.metadata().get("stage").is_some_and(|by| by == stage)),
    )
}
