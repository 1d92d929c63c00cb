//! Finished work that is not needed any more. A file is removed when no manifest calls it part of complete work, so that
//! whoever is stopped in between finds a folder to go on with.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest::{self, Manifest, Origin};
use super::refusals::written_meanwhile;
use super::stage_dir::{Fingerprint, MadeFrom, names_in};
use crate::error::{Error, Result};
use crate::fs::{FolderLock, lock::is_lock, remove_abandoned};

/// A stage's folder that files are to be removed from.
pub struct Removal {
    folder: PathBuf,
    manifest: Manifest,
    /// None before anything is written.
    lock: Option<FolderLock>,
}

impl Removal {
    /// Looks at a folder and writes nothing; none where it does not hold this work on these sequences.
    pub fn of(folder: &Path, work: &Fingerprint, origin: &Origin) -> Option<Self> {
        let manifest = Manifest::read(folder).ok().flatten()?;
        let is_this = work.matches(&manifest) && manifest.origin.as_ref().is_some_and(|known| known.is_same(origin));
        is_this.then(|| Self { folder: folder.to_owned(), manifest, lock: None })
    }

    /// What the folder says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes this process the only one that writes to the folder, and removes what a killed one left unfinished.
    ///
    /// # Errors
    /// [`Fault::CheckpointLocked`](crate::error::Fault::CheckpointLocked) where another one does, or has since the folder
    /// was looked at; the folder cannot be written to.
    pub fn lock(&mut self) -> Result<()> {
        self.lock = Some(FolderLock::take(&self.folder)?);
        match Manifest::read(&self.folder)? {
            Some(now) if now == self.manifest => remove_abandoned(&self.folder),
            _ => Err(written_meanwhile(&self.folder)),
        }
    }

    /// Says that every file was made from `input`, with vectors of these settings in between that are about to go.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn attribute(&mut self, input: &MadeFrom, vectors: Option<&Value>) -> Result<()> {
        let files = self.manifest.shards.iter();
        let shards = files.map(|(name, entry)| (name.clone(), input.entry(entry.rows, entry.file.clone()))).collect();
        self.replace(Manifest { shards, removed_vectors: vectors.cloned(), ..self.manifest.clone() })
    }

    /// Files of such names, recorded ones and those that a stopped removal left.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn files(&self, such: fn(&str) -> bool) -> Result<BTreeSet<String>> {
        let recorded = self.manifest.shards.keys().cloned();
        Ok(recorded.chain(names_in(&self.folder)?).filter(|name| such(name)).collect())
    }

    /// Removes files of such names from the work, which is complete without them. Gives their number.
    ///
    /// # Errors
    /// The manifest cannot be written, or a file not be removed.
    pub fn remove(mut self, such: fn(&str) -> bool) -> Result<u64> {
        let files = self.files(such)?;
        let mut shards = self.manifest.shards.clone();
        shards.retain(|name, _| !such(name));
        self.replace(Manifest { shards, ..self.manifest.clone() })?;
        remove_files(&self.folder, &files)
    }

    /// Whether nothing is left to remove but what is not the stage's.
    pub fn is_spent(&self) -> Result<bool> {
        Ok(!self.manifest.complete && self.manifest.shards.is_empty() && !self.is_alone()?)
    }

    /// Removes every recorded file, and the folder if nothing else is in it. Gives the number of files.
    ///
    /// # Errors
    /// The manifest cannot be written, or a file not be removed.
    pub fn remove_all(mut self) -> Result<u64> {
        // Incomplete, it still names the files: whoever comes after a stop knows what is left.
        self.replace(Manifest { complete: false, ..self.manifest.clone() })?;
        let removed = remove_files(&self.folder, self.manifest.shards.keys())?;
        if self.is_alone()? {
            remove_files(&self.folder, [&manifest::FILE.to_owned()])?;
            drop(self.lock);
            remove_empty(&self.folder);
        } else {
            // Files of others stay, and the folder remains that of the stage.
            let (shards, totals) = Default::default();
            self.replace(Manifest { shards, totals, ..self.manifest.clone() })?;
        }
        Ok(removed)
    }

    /// Whether nothing but the manifest is in the folder.
    fn is_alone(&self) -> Result<bool> {
        Ok(names_in(&self.folder)?.iter().all(|name| name == manifest::FILE || is_lock(name)))
    }

    fn replace(&mut self, manifest: Manifest) -> Result<()> {
        if manifest != self.manifest {
            manifest.write(&self.folder)?;
            self.manifest = manifest;
        }
        Ok(())
    }
}

/// Removes a folder in which nothing is left but the lock of a process that was killed.
pub fn remove_empty(folder: &Path) {
    if names_in(folder).is_ok_and(|names| names.iter().all(|name| is_lock(name))) {
        FolderLock::clear(folder);
        let _ = fs::remove_dir(folder); // fails, and shall, where something is in it by now
    }
}

fn remove_files<'a>(folder: &Path, names: impl IntoIterator<Item = &'a String>) -> Result<u64> {
    let mut removed = 0;
    for name in names {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::writing(&path, error)),
        }
    }
    Ok(removed)
}
