//! A bundle with the encoders of another one and a head that was trained on their vectors.

use std::path::Path;

use super::spec::{FORMAT, FileRecord, HeadSpec, Spec};
use super::staged::StagedBundle;
use super::{Bundle, Component, Family};
use crate::calibration::Calibration;
use crate::error::Result;
use crate::fs::{StagedFolder, free_target};
use crate::units::FrameRule;

/// The model card of a trained bundle.
pub const CARD_JSON: &str = "card.json";

/// A head, and what its bundle says of it.
#[derive(Clone, Debug)]
pub struct TrainedHead {
    /// Name of the bundle.
    pub name: String,
    /// Its version, free text.
    pub version: String,
    /// Licence of the weights, free text.
    pub licence: String,
    /// Where the weights come from, free text.
    pub source: String,
    /// Length of the windows it was trained on, in bases, and which frames of them; none: what the base says.
    pub layout: Option<(u32, FrameRule)>,
    /// Content of `head.safetensors`.
    pub head: Vec<u8>,
    /// Content of [`CARD_JSON`].
    pub card: Vec<u8>,
    /// What makes probabilities of its logits.
    pub calibration: Option<Calibration>,
}

/// Writes the bundle beside its place; the encoders are those of `base`, proved to be what it lists. `proceed` is called
/// throughout; its error ends the work.
///
/// # Errors
/// A folder that is taken; a damaged file of `base`; those of writing and of `proceed`.
pub fn write(base: &Bundle, head: TrainedHead, out: &Path, proceed: &dyn Fn() -> Result<()>) -> Result<StagedBundle> {
    let old = base.spec();
    let mut folder = StagedFolder::create(&free_target(out)?)?;
    let mut spec = Spec {
        format: FORMAT,
        name: head.name,
        version: head.version,
        trained: old.trained || old.encoders().all(|(_, encoder)| encoder.family == Family::Composition),
        licence: head.licence,
        source: head.source,
        window: head.layout.map_or(old.window, |(window, _)| window),
        frames: head.layout.map_or(old.frames, |(_, frames)| frames),
        dnabert: old.dnabert,
        esm: old.esm,
        head: Some(HeadSpec { family: Family::Mlp, dim: old.merged_dim() }),
        calibration: head.calibration,
        files: Default::default(),
    };
    for (component, encoder) in old.encoders() {
        for name in component.files(encoder.family) {
            base.verify_file(&name, proceed)?;
            match base.path() {
                Some(base) => folder.take(&name, &base.join(&name))?,
                None => folder.write(&name, |out| out.append(&base.file(&name)?)).map(drop)?,
            }
            spec.files.extend(old.files.get_key_value(&name).map(|(name, record)| (name.clone(), *record)));
        }
    }
    let (bytes, sha256) = folder.write(&Component::Head.weights(), |out| out.append(&head.head))?;
    spec.files.insert(Component::Head.weights(), FileRecord { bytes, sha256 });
    folder.write(CARD_JSON, |out| out.append(&head.card))?;
    StagedBundle::complete(folder, &spec)
}
