//! The tensors of a weights file that go into a bundle, under their names there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::names::{self, Mapping};
use super::source::ImportSource;
use crate::error::{Error, Fault, Result};
use crate::model::schema::NamedTensors;
use crate::weights::{TensorInfo, Weights, first_ten};

/// Tensors by their name in the bundle.
pub(super) struct Selection<'a> {
    weights: &'a Weights,
    /// Place in the weights file.
    kept: BTreeMap<String, usize>,
    /// Names, in the weights file, of the tensors that are left out.
    pub(super) dropped: Vec<String>,
}

impl<'a> Selection<'a> {
    /// Sorts the tensors of a weights file.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`] for tensors that are not known or are there under two names.
    pub(super) fn of(source: &'a ImportSource) -> Result<Self> {
        let (weights, component) = (&source.weights, source.component);
        let refused = |message: String| Error::new(Fault::ModelTensors, message).file(weights.path());
        let (mut kept, mut dropped, mut unknown) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (index, TensorInfo { name, .. }) in weights.tensors().tensors().iter().enumerate() {
            match names::mapping(component, name) {
                None => unknown.push(name.as_str()),
                Some(Mapping::Unneeded) => dropped.push(name.clone()),
                Some(Mapping::Kept(own)) => {
                    if kept.insert(own.clone(), index).is_some() {
                        return Err(refused("the weights file holds a tensor under two names".to_owned()).record(own));
                    }
                }
            }
        }
        if unknown.is_empty() && !kept.is_empty() {
            return Ok(Self { weights, kept, dropped });
        }
        let wanted = names::description(component);
        let unknown = format!("{} unknown tensors: {}", unknown.len(), first_ten(&unknown));
        let (found, advice) = match names::recognise(weights.tensors().tensors().iter().map(|tensor| &*tensor.name)) {
            Some(other) if other != wanted => (
                format!("this is {other}"),
                "this is a model of another kind: check which path was given for which model",
            ),
            None if kept.is_empty() => (unknown, "this is a model of another kind: take the one that is expected"),
            _ => (
                unknown,
                "a tensor that is left out would change the results: take the model as its authors published it",
            ),
        };
        Err(refused(format!("the tensors are not those of {wanted}"))
            .expected(format!("tensors of {wanted} and no others"))
            .found(found)
            .advice(advice))
    }

    /// The tensors, to compare with a schema.
    pub(super) fn tensors(&self) -> NamedTensors<'_> {
        self.iter().collect()
    }

    /// Names in the bundle and the tensors as the weights file has them, in order of the names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        let tensors = self.weights.tensors().tensors();
        self.kept.iter().filter_map(|(name, &index)| Some((name.as_str(), tensors.get(index)?)))
    }

    /// Lends a tensor and its values, little-endian, to `use_it`; then gives their memory back to the system.
    ///
    /// # Errors
    /// Those of reading and of `use_it`.
    pub(super) fn with_values(
        &self,
        name: &str,
        use_it: impl FnOnce(&TensorInfo, Cow<'a, [u8]>) -> Result<()>,
    ) -> Result<()> {
        let source = self.weights.tensors();
        let found = self.kept.get(name).and_then(|&index| Some((index, source.tensors().get(index)?)));
        let (index, info) = found.ok_or_else(|| Error::new(Fault::Bug, "a tensor was not selected").record(name))?;
        use_it(info, source.bytes(index)?)?;
        source.release(index);
        Ok(())
    }
}
