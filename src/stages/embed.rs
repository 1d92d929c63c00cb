//! `embed-dnabert` and `embed-esm`: one stage over one session. FASTA in, vectors out, file by file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::shard_sequences::{self, ReadShard, ShardSequences};
use super::upstream::{self, UpstreamFile, is_whole_stage, refuse_input_in_output};
use super::vector_files::{DNABERT, ESM, SOURCE, Vectors, holds_vectors_of, is_numbered_shard, is_vector_shard};
use crate::bundle::Bundle;
use crate::config::{self, Side};
use crate::embed::load::{self, Model};
use crate::embed::{Input, Session, Sink};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::store::{Fingerprint, Manifest, ShardEntry, StageDir, VectorBlock, VectorWriter};
use crate::units::{Precision, counted};

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::{BundleChoice, Compute, Embed, Side};
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
    let mut dir = StageDir::open(&settings.output, fingerprint, settings.resume)?;
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
        let load = || load::session(&Model::Bundled(&bundle, settings.side), &settings.compute);
        let mut session = if left.iter().all(is_empty) { None } else { Some(load()?) };
        dir.create()?;
        let place = session.as_ref().map(|session| session.place().to_owned());
        let about = About { stage, bundle: &bundle, precision, place };
        let mut vectors = ShardVectors { about, shards: &left, finished: 0, dir: &mut dir, open: None, rows: 0, task };
        let mut sequences = ShardSequences::new(left.clone(), settings.side);
        match &mut session {
            Some(session) => drop(session.embed(sequences, &mut vectors)?),
            // Nothing to embed costs no model.
            None => sequences.try_for_each(|input| match input? {
                Input::End(read) => vectors.end(read),
                Input::Sequence(_) => Err(Error::new(Fault::InputChanged, "a shard grew while it was read")),
            })?,
        }
        frames += vectors.rows;
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
    dir.finish(&names, BTreeMap::from([("frames".to_owned(), frames)]))
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

    /// What the vector file says of itself.
    fn metadata(&self, bundle: &Bundle, precision: Precision, shard: &FileDigest) -> BTreeMap<String, String> {
        let stamp = load::stamp(bundle);
        let pairs = [
            ("tool", concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("stage", self.stage.to_owned()),
            ("bundle", stamp.bundle),
            ("bundle_digest", stamp.digest),
            ("trained", stamp.trained.to_string()),
            ("pooling", self.pooling.to_owned()),
            ("dtype", precision.to_string()),
            (SOURCE, shard.blake3.clone()),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }
}

/// What is the same for all files of a run.
struct About<'a> {
    stage: EmbedStage,
    bundle: &'a Bundle,
    precision: Precision,
    /// Where it is computed, if there is anything to compute.
    place: Option<String>,
}

/// Vectors on their way to their files, one file after the other.
struct ShardVectors<'a> {
    about: About<'a>,
    shards: &'a [UpstreamFile],
    /// Shards whose vectors are written.
    finished: usize,
    dir: &'a mut StageDir,
    /// The file of the shard that comes next, once it has rows.
    open: Option<VectorWriter>,
    /// Rows of all finished shards.
    rows: u64,
    task: TaskProgress,
}

impl Sink<ReadShard> for ShardVectors<'_> {
    fn rows(&mut self, vectors: VectorBlock) -> Result<()> {
        let mut writer = self.writer()?;
        writer.push(vectors)?;
        self.open = Some(writer);
        Ok(())
    }

    /// Gives the file its name once it is proved that the shard is what its manifest records, and all of it is there.
    fn end(&mut self, read: ReadShard) -> Result<()> {
        let writer = self.writer()?;
        let shard = self.shard()?;
        let (rows, name) = (writer.rows(), vector_file(shard));
        let expected = shard.rows().unwrap_or(read.records);
        if [read.records, rows] != [expected; 2] {
            return Err(shard.explain(miscounted(expected, &read, rows)));
        }
        shard.prove(&read.digest)?;
        let source = shard.source_of(&read.digest);
        self.dir.allow(&name, &source)?;
        self.dir.begin()?;
        let About { stage, bundle, precision, place, .. } = &self.about;
        let file = writer.commit(&stage.metadata(bundle, *precision, &read.digest))?;
        let entry = ShardEntry { computed: place.clone(), ..source.entry(rows, file) };
        log::debug!("{} is written: {}", self.dir.path(&name).display(), counted(rows, "vector"));
        self.dir.record(&name, entry)?;
        self.rows += rows;
        self.finished += 1;
        Ok(())
    }

    fn embedded(&mut self, sequences: u64) {
        self.task.add(sequences);
    }

    fn explain(&self, file: usize, error: Error) -> Error {
        match self.shards.get(file) {
            Some(shard) => shard.explain(error),
            None => error,
        }
    }
}

impl ShardVectors<'_> {
    fn shard(&self) -> Result<&UpstreamFile> {
        self.shards.get(self.finished).ok_or_else(|| Error::new(Fault::Bug, "vectors of no shard"))
    }

    /// The file that is open, else a new one.
    fn writer(&mut self) -> Result<VectorWriter> {
        match self.open.take() {
            Some(writer) => Ok(writer),
            None => VectorWriter::create(&self.dir.path(&vector_file(self.shard()?)), self.about.stage.dim as usize),
        }
    }
}

fn vector_file(shard: &UpstreamFile) -> String {
    format!("{}.parquet", shard.stem)
}

fn miscounted(expected: u64, read: &ReadShard, rows: u64) -> Error {
    Error::new(Fault::Count, "the numbers of frames in and vectors out differ")
        .expected(expected.to_string())
        .found(format!("{} records, {rows} rows", read.records))
}
