//! The sequences of shards, one shard after the other, as an embedding session reads them.

use std::collections::BTreeSet;
use std::vec;

use super::shards::is_numbered;
use super::upstream::UpstreamFile;
use crate::config::Side;
use crate::embed::{Input, Sequence};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::seq::codon::readable_protein;
use crate::seq::{Alphabet, FrameId, Limits, Names, Reader, Record, Source, Summary};
use crate::store::{Checkpoint, Checkpoints, KeptRows, ProteinDigest};
use crate::units::{Duplicates, counted};

/// Ids of frames are longer than those of the sequences they come from.
const FRAME_LIMITS: Limits = Limits { id_bytes: Limits::DEFAULT.id_bytes + 64, ..Limits::DEFAULT };

/// What was read of a shard.
#[derive(Clone, Debug)]
pub struct ReadShard {
    /// Digest of all of it.
    pub digest: FileDigest,
    /// Records.
    pub records: u64,
    /// Rows whose vectors an earlier run had computed, and where.
    pub kept: (u64, BTreeSet<String>),
}

impl ReadShard {
    /// Where its vectors were computed: of `rows`, those that were not kept at `place`.
    pub fn computed_with(&self, place: Option<&String>, rows: u64) -> Option<String> {
        let (kept, mut places) = self.kept.clone();
        if kept < rows || places.is_empty() {
            places.extend(place.cloned());
        }
        (!places.is_empty()).then(|| places.into_iter().collect::<Vec<_>>().join("; "))
    }
}

/// All sequences, and after each shard what was read of it.
pub struct ShardSequences {
    shards: vec::IntoIter<UpstreamFile>,
    side: Side,
    /// What earlier runs have kept.
    checkpoints: Option<Checkpoints>,
    open: Option<OpenShard>,
}

struct OpenShard {
    /// Whether no stage wrote it.
    is_own: bool,
    source: Source,
    reader: Reader,
    names: Names,
    kept: Option<KeptRows>,
}

impl ShardSequences {
    /// Of shards of one side, with the vectors that `checkpoints` hold.
    pub fn new(shards: Vec<UpstreamFile>, side: Side, checkpoints: Option<Checkpoints>) -> Self {
        Self { shards: shards.into_iter(), side, checkpoints, open: None }
    }
}

impl Iterator for ShardSequences {
    type Item = Result<Input<ReadShard>>;

    fn next(&mut self) -> Option<Self::Item> {
        let side = self.side;
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => {
                let shard = self.shards.next()?;
                if is_empty(&shard, side) {
                    let digest = FileDigest::of(&shard.path);
                    return Some(
                        digest.map(|digest| Input::End(ReadShard { digest, records: 0, kept: Default::default() })),
                    );
                }
                match OpenShard::open(&shard, side, self.checkpoints.as_ref()) {
                    Ok(shard) => shard,
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        match shard.reader.next(&mut shard.names) {
            Some(record) => {
                let kept = &mut shard.kept;
                let sequence = record.map(|record| {
                    let known = kept.as_mut().and_then(|kept| kept.next(record.id));
                    Input::Sequence(Sequence { known, ..sequence(&record, side) })
                });
                self.open = Some(shard);
                Some(sequence)
            }
            None => Some(shard.end().map(Input::End)),
        }
    }
}

impl OpenShard {
    fn open(shard: &UpstreamFile, side: Side, checkpoints: Option<&Checkpoints>) -> Result<Self> {
        let (source, reader) = open(shard, side)?;
        let checkpoints = checkpoints.filter(|_| !shard.is_stream);
        let checkpoint = checkpoints.map(|of| Ok::<_, Error>(of.of(&shard.digest()?.blake3))).transpose()?;
        let kept = checkpoint.filter(|checkpoint| checkpoint.length() > 0);
        if let Some(checkpoint) = &kept {
            log::info!("{source}: going on after {} of an earlier try", counted(checkpoint.length(), "vector"));
        }
        let kept = kept.as_ref().map(Checkpoint::rows);
        let (is_own, names) = (shard.rows().is_none(), Names::new(Duplicates::Error));
        Ok(Self { is_own, source, reader, names, kept })
    }

    fn end(self) -> Result<ReadShard> {
        let summary = self.reader.summary();
        let summary = summary.ok_or_else(|| Error::new(Fault::Bug, "a shard was not read to its end"))?;
        if self.is_own {
            warn_of_own_file(&self.source, summary);
        }
        let digest = FileDigest { bytes: summary.bytes, blake3: summary.digest.to_hex().to_string() };
        let kept = self.kept.map(KeptRows::finish).unwrap_or_default();
        Ok(ReadShard { digest, records: summary.records, kept })
    }
}

/// Whether a shard of this side has no frame: `chunk` writes such a one where no window has an open frame. Any other file
/// without sequences is an error.
pub fn is_empty(shard: &UpstreamFile, side: Side) -> bool {
    let extension = if side == Side::Dnabert { ".fna" } else { ".faa" };
    let is_shard = is_numbered(&shard.name(), &[extension]);
    is_shard && !shard.is_stream && shard.path.metadata().is_ok_and(|file| file.len() == 0)
}

fn sequence(record: &Record<'_>, side: Side) -> Sequence {
    // Lower case is soft masking; the tokenisers know upper case only.
    let (id, letters) = (record.id.to_owned(), record.bases().to_ascii_uppercase());
    let protein = protein_of(side, &id, &letters);
    Sequence { id, letters, protein, known: None }
}

/// The protein of a frame that `chunk` named, where it can be told: not from nucleotides with a codon that cannot be read.
fn protein_of(side: Side, id: &str, letters: &[u8]) -> Option<ProteinDigest> {
    FrameId::parse(id)?;
    match side {
        Side::Dnabert => {
            // A stop stands in a whole window only, whose longest run is elsewhere.
            let protein = readable_protein(letters).filter(|protein| !protein.contains(&b'*'));
            protein.map(|protein| ProteinDigest::of(&protein))
        }
        Side::Esm => Some(ProteinDigest::of(letters)),
    }
}

/// A file and its reader, once its beginning is found to be what the side takes.
///
/// # Errors
/// The file cannot be read, or is something else.
pub fn open(shard: &UpstreamFile, side: Side) -> Result<(Source, Reader)> {
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
