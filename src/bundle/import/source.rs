//! A model as a user gives it: a weights file, or the same model of a bundle; and what is known of it without its tensors.

use std::path::{Path, PathBuf};

use super::{Step, provenance};
use crate::bundle::{BUNDLE_YAML, Bundle, Component};
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::weights::catalogue::{PublishedHead, catalogue};
use crate::weights::{ModelBytes, Weights, hub_cache};

/// A model to import.
pub(super) struct ImportSource {
    pub(super) component: Component,
    /// The tensors.
    pub(super) weights: Weights,
    /// Licence of the weights, if it is stated.
    pub(super) licence: Option<String>,
    /// Where the weights come from, if it is known.
    pub(super) origin: Option<String>,
    /// Window length that a head was trained on, if it is known for sure.
    pub(super) window: Option<u32>,
    /// Whether the weights are known to be random.
    pub(super) untrained: bool,
    /// Digest of the tensors that a bundle records.
    recorded: Option<Digest>,
}

/// Heads take some megabytes; no larger file was published.
const MAX_HEAD: u64 = 64 << 20;

/// Files are digested for the report up to this size; beyond it, only those whose digest something says.
const SMALL: usize = 256 << 20;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its digest: of files up to 256 MiB, and of those whose digest a bundle or a hub's cache says.
    pub sha256: Option<Digest>,
}

impl ImportSource {
    /// Opens what was given for `component`.
    ///
    /// # Errors
    /// Those of [`Weights::open`] and of opening a bundle; [`Fault::ModelMismatch`] for a bundle without such a model.
    pub(super) fn open(path: &Path, component: Component) -> Result<Self> {
        if path.join(BUNDLE_YAML).is_file() {
            return Self::of_bundle(path, component);
        }
        let weights = Weights::open(path)?;
        if let Some(bundle) = bundle_around(weights.path(), component) {
            return Self::of_bundle(&bundle, component);
        }
        let published = if component == Component::Head { published(&weights)? } else { None };
        let repository = weights.origin().map(|origin| format!("{}@{}", origin.repository, origin.commit));
        let origin = repository.or_else(|| published.map(PublishedHead::source));
        let licence = provenance::stated_licence(&weights);
        Ok(Self {
            component,
            licence: licence.or_else(|| published.map(|head| head.licence.clone())),
            origin: origin.as_deref().map(provenance::one_line),
            window: published.map(|head| head.window),
            untrained: false,
            recorded: None,
            weights,
        })
    }

    fn of_bundle(folder: &Path, component: Component) -> Result<Self> {
        let bundle = Bundle::open_folder(folder)?;
        let spec = bundle.spec();
        let family = spec.family(component);
        if family != Some(component.published()) {
            let message = format!("the bundle '{}' has no weights for {}", spec.name, component.key());
            let found = family
                .map_or_else(|| "none".to_owned(), |family| format!("a model of family {family:?}").to_lowercase());
            return Err(Error::new(Fault::ModelMismatch, message)
                .file(bundle.path_of(BUNDLE_YAML))
                .expected("a model with weights")
                .found(found)
                .advice("take a bundle with real models"));
        }
        let tensors = component.weights();
        // The tensors themselves: see `prove`.
        let beside = component.files(component.published()).into_iter().filter(|name| *name != tensors);
        beside.into_iter().try_for_each(|name| bundle.verify_file(&name, &|| Ok(())))?;
        Ok(Self {
            component,
            weights: Weights::open(&bundle.path_of(&tensors))?,
            licence: provenance::of_component(&spec.licence, component),
            origin: provenance::of_component(&spec.source, component),
            window: Some(spec.window),
            untrained: !spec.trained,
            recorded: spec.files.get(&tensors).map(|record| record.sha256),
        })
    }

    /// Compares the files of tensors with what a bundle or a hub's cache says of them; gives each with its digest, where
    /// that is wanted. The bytes are those that will be written from.
    ///
    /// # Errors
    /// [`Fault::ModelDigest`], and those of `proceed`.
    pub(super) fn prove(&self, total: u64, proceed: &dyn Fn(Step) -> Result<()>) -> Result<Vec<SourceFile>> {
        let proceed = || proceed(Step { component: self.component, written: 0, total });
        let files = self.weights.files().iter().zip(self.weights.tensors().maps());
        let proved = |(path, bytes): (&PathBuf, &ModelBytes)| {
            let expected = self.recorded.or_else(|| hub_cache::sha256(path));
            let wanted = expected.is_some() || bytes.len() <= SMALL;
            let sha256 = if wanted { Some(bytes.digest(&proceed)?) } else { None };
            if let Some((expected, found)) = expected.zip(sha256) {
                self.compare(path, expected, found)?;
            }
            Ok(SourceFile { path: path.clone(), bytes: bytes.len() as u64, sha256 })
        };
        files.map(proved).collect()
    }

    fn compare(&self, file: &Path, expected: Digest, found: Digest) -> Result<()> {
        if self.recorded.is_none() {
            return hub_cache::check(file, &expected.into(), &found.into());
        }
        crate::bundle::compare_digest(file, expected, found)
    }
}

/// The bundle that a file of tensors belongs to as this component.
fn bundle_around(tensors: &Path, component: Component) -> Option<PathBuf> {
    let tensors = std::path::absolute(tensors).ok()?;
    let mut folders = tensors.ancestors().skip(1).take(2);
    folders
        .find(|folder| folder.join(BUNDLE_YAML).is_file() && folder.join(component.weights()) == tensors)
        .map(Path::to_owned)
}

fn published(weights: &Weights) -> Result<Option<&'static PublishedHead>> {
    let small = weights.path().metadata().is_ok_and(|metadata| metadata.len() <= MAX_HEAD);
    if small { Ok(catalogue()?.head_of(&ModelBytes::open(weights.path())?)) } else { Ok(None) }
}
