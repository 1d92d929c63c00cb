//! Sequences to token ids, special tokens included.
//!
//! [`EsmTokenizer`] reads proteins, [`DnabertTokenizer`] and [`Bases`] nucleotides. None truncates or pads: the length
//! of a sequence is the planner's business, and padding nobody's.

mod bases;
mod bpe;
mod residues;

pub use bases::Bases;
pub use bpe::DnabertTokenizer;
pub use residues::{ALPHABET, EsmTokenizer};

use crate::error::Result;

/// Turns a sequence into the ids that an encoder looks up.
pub trait Tokenize: Send + Sync {
    /// Ids of `sequence`, the special tokens at both ends included.
    ///
    /// # Errors
    /// Bytes that the tokeniser cannot read as text.
    fn encode(&self, sequence: &[u8]) -> Result<Vec<u32>>;

    /// Number of ids: every id of [`encode`](Self::encode) is below it. The encoder has as many embedding rows.
    fn vocabulary(&self) -> usize;
}
