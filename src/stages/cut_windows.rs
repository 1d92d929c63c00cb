//! The windows that scores are put back into, and the proof that vectors were made from them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::upstream::{self, UpstreamFile};
use super::vector_files::SOURCE;
use crate::error::{Error, Fault, Result};
use crate::store::tables::{InputRow, WindowRow};
use crate::store::{MANIFEST_FILE, Manifest, Origin, Row as _, VectorReader};

/// The tables of windows and of records that `chunk` wrote.
pub struct CutWindows {
    folder: PathBuf,
    manifest: Manifest,
    /// A row for every window.
    pub windows: UpstreamFile,
    /// A row for every record.
    pub inputs: UpstreamFile,
}

impl CutWindows {
    /// Opens what `chunk` wrote to a folder.
    ///
    /// # Errors
    /// It is missing, not complete, or of another stage.
    pub fn open(folder: &Path) -> Result<Self> {
        let (windows, inputs) = (folder.join(WindowRow::TSV), folder.join(InputRow::TSV));
        let manifest = upstream::manifest(folder)?;
        if manifest.is_none() && !windows.exists() {
            return Err(Error::new(Fault::InputMissing, format!("{} is not there", windows.display()))
                .file(folder)
                .expected("the folder that `virnucpro chunk` wrote: every window of the input")
                .advice("give it with --windows"));
        }
        let Some(manifest) = manifest else {
            let message = format!("{} has no manifest", folder.display());
            return Err(Error::new(Fault::CheckpointIncomplete, message)
                .file(folder.join(MANIFEST_FILE))
                .expected(
                    "the whole folder that `virnucpro chunk` wrote: its manifest proves which vectors belong to it",
                )
                .advice("give that folder; if its manifest is lost, run `virnucpro chunk` again with --overwrite"));
        };
        if !manifest.complete || manifest.stage != "chunk" {
            let message = format!("{} is not a complete output of chunk", folder.display());
            let state = if manifest.complete { "finished" } else { "not finished" };
            return Err(Error::new(Fault::CheckpointIncomplete, message)
                .file(folder)
                .expected("a complete output of chunk")
                .found(format!("one of {}, {state}", manifest.stage))
                .advice("give the folder that chunk wrote, or let `virnucpro chunk` finish"));
        }
        let file = |path: &Path| upstream::file(path, Some(&manifest));
        let (windows, inputs) = (file(&windows)?, file(&inputs)?);
        Ok(Self { folder: folder.to_owned(), manifest, windows, inputs })
    }

    /// The sequences that the windows come from, where their manifest says so.
    pub fn origin(&self) -> Option<Origin> {
        self.manifest.origin.clone()
    }

    /// Refuses vectors that were not made from these windows. Manifests on both sides name the origin; of vectors without
    /// one, each file names the shards that it was made from.
    ///
    /// # Errors
    /// [`Fault::CheckpointInput`].
    pub fn match_origin(&self, folders: &[PathBuf], merged: &[UpstreamFile]) -> Result<()> {
        let vectors = folders.first().map_or(Path::new(""), PathBuf::as_path);
        let known = upstream::origin(merged)?;
        if upstream::common_origin([(&self.folder, self.origin()), (vectors, known)])?.is_some() {
            return Ok(());
        }
        let shards: HashSet<&str> = self.manifest.shards.values().map(|entry| entry.file.blake3.as_str()).collect();
        for file in merged {
            let metadata = VectorReader::open(&file.path)?.metadata();
            let sources = ["dnabert", "esm"].map(|side| metadata.get(&format!("{side}.{SOURCE}")).cloned());
            let mut sources = sources.iter().flatten().flat_map(|list| list.split(','));
            if let Some(unknown) = sources.find(|source| !shards.contains(source)) {
                let message = format!("{} was not made from these windows", file.path.display());
                return Err(Error::new(Fault::CheckpointInput, message)
                    .file(&file.path)
                    .expected(format!("vectors of shards that {} lists", self.folder.join(MANIFEST_FILE).display()))
                    .found(format!("vectors of a FASTA file with blake3 {unknown}"))
                    .advice("give the folder of windows that the vectors were made from, or embed its shards again"));
            }
        }
        Ok(())
    }
}
