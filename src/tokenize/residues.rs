//! The ESM-2 alphabet: one token per residue between `<cls>` and `<eos>`.
//!
//! Order of the symbols: fair-esm 2.0.0 `esm/data.py`, alphabet "ESM-1b". fair-esm knows upper case only and
//! fails on any other character; here each such character is one `<unk>`, so that the number of tokens is
//! always the number of residues plus two. Symbols in angle brackets are never looked for in a sequence.

use super::Tokenize;
use crate::error::Result;

/// Symbols by id.
pub const ALPHABET: [&str; 33] = [
    "<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "G", "V", "S", "E", "R", "T", "I", "D", "P", "K", "Q", "N", "F", "Y",
    "M", "H", "W", "C", "X", "B", "U", "Z", "O", ".", "-", "<null_1>", "<mask>",
];

const CLS: u32 = 0;
const EOS: u32 = 2;
const UNK: u32 = 3;

/// Id of every byte.
const IDS: [u32; 256] = {
    let mut ids = [UNK; 256];
    let mut id = 0;
    while id < ALPHABET.len() {
        let symbol = ALPHABET[id].as_bytes();
        if symbol.len() == 1 {
            ids[symbol[0] as usize] = id as u32;
        }
        id += 1;
    }
    ids
};

/// Proteins to ids of [`ALPHABET`]; one byte is one residue.
///
/// ```
/// use virnucpro::tokenize::{EsmTokenizer, Tokenize};
///
/// // <cls>, M, K, V, <eos>
/// assert_eq!(EsmTokenizer.encode(b"MKV")?, [0, 20, 15, 7, 2]);
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EsmTokenizer;

impl Tokenize for EsmTokenizer {
    fn encode(&self, sequence: &[u8]) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(sequence.len() + 2);
        ids.push(CLS);
        ids.extend(sequence.iter().map(|&residue| IDS[usize::from(residue)]));
        ids.push(EOS);
        Ok(ids)
    }

    fn vocabulary(&self) -> usize {
        ALPHABET.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(sequence: &str) -> Vec<u32> {
        EsmTokenizer.encode(sequence.as_bytes()).unwrap()
    }

    #[test]
    fn residues_stand_between_cls_and_eos() {
        assert_eq!(encode(""), [0, 2]);
        assert_eq!(encode("LAGVSERTIDPKQNFYMHWCXBUZO.-"), [&[0][..], &(4..=30).collect::<Vec<_>>(), &[2]].concat());
    }

    #[test]
    fn every_unknown_character_is_one_unk() {
        assert_eq!(encode("MKacDE"), [0, 20, 15, 3, 3, 13, 9, 2]);
        assert_eq!(encode("J* 1"), [0, 3, 3, 3, 3, 2]);
    }

    #[test]
    fn a_symbol_in_brackets_is_no_symbol_in_a_sequence() {
        assert_eq!(encode("<mask>"), [0, 3, 3, 3, 3, 3, 3, 2]);
    }

    #[test]
    fn no_id_reaches_the_vocabulary() {
        let all: Vec<u8> = (0..=255).collect();
        let ids = EsmTokenizer.encode(&all).unwrap();
        assert!(ids.iter().all(|&id| (id as usize) < EsmTokenizer.vocabulary()));
    }
}
