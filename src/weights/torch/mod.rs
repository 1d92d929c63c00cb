//! Weights files as `torch.save` writes them: a pickle that describes tensors, and the storages their numbers lie in.
//!
//! Two containers are read: the zip archive of PyTorch 1.6 and later, and the file of pickles before it. In both, the
//! numbers stay where they are, in the map of the file. Numbers from an archive are compared with their CRC-32 before
//! they are given out; the format before archives has no checksum.
//!
//! Source of the formats: `torch/serialization.py` and `torch/_utils.py` of PyTorch 2.11.

mod before_zip;
mod describe;
mod model;
mod tensor;
mod view;
mod zip;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use self::view::View;
use super::{ModelBytes, TensorInfo, TensorSource};
use crate::error::{Error, Fault, Result};

/// The most tensors, as in safetensors files.
const MAX_TENSORS: usize = 100_000;
/// All tensors together may be this many times as large as the file: tied weights are in it once.
const MAX_SHARING: usize = 16;
/// Bytes that tensors may have beyond that, and one tensor beyond the size of its storage.
const MAX_EXPANDED: usize = 16 << 20;

/// Tensors by name, in order of their names.
type Tensors = Vec<(String, View)>;

/// A PyTorch weights file.
pub(super) struct Torch {
    bytes: ModelBytes,
    path: PathBuf,
    tensors: Vec<TensorInfo>,
    views: Vec<View>,
    storages: Vec<Storage>,
}

/// Where the numbers of tensors lie in the file.
struct Storage {
    key: String,
    range: Range<usize>,
    crc32: Option<u32>,
    /// Whether the bytes are those of the checksum; found out when they are first asked for.
    intact: OnceLock<bool>,
}

impl Torch {
    /// Whether these bytes begin as a PyTorch weights file does.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        matches!(bytes, [b'P', b'K', 3 | 5, 4 | 6, ..] | [0x80, 2..=5, ..])
    }

    /// Reads what describes the tensors; the numbers stay where they are.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`] for a container that is damaged or holds no model; [`Fault::ModelPickle`].
    pub(super) fn read(bytes: ModelBytes, path: &Path) -> Result<Self> {
        let read = if bytes.starts_with(b"P") { zip::read(&bytes) } else { before_zip::read(&bytes) };
        let (named, storages) = read.map_err(|error| error.file(path))?;
        let total = named.iter().fold(0usize, |total, (_, view)| total.saturating_add(view.bytes));
        let most = bytes.len().saturating_mul(MAX_SHARING).saturating_add(MAX_EXPANDED);
        if total > most {
            let found = format!("tensors of {total} bytes in a file of {}", bytes.len());
            return Err(malformed(found).file(path).expected(format!("tensors of at most {most} bytes in all")));
        }
        let info =
            |(name, view): (String, View)| (TensorInfo { name, dtype: view.dtype, shape: view.shape.clone() }, view);
        let (tensors, views) = named.into_iter().map(info).unzip();
        Ok(Self { bytes, path: path.to_owned(), tensors, views, storages })
    }

    fn view(&self, index: usize) -> Option<(&View, &Storage)> {
        let view = self.views.get(index)?;
        Some((view, self.storages.get(view.storage)?))
    }
}

impl TensorSource for Torch {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let Some((view, storage)) = self.view(index) else { return Ok(Cow::Borrowed(&[])) };
        let content = self.bytes.get(storage.range.clone()).unwrap_or_default();
        let is_intact = || storage.crc32.is_none_or(|crc32| zip::crc32(content) == crc32);
        if !storage.intact.get_or_init(is_intact) {
            let found = format!("numbers with another CRC-32 than recorded: storage {}", storage.key);
            return Err(damaged(found).file(&self.path));
        }
        view.read(content).ok_or_else(|| {
            Error::new(Fault::ModelTooLarge, "a tensor does not fit into memory")
                .file(&self.path)
                .found(format!("{} bytes", view.bytes))
        })
    }

    fn release(&self, index: usize) {
        if let Some((_, storage)) = self.view(index) {
            self.bytes.release(storage.range.clone());
        }
    }

    fn maps(&self) -> Vec<&ModelBytes> {
        vec![&self.bytes]
    }

    fn format(&self) -> &'static str {
        if self.bytes.starts_with(b"P") { "PyTorch zip archive" } else { "PyTorch before zip archives" }
    }
}

/// A container that is damaged or cut. The errors here do not name the file.
fn damaged(found: impl Into<String>) -> Error {
    Error::new(Fault::ModelFormat, "this PyTorch weights file is damaged or incomplete")
        .expected("a file that torch.save has written")
        .found(found)
        .advice("download the file again and compare its size; a model that was repacked must be saved by torch.save")
}

/// A pickle that does not describe tensors as PyTorch does.
fn malformed(found: impl Into<String>) -> Error {
    Error::new(Fault::ModelPickle, "the pickle in this file does not describe its tensors as PyTorch does")
        .expected("tensors within their storages")
        .found(found)
        .advice("the file may be damaged: download it again, or ask its authors for a safetensors file")
}

/// A PyTorch file of a kind that is not read.
fn not_read(found: impl Into<String>) -> Error {
    Error::new(Fault::ModelFormat, "this kind of PyTorch file is not read")
        .expected("a model or its state dictionary, as torch.save writes them")
        .found(found)
        .advice("save the model's state_dict() with torch.save, or take a safetensors file")
}
