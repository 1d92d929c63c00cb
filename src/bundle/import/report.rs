//! What was found in the parts, and what was made of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::source::PartSource;
use super::{Model, convert};
use crate::bundle::spec::{FileRecord, Spec};
use crate::fs::digest::Digest;

/// What was made.
#[derive(Clone, Debug)]
pub struct Report {
    /// The bundle's folder.
    pub folder: PathBuf,
    /// Content of its `bundle.yaml`.
    pub spec: Spec,
    /// Digest of its `bundle.yaml`.
    pub digest: Digest,
    /// `dnabert`, `esm`, `head`.
    pub parts: Vec<PartReport>,
}

/// One model of the bundle.
#[derive(Clone, Debug)]
pub struct PartReport {
    /// `dnabert`, `esm` or `head`.
    pub name: &'static str,
    /// The weights file it was read from: a file of tensors, or the index of several.
    pub weights: PathBuf,
    /// Its format, for people.
    pub format: String,
    /// Its files of tensors.
    pub sources: Vec<SourceFile>,
    /// Its size.
    pub dims: Dims,
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
    /// Size and digest of the file of tensors written.
    pub file: FileRecord,
    /// Licence of the weights, if it is stated.
    pub licence: Option<String>,
    /// Where they come from, if it is known.
    pub source: Option<String>,
}

impl PartReport {
    /// The tensors that nothing here needs, those of one module together: `lm_head.* (6)`.
    pub fn unneeded(&self) -> Vec<String> {
        const MODELS: [&str; 4] = ["esm.", "bert.", "encoder.sentence_encoder.", "encoder."];
        let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in &self.dropped {
            let bare = MODELS.iter().find_map(|model| name.strip_prefix(model)).unwrap_or(name);
            modules.entry(bare.split('.').next().unwrap_or(bare)).or_default().push(bare);
        }
        let told = |(module, names): (&str, Vec<&str>)| match names.as_slice() {
            [only] => (*only).to_owned(),
            several => format!("{module}.* ({})", several.len()),
        };
        modules.into_iter().map(told).collect()
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it stands.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its digest: of files up to 256 MiB, and of those that something says what it must be.
    pub sha256: Option<Digest>,
}

/// Size of a model; what a model does not have is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Transformer layers.
    pub layers: Option<u32>,
    /// Width of a vector: of the output of an encoder, of the input of the head.
    pub width: u32,
    /// Attention heads.
    pub heads: Option<u32>,
    /// Rows of the token embedding.
    pub vocabulary: Option<u32>,
}

impl Model<'_> {
    pub(super) fn report(
        self,
        name: &'static str,
        given: &PartSource,
        sources: Vec<SourceFile>,
        file: FileRecord,
    ) -> PartReport {
        let other = |name: &str| !name.ends_with(".inv_freq");
        PartReport {
            name,
            weights: self.tensors.path().to_owned(),
            format: given.weights.format(),
            sources,
            dims: self.dims,
            stored: self.tensors.dtypes(|name, tensor| other(name).then_some(tensor.dtype)),
            dtype: self
                .tensors
                .dtypes(|name, tensor| other(name).then(|| convert::target(name, tensor.dtype, self.dtype))),
            frequencies: Some(self.tensors.dtypes(|name, tensor| (!other(name)).then_some(tensor.dtype)))
                .filter(|frequencies| !frequencies.is_empty()),
            kept: self.tensors.len(),
            dropped: self.tensors.into_dropped(),
            file,
            licence: given.licence.clone(),
            source: given.source.clone(),
        }
    }
}
