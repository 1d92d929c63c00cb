//! Weights files as they are published: names, shapes, number formats and bytes of tensors. Nothing is executed.

pub(crate) mod bytes;
pub(crate) mod candidates;
pub mod catalogue;
mod format;
pub mod hub_cache;
pub(crate) mod index;
mod pickle;
pub mod placeholder;
mod safetensors;
mod sharded;
mod torch;
mod unique_names;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ::safetensors::Dtype;

pub use bytes::ModelBytes;
pub use format::read;
pub use hub_cache::Origin;
pub use safetensors::{Layout, Safetensors};

use crate::error::Result;
use crate::fs::is_absent;

/// Tensors of a weights file, whatever the format of its files.
pub trait TensorSource: Send + Sync {
    /// The tensors, in order of their names.
    fn tensors(&self) -> &[TensorInfo];

    /// Place of a tensor among [`tensors`](TensorSource::tensors).
    fn find(&self, name: &str) -> Option<usize> {
        self.tensors().binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()
    }

    /// Values of tensor `index`, little-endian, row-major; empty when there is no such tensor.
    ///
    /// # Errors
    /// Whatever reading takes.
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>>;

    /// Lets the system take back the memory that the values of tensor `index` came to lie in.
    fn release(&self, index: usize);

    /// The format, for people.
    fn format(&self) -> &'static str;

    /// The files that the values lie in, whole, in the order of [`Weights::files`].
    fn maps(&self) -> Vec<&ModelBytes>;
}

/// A tensor without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the weights file.
    pub name: String,
    /// Number format.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Bytes of its values.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().map(|&length| length as u64).product::<u64>() * self.dtype.bitsize() as u64 / 8
    }
}

/// A weights file and the folder it stands in.
///
/// ```no_run
/// use std::path::Path;
/// use virnucpro::weights::Weights;
///
/// let weights = Weights::open(Path::new("esm2_t6_8M_UR50D.pt"))?;
/// for tensor in weights.tensors().tensors() {
///     println!("{}: {:?} {:?}", tensor.name, tensor.dtype, tensor.shape);
/// }
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
pub struct Weights {
    /// The file of tensors, or the index of several.
    path: PathBuf,
    folder: PathBuf,
    files: Vec<PathBuf>,
    tensors: Box<dyn TensorSource>,
}

impl Weights {
    /// Opens a weights file: a file of tensors, an index of such files, a folder with one of both, or an entry of a hub's
    /// cache. What a file is, its content says.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`](crate::error::Fault::ModelMissing),
    /// [`Fault::ModelFormat`](crate::error::Fault::ModelFormat),
    /// [`Fault::ModelPointer`](crate::error::Fault::ModelPointer),
    /// [`Fault::ModelPickle`](crate::error::Fault::ModelPickle),
    /// [`Fault::ModelTensors`](crate::error::Fault::ModelTensors) for shards that are not those of their index.
    pub fn open(path: &Path) -> Result<Self> {
        let path = match hub_cache::snapshot(path)? {
            Some(snapshot) => candidates::in_folder(&snapshot)?,
            None if path.is_dir() => candidates::in_folder(path)?,
            None => path.to_owned(),
        };
        hub_cache::refuse_broken_link(&path)?;
        let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        if !index::is_json(&path) {
            let tensors = format::open(&path)?;
            return Ok(Self { files: vec![path.clone()], path, folder, tensors });
        }
        let (tensors, files) = sharded::open(&path)?;
        Ok(Self { path, folder, files, tensors: Box::new(tensors) })
    }

    /// The file of tensors, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of tensors: one, or the shards in order of their names.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The format, for people.
    pub fn format(&self) -> String {
        match self.files.as_slice() {
            [file] if *file == self.path => self.tensors.format().to_owned(),
            [_] => format!("{}, 1 shard", self.tensors.format()),
            shards => format!("{}, {} shards", self.tensors.format(), shards.len()),
        }
    }

    /// Its tensors.
    pub fn tensors(&self) -> &dyn TensorSource {
        &*self.tensors
    }

    /// The model hub's repository that the files are a cached copy of.
    pub fn origin(&self) -> Option<Origin> {
        hub_cache::origin(&self.folder)
    }

    /// Path of a file beside the tensors, as `config.json`.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file beside the tensors, if there is one.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`](crate::error::Fault::ModelMissing) for one that cannot be opened;
    /// [`Fault::ModelDigest`](crate::error::Fault::ModelDigest) for one that is not what the hub's cache says;
    /// [`Fault::Read`](crate::error::Fault::Read).
    pub fn read_beside(&self, name: &str) -> Result<Option<ModelBytes>> {
        let path = self.beside(name);
        if is_absent(&path) {
            return Ok(None);
        }
        hub_cache::refuse_broken_link(&path)?;
        let bytes = ModelBytes::open(&path)?;
        hub_cache::check_small(&path, &bytes)?;
        Ok(Some(bytes))
    }
}

/// Names for a message, no more than ten of them, none of them long.
pub(crate) fn first_ten(names: &[&str]) -> String {
    let short = |name: &&str| name.chars().take(200).collect::<String>();
    let shown = names.iter().take(10).map(short).collect::<Vec<_>>().join(", ");
    if names.len() > 10 { format!("{shown}, and {} more", names.len() - 10) } else { shown }
}
