//! A weights file in several files, held together by an index.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::ModelBytes;
use super::index;
use super::{TensorInfo, TensorSource, cache, format};
use crate::error::{Error, Fault, Result};

/// The most files of one model.
const MAX_SHARDS: usize = 1000;
static NONE: BTreeSet<&str> = BTreeSet::new();

/// The tensors of all shards.
pub(super) struct Sharded {
    shards: Vec<Box<dyn TensorSource>>,
    tensors: Vec<TensorInfo>,
    /// Shard and place in it, for each of the tensors.
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
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, shard) in &index.shards {
        expected.entry(shard).or_default().insert(tensor);
    }
    let names: Vec<&str> = expected.keys().copied().collect();
    if names.len() > MAX_SHARDS {
        return Err(Error::new(Fault::ModelFormat, "the index names too many files")
            .file(path)
            .expected(format!("at most {MAX_SHARDS} shards"))
            .found(format!("{} shards", names.len()))
            .advice("download the model again"));
    }
    let missing: Vec<&str> = names.iter().copied().filter(|name| !folder.join(name).exists()).collect();
    if !missing.is_empty() {
        let message =
            format!("{} of {} shards are missing: {}", missing.len(), names.len(), super::first_ten(&missing));
        return Err(Error::new(Fault::ModelMissing, message)
            .file(path)
            .expected("every file that the index names, beside it")
            .found("no such file, or a link to nothing")
            .advice("download the missing files into the same folder"));
    }
    let (mut shards, mut found) = (Vec::new(), BTreeMap::new());
    let files: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    for (shard, (name, file)) in names.iter().zip(&files).enumerate() {
        cache::refuse_broken_link(file)?;
        let source = format::open(file)?;
        check_names(expected.get(name).unwrap_or(&NONE), name, &*source, file)?;
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
fn check_names(expected: &BTreeSet<&str>, shard: &str, source: &dyn TensorSource, file: &Path) -> Result<()> {
    let there: BTreeSet<&str> = source.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    let refused = |message: &str, names: Vec<&str>| {
        Error::new(Fault::ModelTensors, message)
            .file(file)
            .expected(format!("the {} tensors that the index names for {shard}", expected.len()))
            .found(super::first_ten(&names))
            .advice("index and shards are not of one model: download all of them again")
    };
    let missing: Vec<_> = expected.difference(&there).copied().collect();
    if !missing.is_empty() {
        let message = format!("a shard lacks {} tensors that its index names", missing.len());
        return Err(refused(&message, missing));
    }
    let extra: Vec<_> = there.difference(expected).copied().collect();
    if extra.is_empty() {
        return Ok(());
    }
    let message = format!("a shard holds {} tensors that its index does not name there", extra.len());
    Err(refused(&message, extra))
}

fn check_size(sharded: &Sharded, total: Option<u64>, path: &Path) -> Result<()> {
    let Some(total) = total else { return Ok(()) };
    let size = |tensor: &TensorInfo| tensor.shape.iter().product::<usize>() as u64 * tensor.dtype.bitsize() as u64 / 8;
    let bytes: u64 = sharded.tensors.iter().map(size).sum();
    // PyTorch's files can hold one tensor under two names, which an index counts once.
    let counts_once = sharded.format() != "safetensors" && total < bytes;
    if bytes == total || counts_once {
        return Ok(());
    }
    Err(Error::new(Fault::ModelFormat, "the shards hold another number of bytes than their index says")
        .file(path)
        .expected(format!("{total} bytes of tensors"))
        .found(format!("{bytes} bytes"))
        .advice("index and shards are not of one model: download all of them again"))
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
