//! Which letters a sequence may hold, and how many of each kind it has.

use std::ops::AddAssign;

/// What a file's sequences are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// IUPAC nucleotide codes of any case, U, and `-` for a gap.
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

    /// The letters in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Nucleotide => "one of A C G T U R Y K M S W B D H V N -, in upper or lower case",
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

static NUCLEOTIDE: [u8; 256] = letters_of(b"ACGTURYKMSWBDHVN-");
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

/// How many leading bytes of `text` are zero in `table`.
pub(super) fn run(table: &[u8; 256], text: &[u8]) -> usize {
    let mut length = 0;
    // Whole blocks first: one branch for sixteen look-ups.
    for block in text.as_chunks::<16>().0 {
        if block.iter().fold(0, |seen, byte| seen | table[usize::from(*byte)]) != 0 {
            break;
        }
        length += block.len();
    }
    length + text[length..].iter().take_while(|byte| table[usize::from(**byte)] == 0).count()
}

/// Whether a letter is an amino acid's but no nucleotide's, or a stop.
pub(super) fn is_protein_only(byte: u8) -> bool {
    matches!(byte.to_ascii_uppercase(), b'E' | b'F' | b'I' | b'L' | b'P' | b'Q' | b'X' | b'Z' | b'J' | b'O' | b'*')
}

/// Counts of the letters that a user may want to hear about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Lower-case letters: soft masking, read like the others.
    pub lower: u64,
    /// IUPAC codes of more than one base, N among them: their codons are left out.
    pub ambiguous: u64,
    /// U, of RNA: its codons are left out.
    pub uracil: u64,
    /// `-`, gaps of an alignment: their codons are left out.
    pub gap: u64,
}

impl Letters {
    /// Counts the letters of a nucleotide sequence.
    pub fn count(bases: &[u8]) -> Self {
        let mut letters = Self::default();
        // Four counters of 16 bits in one word, emptied before they can overflow.
        for part in bases.chunks(usize::from(u16::MAX)) {
            let sum: u64 = part.iter().map(|byte| KINDS[usize::from(*byte)]).sum();
            let lane = |i: u32| sum >> (16 * i) & 0xFFFF;
            letters += Self { lower: lane(0), ambiguous: lane(1), uracil: lane(2), gap: lane(3) };
        }
        letters
    }
}

impl AddAssign for Letters {
    fn add_assign(&mut self, other: Self) {
        self.lower += other.lower;
        self.ambiguous += other.ambiguous;
        self.uracil += other.uracil;
        self.gap += other.gap;
    }
}

static KINDS: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let lower = if (byte as u8).is_ascii_lowercase() { 1 } else { 0 };
        table[byte] = lower
            | match (byte as u8).to_ascii_uppercase() {
                b'A' | b'C' | b'G' | b'T' => 0,
                b'U' => 1 << 32,
                b'-' => 1 << 48,
                other if NUCLEOTIDE[other as usize] == 0 => 1 << 16,
                _ => 0,
            };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_beyond_the_width_of_a_lane() {
        let bases = b"acgtACGTNnRyUu--".repeat(10_000);
        let expected = Letters { lower: 70_000, ambiguous: 40_000, uracil: 20_000, gap: 20_000 };
        assert_eq!(Letters::count(&bases), expected);
        assert_eq!(Letters::count(b""), Letters::default());
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
    fn the_nucleotide_alphabet_is_iupac_with_u_and_gap() {
        let allowed: Vec<u8> = (0..=255).filter(|byte| NUCLEOTIDE[usize::from(*byte)] == 0).collect();
        assert_eq!(allowed, b"-ABCDGHKMNRSTUVWYabcdghkmnrstuvwy");
    }
}
