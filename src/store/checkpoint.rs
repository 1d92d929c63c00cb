//! Checkpoints: vectors of a file that is not complete, kept on disk in parts, so that a run which was ended continues where
//! it stopped.
//!
//! A checkpoint is a folder named after what its vectors are made from - stage, settings, model, bytes of the input - and
//! holds vector files of consecutive rows, `rows-FIRST-END.parquet`. Each appears whole and is proved by its digest when it
//! is read. Two processes may write one checkpoint: what they write there is the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::manifest::ModelStamp;
use super::stage_dir::Fingerprint;
use super::vectors::{VectorBlock, VectorReader, VectorWriter};
use crate::error::{Error, Fault, Result};
use crate::fs::remove_abandoned;

/// Name of the folder of checkpoints in the output folder of a stage.
pub const FOLDER: &str = ".checkpoints";
/// Version of the layout.
const FORMAT: u32 = 1;
/// Key of a part's metadata: where it was computed.
const COMPUTED: &str = "computed";
/// Rows decoded at a time.
const READ_ROWS: usize = 1024;

/// Where checkpoints are, and what their vectors depend on beside their input.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    root: PathBuf,
    stage: &'static str,
    settings: serde_json::Value,
    model: Option<ModelStamp>,
    dim: usize,
}

impl Checkpoints {
    /// Those of one stage in the folder `root`, which need not exist.
    pub fn new(root: PathBuf, work: &Fingerprint, dim: usize) -> Self {
        Self { root, stage: work.stage, settings: work.settings.clone(), model: work.model.clone(), dim }
    }

    /// The folder that holds them.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The checkpoint of the vectors of an input with this digest.
    pub fn of(&self, input: &str) -> Checkpoint {
        let Self { stage, settings, model, dim, .. } = self;
        let named = json!({
            "format": FORMAT, "stage": stage, "settings": settings, "model": model, "dim": dim, "input": input,
        });
        let digest = blake3::hash(named.to_string().as_bytes()).to_hex();
        let name = format!("{stage}-{}", &digest[..32]);
        Checkpoint { folder: self.root.join(name), dim: *dim }
    }
}

/// The checkpoint of the vectors of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    folder: PathBuf,
    dim: usize,
}

impl Checkpoint {
    /// Keeps rows, of which the first is row number `first` of the file.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep(&self, first: u64, rows: VectorBlock, computed: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|error| Error::writing(&self.folder, error))?;
        remove_abandoned(&self.folder)?;
        let end = first + rows.ids.len() as u64;
        let mut writer = VectorWriter::create(&self.folder.join(part_name(first, end)), self.dim)?;
        writer.push(rows)?;
        writer.commit(&[(COMPUTED.to_owned(), computed.to_owned())].into()).map(drop)
    }

    /// The rows that were kept, from the first one on.
    pub fn rows(&self) -> KeptRows {
        KeptRows {
            checkpoint: self.clone(),
            next: 0,
            part: Vec::new().into_iter(),
            taken: 0,
            computed: BTreeSet::new(),
        }
    }

    /// How many rows are kept, from the first one on, as the names of the parts say.
    pub fn length(&self) -> u64 {
        let mut end = 0;
        while let Some((next, _)) = self.part(end) {
            end = next;
        }
        end
    }

    /// Removes it. If that fails it stays, where it disturbs nothing.
    pub fn remove(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// The longest part that starts with this row.
    fn part(&self, first: u64) -> Option<(u64, PathBuf)> {
        let entries = fs::read_dir(&self.folder).ok()?.flatten();
        let parts = entries.filter_map(|entry| {
            let (start, end) = parse_name(&entry.file_name().to_string_lossy())?;
            (start == first && end > first).then(|| (end, entry.path()))
        });
        parts.max()
    }
}

/// An id and its vector.
type KeptRow = (String, Vec<f32>);

/// A part in memory.
struct Part {
    rows: Vec<KeptRow>,
    /// Where it was computed.
    computed: Option<String>,
}

/// Rows of a checkpoint in file order, as far as every part is there and whole.
pub struct KeptRows {
    checkpoint: Checkpoint,
    next: u64,
    part: std::vec::IntoIter<KeptRow>,
    taken: u64,
    computed: BTreeSet<String>,
}

impl KeptRows {
    /// The vector of the next row, which belongs to `id`.
    pub fn next(&mut self, id: &str) -> Option<Vec<f32>> {
        if self.part.len() == 0 {
            self.part = self.read_part()?.into_iter();
        }
        let (kept, vector) = self.part.next()?;
        if kept != id {
            self.stop();
            return None;
        }
        self.next += 1;
        self.taken += 1;
        Some(vector)
    }

    /// Takes no more rows from it.
    fn stop(&mut self) {
        (self.next, self.part) = (u64::MAX, Vec::new().into_iter());
    }

    /// How many rows have been taken, and where they were computed.
    pub fn finish(self) -> (u64, BTreeSet<String>) {
        (self.taken, self.computed)
    }

    fn read_part(&mut self) -> Option<Vec<KeptRow>> {
        let (end, path) = self.checkpoint.part(self.next)?;
        let expected = (end - self.next) as usize;
        match read(&path, self.checkpoint.dim, expected) {
            Ok(part) => {
                self.computed.extend(part.computed);
                Some(part.rows)
            }
            Err(error) => {
                // Another process may have finished the file and removed what it does not need any more.
                if path.exists() {
                    log::warn!("a checkpoint is not used, and its vectors are computed again: {error}");
                    let _ = fs::remove_file(&path);
                }
                self.stop();
                None
            }
        }
    }
}

/// Reads a part and proves it.
fn read(path: &Path, dim: usize, expected: usize) -> Result<Part> {
    let reader = VectorReader::open(path)?;
    let computed = reader.metadata().remove(COMPUTED);
    if (reader.dim(), reader.rows()) != (dim, expected) {
        return Err(Error::new(Fault::CheckpointCorrupt, format!("{} holds other vectors", path.display()))
            .file(path)
            .expected(format!("{expected} vectors of width {dim}"))
            .found(format!("{} of width {}", reader.rows(), reader.dim())));
    }
    let (mut rows, mut blocks) = (Vec::with_capacity(expected), reader.into_blocks(READ_ROWS));
    for block in blocks.by_ref() {
        let VectorBlock { ids, values, .. } = block?;
        rows.extend(ids.into_iter().zip(values.chunks_exact(dim.max(1)).map(<[f32]>::to_vec)));
    }
    blocks.finish()?;
    Ok(Part { rows, computed })
}

fn part_name(first: u64, end: u64) -> String {
    format!("rows-{first}-{end}.parquet")
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, end) = name.strip_prefix("rows-")?.strip_suffix(".parquet")?.split_once('-')?;
    Some((first.parse().ok()?, end.parse().ok()?))
}
