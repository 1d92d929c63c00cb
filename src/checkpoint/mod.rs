//! Checkpoints as they are published: names, shapes, number formats and bytes of tensors. Nothing is executed.

pub(crate) mod bytes;
mod format;
pub mod pickle;
mod safetensors;
mod torch;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use ::safetensors::Dtype;

pub use bytes::ModelBytes;
pub use format::read;

use crate::error::{Error, Fault, Result};

/// Tensors of a checkpoint, whatever the format of its files.
pub trait TensorSource: Send + Sync {
    /// The tensors, in order of their names.
    fn tensors(&self) -> &[TensorInfo];

    /// Values of tensor `index`, little-endian, row-major; empty when there is no such tensor.
    ///
    /// # Errors
    /// Whatever reading takes.
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>>;

    /// Lets the system take back the memory that the values of tensor `index` came to lie in.
    fn release(&self, index: usize);
}

/// A tensor without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the checkpoint.
    pub name: String,
    /// Number format.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

/// A checkpoint and the folder it stands in.
pub struct Checkpoint {
    path: PathBuf,
    folder: PathBuf,
    tensors: Box<dyn TensorSource>,
}

impl Checkpoint {
    /// Opens a checkpoint: a file, or a folder with a file of one of the `names`.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], [`Fault::ModelFormat`], [`Fault::ModelPointer`].
    pub fn open(path: &Path, names: &[&str]) -> Result<Self> {
        let (folder, file) = if path.is_dir() {
            let file = names.iter().map(|name| path.join(name)).find(|file| file.exists());
            (path, file.ok_or_else(|| no_checkpoint(path, names))?)
        } else {
            (path.parent().unwrap_or_else(|| Path::new("")), path.to_owned())
        };
        Ok(Self { tensors: format::open(&file)?, path: file, folder: folder.to_owned() })
    }

    /// The file of tensors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its tensors.
    pub fn tensors(&self) -> &dyn TensorSource {
        &*self.tensors
    }

    /// Path of a file beside the tensors, as `config.json`.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file beside the tensors, if there is one.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`] for one that cannot be opened; [`Fault::Read`].
    pub fn read_beside(&self, name: &str) -> Result<Option<ModelBytes>> {
        let path = self.beside(name);
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => ModelBytes::open(&path).map(Some),
        }
    }
}

const READ: &str = "a .safetensors file, or a folder with model.safetensors";

fn no_checkpoint(folder: &Path, names: &[&str]) -> Error {
    let is_checkpoint = |name: &String| {
        [".bin", ".pt", ".pth", ".ckpt", ".safetensors", ".index.json"].iter().any(|end| name.ends_with(end))
    };
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.retain(is_checkpoint);
    found.sort();
    let fault = if found.is_empty() { Fault::ModelMissing } else { Fault::ModelFormat };
    let found = if found.is_empty() { "no file of weights".to_owned() } else { found.join(", ") };
    Error::new(fault, format!("there is no {} in {}", names.join(" or "), folder.display()))
        .file(folder)
        .expected(READ)
        .found(found)
        .advice("give the folder of the model, or name the file of weights; other formats must be converted first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_what_it_holds_instead() {
        let folder = tempfile::tempdir().unwrap();
        let fault = || Checkpoint::open(folder.path(), &["model.safetensors"]).err().map(|error| error.fault());
        assert_eq!(fault(), Some(Fault::ModelMissing));
        std::fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
        assert_eq!(fault(), Some(Fault::ModelFormat));
    }
}
