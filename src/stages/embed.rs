//! `embed-dnabert` and `embed-esm`: one stage over one session. FASTA in, vectors out, file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::chunk::Layout;
use super::keeping::Keeping;
use super::predict::warn_of_layout;
use super::shard_sequences::{self, ShardSequences};
use super::shard_vectors::{About, ShardVectors, vector_file};
use super::upstream::{self, UpstreamFile, is_whole_stage, refuse_input_in_output};
use super::vector_files::{DNABERT, ENCODERS, ESM, Vectors, holds_vectors_of, is_numbered_shard, is_vector_shard};
use crate::bundle::{Bundle, Pooling};
use crate::config::{self, Side};
use crate::embed::load::{self, Model};
use crate::embed::{Input, Session, Sink};
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::Progress;
use crate::store::{Fingerprint, Manifest, StageDir};
use crate::units::{Precision, counted};

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::{BundleChoice, Checkpointing, Compute, Embed, Side};
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::embed::embed;
/// use virnucpro::units::Resume;
///
/// let settings = Embed {
///     side: Side::Esm,
///     shards: vec!["out/windows".into()],
///     output: "out/esm".into(),
///     model: BundleChoice { name: "mini".to_owned(), search: Vec::new() },
///     compute: Compute::default(),
///     resume: Resume::KEEP,
///     checkpoints: Checkpointing::default(),
/// };
/// embed(&settings, &Progress::Silent)?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// An input, the bundle or a device is missing or damaged; or a file cannot be written.
pub fn embed(settings: &config::Embed, progress: &Progress) -> Result<Manifest> {
    let bundle = load::bundle(&settings.model)?;
    if bundle.spec().head.is_some() {
        layouts(&settings.shards).into_iter().for_each(|layout| warn_of_layout(&bundle, layout));
    }
    embed_as_cut(settings, &bundle, progress)
}

/// How the windows were cut that folders and shards are of, as far as manifests say.
fn layouts(shards: &[PathBuf]) -> Vec<Layout> {
    let folder = |path: &PathBuf| if path.is_dir() { Some(path.clone()) } else { path.parent().map(Path::to_path_buf) };
    let folders: BTreeSet<PathBuf> = shards.iter().filter_map(folder).collect();
    let manifests = folders.iter().filter_map(|folder| upstream::manifest(folder).ok().flatten());
    let cut = manifests.filter(|manifest| manifest.stage == "chunk");
    let mut layouts: Vec<Layout> = cut.filter_map(|manifest| Layout::recorded(&manifest)).collect();
    layouts.dedup();
    layouts
}

/// The same, of windows whose length and frames were looked at.
pub(super) fn embed_as_cut(settings: &config::Embed, bundle: &Bundle, progress: &Progress) -> Result<Manifest> {
    let stage = EmbedStage::of(bundle, settings.side)?;
    let shards = upstream::files(&settings.shards, "chunk", stage.extension)?;
    let precision = load::precision(bundle, settings.side, &settings.compute)?;
    let fingerprint = fingerprint(bundle, settings.side, precision)?;
    let mut dir = StageDir::open(&settings.output, fingerprint.clone(), settings.resume)?;
    let mut checkpoints = Keeping::new(settings, &fingerprint, stage.dim as usize)?;
    refuse_input_in_output(shards.iter().map(|shard| shard.path.as_path()), &settings.output)?;
    dir.claim(upstream::origin(&shards)?)?;
    // A wrong file of the user's own should not cost the time of loading a model.
    let is_empty = |shard: &UpstreamFile| shard_sequences::is_empty(shard, settings.side);
    let own = shards.iter().filter(|shard| shard.rows().is_none() && !shard.is_stream && !is_empty(shard));
    own.into_iter().try_for_each(|shard| shard_sequences::open(shard, settings.side).map(drop))?;
    let total = shards.iter().map(UpstreamFile::rows).sum::<Option<u64>>();
    let task = progress.task(stage.stage, "frames", total);
    let (mut names, mut frames, mut left) = (Vec::new(), 0, Vec::new());
    for shard in shards {
        let name = vector_file(&shard);
        match if shard.is_stream { None } else { dir.done(&name, || shard.source())? } {
            Some(entry) => {
                frames += entry.rows;
                task.add(entry.rows);
            }
            None => left.push(shard),
        }
        names.push(name);
    }
    let kept = names.len() - left.len();
    if !left.is_empty() {
        let load = || load::session(&Model::Bundled(bundle, settings.side), &settings.compute);
        let mut session = if left.iter().all(is_empty) { None } else { Some(load()?) };
        dir.create()?;
        let known = checkpoints.checkpoints().filter(|_| settings.resume.keep);
        let mut sequences = ShardSequences::new(left.clone(), settings.side, known.cloned());
        let place = session.as_ref().map(|session| session.place().to_owned());
        let about = About { metadata: stage.metadata(bundle, precision), place, dim: stage.dim as usize };
        let mut vectors = ShardVectors::new(about, &left, &mut dir, &mut checkpoints, task);
        match &mut session {
            Some(session) => {
                if let Err(error) = session.embed(sequences, &mut vectors) {
                    vectors.keep_what_waits();
                    return Err(error);
                }
            }
            // Nothing to embed costs no model.
            None => sequences.try_for_each(|input| match input? {
                Input::End(read) => vectors.end(read),
                Input::Sequence(_) => Err(Error::new(Fault::InputChanged, "a shard grew while it was read")),
            })?,
        }
        frames += vectors.rows();
        session.iter().for_each(Session::log);
    }
    if is_whole_stage(&settings.shards) {
        dir.remove_unrecorded(&names, is_numbered_shard)?;
    } else {
        for (name, rows) in dir.others(&names) {
            frames += rows;
            names.push(name);
        }
    }
    log::info!("{}: {}; shards: {}, kept from before: {kept}", stage.stage, counted(frames, "frame"), names.len());
    let manifest = dir.finish(&names, BTreeMap::from([("frames".to_owned(), frames)]))?;
    checkpoints.remove_all();
    Ok(manifest)
}

/// Settings and model that vectors depend on.
///
/// # Errors
/// The bundle lacks that side.
pub fn fingerprint(bundle: &Bundle, side: Side, precision: Precision) -> Result<Fingerprint> {
    let Vectors { dim, dtype, pooling } = vectors(bundle, side, precision)?;
    let wrote: fn(&Path) -> bool = match side {
        Side::Dnabert => |folder| holds_vectors_of(folder, DNABERT),
        Side::Esm => |folder| holds_vectors_of(folder, ESM),
    };
    Ok(Fingerprint {
        stage: EmbedStage::of(bundle, side)?.stage,
        settings: json!({ "dtype": dtype, "pooling": pooling, "dim": dim }),
        model: Some(load::stamp(bundle)),
        owns: is_vector_shard,
        wrote,
    })
}

/// What the vectors of a side will be.
///
/// # Errors
/// The bundle lacks that side.
pub fn vectors(bundle: &Bundle, side: Side, precision: Precision) -> Result<Vectors> {
    let stage = EmbedStage::of(bundle, side)?;
    let pooling = stage.pooling.map(|pooling| pooling.name().to_owned());
    Ok(Vectors { dim: stage.dim as usize, dtype: Some(precision.to_string()), pooling })
}

/// What distinguishes the two stages.
#[derive(Clone, Copy)]
struct EmbedStage {
    stage: &'static str,
    extension: &'static str,
    pooling: Option<Pooling>,
    dim: u32,
}

impl EmbedStage {
    fn of(bundle: &Bundle, side: Side) -> Result<Self> {
        let encoder = load::encoder(bundle, side)?;
        let (stage, extension) = match side {
            Side::Dnabert => (DNABERT, "fna"),
            Side::Esm => (ESM, "faa"),
        };
        Ok(Self { stage, extension, pooling: encoder.pooling, dim: encoder.dim })
    }

    /// What a vector file says of itself, beside its input.
    fn metadata(&self, bundle: &Bundle, precision: Precision) -> BTreeMap<String, String> {
        let stamp = load::stamp(bundle);
        let pairs = [
            ("tool", concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("stage", self.stage.to_owned()),
            ("bundle", stamp.bundle),
            ("bundle_digest", stamp.digest),
            ("trained", stamp.trained.to_string()),
            (ENCODERS, bundle.spec().encoders_digest().to_string()),
            ("dtype", precision.to_string()),
        ];
        let pooling = self.pooling.map(|pooling| ("pooling", pooling.name().to_owned()));
        pairs.into_iter().chain(pooling).map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
