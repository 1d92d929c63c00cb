//! The sequences of shards, one shard after the other, as an embedding session reads them.

use std::vec;

use super::shards::is_numbered;
use super::upstream::UpstreamFile;
use crate::config::Side;
use crate::embed::{Input, Sequence};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::seq::codon::readable_protein;
use crate::seq::{Alphabet, FrameId, Limits, Names, Reader, Record, Source, Summary};
use crate::store::ProteinDigest;
use crate::units::Duplicates;

/// Ids of frames are longer than those of the sequences they come from.
const FRAME_LIMITS: Limits = Limits { id_bytes: Limits::DEFAULT.id_bytes + 64, ..Limits::DEFAULT };

/// What was read of a shard.
#[derive(Clone, Debug)]
pub struct ReadShard {
    /// Digest of all of it.
    pub digest: FileDigest,
    /// Records.
    pub records: u64,
}

/// All sequences, and after each shard what was read of it.
pub struct ShardSequences {
    shards: vec::IntoIter<UpstreamFile>,
    side: Side,
    open: Option<OpenShard>,
}

struct OpenShard {
    /// Whether no stage wrote it.
    is_own: bool,
    source: Source,
    reader: Reader,
    names: Names,
}

impl ShardSequences {
    /// Of shards of one side.
    pub fn new(shards: Vec<UpstreamFile>, side: Side) -> Self {
        Self { shards: shards.into_iter(), side, open: None }
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
                    return Some(digest.map(|digest| Input::End(ReadShard { digest, records: 0 })));
                }
                match OpenShard::open(&shard, side) {
                    Ok(shard) => shard,
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        match shard.reader.next(&mut shard.names) {
            Some(record) => {
                let sequence = record.map(|record| Input::Sequence(sequence(&record, side)));
                self.open = Some(shard);
                Some(sequence)
            }
            None => Some(shard.end().map(Input::End)),
        }
    }
}

impl OpenShard {
    fn open(shard: &UpstreamFile, side: Side) -> Result<Self> {
        let (source, reader) = open(shard, side)?;
        Ok(Self { is_own: shard.rows().is_none(), source, reader, names: Names::new(Duplicates::Error) })
    }

    fn end(&self) -> Result<ReadShard> {
        let summary = self.reader.summary();
        let summary = summary.ok_or_else(|| Error::new(Fault::Bug, "a shard was not read to its end"))?;
        if self.is_own {
            warn_of_own_file(&self.source, summary);
        }
        let digest = FileDigest { bytes: summary.bytes, blake3: summary.digest.to_hex().to_string() };
        Ok(ReadShard { digest, records: summary.records })
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
    Sequence { id, letters, protein }
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
