//! Sequences: records read from files, cut into windows, read in six frames; and written to files.

mod advice;
pub mod base;
mod checked;
mod checker;
pub mod codon;
mod decompress;
mod fasta_writer;
mod fastx;
mod frame;
mod ids;
mod kind;
mod letters;
mod residues;
pub mod run;
mod shared;
mod sniff;
mod source;
mod summary;
mod tally;
mod window;

pub use fasta_writer::FastaWriter;
pub use fastx::{Reader, Record};
pub use frame::{Frame, FrameId, Reading, SixFrames, Strand};
pub use ids::Names;
pub use letters::{Alphabet, Letters};
pub use shared::Limits;
pub use source::{Source, is_waiting};
pub use summary::{Compression, Format, Note, Summary};
pub use tally::Masked;
pub use window::{Window, Windows, windows};
