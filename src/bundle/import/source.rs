//! A part as a user gives it: a weights file, or the part of a bundle; and what is known of it without its tensors.

use std::path::{Path, PathBuf};

use super::provenance;
use crate::bundle::{BUNDLE_YAML, Bundle, Family};
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::weights::catalogue::{PublishedHead, catalogue};
use crate::weights::{ModelBytes, Weights, hub_cache};

/// A part: where its tensors stand, and what is known of it.
pub(super) struct PartSource {
    /// The tensors.
    pub(super) weights: Weights,
    /// Licence of the weights, if it is stated.
    pub(super) licence: Option<String>,
    /// Where the weights come from, if it is known.
    pub(super) source: Option<String>,
    /// Window length that a head was trained on, if it is known for sure.
    pub(super) window: Option<u32>,
    /// Whether the weights are known to be random.
    pub(super) untrained: bool,
    /// Digest of the tensors that a bundle records.
    recorded: Option<Digest>,
}

/// Heads are some megabytes; a larger file is none that was published.
const MAX_HEAD: u64 = 64 << 20;

/// Opens what was given for `part`: `dnabert`, `esm` or `head`.
///
/// # Errors
/// Those of [`Weights::open`] and of opening a bundle; [`Fault::ModelMismatch`] for a bundle without such a part.
pub(super) fn open(path: &Path, part: &str) -> Result<PartSource> {
    if path.join(BUNDLE_YAML).is_file() {
        return of_bundle(path, part);
    }
    let weights = Weights::open(path)?;
    if let Some(bundle) = bundle_around(weights.path(), part) {
        return of_bundle(&bundle, part);
    }
    let published = if part == "head" { published(&weights)? } else { None };
    let origin = weights.origin().map(|origin| format!("{}@{}", origin.repository, origin.commit));
    let source = origin.or_else(|| published.map(PublishedHead::source));
    let licence = provenance::stated_licence(&weights);
    let licence = licence.or_else(|| published.map(|head| head.licence.clone()));
    let window = published.map(|head| head.window);
    Ok(PartSource {
        licence,
        source: source.as_deref().map(provenance::one_line),
        window,
        untrained: false,
        recorded: None,
        weights,
    })
}

impl PartSource {
    /// The digest that a bundle or a hub's cache says a file of tensors has.
    pub(super) fn expected(&self, file: &Path) -> Option<Digest> {
        self.recorded.or_else(|| hub_cache::sha256(file))
    }

    /// Compares the digest of a file that was read with the one it must have.
    ///
    /// # Errors
    /// [`Fault::ModelDigest`].
    pub(super) fn check(&self, file: &Path, expected: Digest, found: Digest) -> Result<()> {
        if self.recorded.is_none() {
            return hub_cache::check(file, &expected.into(), &found.into());
        }
        if found == expected {
            return Ok(());
        }
        Err(crate::bundle::damaged("has another content than recorded", file)
            .expected(format!("sha256 {expected}"))
            .found(format!("sha256 {found}")))
    }
}

/// Path, in a bundle, of the tensors of a part.
pub(super) fn tensors_of(part: &str) -> String {
    if part == "head" { "head.safetensors".to_owned() } else { format!("{part}/model.safetensors") }
}

/// The bundle that a file of tensors is this part of.
fn bundle_around(tensors: &Path, part: &str) -> Option<PathBuf> {
    let tensors = std::path::absolute(tensors).ok()?;
    let mut folders = tensors.ancestors().skip(1).take(2);
    folders
        .find(|folder| folder.join(BUNDLE_YAML).is_file() && folder.join(tensors_of(part)) == tensors)
        .map(Path::to_owned)
}

fn of_bundle(folder: &Path, part: &str) -> Result<PartSource> {
    let bundle = Bundle::open_folder(folder)?;
    let spec = bundle.spec();
    let (family, prefix) = match part {
        "dnabert" => (spec.dnabert.family, "dnabert/"),
        "esm" => (spec.esm.family, "esm/"),
        _ => (spec.head.family, "head."),
    };
    if family == Family::Mock {
        return Err(Error::new(Fault::ModelMismatch, format!("the bundle '{}' has no weights for {part}", spec.name))
            .file(bundle.path_of(BUNDLE_YAML))
            .expected("a part with weights")
            .found("a part of family mock")
            .advice("take a bundle with real models"));
    }
    let tensors = tensors_of(part);
    // The tensors are digested while they are read.
    let small = spec.files.keys().filter(|name| name.starts_with(prefix) && **name != tensors);
    small.into_iter().try_for_each(|name| bundle.verify_file(name, &|| Ok(())))?;
    Ok(PartSource {
        weights: Weights::open(&bundle.path_of(&tensors))?,
        licence: provenance::of_part(&spec.licence, part),
        source: provenance::of_part(&spec.source, part),
        window: Some(spec.window),
        untrained: !spec.trained,
        recorded: spec.files.get(&tensors).map(|record| record.sha256),
    })
}

fn published(weights: &Weights) -> Result<Option<&'static PublishedHead>> {
    let small = weights.path().metadata().is_ok_and(|metadata| metadata.len() <= MAX_HEAD);
    if small { Ok(catalogue()?.head_of(&ModelBytes::open(weights.path())?)) } else { Ok(None) }
}
