//! A weights file in several files, held together by an index.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{ModelBytes, TensorInfo, TensorSource, format, index};
use crate::error::{Error, Fault, Result};

/// The tensors of all shards.
pub(super) struct Sharded {
    shards: Vec<Box<dyn TensorSource>>,
    tensors: Vec<TensorInfo>,
    /// Shard of each tensor, and its place there.
    places: Vec<(usize, usize)>,
}

/// Opens the shards that the index at `path` names, with their files; every tensor is where the index says, and there
/// are no others.
///
/// # Errors
/// [`Fault::ModelMissing`] naming every shard that is not there; [`Fault::ModelTensors`], [`Fault::ModelFormat`], and
/// those of opening one.
pub(super) fn open(path: &Path) -> Result<(Sharded, Vec<PathBuf>)> {
    let index = index::read(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let files: Vec<_> = index.shards.keys().map(|name| folder.join(name)).collect();
    let missing: Vec<&str> =
        index.shards.keys().zip(&files).filter(|(_, file)| !file.exists()).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        let message =
            format!("{} of {} shards are missing: {}", missing.len(), files.len(), super::first_ten(&missing));
        return Err(Error::new(Fault::ModelMissing, message)
            .file(path)
            .expected("every file that the index names, beside it")
            .found("no such file, or a broken link")
            .advice("download the missing files into the same folder"));
    }
    let (mut shards, mut found) = (Vec::new(), BTreeMap::new());
    for (shard, ((name, expected), file)) in index.shards.iter().zip(&files).enumerate() {
        let source = format::open(file)?;
        check_names(expected, name, &*source, file)?;
        for (place, tensor) in source.tensors().iter().enumerate() {
            found.insert(tensor.name.clone(), (tensor.clone(), (shard, place)));
        }
        shards.push(source);
    }
    let (tensors, places): (Vec<_>, Vec<_>) = found.into_values().unzip();
    let sharded = Sharded { shards, tensors, places };
    check_size(&sharded, index.total, path)?;
    Ok((sharded, files))
}

/// Compares the names in the shard called `shard` with those that the index expects there, `expected`.
fn check_names(expected: &BTreeSet<String>, shard: &str, source: &dyn TensorSource, file: &Path) -> Result<()> {
    let count = expected.len();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    let there: BTreeSet<&str> = source.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    let refused = |message: &str, names: Vec<&str>| {
        Error::new(Fault::ModelTensors, message)
            .file(file)
            .expected(format!("the {count} tensors that the index names for {shard}"))
            .found(super::first_ten(&names))
            .advice("index and shards belong to different models: download all of them again")
    };
    let missing: Vec<_> = expected.difference(&there).copied().collect();
    if !missing.is_empty() {
        let message = format!("tensors that the index names and the shard lacks: {}", missing.len());
        return Err(refused(&message, missing));
    }
    let extra: Vec<_> = there.difference(&expected).copied().collect();
    if extra.is_empty() {
        return Ok(());
    }
    let message = format!("tensors that the shard holds and the index does not name there: {}", extra.len());
    Err(refused(&message, extra))
}

fn check_size(sharded: &Sharded, total: Option<u64>, path: &Path) -> Result<()> {
    let Some(total) = total else { return Ok(()) };
    let size = |tensor: &TensorInfo| tensor.shape.iter().product::<usize>() as u64 * tensor.dtype.bitsize() as u64 / 8;
    let bytes: u64 = sharded.tensors.iter().map(size).sum();
    // A PyTorch file can hold one tensor under two names, which an index counts once.
    let counts_once = sharded.format() != "safetensors" && total < bytes;
    if bytes == total || counts_once {
        return Ok(());
    }
    Err(Error::new(Fault::ModelFormat, "the size of the shards is not the one that their index states")
        .file(path)
        .expected(format!("{total} bytes of tensors"))
        .found(format!("{bytes} bytes"))
        .advice("index and shards belong to different models: download all of them again"))
}

impl TensorSource for Sharded {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        match self.place(index) {
            Some((shard, place)) => shard.bytes(place),
            None => Ok(Cow::Borrowed(&[])),
        }
    }

    fn release(&self, index: usize) {
        if let Some((shard, place)) = self.place(index) {
            shard.release(place);
        }
    }

    fn maps(&self) -> Vec<&ModelBytes> {
        self.shards.iter().flat_map(|shard| shard.maps()).collect()
    }

    fn format(&self) -> &'static str {
        self.shards.first().map_or("safetensors", |shard| shard.format())
    }
}

impl Sharded {
    fn place(&self, index: usize) -> Option<(&dyn TensorSource, usize)> {
        let &(shard, place) = self.places.get(index)?;
        Some((&**self.shards.get(shard)?, place))
    }
}
