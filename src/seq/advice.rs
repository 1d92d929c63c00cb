//! What a user can do about a byte that may not stand in a sequence: most have a well-known cause.

use super::letters::Alphabet;
use super::shared::Rules;
use super::summary::Format;
use super::tally::is_amino_acid_only;

/// A byte that may not stand where it stands.
pub(super) struct Misplaced<'a> {
    pub byte: u8,
    /// Its column, from 1.
    pub column: u64,
    /// The text from there on; behind the blanks, where the byte is one.
    pub rest: &'a [u8],
    pub rules: &'a Rules,
}

impl Misplaced<'_> {
    /// The advice for a sequence line.
    pub(super) fn advice(&self) -> String {
        let (shape, format) = (Shape::of(self.line(), self.column), self.rules.format);
        let blank = self.byte.is_ascii_whitespace();
        let advice = match (shape, self.byte) {
            _ if shape == Shape::Numbered || (blank && self.is_number()) => {
                "these are numbered lines, as in GenBank and EMBL files: convert the file to FASTA, for example with \
                 any2fasta or EMBOSS seqret"
            }
            (Shape::Numbers, _) => "these are numbers, as in a file of qualities (.qual): give the sequences",
            (Shape::Colours, _) => "this looks like SOLiD colour space: convert the reads to bases first",
            (_, b'>') if self.column > 1 => "a line break seems to be missing before this header",
            (_, b'.') if format == Format::Fastq => return self.or_mask("some sequencers write . for N: write N"),
            (_, 0x80..) => "this is not a plain letter; it may come from a word processor: type it again",
            _ if format == Format::Fastq => "look at the record around this line: it must have four lines",
            (_, byte) => return self.advice_in_fasta(byte),
        };
        advice.to_owned()
    }

    fn advice_in_fasta(&self, byte: u8) -> String {
        let first = self.column == 1;
        let advice = match byte {
            b'@' | b'+' if first => "this looks like a FASTQ record in a FASTA file: do not mix the formats",
            b';' | b'#' if first => "comment lines are not read: remove them",
            b'/' if self.rest.starts_with(b"//") => {
                "this ends a record of a GenBank, EMBL or Stockholm file: convert the file to FASTA"
            }
            b' ' | b'\t' => "remove the spaces inside the line",
            b'0'..=b'9' => "remove the numbers from the sequence",
            _ if self.rules.alphabet == Alphabet::Protein => {
                "write X for an unknown residue, and one residue for several; if there are many such characters, this is a \
                 different kind of file"
            }
            _ => return self.advice_for_nucleotides(byte),
        };
        advice.to_owned()
    }

    fn advice_for_nucleotides(&self, byte: u8) -> String {
        let advice = match byte {
            b'[' | b']' | b'(' | b')' | b'{' | b'}' | b'/' => {
                return "variants in brackets are not read: write one IUPAC code for them, such as R for A or G"
                    .to_owned();
            }
            b'.' | b'*' => "this looks like an alignment or a translation: give the plain nucleotide sequence",
            b'?' | b'~' => "write N for an unknown base",
            b'I' | b'i' => {
                "I is isoleucine in a protein: give nucleotide sequences; in nucleotides it is inosine, which is not read: \
                 write N for it"
            }
            _ if is_amino_acid_only(byte.to_ascii_uppercase()) => {
                "this letter occurs in proteins only: give nucleotide sequences; if these are, correct the letter"
            }
            _ => return "correct the line; if there are many like it, this is a different kind of file".to_owned(),
        };
        self.or_mask(advice)
    }

    /// The advice, and the option that reads such letters as N where the command has it.
    fn or_mask(&self, advice: &str) -> String {
        let more = if self.rules.chosen { ", or read such letters as N with --letters mask" } else { "" };
        format!("{advice}{more}")
    }

    /// Whether nothing but a number is left of the line.
    fn is_number(&self) -> bool {
        !self.line().is_empty() && self.line().iter().all(u8::is_ascii_digit)
    }

    fn line(&self) -> &[u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        self.rest[..end.unwrap_or(self.rest.len())].trim_ascii()
    }
}

/// What the rest of a line looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Letters with a number before or after them.
    Numbered,
    /// Several numbers.
    Numbers,
    /// Colours 0 to 3, after the base they start from.
    Colours,
    Other,
}

/// Whether a word is a number followed at once by letters.
fn is_number_and_letters(word: &[u8]) -> bool {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let letters = word.get(digits..).unwrap_or_default();
    digits > 0 && letters.len() > 9 && letters.iter().all(u8::is_ascii_alphabetic)
}

impl Shape {
    fn of(line: &[u8], column: u64) -> Self {
        let is = |word: &[u8], kind: fn(&u8) -> bool| word.iter().all(kind);
        let number = |word: &[u8]| is(word, u8::is_ascii_digit);
        let letters = |word: &[u8]| is(word, u8::is_ascii_alphabetic);
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        match words.next_back() {
            Some(last) if number(first) && number(last) => Self::Numbers,
            Some(last) if (number(first) && letters(last)) || (letters(first) && number(last)) => Self::Numbered,
            None if is_number_and_letters(first) => Self::Numbered,
            None if column == 2 && line.len() > 3 && is(line, |byte| matches!(byte, b'0'..=b'3' | b'.')) => {
                Self::Colours
            }
            _ => Self::Other,
        }
    }
}
