//! Makes a bundle of published models: tensors renamed to one scheme, everything checked, written whole or not at all.
//!
//! What is given becomes sources, those become checked models, those are written into a folder beside the bundle's place;
//! the folder is opened as any bundle is, so that its vectors can be computed, and then gets its name.
//!
//! The configuration written is not the published file but the numbers of it that matter, so that one model gives
//! one digest whichever way it was packed. The tokeniser is copied as it is. Weights files are mapped and written
//! tensor by tensor: a model of 3 billion parameters needs no 12 GB of memory.

mod convert;
mod model;
mod names;
mod provenance;
mod report;
mod selection;
mod source;
mod window;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use self::report::{ImportReport, ImportedModel};
pub use self::source::SourceFile;
pub use self::window::DEFAULT as DEFAULT_WINDOW;

use self::model::CheckedModel;
use self::source::ImportSource;
use super::Component;
use super::spec::{EncoderSpec, FORMAT, HeadSpec, Pooling, Spec};
use super::staged::StagedBundle;
use crate::error::Result;
use crate::fs::{StagedFolder, free_target, room};
use crate::units::{FrameRule, WeightFormat};

/// What to make a bundle of.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Name of the bundle.
    pub name: String,
    /// Its version, free text.
    pub version: String,
    /// Whether the weights were learned.
    pub training: Training,
    /// Licence of the weights, free text; none: what is stated beside the weights files.
    pub licence: Option<String>,
    /// Where the weights came from, free text; none: what the place of the weights files says.
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
    /// The bundle's folder: it must not exist, or be empty.
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
/// ```no_run
/// use virnucpro::bundle::import::{ImportRequest, Training, import};
/// use virnucpro::units::WeightFormat;
///
/// let report = import(&ImportRequest {
///     name: "vnp-500".to_owned(),
///     version: "1".to_owned(),
///     training: Training::Trained,
///     licence: None,
///     source: None,
///     window: Some(500),
///     dtype: WeightFormat::Keep,
///     dnabert: "DNABERT-S".into(),
///     esm: "esm2_t36_3B_UR50D.pt".into(),
///     head: "500_model.pth".into(),
///     out: "models/vnp-500".into(),
/// })?;
/// println!("{}", report.digest);
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// Those of [`stage`] and [`StagedBundle::commit`].
pub fn import(request: &ImportRequest) -> Result<ImportReport> {
    let (staged, report) = stage(request, &|_| Ok(()))?;
    staged.commit()?;
    Ok(report)
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The model that is read or written.
    pub component: Component,
    /// Bytes of its weights that are written.
    pub written: u64,
    /// Bytes that its weights will have.
    pub total: u64,
}

/// Reads and checks the models and writes the bundle's files beside its place. `proceed` is called throughout
/// with the progress of the work; its error ends the work.
///
/// # Errors
/// Every fault of models: files that are missing, cannot be read or are not what their bundle or cache says, tensors
/// and configurations that are not followed, models that do not fit together. Those of writing, a folder that is taken
/// and a disk that is full among them. Those of `proceed`.
pub fn stage(request: &ImportRequest, proceed: &dyn Fn(Step) -> Result<()>) -> Result<(StagedBundle, ImportReport)> {
    let target = free_target(&request.out)?;
    let sources = [
        ImportSource::open(&request.dnabert, Component::Dnabert)?,
        ImportSource::open(&request.esm, Component::Esm)?,
        ImportSource::open(&request.head, Component::Head)?,
    ];
    let [dnabert, esm, head] = sources.each_ref().map(|source| CheckedModel::read(source, request.dtype));
    let models = [dnabert?, esm?, head?];
    let mut spec = spec(request, &models)?;
    let advice = "free space, or give --output on a larger disk: nothing was written";
    room::check(&target, models.iter().map(|model| model.layout.bytes()).sum(), "the bundle", advice)?;
    let proved = models.iter().map(|model| model.source.prove(model.layout.bytes(), proceed));
    let proved = proved.collect::<Result<Vec<_>>>()?;

    let mut folder = StagedFolder::create(&target)?;
    // The small head first: what is wrong with it need not wait for gigabytes.
    for model in models.iter().rev() {
        spec.files.extend(model.write(&mut folder, proceed)?);
    }
    let staged = StagedBundle::complete(folder, &spec)?;
    let models = models.into_iter().zip(proved).map(|(model, files)| ImportedModel::of(model, files)).collect();
    let report = ImportReport { folder: target, digest: staged.digest(), models, spec };
    Ok((staged, report))
}

/// What `bundle.yaml` will say, all but the files.
fn spec(request: &ImportRequest, models: &[CheckedModel<'_>; 3]) -> Result<Spec> {
    let [dnabert, esm, head] = models;
    let sources = models.each_ref().map(|model| model.source);
    let stated = |of: fn(&ImportSource) -> Option<&str>| {
        provenance::of_all(sources.map(|source| (source.component, of(source))))
    };
    // The schema has bounded every size.
    let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let encoder = |model: &CheckedModel<'_>, pooling| EncoderSpec {
        family: model.source.component.published(),
        dim: number(model.description.width),
        layer: Some(number(model.description.layers)),
        pooling: Some(pooling),
    };
    let spec = Spec {
        format: FORMAT,
        name: request.name.clone(),
        version: request.version.clone(),
        trained: request.training == Training::Trained && !sources.iter().any(|source| source.untrained),
        licence: request.licence.clone().unwrap_or_else(|| stated(|source| source.licence.as_deref())),
        source: request.source.clone().unwrap_or_else(|| stated(|source| source.origin.as_deref())),
        window: window::choose(request.window, head.source.window, head.source.weights.path())?,
        frames: FrameRule::Open,
        dnabert: Some(encoder(dnabert, Pooling::AllTokens)),
        esm: Some(encoder(esm, Pooling::First1024Residues)),
        head: Some(HeadSpec { family: Component::Head.published(), dim: number(head.description.width) }),
        calibration: None,
        files: BTreeMap::new(),
    };
    spec.check_models().map_err(|error| error.file(head.source.weights.path()))?;
    Ok(spec)
}
