//! The letters of a file of proteins as they pass: whether they are nucleotides instead.

use std::ops::AddAssign;

use super::letters::Alphabet;

/// Bases from which on varied letters cannot be a protein.
const VARIED: u64 = 100;
/// Bases of one record from which on even a repeat is taken for DNA: a frame of a window of 500 bases has 166 residues.
const LONG: u64 = 300;
/// Words of four bases, of 256, that varied DNA has: random DNA has 80 of them in 100 bases, a tandem repeat as many as
/// its unit has letters.
const WORDS: u32 = 48;
/// Letters from which on a record among proteins deserves a warning; shorter peptides may have such letters by chance.
const NOTABLE: u64 = 60;

/// Counts of the letters of a record, or of all of a file.
///
/// A, C, G and T are residues too. A protein without any other is a short peptide or the translation of a tandem repeat:
/// it lacks one of the four, or repeats itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Residues {
    letters: u64,
    /// A, C, G, and T or U.
    bases: [u64; 4],
    /// Codes of several bases, without N and X.
    codes: u64,
    /// Letters that are not nucleotide codes.
    others: u64,
    /// The words of four bases that occur, one bit each.
    words: [u64; 4],
    /// The last four bases, two bits each, and how many of them there are.
    last: (u8, u8),
    /// Whether one record alone has enough of them.
    long: bool,
}

/// How much a sequence looks like nucleotides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Not at all.
    Protein,
    /// It may be either.
    Unclear,
    /// It can hardly be anything else.
    Nucleotides,
}

impl Residues {
    /// Of the sequences in a piece of FASTA.
    pub(super) fn of_fasta(text: &[u8]) -> Self {
        let (mut all, mut record) = (Self::default(), Self::default());
        for line in text.split(|byte| *byte == b'\n') {
            if line.starts_with(b">") {
                all += std::mem::take(&mut record);
            } else {
                record.add(line);
            }
        }
        all += record;
        all
    }

    /// Adds letters of a sequence.
    pub(super) fn add(&mut self, letters: &[u8]) {
        letters.iter().for_each(|byte| self.add_letter(byte.to_ascii_uppercase()));
        self.long |= self.bases() >= LONG;
    }

    fn add_letter(&mut self, letter: u8) {
        let base = match letter {
            b'A' => 0,
            b'C' => 1,
            b'G' => 2,
            b'T' | b'U' => 3,
            _ => return self.add_other(letter),
        };
        self.letters += 1;
        self.bases[usize::from(base)] += 1;
        let word = self.last.0 << 2 | base;
        self.last = (word, (self.last.1 + 1).min(4));
        if self.last.1 == 4 {
            self.words[usize::from(word >> 6)] |= 1 << (word & 63);
        }
    }

    fn add_other(&mut self, letter: u8) {
        self.last = (0, 0);
        if letter.is_ascii_uppercase() || letter == b'*' {
            self.letters += 1;
            match letter {
                b'N' | b'X' => {}
                _ if Alphabet::Nucleotide.table()[usize::from(letter)] == 0 => self.codes += 1,
                _ => self.others += 1,
            }
        }
    }

    fn bases(&self) -> u64 {
        self.bases.iter().sum()
    }

    /// What the letters tell, by their kinds, shares and variety.
    pub(super) fn likeness(&self) -> Likeness {
        let (bases, rarest) = (self.bases(), self.bases.iter().min().copied().unwrap_or(0));
        let varied = bases >= VARIED && self.words.iter().map(|words| words.count_ones()).sum::<u32>() >= WORDS;
        if bases == 0 || self.others > 0 || 10 * self.codes > self.letters {
            Likeness::Protein
        } else if 32 * rarest >= bases && (varied || self.long) {
            Likeness::Nucleotides
        } else if self.codes == 0 {
            Likeness::Unclear
        } else {
            Likeness::Protein
        }
    }

    /// Whether a record among proteins may be nucleotides and is long enough to be told.
    pub(super) fn is_notable(&self) -> bool {
        let kinds = self.bases.iter().filter(|count| **count > 0).count();
        self.likeness() != Likeness::Protein && self.letters >= NOTABLE && kinds >= 3
    }

    /// The letters in words.
    pub(super) fn words(&self) -> String {
        let codes = if self.codes > 0 { ", and codes of several bases" } else { "" };
        format!("nothing but A, C, G, T, U, N and X{codes} in {} letters", self.letters)
    }
}

impl AddAssign for Residues {
    fn add_assign(&mut self, other: Self) {
        self.letters += other.letters;
        self.codes += other.codes;
        self.others += other.others;
        self.long |= other.long;
        self.bases.iter_mut().zip(other.bases).for_each(|(sum, count)| *sum += count);
        self.words.iter_mut().zip(other.words).for_each(|(all, words)| *all |= words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bases from a fixed seed.
    fn dna(length: usize) -> String {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            char::from(b"ACGT"[(state >> 62) as usize])
        };
        (0..length).map(|_| next()).collect()
    }

    fn likeness(text: &str) -> Likeness {
        Residues::of_fasta(text.as_bytes()).likeness()
    }

    #[test]
    fn varied_or_long_dna_is_told_from_proteins() {
        let reads: String =
            dna(600).as_bytes().chunks(50).map(|read| format!(">r\n{}\n", read.escape_ascii())).collect();
        let masked = format!("{}{}", dna(150), "X".repeat(400));
        let coded = format!("{}RYK", dna(150));
        for text in [&dna(900), &dna(120).to_lowercase(), &dna(200).replace('T', "U"), &reads, &masked, &coded] {
            assert_eq!(likeness(text), Likeness::Nucleotides, "{text}");
        }
        assert_eq!(likeness(&"ACGT".repeat(225)), Likeness::Nucleotides);
    }

    #[test]
    fn the_translation_of_a_tandem_repeat_is_unclear() {
        let frames: String = (0..20).map(|_| format!(">f\n{}\n", "ACGTTG".repeat(27))).collect();
        for text in [&frames, &"A".repeat(400), &"AG".repeat(200), &"AGT".repeat(200), ">a\nACGTACGT\n", &dna(60)] {
            assert_eq!(likeness(text), Likeness::Unclear, "{text}");
        }
    }

    #[test]
    fn a_protein_has_letters_of_its_own() {
        for text in ["", ">a\n>b\n", "XXXX", "MKVAAGGT", "MKVLAAGIVGLPNVGKSTLFNALTKAGAE", &format!("{}L", dna(500))] {
            assert_eq!(likeness(text), Likeness::Protein, "{text}");
        }
    }
}
