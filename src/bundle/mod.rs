//! Bundles: a classifier with the encoders and the tokeniser it was trained on, as one checked folder.
//!
//! ```text
//! bundle.yaml               what it is, and size and SHA-256 of every file     (spec)
//! dnabert/config.json  dnabert/model.safetensors  dnabert/tokenizer.json
//! esm/config.json      esm/model.safetensors
//! head.safetensors
//! vectors.json              what the models gave when the bundle was made        (vectors)
//! card.json                 what a head was trained on, and how well it does     (trained)
//! ```
//! Only safetensors is read at run time, with tensor names as Hugging Face writes them for bare models; [`import`]
//! makes a bundle of what is published. The digest of `bundle.yaml` identifies the whole bundle.

mod component;
pub mod import;
mod mini;
mod search;
mod spec;
mod staged;
pub mod trained;
mod vectors;

use std::path::{Path, PathBuf};

pub use component::{CONFIG_JSON, Component, Family, TOKENIZER_JSON};
pub use search::{FoundBundle, FoundBundles, SearchPath};
pub use spec::{BUNDLE_YAML, EncoderSpec, FORMAT, FileRecord, HeadSpec, Pooling, Spec};
pub use staged::StagedBundle;
pub use vectors::{Differences, SEQUENCES, StoredVector, StoredVectors, VECTORS_JSON};

use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::fs::is_absent;
use crate::weights::{ModelBytes, bytes};
use search::Resolved;

/// A bundle whose structure and file sizes were checked.
///
/// ```
/// use virnucpro::bundle::{Bundle, SearchPath};
///
/// let bundle = Bundle::open("mini", &SearchPath::standard([]))?;
/// assert_eq!((bundle.spec().window, bundle.spec().trained), (500, true));
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bundle {
    spec: Spec,
    digest: Digest,
    location: Location,
}

#[derive(Clone, Debug)]
enum Location {
    Folder(PathBuf),
    Embedded,
}

impl Bundle {
    /// Opens a bundle by folder or by name; see [`SearchPath`].
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], and those of [`open_folder`](Self::open_folder).
    pub fn open(name_or_folder: &str, search: &SearchPath) -> Result<Self> {
        match search::resolve(name_or_folder, search)? {
            Resolved::Embedded => Self::mini(),
            Resolved::Folder(folder) => Self::open_folder(&folder),
        }
    }

    /// Opens the bundle in `folder`: `bundle.yaml` is read, every file is there and has the size it should have.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], [`Fault::ModelFormat`], [`Fault::ModelPointer`], [`Fault::ModelDigest`] for a file
    /// of another size, [`Fault::ModelMismatch`].
    pub fn open_folder(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::new(Fault::ModelMissing, format!("bundle {} does not exist", folder.display()))
                .file(folder)
                .expected(format!("a folder with {BUNDLE_YAML}"))
                .advice("check the path; 'virnucpro models list' shows the bundles known by name"));
        }
        Self::read(Location::Folder(folder.to_owned()))
    }

    /// The bundle inside the executable: composition features and a trained head.
    ///
    /// # Errors
    /// None but a defect of this program.
    pub fn mini() -> Result<Self> {
        Self::read(Location::Embedded)
    }

    fn read(location: Location) -> Result<Self> {
        let yaml = location.bytes(BUNDLE_YAML)?;
        let spec = Spec::parse(&yaml, &location.path_of(BUNDLE_YAML))?;
        let bundle = Self { spec, digest: Digest::of(&yaml), location };
        for name in bundle.spec.files.keys() {
            bundle.file(name)?;
        }
        Ok(bundle)
    }

    /// What `bundle.yaml` says.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// SHA-256 of `bundle.yaml`, and so, by the digests in it, of everything.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The folder; none for the embedded bundle.
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::Folder(folder) => Some(folder),
            Location::Embedded => None,
        }
    }

    /// Path of a file of the bundle, for messages: a made-up one for the embedded bundle.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.location.path_of(name)
    }

    /// What the models gave when the bundle was made; none for a bundle without that file.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`], [`Fault::ModelPointer`], [`Fault::ModelMismatch`] for a file that cannot be read or belongs
    /// to another bundle; [`Fault::Read`].
    pub fn stored_vectors(&self) -> Result<Option<StoredVectors>> {
        let path = self.path_of(VECTORS_JSON);
        let absent = match &self.location {
            Location::Folder(_) => is_absent(&path),
            Location::Embedded => mini::FILES.iter().all(|(name, _)| *name != VECTORS_JSON),
        };
        if absent {
            return Ok(None);
        }
        let dims = [self.spec.dnabert, self.spec.esm].map(|side| side.map_or(0, |side| side.dim as usize));
        StoredVectors::parse(&self.location.bytes(VECTORS_JSON)?, &path, self.digest, dims).map(Some)
    }

    /// Content of a file, as `esm/model.safetensors`; its size is checked.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`]; [`Fault::ModelDigest`] for another size, [`Fault::ModelPointer`]; [`Fault::Read`].
    pub fn file(&self, name: &str) -> Result<ModelBytes> {
        let record = self.record(name)?;
        let bytes = self.location.bytes(name)?;
        if bytes.len() as u64 != record.bytes {
            let path = self.path_of(name);
            bytes::refuse_pointer(&bytes, &path)?;
            let (expected, found) = (format!("{} bytes", record.bytes), format!("{} bytes", bytes.len()));
            return Err(differs(&path, "size", expected, found));
        }
        Ok(bytes)
    }

    /// Compares size and SHA-256 of every file with what is recorded. `proceed` is called throughout; its error ends the work.
    ///
    /// # Errors
    /// Those of [`verify_file`](Self::verify_file), for the first file that differs.
    pub fn verify(&self, proceed: &dyn Fn() -> Result<()>) -> Result<()> {
        self.spec.files.keys().try_for_each(|name| self.verify_file(name, proceed))
    }

    /// Compares size and SHA-256 of one file with what is recorded. `proceed` is called throughout; its error ends the work.
    ///
    /// # Errors
    /// [`Fault::ModelDigest`], those of [`file`](Self::file) and of `proceed`.
    pub fn verify_file(&self, name: &str, proceed: &dyn Fn() -> Result<()>) -> Result<()> {
        let (bytes, record) = (self.file(name)?, self.record(name)?);
        compare_digest(&self.path_of(name), record.sha256, bytes.digest(proceed)?)
    }

    fn record(&self, name: &str) -> Result<&FileRecord> {
        self.spec.files.get(name).ok_or_else(|| {
            Error::new(Fault::ModelMissing, format!("the bundle '{}' has no file {name}", self.spec.name))
                .file(self.path_of(name))
                .advice("a model of family mock has no files; take a bundle with real models")
        })
    }
}

/// Refuses a file of a bundle with another digest than recorded.
fn compare_digest(path: &Path, expected: Digest, found: Digest) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(differs(path, "content", format!("sha256 {expected}"), format!("sha256 {found}")))
}

fn differs(path: &Path, what: &str, expected: String, found: String) -> Error {
    Error::new(Fault::ModelDigest, format!("a file of the bundle has another {what} than recorded"))
        .file(path)
        .expected(expected)
        .found(found)
        .advice("the file is damaged or was replaced: import or fetch the bundle again")
}

impl Location {
    fn path_of(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Embedded => Path::new("<embedded>").join(mini::NAME).join(name),
        }
    }

    fn bytes(&self, name: &str) -> Result<ModelBytes> {
        if let Self::Folder(folder) = self {
            return ModelBytes::open(&folder.join(name));
        }
        let file = mini::FILES.iter().find(|(path, _)| *path == name);
        let missing = || Error::new(Fault::Bug, format!("the embedded bundle has no {name}"));
        file.map(|(_, bytes)| ModelBytes::embedded(bytes)).ok_or_else(missing)
    }
}
