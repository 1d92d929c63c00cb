//! Which letters a sequence may hold, and how many of each kind it has.

use std::ops::AddAssign;

use crate::units::UnknownLetters;

/// What a file's sequences are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// IUPAC nucleotide codes of any case, U, X for a masked base, and `-` for a gap.
    Nucleotide,
    /// Letters of any case, `*`, `-` and `.`.
    Protein,
}

impl Alphabet {
    /// A table of 256 entries, zero for every letter of the alphabet.
    pub(super) fn table(self) -> &'static [u8; 256] {
        match self {
            Self::Nucleotide => &NUCLEOTIDE,
            Self::Protein => &PROTEIN,
        }
    }

    /// The same for the letters that are read, be it as N.
    pub(super) fn admitted(self, unknown: UnknownLetters) -> &'static [u8; 256] {
        match (self, unknown) {
            (Self::Nucleotide, UnknownLetters::Mask) => &MASKED,
            _ => self.table(),
        }
    }

    /// The letters in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Nucleotide => "one of A C G T U R Y K M S W B D H V N X -, in upper or lower case",
            Self::Protein => "a letter, '*', '-' or '.'",
        }
    }
}

/// Zero for every character of a FASTQ quality line.
pub(super) static QUALITY: [u8; 256] = {
    let mut table = [1; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = 0;
        byte += 1;
    }
    table
};

static NUCLEOTIDE: [u8; 256] = letters_of(b"ACGTURYKMSWBDHVNX-");
static MASKED: [u8; 256] = letters_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-*.?~");
static PROTEIN: [u8; 256] = letters_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ*-.");

const fn letters_of(alphabet: &[u8]) -> [u8; 256] {
    let mut table = [1; 256];
    let mut i = 0;
    while i < alphabet.len() {
        table[alphabet[i].to_ascii_uppercase() as usize] = 0;
        table[alphabet[i].to_ascii_lowercase() as usize] = 0;
        i += 1;
    }
    table
}

/// How many leading bytes of `text` are zero in `table`, in which A, C, G and T are.
pub(super) fn run(table: &[u8; 256], text: &[u8]) -> usize {
    let mut length = 0;
    for block in text.as_chunks::<32>().0 {
        // Mostly bases: a test without a table, which compilers vectorise. The others: one branch a block.
        if !all_bases(block) && block.iter().fold(0, |seen, byte| seen | table[usize::from(*byte)]) != 0 {
            break;
        }
        length += block.len();
    }
    length + text[length..].iter().take_while(|byte| table[usize::from(**byte)] == 0).count()
}

/// Whether all bytes are A, C, G or T, of any case.
pub(super) fn all_bases(block: &[u8]) -> bool {
    block.iter().fold(true, |all, byte| all & is_base(*byte))
}

/// Counts of the letters whose codons are left out, for a user to hear about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// IUPAC codes of more than one base, N among them, and X.
    pub ambiguous: u64,
    /// U, of RNA.
    pub uracil: u64,
    /// `-`, gaps of an alignment.
    pub gap: u64,
}

impl Letters {
    /// Counts the letters of a nucleotide sequence.
    pub fn count(bases: &[u8]) -> Self {
        let mut letters = Self::default();
        let (blocks, rest) = bases.as_chunks::<64>();
        for block in blocks.iter().filter(|block| !all_bases(*block)) {
            letters.add(block);
        }
        letters.add(rest);
        letters
    }

    fn add(&mut self, bases: &[u8]) {
        for byte in bases.iter().filter(|byte| !is_base(**byte)) {
            match byte {
                b'U' | b'u' => self.uracil += 1,
                b'-' => self.gap += 1,
                _ => self.ambiguous += 1,
            }
        }
    }
}

impl AddAssign for Letters {
    fn add_assign(&mut self, other: Self) {
        self.ambiguous += other.ambiguous;
        self.uracil += other.uracil;
        self.gap += other.gap;
    }
}

fn is_base(byte: u8) -> bool {
    let lower = byte | 0x20;
    (lower == b'a') | (lower == b'c') | (lower == b'g') | (lower == b't')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_wherever_they_stand() {
        let bases = b"acgtACGTNnRyUu--".repeat(1000);
        assert_eq!(Letters::count(&bases), Letters { ambiguous: 4000, uracil: 2000, gap: 2000 });
        assert_eq!(Letters::count(b""), Letters::default());
        for place in 0..130 {
            let mut bases = vec![b'g'; 130];
            bases[place] = b'n';
            assert_eq!(Letters::count(&bases), Letters { ambiguous: 1, uracil: 0, gap: 0 });
        }
    }

    #[test]
    fn a_run_ends_at_the_first_other_byte_wherever_it_is() {
        let table = Alphabet::Nucleotide.table();
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert_eq!(run(table, &text), length);
            text.push(b'\n');
            text.extend(b"ACGT".repeat(9));
            assert_eq!(run(table, &text), length);
        }
    }

    #[test]
    fn the_nucleotide_alphabet_is_iupac_with_u_x_and_gap() {
        let allowed: Vec<u8> = (0..=255).filter(|byte| NUCLEOTIDE[usize::from(*byte)] == 0).collect();
        assert_eq!(allowed, b"-ABCDGHKMNRSTUVWXYabcdghkmnrstuvwxy");
    }
}
