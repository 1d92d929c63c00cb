//! A bundle that is written and does not have its name yet.

use std::path::PathBuf;

use super::Bundle;
use super::spec::{BUNDLE_YAML, Spec};
use super::vectors::{StoredVector, StoredVectors, VECTORS_JSON};
use crate::error::Result;
use crate::fs::StagedFolder;
use crate::fs::digest::Digest;

/// Removed unless it is committed.
pub struct StagedBundle {
    folder: StagedFolder,
    digest: Digest,
}

impl StagedBundle {
    /// Adds `bundle.yaml` to a folder with all other files of a bundle.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn complete(mut folder: StagedFolder, spec: &Spec) -> Result<Self> {
        let yaml = spec.to_yaml()?;
        folder.write(BUNDLE_YAML, |out| out.append(yaml.as_bytes()))?;
        Ok(Self { folder, digest: Digest::of(yaml.as_bytes()) })
    }

    /// Digest that the bundle will have.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Opens what was written, as any bundle. It is not to be kept: the folder gets another name or goes away.
    ///
    /// # Errors
    /// Those of [`Bundle::open_folder`].
    pub fn open(&self) -> Result<Bundle> {
        Bundle::open_folder(self.folder.path())
    }

    /// Writes what the models give, for `models verify` to compare with.
    ///
    /// # Errors
    /// Those of writing.
    pub fn store_vectors(&mut self, sequences: Vec<StoredVector>) -> Result<()> {
        let made_by = env!("CARGO_PKG_VERSION").to_owned();
        let json = StoredVectors { bundle: self.digest, made_by, sequences }.to_json()?;
        self.folder.write(VECTORS_JSON, |out| out.append(&json)).map(drop)
    }

    /// Gives the bundle its name; its folder is returned.
    ///
    /// # Errors
    /// Those of [`StagedFolder::commit`].
    pub fn commit(self) -> Result<PathBuf> {
        self.folder.commit()
    }
}
