//! What travels through a session: sequences, the blocks they are read in, the batches of a block.

use std::sync::Arc;

use super::repeats::Copied;
use crate::error::{Error, Fault};
use crate::pack::TokenBatch;
use crate::store::ProteinDigest;
use crate::units::Tokens;

/// A named sequence of nucleotides or residues.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Identifier, which the vector will carry.
    pub id: String,
    /// Letters.
    pub letters: Vec<u8>,
    /// The protein it belongs to, where that is known; the vector will carry it too.
    pub protein: Option<ProteinDigest>,
    /// Its vector, where an earlier run has computed it.
    pub known: Option<Vec<f32>>,
}

/// What a session reads: the sequences of one file after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<E> {
    /// The next sequence of the file.
    Sequence(Sequence),
    /// The end of the file, with what the caller wants back when all its vectors are written.
    End(E),
}

/// How much is read before it is planned. It depends on `--batch-tokens` alone, so that the composition of batches depends on
/// that and the input alone, and never on how many lanes and workers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// Letters after which a block ends.
    pub letters: usize,
    /// Most sequences.
    pub sequences: usize,
}

/// Batches that the letters of a block would fill if each were a token: enough that sorting by length gives long stretches.
const BLOCK_BATCHES: usize = 32;
const MOST_LETTERS: usize = 64 << 20;
const MOST_SEQUENCES: usize = 16_384;

impl BlockSize {
    /// For batches of so many tokens.
    pub fn of(batch_tokens: Tokens) -> Self {
        let letters = batch_tokens.0.saturating_mul(BLOCK_BATCHES).min(MOST_LETTERS);
        Self { letters, sequences: MOST_SEQUENCES }
    }
}

/// The rows of a block: sequences of one file that are planned together and written together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Blocks before it.
    pub number: usize,
    /// Files that ended before it.
    pub file: usize,
    /// Identifier of each row.
    pub ids: Vec<String>,
    /// Protein of each row.
    pub proteins: Vec<Option<ProteinDigest>>,
    /// Rows that are in no batch, in ascending order: they repeat others.
    pub copies: Vec<Copied>,
    /// Other rows that are in no batch, in ascending order, with their vectors: an earlier run has computed them.
    pub known: Vec<(usize, Vec<f32>)>,
    /// First rows that an earlier run has computed or copied.
    pub kept: usize,
}

/// A batch and the block that its rows belong to.
#[derive(Clone, Debug)]
pub struct Job {
    /// The block.
    pub block: Arc<Block>,
    /// Some of its sequences.
    pub batch: TokenBatch,
}

impl Job {
    /// The same sequences in batches of at most `budget` tokens, where they can be that small.
    pub fn split(self, budget: usize) -> impl Iterator<Item = Self> {
        let block = self.block;
        self.batch.split(budget).into_iter().map(move |batch| Self { block: Arc::clone(&block), batch })
    }

    /// Identifier of the first sequence.
    pub fn first_id(&self) -> &str {
        self.batch.rows().first().and_then(|&row| self.block.ids.get(row)).map_or("", String::as_str)
    }
}

/// Why a session stops, and with which file.
#[derive(Debug)]
pub struct Failure {
    /// Files that ended before the one concerned, if one is.
    pub file: Option<usize>,
    /// What happened.
    pub error: Error,
}

impl Failure {
    /// A failure that has to do with a file.
    pub fn with(file: usize, error: Error) -> Self {
        Self { file: Some(file), error }
    }

    /// A failure that no file has to do with.
    pub fn of(error: Error) -> Self {
        Self { file: None, error }
    }

    /// A thread that panicked.
    pub fn panic() -> Self {
        Self::of(Error::new(Fault::Bug, "a worker thread panicked").advice("please report this with the lines above"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_grows_with_the_batches_up_to_its_bounds() {
        assert_eq!(BlockSize::of(Tokens(1024)).letters, 32 * 1024);
        assert_eq!(BlockSize::of(Tokens(usize::MAX)), BlockSize { letters: 64 << 20, sequences: 16_384 });
    }
}
