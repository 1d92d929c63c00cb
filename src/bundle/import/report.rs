//! What was found in the models, and what was written.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::Dtype;

use super::SourceFile;
use super::model::CheckedModel;
use crate::bundle::{Component, Spec};
use crate::fs::digest::Digest;

/// The bundle that was made.
#[derive(Clone, Debug)]
pub struct ImportReport {
    /// Its folder.
    pub folder: PathBuf,
    /// Content of its `bundle.yaml`.
    pub spec: Spec,
    /// Digest of its `bundle.yaml`.
    pub digest: Digest,
    /// DNABERT-S, ESM-2, head.
    pub models: Vec<ImportedModel>,
}

/// One model of the bundle.
#[derive(Clone, Debug)]
pub struct ImportedModel {
    /// Which one.
    pub component: Component,
    /// The weights file it was read from: a file of tensors, or the index of several.
    pub weights: PathBuf,
    /// Its format, for people.
    pub format: String,
    /// Its files of tensors.
    pub sources: Vec<SourceFile>,
    /// Its size, as `3 layers, width 64, 4 heads, vocabulary 33` or `112 inputs`.
    pub size: String,
    /// Number formats of the tensors read, as `f32` or `f32, f16`; without rotary frequencies.
    pub stored: String,
    /// Number formats of the tensors written; without rotary frequencies.
    pub dtype: String,
    /// Number format of the rotary frequencies, if it has them: they are written as they were read.
    pub frequencies: Option<String>,
    /// Number of tensors written.
    pub kept: usize,
    /// Tensors of the weights file that nothing here needs.
    pub dropped: Vec<String>,
}

impl ImportedModel {
    pub(super) fn of(model: CheckedModel<'_>, sources: Vec<SourceFile>) -> Self {
        let is_frequency = |name: &str| name.ends_with(".inv_freq");
        let (source, read, written) = (model.source, &model.tensors, model.layout.tensors());
        let of_read = |frequencies: bool| {
            let wanted = read.iter().filter(|(name, _)| is_frequency(name) == frequencies);
            formats(wanted.map(|(_, tensor)| tensor.dtype))
        };
        Self {
            component: source.component,
            weights: source.weights.path().to_owned(),
            format: source.weights.format(),
            sources,
            stored: of_read(false),
            dtype: formats(written.iter().filter(|tensor| !is_frequency(&tensor.name)).map(|tensor| tensor.dtype)),
            frequencies: Some(of_read(true)).filter(|formats| !formats.is_empty()),
            kept: written.len(),
            size: model.description.size,
            dropped: model.tensors.dropped,
        }
    }

    /// The tensors that nothing here needs, those of one module together: `lm_head.* (6)`.
    pub fn unneeded(&self) -> Vec<String> {
        const MODELS: [&str; 4] = ["esm.", "bert.", "encoder.sentence_encoder.", "encoder."];
        let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in &self.dropped {
            let bare = MODELS.iter().find_map(|model| name.strip_prefix(model)).unwrap_or(name);
            modules.entry(bare.split('.').next().unwrap_or(bare)).or_default().push(bare);
        }
        let shown = |(module, names): (&str, Vec<&str>)| match names.as_slice() {
            [only] => (*only).to_owned(),
            several => format!("{module}.* ({})", several.len()),
        };
        modules.into_iter().map(shown).collect()
    }
}

/// Number formats, the most frequent first, as `f32` or `f16, f32`.
fn formats(dtypes: impl Iterator<Item = Dtype>) -> String {
    let mut counts: BTreeMap<Dtype, usize> = BTreeMap::new();
    dtypes.for_each(|dtype| *counts.entry(dtype).or_default() += 1);
    let mut formats: Vec<_> = counts.into_iter().collect();
    formats.sort_by_key(|&(dtype, count)| Reverse((count, dtype)));
    let names: Vec<_> = formats.into_iter().map(|(dtype, _)| format!("{dtype:?}").to_lowercase()).collect();
    names.join(", ")
}
