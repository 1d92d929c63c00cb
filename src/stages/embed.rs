//! `embed-dnabert` and `embed-esm`: one stage over one session. FASTA in, vectors out, file by file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::keeping::Keeping;
use super::shard_sequences::{self, ShardSequences};
use super::shard_vectors::{About, ShardVectors, vector_file};
use super::upstream::{self, UpstreamFile, is_whole_stage, refuse_input_in_output};
use super::vector_files::{DNABERT, ESM, Vectors, holds_vectors_of, is_numbered_shard, is_vector_shard};
use crate::bundle::Bundle;
use crate::config::{self, Side};
use crate::embed::load::{self, Model};
use crate::error::Result;
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
    let stage = EmbedStage::bundle(&bundle, settings.side);
    let shards = upstream::files(&settings.shards, "chunk", stage.extension)?;
    let precision = load::precision(&bundle, settings.side, &settings.compute)?;
    let fingerprint = fingerprint(&bundle, settings.side, precision);
    let mut dir = StageDir::open(&settings.output, fingerprint.clone(), settings.resume)?;
    let mut checkpoints = Keeping::new(settings, &fingerprint, stage.dim as usize)?;
    refuse_input_in_output(shards.iter().map(|shard| shard.path.as_path()), &settings.output)?;
    dir.claim(upstream::origin(&shards)?)?;
    // A wrong file of the user's own should not cost the time of loading a model.
    let own = shards.iter().filter(|shard| shard.rows().is_none() && !shard.is_stream);
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
        let mut session = load::session(&Model::Bundled(&bundle, settings.side), &settings.compute)?;
        dir.create()?;
        let known = checkpoints.checkpoints().filter(|_| settings.resume.keep);
        let sequences = ShardSequences::new(left.clone(), settings.side, known.cloned());
        let metadata = stage.metadata(&bundle, precision);
        let about = About { metadata, place: session.place().to_owned(), dim: session.dim() };
        let mut vectors = ShardVectors::new(about, &left, &mut dir, &mut checkpoints, task);
        if let Err(error) = session.embed(sequences, &mut vectors) {
            vectors.keep_what_waits();
            return Err(error);
        }
        frames += vectors.rows();
        session.log();
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
pub fn fingerprint(bundle: &Bundle, side: Side, precision: Precision) -> Fingerprint {
    let Vectors { dim, dtype, pooling } = vectors(bundle, side, precision);
    let wrote: fn(&Path) -> bool = match side {
        Side::Dnabert => |folder| holds_vectors_of(folder, DNABERT),
        Side::Esm => |folder| holds_vectors_of(folder, ESM),
    };
    Fingerprint {
        stage: EmbedStage::bundle(bundle, side).stage,
        settings: json!({ "dtype": dtype, "pooling": pooling, "dim": dim }),
        model: Some(load::stamp(bundle)),
        owns: is_vector_shard,
        wrote,
    }
}

/// What the vectors of a side will be.
pub fn vectors(bundle: &Bundle, side: Side, precision: Precision) -> Vectors {
    let stage = EmbedStage::bundle(bundle, side);
    Vectors { dim: stage.dim as usize, dtype: Some(precision.to_string()), pooling: Some(stage.pooling.to_owned()) }
}

/// What distinguishes the two stages.
#[derive(Clone, Copy)]
struct EmbedStage {
    stage: &'static str,
    extension: &'static str,
    pooling: &'static str,
    dim: u32,
}

impl EmbedStage {
    fn bundle(bundle: &Bundle, side: Side) -> Self {
        let spec = bundle.spec();
        match side {
            Side::Dnabert => {
                Self { stage: DNABERT, extension: "fna", pooling: spec.dnabert.pooling.name(), dim: spec.dnabert.dim }
            }
            Side::Esm => Self { stage: ESM, extension: "faa", pooling: spec.esm.pooling.name(), dim: spec.esm.dim },
        }
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
            ("pooling", self.pooling.to_owned()),
            ("dtype", precision.to_string()),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }
}
