//! The letters of an input as they pass: what they tell of its kind, and those that are read as others.

use std::ops::{Add, AddAssign};

use super::letters::{Alphabet, all_bases};
use crate::units::{InputPolicy, Uracil};

/// What letters tell of the kind of a sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    letters: u64,
    /// Those that are neither a base nor N, X or U.
    others: u64,
    /// Those that are not nucleotide codes.
    unknown: u64,
    /// Which letters of amino acids that are not nucleotide codes, one bit each.
    amino_acids: u32,
    /// Which of A, C, G and T, one bit each.
    bases: u32,
}

/// Letters from which on a content speaks for itself.
const ENOUGH: u64 = 60;
/// The same of a record among others.
const ENOUGH_OF_A_RECORD: u64 = 20;

impl Evidence {
    /// Of the sequences in a piece of FASTA.
    pub(super) fn of_fasta(text: &[u8]) -> Self {
        let mut evidence = Self::default();
        evidence.add_fasta(text);
        evidence
    }

    /// Adds the sequences of a piece of FASTA, which may start within a sequence line.
    pub(super) fn add_fasta(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b">")) {
            line.iter().for_each(|byte| self.add(*byte));
        }
    }

    fn add(&mut self, byte: u8) {
        let letter = byte.to_ascii_uppercase();
        if !letter.is_ascii_uppercase() && letter != b'*' {
            return;
        }
        self.letters += 1;
        match letter {
            b'A' => self.bases |= 1,
            b'C' => self.bases |= 2,
            b'G' => self.bases |= 4,
            b'T' | b'U' => self.bases |= 8,
            b'N' | b'X' => {}
            _ => self.add_other(letter),
        }
    }

    fn add_other(&mut self, letter: u8) {
        self.others += 1;
        self.unknown += u64::from(Alphabet::Nucleotide.table()[usize::from(letter)] != 0);
        if is_amino_acid_only(letter) {
            self.amino_acids |= 1 << (letter - b'A');
        }
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.letters == 0
    }

    /// Whether this can only be protein: a third of another kind than bases, three amino acids among them. One
    /// line of odd letters in a sequence of DNA does not reach that.
    pub(super) fn is_protein(&self) -> bool {
        self.amino_acids.count_ones() >= 3 && 3 * self.others > self.letters
    }

    /// The same of a record of nucleotides in which letters are masked: a few odd ones do not make it a protein.
    pub(super) fn is_protein_record(&self) -> bool {
        self.letters >= ENOUGH_OF_A_RECORD && self.is_protein()
    }

    /// Letters of another kind than bases, N and X, and all letters, where the former are the most.
    pub(super) fn few_bases(&self) -> Option<(u64, u64)> {
        (2 * self.others > self.letters).then_some((self.others, self.letters))
    }

    /// Whether this may be nucleotides, however little of it there is.
    pub(super) fn is_like_dna(&self) -> bool {
        self.is_codes() && 10 * self.others <= self.letters
    }

    /// Whether there are enough letters to judge a whole input, or else one record.
    pub(super) fn is_enough(&self, whole: bool) -> bool {
        self.letters >= if whole { ENOUGH } else { ENOUGH_OF_A_RECORD }
    }

    /// Whether all letters are nucleotide codes.
    pub(super) fn is_codes(&self) -> bool {
        self.unknown == 0
    }

    /// Whether this can only be nucleotides: bases and N, a few other codes, enough of them, and three kinds at least,
    /// which a peptide of one or two residues does not have.
    pub(super) fn is_mostly_dna(&self) -> bool {
        self.letters >= ENOUGH && 10 * self.others <= self.letters && self.bases.count_ones() >= 3
    }
}

impl AddAssign for Evidence {
    fn add_assign(&mut self, other: Self) {
        self.letters += other.letters;
        self.others += other.others;
        self.unknown += other.unknown;
        self.amino_acids |= other.amino_acids;
        self.bases |= other.bases;
    }
}

impl Add for Evidence {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// Whether a letter (upper case) is an amino acid's and not a nucleotide code. I may be inosine, X and `*` are
/// masks.
pub(super) fn is_amino_acid_only(letter: u8) -> bool {
    matches!(letter, b'E' | b'F' | b'J' | b'L' | b'O' | b'P' | b'Q' | b'Z')
}

/// Letters that were read as N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// How many.
    pub letters: u64,
    /// Line of the first.
    pub line: u64,
}

impl Masked {
    fn count(&mut self, line: u64) {
        if self.letters == 0 {
            self.line = line;
        }
        self.letters += 1;
    }
}

/// Counts the nucleotides of an input, and puts T for U and N for unknown letters where that is asked for.
pub(super) struct Tally {
    policy: InputPolicy,
    /// Of the records before.
    before: Evidence,
    /// Of the current record.
    pub(super) record: Evidence,
    pub(super) uracil: u64,
    pub(super) masked: Masked,
    /// Those of the current record.
    pub(super) masked_here: Masked,
}

impl Tally {
    pub(super) fn new(policy: InputPolicy) -> Self {
        let (evidence, masked) = (Evidence::default(), Masked::default());
        Self { policy, before: evidence, record: evidence, uracil: 0, masked, masked_here: masked }
    }

    /// What all letters tell.
    pub(super) fn evidence(&self) -> Evidence {
        self.before + self.record
    }

    /// Begins another record.
    pub(super) fn begin_record(&mut self) {
        self.before += std::mem::take(&mut self.record);
        self.masked_here = Masked::default();
    }

    /// Reads letters of a sequence on `line`.
    pub(super) fn read(&mut self, letters: &mut [u8], line: u64) {
        self.record.letters += letters.len() as u64;
        for block in letters.chunks_mut(64).filter(|block| !all_bases(block)) {
            block.iter_mut().for_each(|byte| self.read_letter(byte, line));
        }
    }

    fn read_letter(&mut self, byte: &mut u8, line: u64) {
        let lower = *byte & 0x20;
        match byte.to_ascii_uppercase() {
            b'A' | b'C' | b'G' | b'T' | b'N' | b'X' => {}
            b'-' => self.record.letters -= 1,
            b'U' => {
                self.uracil += 1;
                if self.policy.uracil == Uracil::T {
                    *byte = b'T' | lower;
                }
            }
            letter => {
                // Signs such as '.' are of no kind.
                if letter.is_ascii_uppercase() {
                    self.record.add_other(letter);
                } else {
                    self.record.letters -= 1;
                }
                if Alphabet::Nucleotide.table()[usize::from(letter)] != 0 {
                    self.masked.count(line);
                    self.masked_here.count(line);
                    *byte = if byte.is_ascii_lowercase() { b'n' } else { b'N' };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnknownLetters;

    fn evidence(text: &str) -> Evidence {
        Evidence::of_fasta(text.as_bytes())
    }

    #[test]
    fn proteins_are_told_from_dna_with_odd_letters() {
        let dna = "ACGTTGCAAC".repeat(20);
        for protein in ["MKVLAAGIVGLPNVGKSTLFNALTKAGAE", "mslfep", ">a\nMKT\n>b\nLLEPQ\nKV"] {
            assert!(evidence(protein).is_protein(), "{protein}");
        }
        let odd = format!("{dna}\nEFILPQZEFILPQZ\n{dna}");
        for text in [&odd, &format!("{dna}{}", "X".repeat(500)), &"I".repeat(90), &"ACGI*".repeat(9), "RYKMSWBDHVRY"] {
            assert!(!evidence(text).is_protein(), "{text}");
        }
    }

    #[test]
    fn dna_may_have_a_few_codes() {
        for dna in ["ACGTN-".repeat(12), "acgu".repeat(15), "ACGTACGTACGTR".repeat(9)] {
            assert!(evidence(&dna).is_mostly_dna(), "{dna}");
        }
        for peptide in ["A".repeat(400), "AG".repeat(200), "ACGT".repeat(14), "MKVAAGTTTS".repeat(9)] {
            assert!(!evidence(&peptide).is_mostly_dna(), "{peptide}");
        }
    }

    #[test]
    fn signs_of_a_mask_tell_nothing_of_the_kind() {
        let mut tally = Tally::new(InputPolicy { letters: UnknownLetters::Mask, ..InputPolicy::default() });
        tally.read(&mut b"AC......??~~**--".to_vec(), 1);
        assert_eq!((tally.evidence().few_bases(), tally.masked.letters), (None, 12));
        tally.read(&mut b"MKV".to_vec(), 1);
        assert_eq!(tally.evidence().few_bases(), Some((3, 5)));
    }

    #[test]
    fn letters_are_replaced_where_they_stand_and_counted() {
        let read = |policy, text: &str| {
            let mut tally = Tally::new(policy);
            let mut letters = text.as_bytes().to_vec();
            for (line, part) in letters.chunks_mut(70).enumerate() {
                tally.read(part, line as u64 + 1);
            }
            (String::from_utf8(letters).unwrap(), tally.uracil, tally.masked)
        };
        let text = format!("{}uUxXnRr-{}Ee*I.?~", "ACGT".repeat(33), "acgt".repeat(20));
        let letters = UnknownLetters::Mask;
        let masked = Masked { letters: 7, line: 4 };
        let expected = format!("{}tTxXnRr-{}NnNNNNN", "ACGT".repeat(33), "acgt".repeat(20));
        assert_eq!(read(InputPolicy { letters, ..InputPolicy::default() }, &text), (expected, 2, masked));
        let kept = &text[..text.len() - 7];
        assert_eq!(read(InputPolicy::AS_IT_STANDS, kept), (kept.to_owned(), 2, Masked::default()));
    }
}
