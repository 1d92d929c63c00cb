//! Sequences: records read from files, cut into windows, read in six frames.

pub mod codon;
mod frame;
mod window;

pub use frame::{Frame, OpenFrame, SixFrames, Strand};
pub use window::{Window, Windows, windows};
