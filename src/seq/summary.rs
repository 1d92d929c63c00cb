//! What is known of an input once it has been read.

use std::fmt;

use super::source::Source;
use super::tally::Masked;
use crate::error::{Error, Fault};

/// The text format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `>` headers and sequence lines.
    Fasta,
    /// Records of four lines.
    Fastq,
}

/// The compression of an input, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// gzip, of one or more members; BGZF is one kind.
    Gzip,
    /// bzip2, of one or more streams.
    Bzip2,
    /// xz, of one or more streams.
    Xz,
    /// Zstandard, of one or more frames.
    Zstd,
}

/// An input as it was read, to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// FASTA or FASTQ.
    pub format: Format,
    /// How it was compressed.
    pub compression: Compression,
    /// Records, empty ones among them.
    pub records: u64,
    /// Bases of all records.
    pub bases: u64,
    /// Size as stored.
    pub bytes: u64,
    /// BLAKE3 digest of the bytes as stored.
    pub digest: blake3::Hash,
    /// Letters U, of nucleotides.
    pub uracil: u64,
    /// Letters that were read as N.
    pub masked: Masked,
    /// What a user may want to know, without being an error.
    pub notes: Vec<Note>,
}

/// A peculiarity of an input that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A UTF-8 byte order mark before the first header was skipped.
    ByteOrderMark,
    /// The name promises another compression than the content has.
    NameMismatch {
        /// What the content is.
        content: Compression,
    },
    /// A BGZF part has no end-of-file block: some programs leave it out, or the file is cut.
    NoBgzfEnd,
    /// The last line has no line end: the file may be cut.
    NoFinalNewline,
    /// A header ends in what looks like a sequence: a line end may be missing.
    SequenceInHeader {
        /// The first such line.
        line: u64,
    },
    /// The third line of a FASTQ record names another record than the first: lines may be missing.
    SeparatorName {
        /// The first such line.
        line: u64,
    },
    /// Where nucleotides are wanted, most letters are not bases.
    FewBases {
        /// Line of the record's header, or nothing for a whole input.
        line: Option<u64>,
        /// Letters other than A, C, G, T, U, N and X.
        others: u64,
        /// All letters.
        letters: u64,
    },
    /// Where proteins are wanted, the letters may be nucleotides.
    Nucleotides {
        /// Line of the record's header, or nothing for a whole input.
        line: Option<u64>,
    },
}

impl Note {
    /// The error that this is for a strict reader; nothing for what harms nobody.
    pub(super) fn as_error(&self, source: &Source) -> Option<Error> {
        let (fault, line, advice) = match self {
            Self::ByteOrderMark => return None,
            Self::NameMismatch { .. } => {
                (Fault::InputCompression, None, "rename the file: its ending must fit its content")
            }
            Self::NoBgzfEnd => {
                (Fault::InputBgzfEof, None, "copy or download it again and compare its checksum, or pack it with bgzip")
            }
            Self::NoFinalNewline => {
                (Fault::InputTruncated, None, "copy or download it again, or add the line break if it is complete")
            }
            Self::SequenceInHeader { line } => (Fault::InputFormat, Some(*line), "look at this line and correct it"),
            Self::SeparatorName { line } => {
                (Fault::InputFastq, Some(*line), "look at the records around this line: lines may be missing")
            }
            Self::FewBases { line, .. } => (Fault::InputProtein, *line, "give nucleotides, not their translation"),
            Self::Nucleotides { line } => (Fault::InputFormat, *line, "give proteins"),
        };
        let error = source.fault(fault, format!("{source}: {self}"));
        let error = line.into_iter().fold(error, Error::line);
        Some(error.advice(format!("{advice}; without --strict-input this is a warning")))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fasta => "FASTA",
            Self::Fastq => "FASTQ",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "not compressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => f.write_str("a byte order mark at the start was skipped"),
            Self::NameMismatch { content } => write!(f, "despite its name, the content is {content}"),
            Self::NoBgzfEnd => f.write_str(
                "the BGZF end-of-file block is missing; some programs leave it out, but check that the file is complete",
            ),
            Self::NoFinalNewline => f.write_str("the last line has no line break; check that the file is complete"),
            Self::SequenceInHeader { line } => {
                write!(f, "the header on line {line} ends with what looks like a sequence; a line break may be missing")
            }
            Self::SeparatorName { line } => {
                write!(f, "the '+' on line {line} is followed by the name of another record; lines may be missing")
            }
            Self::FewBases { line, others, letters } => {
                let what = line.map_or_else(|| "this".to_owned(), |line| format!("the record on line {line}"));
                write!(f, "{what} looks like protein: {others} of {letters} letters are not A, C, G, T, U, N or X")
            }
            Self::Nucleotides { line } => {
                let whose = line.map_or_else(String::new, |line| format!(" of the record on line {line}"));
                write!(f, "all letters{whose} are A, C, G, T, U, N or X; check that these are proteins, not nucleotides")
            }
        }
    }
}
