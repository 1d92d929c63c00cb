//! The tensors of a weights file that go into a bundle, under their names there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::Dtype;

use super::names::{self, Fate};
use crate::error::{Error, Fault, Result};
use crate::weights::{TensorInfo, Weights, first_ten};

/// Tensors by their name in the bundle.
pub(super) struct Selection<'a> {
    weights: &'a Weights,
    /// Place in the weights file.
    kept: BTreeMap<String, usize>,
    dropped: Vec<String>,
}

impl<'a> Selection<'a> {
    /// Sorts the tensors of `weights file` by their `fate`; `kind` is named in errors.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`] for tensors that are not known, stand twice or hold no floating-point numbers.
    pub(super) fn choose(weights: &'a Weights, kind: &str, fate: impl Fn(&str) -> Option<Fate>) -> Result<Self> {
        let refused = |message: String| Error::new(Fault::ModelTensors, message).file(weights.path());
        let (mut kept, mut dropped, mut unknown) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (index, TensorInfo { name, dtype, .. }) in weights.tensors().tensors().iter().enumerate() {
            match fate(name) {
                None => unknown.push(name.as_str()),
                Some(Fate::Drop) => dropped.push(name.clone()),
                Some(Fate::Keep(_)) if !matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::BF16 | Dtype::F16) => {
                    return Err(refused("a tensor holds no floating-point numbers".to_owned())
                        .record(name)
                        .expected("f32, bf16, f16 or f64")
                        .found(format!("{dtype:?}").to_lowercase())
                        .advice("quantised weights files are not read: take the one they were made of"));
                }
                Some(Fate::Keep(own)) => {
                    if kept.insert(own.clone(), index).is_some() {
                        return Err(refused("the weights file holds a tensor under two names".to_owned()).record(own));
                    }
                }
            }
        }
        if unknown.is_empty() && !kept.is_empty() {
            return Ok(Self { weights, kept, dropped });
        }
        let unknown = format!("{} tensors that are not known: {}", unknown.len(), first_ten(&unknown));
        let (found, advice) = match names::kind(weights.tensors().tensors().iter().map(|tensor| &*tensor.name)) {
            Some(other) if other != kind => (
                format!("this is {other}"),
                "this is a model of another kind: check which path was given for which part",
            ),
            None if kept.is_empty() => (unknown, "this is a model of another kind: take the one that is expected"),
            _ => (
                unknown,
                "a tensor that is left out would change the results: take the model as its authors published it",
            ),
        };
        Err(refused(format!("the tensors are not those of {kind}"))
            .expected(format!("tensors of {kind} and no others"))
            .found(found)
            .advice(advice))
    }

    /// The file the tensors come from.
    pub(super) fn path(&self) -> &Path {
        self.weights.path()
    }

    /// Number of tensors.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The tensors in order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a TensorInfo)> {
        let tensors = self.weights.tensors().tensors();
        self.kept.iter().filter_map(move |(name, &index)| Some((name.as_str(), tensors.get(index)?)))
    }

    /// Values of a tensor, little-endian; empty when there is none of this name.
    ///
    /// # Errors
    /// Whatever reading takes.
    pub(super) fn bytes(&self, name: &str) -> Result<Cow<'a, [u8]>> {
        match self.kept.get(name) {
            Some(&index) => self.weights.tensors().bytes(index),
            None => Ok(Cow::Borrowed(&[])),
        }
    }

    /// Lets the system take back the memory that a tensor's values lie in.
    pub(super) fn release(&self, name: &str) {
        if let Some(&index) = self.kept.get(name) {
            self.weights.tensors().release(index);
        }
    }

    /// Names, in the weights file, of the tensors that were left out.
    pub(super) fn into_dropped(self) -> Vec<String> {
        self.dropped
    }

    /// Number formats of the tensors that `format` gives one for, the most frequent first, as `f32` or `f16, f32`.
    pub(super) fn dtypes(&self, format: impl Fn(&str, &TensorInfo) -> Option<Dtype>) -> String {
        let mut counts: BTreeMap<Dtype, usize> = BTreeMap::new();
        let formats = self.iter().filter_map(|(name, tensor)| format(name, tensor));
        formats.for_each(|dtype| *counts.entry(dtype).or_default() += 1);
        let mut dtypes: Vec<_> = counts.into_iter().collect();
        dtypes.sort_by_key(|&(dtype, count)| std::cmp::Reverse((count, dtype)));
        let names: Vec<_> = dtypes.into_iter().map(|(dtype, _)| format!("{dtype:?}").to_lowercase()).collect();
        names.join(", ")
    }

    /// Length of a tensor of one dimension.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`], [`Fault::ModelShape`].
    pub(super) fn vector(&self, name: &str) -> Result<usize> {
        match self.shape(name)? {
            &[length] if length > 0 => Ok(length),
            shape => Err(self.misshapen(name, "one dimension that is not 0", shape)),
        }
    }

    /// Rows and columns of a tensor of two dimensions.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`], [`Fault::ModelShape`].
    pub(super) fn matrix(&self, name: &str) -> Result<(usize, usize)> {
        match self.shape(name)? {
            &[rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
            shape => Err(self.misshapen(name, "two dimensions, neither of them 0", shape)),
        }
    }

    /// Number of layers: those that are there are counted from 0 without a gap.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`].
    pub(super) fn layers(&self) -> Result<usize> {
        let layers: BTreeSet<usize> = self.kept.keys().filter_map(|name| names::layer_of(name)).collect();
        let gap = layers.iter().enumerate().find(|&(place, &layer)| place != layer);
        match gap {
            None if !layers.is_empty() => Ok(layers.len()),
            None => Err(self.missing(&["encoder.layer.0"])),
            Some((place, _)) => Err(self.missing(&[format!("encoder.layer.{place}")])),
        }
    }

    /// Checks that every tensor of `wanted` is there and has its shape, and that there are no others.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`], [`Fault::ModelShape`].
    pub(super) fn require(&self, wanted: &[(String, Vec<usize>)]) -> Result<()> {
        let missing: Vec<_> =
            wanted.iter().map(|(name, _)| name.as_str()).filter(|name| !self.kept.contains_key(*name)).collect();
        if !missing.is_empty() {
            return Err(self.missing(&missing));
        }
        for (name, expected) in wanted {
            let shape = self.shape(name)?;
            if shape != expected {
                return Err(self.misshapen(name, &format!("{expected:?}, by the other tensors"), shape));
            }
        }
        let names: BTreeSet<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let extra: Vec<_> = self.kept.keys().map(String::as_str).filter(|name| !names.contains(name)).collect();
        if extra.is_empty() {
            return Ok(());
        }
        Err(Error::new(Fault::ModelTensors, "tensors are left over").file(self.path()).found(first_ten(&extra)))
    }

    fn shape(&self, name: &str) -> Result<&[usize]> {
        let index = self.kept.get(name).ok_or_else(|| self.missing(&[name]))?;
        let tensor = self.weights.tensors().tensors().get(*index).ok_or_else(|| self.missing(&[name]))?;
        Ok(&tensor.shape)
    }

    fn missing<S: AsRef<str>>(&self, names: &[S]) -> Error {
        let advice = if names.iter().any(|name| name.as_ref().ends_with("inv_freq")) {
            "inv_freq must come from the weights file: the published one is rounded, and computing it anew changes every \
             vector; take a weights file that holds it"
        } else {
            "the weights file is not complete, or of a model of another kind"
        };
        let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
        Error::new(Fault::ModelTensors, format!("{} tensors are missing", names.len()))
            .file(self.path())
            .expected(first_ten(&names))
            .advice(advice)
    }

    fn misshapen(&self, name: &str, expected: &str, shape: &[usize]) -> Error {
        let stored = self.iter().find(|(own, _)| *own == name).map_or(name, |(_, tensor)| &tensor.name);
        Error::new(Fault::ModelShape, "a tensor has another shape than the rest of the model asks for")
            .file(self.path())
            .record(stored)
            .expected(expected)
            .found(match shape.get(..9) {
                Some(start) => format!("{} dimensions: {start:?} …", shape.len()),
                None => format!("{shape:?}"),
            })
            .advice("the weights file is damaged or was put together of two models")
    }
}
