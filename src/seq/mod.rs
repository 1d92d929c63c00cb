//! Sequences: records read from files, cut into windows, read in six frames.

mod checker;
pub mod codon;
mod decompress;
mod fastx;
mod frame;
mod letters;
mod names;
mod rules;
mod sniff;
mod source;
mod summary;
mod text;
mod window;

pub use fastx::{Reader, Record};
pub use frame::{Frame, OpenFrame, SixFrames, Strand};
pub use letters::{Alphabet, Letters};
pub use names::Names;
pub use rules::Limits;
pub use source::Source;
pub use summary::{Compression, Format, Note, Summary};
pub use window::{Window, Windows, windows};
