//! Makes a bundle of published models: tensors renamed to one scheme, everything checked, written whole or not at all.
//!
//! The configuration written is not the published file but the numbers of it that matter, so that one model gives
//! one digest whichever way it was packed. The tokeniser is copied as it is. Checkpoints are mapped and written
//! tensor by tensor: a model of 3 billion parameters needs no 12 GB of memory.

mod config;
mod dnabert;
mod esm;
mod head;
mod names;
mod selection;
mod staging;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::selection::Selection;
use self::staging::Staging;
use super::Bundle;
use super::spec::{BUNDLE_YAML, Classifier, Encoder, FORMAT, Family, FileRecord, Pooling, Spec};
use super::vectors::{StoredVector, StoredVectors, VECTORS_JSON};
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::error::{Error, Fault, Result};

/// What to make a bundle of.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the bundle.
    pub name: String,
    /// Its version, free text.
    pub version: String,
    /// Whether the weights mean something.
    pub training: Training,
    /// Licence of the weights, free text.
    pub licence: String,
    /// Where the weights came from, free text.
    pub source: String,
    /// Window length the head was trained on, in bases.
    pub window: u32,
    /// DNABERT-S: a folder with `model.safetensors`, `config.json`, `tokenizer.json`, or the safetensors file in one.
    pub dnabert: PathBuf,
    /// ESM-2: a folder with `model.safetensors` and mostly `config.json`, or a safetensors file.
    pub esm: PathBuf,
    /// The classifier's safetensors file.
    pub head: PathBuf,
    /// The bundle's folder: must not exist or be empty.
    pub out: PathBuf,
}

/// Where weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Training {
    /// Weights learned from data.
    Trained,
    /// Random weights: results mean nothing.
    Untrained,
}

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
    pub parts: Vec<Part>,
}

/// One model of the bundle.
#[derive(Clone, Debug)]
pub struct Part {
    /// `dnabert`, `esm` or `head`.
    pub name: &'static str,
    /// The checkpoint it was read from.
    pub checkpoint: PathBuf,
    /// Its size.
    pub dims: Dims,
    /// Number formats of the tensors, as `f32` or `f32, f16`; kept as they are.
    pub dtype: String,
    /// Number of tensors written.
    pub kept: usize,
    /// Tensors of the checkpoint that nothing here needs.
    pub dropped: Vec<String>,
    /// Size and digest of the file of tensors.
    pub file: FileRecord,
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

/// Makes a bundle, without stored vectors.
///
/// # Errors
/// Those of [`Staged::new`] and [`Staged::commit`].
pub fn import(request: &Request) -> Result<Report> {
    Staged::new(request)?.commit()
}

/// A bundle whose files are written and which does not have its name yet; removed unless it is committed.
pub struct Staged {
    staging: Staging,
    bundle: Bundle,
    parts: Vec<Part>,
}

impl Staged {
    /// Reads and checks the models and writes the bundle's files beside their place.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], [`Fault::ModelFormat`], [`Fault::ModelPointer`]: files that are not there or not read;
    /// [`Fault::ModelTensors`], [`Fault::ModelShape`], [`Fault::ModelNonFinite`]: tensors; [`Fault::ModelConfig`],
    /// [`Fault::ModelTokenizer`]: what stands beside them; [`Fault::ModelMismatch`]: parts of different models;
    /// [`Fault::OutputForeign`] and others of writing.
    pub fn new(request: &Request) -> Result<Self> {
        staging::refuse_occupied(&request.out)?;
        let [nucleotides, proteins, classifier] =
            [Checkpoint::open(&request.dnabert)?, Checkpoint::open(&request.esm)?, Checkpoint::open(&request.head)?];
        let dnabert = dnabert::read(&nucleotides)?;
        let esm = esm::read(&proteins)?;
        let head = head::read(&classifier)?;
        let mut spec = Spec {
            format: FORMAT,
            name: request.name.clone(),
            version: request.version.clone(),
            trained: request.training == Training::Trained,
            licence: request.licence.clone(),
            source: request.source.clone(),
            window: request.window,
            dnabert: encoder(Family::Dnabert, dnabert.dims, Pooling::AllTokens),
            esm: encoder(Family::Esm2, esm.dims, Pooling::First1024Residues),
            head: Classifier { family: Family::Mlp, dim: head.dims.width },
            files: BTreeMap::new(),
        };
        spec.check_parts().map_err(|error| error.file(classifier.path()))?;

        let staging = Staging::create(&request.out)?;
        let mut parts = Vec::new();
        for (name, model) in [("dnabert", dnabert), ("esm", esm), ("head", head)] {
            let tensors = match name {
                "head" => "head.safetensors".to_owned(),
                _ => format!("{name}/model.safetensors"),
            };
            for (file, content) in &model.files {
                let path = format!("{name}/{file}");
                let record = staging.write(&path, |out| out.write(content))?;
                spec.files.insert(path, record);
            }
            let file = staging.write(&tensors, |out| write::safetensors(&model.tensors, out))?;
            spec.files.insert(tensors, file);
            parts.push(model.report(name, file));
        }
        let yaml = spec.to_yaml()?;
        staging.write(BUNDLE_YAML, |out| out.write(yaml.as_bytes()))?;
        let bundle = Bundle::staged(staging.folder(), spec, Digest::of(yaml.as_bytes()));
        Ok(Self { staging, bundle, parts })
    }

    /// The bundle as it is; not to be kept, for its folder goes away.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Writes what the models give, for `models verify` to compare with.
    ///
    /// # Errors
    /// Those of writing.
    pub fn store_vectors(&self, sequences: Vec<StoredVector>) -> Result<()> {
        let made_by = env!("CARGO_PKG_VERSION").to_owned();
        let json = StoredVectors { bundle: self.bundle.digest, made_by, sequences }.to_json()?;
        self.staging.write(VECTORS_JSON, |out| out.write(&json)).map(drop)
    }

    /// Gives the bundle its place.
    ///
    /// # Errors
    /// [`Fault::OutputForeign`] when something came to stand there meanwhile, and those of writing.
    pub fn commit(self) -> Result<Report> {
        let folder = self.staging.commit()?;
        Ok(Report { folder, spec: self.bundle.spec, digest: self.bundle.digest, parts: self.parts })
    }
}

/// A model that was read and checked, all but the values of its tensors.
struct Model<'a> {
    tensors: Selection<'a>,
    dims: Dims,
    /// What stands beside the tensors, by name.
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Model<'_> {
    fn report(self, name: &'static str, file: FileRecord) -> Part {
        Part {
            name,
            checkpoint: self.tensors.path().to_owned(),
            dims: self.dims,
            dtype: self.tensors.dtypes(),
            kept: self.tensors.len(),
            dropped: self.tensors.into_dropped(),
            file,
        }
    }
}

fn encoder(family: Family, dims: Dims, pooling: Pooling) -> Encoder {
    Encoder { family, dim: dims.width, layer: dims.layers.unwrap_or_default(), pooling }
}

/// A number of a model's configuration or shape; they are all far below 2^32.
fn size(value: usize, what: &str, file: &Path) -> Result<u32> {
    u32::try_from(value).map_err(|_| {
        Error::new(Fault::ModelConfig, format!("the {what} of the model is not plausible"))
            .file(file)
            .found(value.to_string())
    })
}
