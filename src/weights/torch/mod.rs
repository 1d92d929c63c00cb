//! Weights files as `torch.save` writes them: a pickle that describes tensors, and the storages their numbers lie in.
//!
//! Two containers are read: the zip archive of PyTorch 1.6 and later, and the file of pickles before it. In both the
//! numbers stay where they are, in the map of the file. What is given out of an archive has been compared with its
//! CRC-32; the older format has no checksum.
//!
//! Source of the formats: `torch/serialization.py` and `torch/_utils.py` of PyTorch 2.11.

mod archive;
mod describe;
mod find;
mod legacy;
mod rebuild;
mod refusal;
mod storages;
mod view;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use self::storages::Declared;
use self::view::View;
use super::pickle::Pickle;
use super::{ModelBytes, TensorInfo, TensorSource};
use crate::error::{Error, Fault, Result};

/// Magic number of the format before zip archives, as an integer in a pickle: little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The most tensors, as in safetensors files.
const MAX_TENSORS: usize = 100_000;
/// All tensors together may be this many times as large as the file: tied weights stand in it once.
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
    /// Name in errors.
    name: String,
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
        let (named, storages) = match &*bytes {
            content @ [b'P', ..] => archive::read(content, path)?,
            content => legacy::read(content, path)?,
        };
        let mut total = 0usize;
        let (mut tensors, mut views) = (Vec::new(), Vec::new());
        for (name, view) in named {
            total = total.saturating_add(view.bytes());
            tensors.push(TensorInfo { name, dtype: view.dtype(), shape: view.shape().to_vec() });
            views.push(view);
        }
        let most = bytes.len().saturating_mul(MAX_SHARING).saturating_add(MAX_EXPANDED);
        if total > most {
            return Err(malformed(path, format!("tensors of {total} bytes in a file of {}", bytes.len()))
                .expected(format!("tensors of at most {most} bytes in all")));
        }
        Ok(Self { bytes, path: path.to_owned(), tensors, views, storages })
    }
}

impl TensorSource for Torch {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let Some((view, storage)) = self.place(index) else { return Ok(Cow::Borrowed(&[])) };
        let content = self.bytes.get(storage.range.clone()).unwrap_or_default();
        let is_intact = || storage.crc32.is_none_or(|crc32| archive::crc32(content) == crc32);
        if !storage.intact.get_or_init(is_intact) {
            return Err(damaged(&self.path, format!("numbers with another CRC-32 than recorded: {}", storage.name)));
        }
        view.read(content).ok_or_else(|| {
            Error::new(Fault::ModelTooLarge, "a tensor does not fit into memory")
                .file(&self.path)
                .found(format!("{} bytes", view.bytes()))
        })
    }

    fn release(&self, index: usize) {
        if let Some((_, storage)) = self.place(index) {
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

impl Torch {
    fn place(&self, index: usize) -> Option<(&View, &Storage)> {
        let view = self.views.get(index)?;
        Some((view, self.storages.get(view.storage())?))
    }
}

/// The tensors of a pickle by name, and the storages that it names.
fn describe(pickle: &Pickle<'_>, path: &Path) -> Result<(Tensors, Vec<Declared>)> {
    let storages = storages::declared(pickle).map_err(|refusal| refusal.into_error(path))?;
    let tensors = find::tensors(pickle, &storages).map_err(|refusal| refusal.into_error(path))?;
    Ok((tensors, storages.list))
}

/// A container that is damaged or cut.
fn damaged(path: &Path, found: impl Into<String>) -> Error {
    Error::new(Fault::ModelFormat, "this PyTorch weights file is damaged or incomplete")
        .file(path)
        .expected("a file that torch.save has written")
        .found(found)
        .advice("download the file again and compare its size; a model that was repacked must be saved by torch.save")
}

/// A pickle that does not describe tensors as PyTorch does.
fn malformed(path: &Path, found: impl Into<String>) -> Error {
    Error::new(Fault::ModelPickle, "the pickle in this file does not describe its tensors as PyTorch does")
        .file(path)
        .expected("tensors within their storages")
        .found(found)
        .advice("the file may be damaged: download it again, or ask its authors for a safetensors file")
}

/// A PyTorch file of a kind that is not read.
fn not_read(path: &Path, found: impl Into<String>) -> Error {
    Error::new(Fault::ModelFormat, "this kind of PyTorch file is not read")
        .file(path)
        .expected("a model or its state dictionary, as torch.save writes them")
        .found(found)
        .advice("save the model's state_dict() with torch.save, or take a safetensors file")
}
