//! `manifest.json`: what a stage was asked, with what, and what it finished.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest, text};

/// Version of the layout of a stage's folder: of this file, and of the columns of tables.
pub const FORMAT: u32 = 4;
/// File name in a stage's folder.
pub const FILE: &str = "manifest.json";
const MAKE_AGAIN: &str = "--overwrite makes this stage again; finished work of other stages is kept";

/// The record of a stage's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// Name of the stage, as `embed-esm`.
    pub stage: String,
    /// Every setting that changes results.
    pub settings: serde_json::Value,
    /// The model used, if the stage uses one.
    pub model: Option<ModelStamp>,
    /// The sequences that all of it comes from; none where a stage was given files of unknown origin.
    pub origin: Option<Origin>,
    /// Settings of the vectors that tables were made from, where those were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_vectors: Option<serde_json::Value>,
    /// Finished output files by name.
    pub shards: BTreeMap<String, ShardEntry>,
    /// Counts that must add up, by name.
    pub totals: BTreeMap<String, u64>,
    /// Whether the stage finished.
    pub complete: bool,
}

/// What every version writes.
#[derive(Deserialize)]
struct Layout {
    format: u32,
    tool: String,
}

impl Layout {
    fn differs(&self, folder: &Path) -> Error {
        let message = format!("{} has the tables and manifest of another version of virnucpro", folder.display());
        Error::new(Fault::CheckpointForeign, message)
            .file(folder.join(FILE))
            .expected(format!("format {FORMAT}, as virnucpro {} writes it", env!("CARGO_PKG_VERSION")))
            .found(format!("format {}, written by {}", self.format, self.tool))
            .advice("make it again with --overwrite, or use a different output folder")
    }
}

/// The sequences that the work of all stages comes from. Two stages fit together if they have one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Files that were read, in words.
    pub input: String,
    /// BLAKE3 over the digests of their bytes, in order.
    pub blake3: String,
    /// Settings that they were cut with.
    pub cut: serde_json::Value,
}

impl Origin {
    /// Whether both are the same sequences, cut in the same way; the files may have other names.
    pub fn is_same(&self, other: &Self) -> bool {
        self.blake3 == other.blake3 && self.cut == other.cut
    }

    /// The fault of work that comes from `other`, and what it says of this one and of the other.
    pub fn differs(&self, other: &Self) -> (Fault, String, String) {
        if self.blake3 == other.blake3 {
            let (here, there) = setting_differences(&self.cut, &other.cut);
            return (Fault::CheckpointForeign, format!("windows with {here}"), format!("windows with {there}"));
        }
        (Fault::CheckpointInput, self.cell(), other.cell())
    }

    /// For a message: the files and the beginning of the digest.
    pub fn cell(&self) -> String {
        format!("{} ({})", self.input, self.blake3.get(..12).unwrap_or_default())
    }
}

/// Settings that differ, with their values on either side, in words.
pub fn setting_differences(one: &serde_json::Value, other: &serde_json::Value) -> (String, String) {
    let (one, other) = (flat(one), flat(other));
    let of = |own: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
        let differing = own.iter().filter(|(name, value)| others.get(*name) != Some(value));
        differing.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    (of(&one, &other), of(&other, &one))
}

/// Names of settings as a user types them, those of a group behind its name, and their values.
fn flat(settings: &serde_json::Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        let name = name.replace('_', "-");
        match value {
            serde_json::Value::Object(_) => {
                all.extend(flat(value).into_iter().map(|(below, value)| (format!("{name} {below}"), value)));
            }
            serde_json::Value::String(text) => drop(all.insert(name, text.clone())),
            value => drop(all.insert(name, value.to_string())),
        }
    }
    all
}

/// Which model made a file: enough to trace it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStamp {
    /// Name of the bundle.
    pub bundle: String,
    /// SHA-256 of the bundle's `bundle.yaml`, which lists the digest of every file.
    pub digest: String,
    /// Whether the weights were trained; if not, scores mean nothing.
    pub trained: bool,
}

impl ModelStamp {
    /// Short form for a table cell: `name@digest`, with `:untrained` where that is so.
    pub fn cell(&self) -> String {
        let short: String = self.digest.chars().take(12).collect();
        format!("{}@{short}{}", self.bundle, if self.trained { "" } else { ":untrained" })
    }
}

/// A finished output file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Rows or records in the file.
    pub rows: u64,
    /// Its size and digest.
    #[serde(flatten)]
    pub file: FileDigest,
    /// Digest of what it was made from.
    pub input: String,
    /// Names of what it was made from.
    pub from: String,
    /// Where it was computed, which the last digits may depend on; none where that makes no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<String>,
}

impl Manifest {
    /// Reads the manifest of a folder; `None` where there is none.
    ///
    /// # Errors
    /// The file is damaged, or describes a folder in another version's layout.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::new(Fault::CheckpointCorrupt, format!("{} is not a file", path.display()))
                .file(&path)
                .advice("remove it; --overwrite then makes this stage again"));
        }
        let text = match text::read(&path, Fault::CheckpointCorrupt) {
            Ok(text) => text.map_err(|error| error.advice(MAKE_AGAIN))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::reading(&path, error)),
        };
        // What every version writes comes first: the rest may be of a layout that this one does not know.
        if let Ok(layout) = serde_json::from_str::<Layout>(&text)
            && layout.format != FORMAT
        {
            return Err(layout.differs(folder));
        }
        let manifest: Self = serde_json::from_str(&text).map_err(|error| {
            Error::new(Fault::CheckpointCorrupt, format!("{} cannot be read as a manifest", path.display()))
                .file(&path)
                .line(error.line() as u64)
                .advice(MAKE_AGAIN)
                .caused_by(error)
        })?;
        // Files are read, replaced and removed by these names: none may lead out of the folder.
        match manifest.shards.keys().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
            None => Ok(Some(manifest)),
            Some(name) => {
                Err(Error::new(Fault::CheckpointCorrupt, format!("{} names a file elsewhere", path.display()))
                    .file(&path)
                    .expected("names of files in its own folder")
                    .found(name.as_str())
                    .advice(MAKE_AGAIN))
            }
        }
    }

    /// Replaces the manifest of a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let mut file = AtomicFile::create(&path)?;
        serde_json::to_writer_pretty(&mut file, self)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|error| Error::writing(&path, error))?;
        file.commit().map(|_| ())
    }
}
