//! Bases as tokens, one each, without special tokens: what the family `composition` counts.

use super::Tokenize;
use crate::error::Result;
use crate::seq::base::{NO_BASE, number};

/// Nucleotides to the numbers of their bases; any other letter is [`NO_BASE`].
///
/// ```
/// use virnucpro::tokenize::{Bases, Tokenize};
///
/// assert_eq!(Bases.encode(b"ACgtN")?, [0, 1, 2, 3, 64]);
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bases;

impl Tokenize for Bases {
    fn encode(&self, sequence: &[u8]) -> Result<Vec<u32>> {
        Ok(sequence.iter().map(|&letter| u32::from(number(letter))).collect())
    }

    fn vocabulary(&self) -> usize {
        usize::from(NO_BASE) + 1
    }
}
