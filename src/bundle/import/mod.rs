//! Makes a bundle of published models: tensors renamed to one scheme, everything checked, written whole or not at all.
//!
//! The configuration written is not the published file but the numbers of it that matter, so that one model gives
//! one digest whichever way it was packed. The tokeniser is copied as it is. Weights files are mapped and written
//! tensor by tensor: a model of 3 billion parameters needs no 12 GB of memory. Digests of what is read and of what is
//! written are computed beside, on threads of their own.

mod config;
mod convert;
mod dnabert;
mod esm;
mod hashing;
mod head;
mod names;
mod place;
mod provenance;
mod report;
mod selection;
mod source;
mod staging;
mod window;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub use self::report::{Dims, PartReport, Report, SourceFile};
pub use self::window::DEFAULT as DEFAULT_WINDOW;

use self::selection::Selection;
use self::source::PartSource;
use self::staging::Staging;
use super::Bundle;
use super::spec::{BUNDLE_YAML, EncoderSpec, FORMAT, Family, HeadSpec, Pooling, Spec};
use super::vectors::{StoredVector, StoredVectors, VECTORS_JSON};
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::fs::room;
use crate::units::WeightFormat;
use crate::weights::{ModelBytes, TensorInfo};

/// What to make a bundle of.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Name of the bundle.
    pub name: String,
    /// Its version, free text.
    pub version: String,
    /// Whether the weights mean something.
    pub training: Training,
    /// Licence of the weights, free text; none: what is stated beside the weights files.
    pub licence: Option<String>,
    /// Where the weights came from, free text; none: what the weights files' place tells.
    pub source: Option<String>,
    /// Window length the head was trained on, in bases; none: what is known of the head, else [`DEFAULT_WINDOW`].
    pub window: Option<u32>,
    /// Number format that the encoders are stored in. Rotary frequencies and the head stay as they are.
    pub dtype: WeightFormat,
    /// DNABERT-S: a weights file with `config.json` and `tokenizer.json` beside it, or a bundle.
    pub dnabert: PathBuf,
    /// ESM-2: a weights file, mostly with `config.json` beside it, or a bundle.
    pub esm: PathBuf,
    /// The classifier: a weights file or a bundle.
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

/// Makes a bundle, without stored vectors.
///
/// # Errors
/// Those of [`Staged::new`] and [`Staged::commit`].
pub fn import(request: &ImportRequest) -> Result<Report> {
    Staged::new(request, &|_| Ok(()))?.commit()
}

/// A bundle whose files are written and which does not have its name yet; removed unless it is committed.
pub struct Staged {
    staging: Staging,
    bundle: Bundle,
    parts: Vec<PartReport>,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The part that is written: `dnabert`, `esm` or `head`.
    pub part: &'static str,
    /// Bytes of its tensors that are written.
    pub written: u64,
    /// Bytes that its tensors will have.
    pub total: u64,
}

/// Names of the parts, in the order in which they are written.
const PARTS: [&str; 3] = ["dnabert", "esm", "head"];

impl Staged {
    /// Reads and checks the models and writes the bundle's files beside their place. `proceed` is told before every
    /// tensor how far the work is; its error ends the work.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], [`Fault::ModelFormat`], [`Fault::ModelPointer`]: files that are not there or not read;
    /// [`Fault::ModelDigest`]: files that are not what their bundle or cache says; [`Fault::ModelTensors`],
    /// [`Fault::ModelShape`], [`Fault::ModelNonFinite`]: tensors; [`Fault::ModelConfig`], [`Fault::ModelTokenizer`]: what
    /// stands beside them; [`Fault::ModelMismatch`]: parts of different models; [`Fault::OutputForeign`],
    /// [`Fault::NoSpace`] and others of writing; those of `proceed`.
    pub fn new(request: &ImportRequest, proceed: &dyn Fn(Step) -> Result<()>) -> Result<Self> {
        let place = place::free(&request.out)?;
        let dnabert = source::open(&request.dnabert, "dnabert")?;
        let esm = source::open(&request.esm, "esm")?;
        let head = source::open(&request.head, "head")?;
        let given = [&dnabert, &esm, &head];
        let models = [
            dnabert::read(&dnabert.weights, request.dtype)?,
            esm::read(&esm.weights, request.dtype)?,
            head::read(&head.weights)?,
        ];
        let mut spec = spec(request, given, &models)?;
        let advice = "free space, or give --output on a larger disk: nothing was written";
        room::check(&place, models.iter().map(Model::bytes).sum(), "the bundle", advice)?;
        let mut staging = Staging::create(&place)?;
        let (stop, mut parts) = (AtomicBool::new(false), Vec::new());
        let proceed = |step| if stop.load(Ordering::Relaxed) { Err(hashing::ended()) } else { proceed(step) };
        let (written, read) = thread::scope(|scope| {
            // Reads ahead of the writer, front to end, and so warms the cache for it.
            let reading = thread::Builder::new().name("digest".to_owned()).spawn_scoped(scope, || read(given, &stop));
            let reading = reading.map_err(hashing::no_thread)?;
            let written = models.iter().zip(PARTS).try_for_each(|(model, name)| {
                for (file, content) in &model.files {
                    let path = format!("{name}/{file}");
                    let record = staging.write(&path, |out| out.write(content))?;
                    spec.files.insert(path, record);
                }
                let path = source::tensors_of(name);
                let (file, total) = (staging.folder().join(&path), model.bytes());
                let proceed = || {
                    let written = file.metadata().map_or(0, |metadata| metadata.len().min(total));
                    proceed(Step { part: name, written, total })
                };
                let record = staging.write(&path, |out| write::safetensors(model, out, &proceed))?;
                spec.files.insert(path, record);
                Ok::<_, Error>(())
            });
            let written = written.and_then(|()| {
                let [.., last] = &models;
                let (part, written) = (PARTS[2], last.bytes());
                while !reading.is_finished() {
                    proceed(Step { part, written, total: written })?;
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            });
            stop.fetch_or(written.is_err(), Ordering::Relaxed);
            Ok::<_, Error>((written, reading.join().map_err(|_| hashing::ended())?))
        })?;
        // A file that is not what it should be explains whatever writing it said.
        let read = read?;
        written?;
        for (((model, given), files), name) in models.into_iter().zip(given).zip(read).zip(PARTS) {
            if let Some(written) = spec.files.get(&source::tensors_of(name)) {
                parts.push(model.report(name, given, files, *written));
            }
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
    pub fn store_vectors(&mut self, sequences: Vec<StoredVector>) -> Result<()> {
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
    /// Number format of the tensors written.
    dtype: WeightFormat,
}

impl Model<'_> {
    /// Bytes that the tensors will have.
    fn bytes(&self) -> u64 {
        let written = |name: &str, tensor: &TensorInfo| {
            let values: u64 = tensor.shape.iter().map(|&length| length as u64).product();
            values * convert::target(name, tensor.dtype, self.dtype).bitsize() as u64 / 8
        };
        self.tensors.iter().map(|(name, tensor)| written(name, tensor)).sum()
    }
}

/// What `bundle.yaml` will say, all but the files.
fn spec(request: &ImportRequest, given: [&PartSource; 3], models: &[Model<'_>; 3]) -> Result<Spec> {
    let [dnabert, esm, head] = models;
    let [_, _, classifier] = given;
    let stated = |of: fn(&PartSource) -> Option<&str>| {
        let [dnabert, esm, head] = given.map(of);
        provenance::of_all([("dnabert", dnabert), ("esm", esm), ("head", head)])
    };
    let spec = Spec {
        format: FORMAT,
        name: request.name.clone(),
        version: request.version.clone(),
        trained: request.training == Training::Trained && !given.iter().any(|given| given.untrained),
        licence: request.licence.clone().unwrap_or_else(|| stated(|given| given.licence.as_deref())),
        source: request.source.clone().unwrap_or_else(|| stated(|given| given.source.as_deref())),
        window: window::choose(request.window, classifier.window, classifier.weights.path())?,
        dnabert: encoder(Family::Dnabert, dnabert.dims, Pooling::AllTokens),
        esm: encoder(Family::Esm2, esm.dims, Pooling::First1024Residues),
        head: HeadSpec { family: Family::Mlp, dim: head.dims.width },
        files: BTreeMap::new(),
    };
    spec.check_parts().map_err(|error| error.file(classifier.weights.path()))?;
    Ok(spec)
}

/// Files whose digest is told although nothing says what it must be: `sha256sum` tells that of larger ones.
const SMALL: usize = 256 << 20;

/// Every file of tensors, by part, with its digest where that is wanted; compared with what is known of it. The bytes
/// are those that are written from. Raises `stop` when a file is not what it should be.
fn read(given: [&PartSource; 3], stop: &AtomicBool) -> Result<Vec<Vec<SourceFile>>> {
    let proceed = || if stop.load(Ordering::Relaxed) { Err(hashing::ended()) } else { Ok(()) };
    let of_file = |given: &PartSource, path: &PathBuf, bytes: &ModelBytes| {
        let expected = given.expected(path);
        let wanted = expected.is_some() || bytes.len() <= SMALL;
        let sha256 = if wanted { bytes.digest(&proceed).ok() } else { None };
        if let Some((expected, found)) = expected.zip(sha256) {
            given.check(path, expected, found).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(SourceFile { path: path.clone(), bytes: bytes.len() as u64, sha256 })
    };
    let of_part = |given: &PartSource| {
        let files = given.weights.files().iter().zip(given.weights.tensors().maps());
        files.map(|(path, bytes)| of_file(given, path, bytes)).collect()
    };
    given.into_iter().map(of_part).collect()
}

fn encoder(family: Family, dims: Dims, pooling: Pooling) -> EncoderSpec {
    EncoderSpec { family, dim: dims.width, layer: dims.layers.unwrap_or_default(), pooling }
}

/// A number of a model's configuration or shape; they are all far below 2^32.
fn size(value: usize, what: &str, file: &Path) -> Result<u32> {
    u32::try_from(value).map_err(|_| {
        Error::new(Fault::ModelConfig, format!("the {what} of the model is not plausible"))
            .file(file)
            .found(value.to_string())
    })
}
