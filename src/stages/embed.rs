//! `embed-dnabert` and `embed-esm`: one stage over one engine. FASTA in, vectors out, file by file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

use serde_json::json;

use super::upstream::{self, UpstreamFile, is_whole_stage, refuse_input_in_output};
use super::vector_files::{DNABERT, ESM, SOURCE, Vectors, holds_vectors_of, is_numbered_shard, is_vector_shard};
use crate::bundle::Bundle;
use crate::config::{self, Side};
use crate::embed::load;
use crate::embed::{Engine, Sequence, Sink};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::seq::codon::readable_protein;
use crate::seq::{Alphabet, FrameId, Limits, Names, Reader, Record, Source, Summary};
use crate::store::{Fingerprint, Manifest, ProteinDigest, ShardEntry, StageDir, VectorBlock, VectorWriter};
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
    let fingerprint = fingerprint(&bundle, settings.side, precision);
    let mut dir = StageDir::open(&settings.output, fingerprint, settings.resume)?;
    refuse_input_in_output(shards.iter().map(|shard| shard.path.as_path()), &settings.output)?;
    dir.claim(upstream::origin(&shards)?)?;
    // A wrong file of the user's own should not cost the time of loading a model.
    let own = shards.iter().filter(|shard| shard.rows().is_none() && !shard.is_stream);
    own.into_iter().try_for_each(|shard| open(shard, settings.side).map(drop))?;
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
                dir.create()?;
                let writer = VectorWriter::create(&dir.path(&name), engine.dim())?;
                let (writer, read) =
                    embed_shard(engine, shard, settings.side, writer, &task).map_err(|error| shard.explain(error))?;
                shard.prove(&read)?;
                let source = shard.source_of(&read);
                dir.allow(&name, &source)?;
                dir.begin()?;
                let rows = writer.rows();
                let file = writer.commit(&stage.metadata(&bundle, precision, &read))?;
                let entry = ShardEntry { computed: Some(engine.place().to_owned()), ..source.entry(rows, file) };
                log::debug!("{} is written: {}", dir.path(&name).display(), counted(rows, "vector"));
                dir.record(&name, entry.clone())?;
                entry
            }
        };
        frames += entry.rows;
        names.push(name);
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

/// Vectors of one shard on their way to its file.
struct ShardVectors<'a> {
    writer: VectorWriter,
    /// Proteins of the sequences, sent as they are read: those of a block are all here when its vectors come.
    proteins: Receiver<Option<ProteinDigest>>,
    task: &'a TaskProgress,
}

impl Sink for ShardVectors<'_> {
    fn block(&mut self, mut vectors: VectorBlock) -> Result<()> {
        vectors.proteins = self.proteins.try_iter().take(vectors.ids.len()).collect();
        self.writer.push(vectors)
    }

    fn embedded(&mut self, sequences: u64) {
        self.task.add(sequences);
    }
}

/// Embeds one file; the number of vectors is that of its records. Gives the digest of what was read.
fn embed_shard(
    engine: &mut Engine,
    shard: &UpstreamFile,
    side: Side,
    writer: VectorWriter,
    task: &TaskProgress,
) -> Result<(VectorWriter, FileDigest)> {
    let (proteins, sent) = mpsc::channel();
    let mut vectors = ShardVectors { writer, proteins: sent, task };
    let (source, mut reader) = open(shard, side)?;
    let mut names = Names::new(Duplicates::Error);
    let sequences = std::iter::from_fn(|| {
        let record = reader.next(&mut names)?;
        let sequence = |record: Record<'_>| {
            // Lower case is soft masking; the tokenisers know upper case only.
            let (id, letters) = (record.id.to_owned(), record.bases().to_ascii_uppercase());
            let _ = proteins.send(protein_of(side, &id, &letters)); // the receiver lives as long as the engine runs
            Sequence { id, letters }
        };
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
    Ok((vectors.writer, read))
}

/// The protein of a frame that `chunk` named, where it can be told: not from nucleotides with a codon that cannot be read.
fn protein_of(side: Side, id: &str, letters: &[u8]) -> Option<ProteinDigest> {
    FrameId::parse(id)?;
    match side {
        Side::Dnabert => readable_protein(letters).map(|protein| ProteinDigest::of(&protein)),
        Side::Esm => Some(ProteinDigest::of(letters)),
    }
}

/// A file and its reader, once its beginning is found to be what the side takes.
fn open(shard: &UpstreamFile, side: Side) -> Result<(Source, Reader)> {
    let source = Source::from(shard.path.clone());
    let alphabet = if side == Side::Dnabert { Alphabet::Nucleotide } else { Alphabet::Protein };
    let reader = match held(shard) {
        Some(held) => Reader::open_shard(&source, alphabet, FRAME_LIMITS, held)?,
        None => Reader::open(&source, alphabet, FRAME_LIMITS)?,
    };
    Ok((source, reader))
}

/// What a shard holds that its manifest lists.
fn held(shard: &UpstreamFile) -> Option<Alphabet> {
    shard.rows()?;
    match shard.path.extension()?.to_str()? {
        "fna" => Some(Alphabet::Nucleotide),
        "faa" => Some(Alphabet::Protein),
        _ => None,
    }
}

/// Tells what is peculiar of a file that no stage wrote.
fn warn_of_own_file(source: &Source, summary: &Summary) {
    summary.notes.iter().for_each(|note| log::warn!("{source}: {note}"));
    if summary.uracil > 0 {
        log::warn!("{source}: RNA: {} U left as U, which DNABERT-S does not know", summary.uracil);
    }
}
