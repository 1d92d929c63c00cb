//! `embed-dnabert` and `embed-esm`: one stage over one engine. FASTA in, vectors out, file by file.

use std::collections::BTreeMap;

use serde_json::json;

use super::merge::Vectors;
use super::upstream::{self, UpstreamFile, is_whole_stage, refuse_input_in_output};
use crate::bundle::Bundle;
use crate::config::{self, Side};
use crate::embed::load;
use crate::embed::{Engine, Sequence, Sink};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::seq::{Alphabet, Limits, Names, Reader, Record, Source, Summary};
use crate::store::{Fingerprint, Manifest, ShardEntry, StageDir, VectorBlock, VectorWriter};
use crate::units::{Duplicates, Precision, counted};

/// Ids of frames are longer than those of the sequences they come from.
const FRAME_LIMITS: Limits = Limits { id_bytes: Limits::DEFAULT.id_bytes + 64, ..Limits::DEFAULT };

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
    let mut dir = StageDir::open(&settings.output, fingerprint(&bundle, settings)?, settings.resume)?;
    refuse_input_in_output(shards.iter().map(|shard| shard.path.as_path()), &settings.output)?;
    dir.claim(upstream::origin(&shards)?)?;
    let total = shards.iter().map(UpstreamFile::rows).sum::<Option<u64>>();
    let task = progress.task(stage.stage, "frames", total);
    let mut engine = None; // loaded for the first shard that is left to do
    let (mut names, mut frames, mut kept) = (Vec::new(), 0, 0);
    for shard in &shards {
        let name = format!("{}.parquet", shard.stem);
        let known = if shard.is_stream { None } else { dir.done(&name, || shard.source())? };
        let entry = match known {
            Some(entry) => {
                kept += 1;
                task.add(entry.rows);
                entry
            }
            None => {
                let engine = match &mut engine {
                    Some(engine) => engine,
                    None => engine.insert(load::engine(&bundle, settings.side, &settings.compute)?),
                };
                dir.begin()?;
                let writer = VectorWriter::create(&dir.path(&name), engine.dim())?;
                let vectors = ShardVectors { writer, task: &task };
                let (vectors, read) =
                    embed_shard(engine, shard, stage.alphabet, vectors).map_err(|error| shard.explain(error))?;
                shard.prove(&read)?;
                let source = shard.source_of(&read);
                dir.allow(&name, &source)?;
                let rows = vectors.writer.rows();
                let file = vectors.writer.commit(&stage.metadata(&bundle, precision, &read))?;
                let entry = ShardEntry { computed: Some(engine.place().to_owned()), ..source.entry(rows, file) };
                log::debug!("{} is written: {}", dir.path(&name).display(), counted(rows, "vector"));
                dir.record(&name, entry.clone())?;
                entry
            }
        };
        frames += entry.rows;
        names.push(name);
    }
    if !is_whole_stage(&settings.shards) {
        for (name, rows) in dir.others(&names) {
            frames += rows;
            names.push(name);
        }
    }
    log::info!("{}: {}; shards: {}, kept from before: {kept}", stage.stage, counted(frames, "frame"), names.len());
    dir.finish(&names, BTreeMap::from([("frames".to_owned(), frames)]))
}

/// Settings and model that vectors depend on.
///
/// # Errors
/// A device is missing, or cannot compute in the number format asked for.
pub fn fingerprint(bundle: &Bundle, settings: &config::Embed) -> Result<Fingerprint> {
    let stage = EmbedStage::bundle(bundle, settings.side);
    let vectors = vectors(bundle, settings)?;
    let settings = json!({ "dtype": vectors.dtype, "pooling": vectors.pooling, "dim": vectors.dim });
    Ok(Fingerprint { stage: stage.stage, settings, model: Some(load::stamp(bundle)), owns: is_vector_shard })
}

/// What the vectors of a side will be.
///
/// # Errors
/// Those of [`fingerprint`].
pub fn vectors(bundle: &Bundle, settings: &config::Embed) -> Result<Vectors> {
    let stage = EmbedStage::bundle(bundle, settings.side);
    let precision = load::precision(bundle, settings.side, &settings.compute)?;
    let (dtype, pooling) = (Some(precision.to_string()), Some(stage.pooling.to_owned()));
    Ok(Vectors { dim: stage.dim as usize, dtype, pooling })
}

/// Whether a file of vectors bears this name: `shard-00001.parquet`, or the name of a FASTA file of the user's own.
pub fn is_vector_shard(name: &str) -> bool {
    name.ends_with(".parquet")
}

/// Key of a vector file's metadata: digest of the FASTA file that was embedded.
pub const SOURCE: &str = "input_blake3";

/// What distinguishes the two stages.
struct EmbedStage {
    stage: &'static str,
    extension: &'static str,
    alphabet: Alphabet,
    pooling: &'static str,
    dim: u32,
}

impl EmbedStage {
    fn bundle(bundle: &Bundle, side: Side) -> Self {
        let spec = bundle.spec();
        match side {
            Side::Dnabert => Self {
                stage: "embed-dnabert",
                extension: "fna",
                alphabet: Alphabet::Nucleotide,
                pooling: spec.dnabert.pooling.name(),
                dim: spec.dnabert.dim,
            },
            Side::Esm => Self {
                stage: "embed-esm",
                extension: "faa",
                alphabet: Alphabet::Protein,
                pooling: spec.esm.pooling.name(),
                dim: spec.esm.dim,
            },
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

/// Vectors of one shard on their way to its file.
struct ShardVectors<'a> {
    writer: VectorWriter,
    task: &'a TaskProgress,
}

impl Sink for ShardVectors<'_> {
    fn block(&mut self, vectors: VectorBlock) -> Result<()> {
        self.writer.push(vectors)
    }

    fn embedded(&mut self, sequences: u64) {
        self.task.add(sequences);
    }
}

/// Embeds one file; the number of vectors is that of its records. Gives the digest of what was read.
fn embed_shard<'a>(
    engine: &mut Engine,
    shard: &UpstreamFile,
    alphabet: Alphabet,
    mut vectors: ShardVectors<'a>,
) -> Result<(ShardVectors<'a>, FileDigest)> {
    let source = Source::from(shard.path.clone());
    let mut reader = Reader::open(&source, alphabet, FRAME_LIMITS)?;
    let mut names = Names::new(Duplicates::Error);
    let sequences = std::iter::from_fn(|| {
        let record = reader.next(&mut names)?;
        // Lower case is soft masking; the tokenisers know upper case only.
        let sequence =
            |record: Record<'_>| Sequence { id: record.id.to_owned(), letters: record.bases().to_ascii_uppercase() };
        Some(record.map(sequence))
    });
    let embedded = engine.embed(sequences, &mut vectors)?;
    let summary = reader.summary().ok_or_else(|| Error::new(Fault::Bug, "a shard was not read to its end"))?;
    if shard.rows().is_none() {
        warn_of_own_file(&source, summary);
    }
    let expected = shard.rows().unwrap_or(summary.records);
    let written = vectors.writer.rows();
    if [summary.records, embedded, written] != [expected; 3] {
        return Err(Error::new(Fault::Count, "the numbers of frames in and vectors out differ")
            .expected(expected.to_string())
            .found(format!("{} records, {embedded} vectors, {written} rows", summary.records)));
    }
    let read = FileDigest { bytes: summary.bytes, blake3: summary.digest.to_hex().to_string() };
    Ok((vectors, read))
}

/// Tells what is peculiar of a file that no stage wrote.
fn warn_of_own_file(source: &Source, summary: &Summary) {
    summary.notes.iter().for_each(|note| log::warn!("{source}: {note}"));
    if summary.uracil > 0 {
        log::warn!("{source}: RNA: {} U embedded as it stands, which DNABERT-S does not know", summary.uracil);
    }
}
