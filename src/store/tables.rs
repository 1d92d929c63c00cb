//! Rows of the tables that stages hand to each other and to the user. One struct, one header, one table.

use serde::{Deserialize, Serialize};

/// Why a window has scores or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowStatus {
    /// It has an open frame.
    Framed,
    /// Every frame that can be read holds a stop codon.
    NoOpenFrame,
    /// No frame can be read: every codon holds a letter other than A, C, G, T.
    Ambiguous,
    /// Fewer than three bases: no codon.
    TooShort,
}

impl WindowStatus {
    /// As it stands in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Framed => "framed",
            Self::NoOpenFrame => "no_open_frame",
            Self::Ambiguous => "ambiguous",
            Self::TooShort => "too_short",
        }
    }
}

/// `windows/windows.tsv`: every window of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRow {
    /// Identifier of the sequence, unique in the run.
    pub sequence: String,
    /// Identifier of the window: `{sequence}_chunk_{k}`.
    pub window: String,
    /// First base, counted from 0.
    pub start: u64,
    /// One past the last base.
    pub end: u64,
    /// Open frames, as `F1,R3`.
    pub frames: String,
    /// Why it has scores or none.
    pub status: WindowStatus,
}

impl WindowRow {
    /// Columns.
    pub const HEADER: [&'static str; 6] = ["sequence", "window", "start", "end", "frames", "status"];

    /// Names of the open frames.
    pub fn frame_names(&self) -> impl Iterator<Item = &str> {
        self.frames.split(',').filter(|name| !name.is_empty())
    }
}

/// `windows/inputs.tsv`: every record of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRow {
    /// Sample, from the sample sheet or the file's name.
    pub sample: String,
    /// File.
    pub file: String,
    /// Number of the record in its file, from 1.
    pub record: u64,
    /// Line of its header.
    pub line: u64,
    /// Identifier in this run, unique.
    pub sequence: String,
    /// Identifier in the file; differs from `sequence` where a second record had the same.
    pub original: String,
    /// Length in bases.
    pub length: u64,
    /// Letters other than A, C, G, T.
    pub ambiguous: u64,
    /// Windows.
    pub windows: u64,
    /// Windows with an open frame.
    pub framed: u64,
    /// Open frames.
    pub frames: u64,
}

impl InputRow {
    /// Columns.
    pub const HEADER: [&'static str; 11] = [
        "sample",
        "file",
        "record",
        "line",
        "sequence",
        "original",
        "length",
        "ambiguous",
        "windows",
        "framed",
        "frames",
    ];
}

/// `predictions/frames.tsv`: every open frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameScoreRow {
    /// Identifier of the frame: window and frame.
    pub id: String,
    /// Sequence.
    pub sequence: String,
    /// Window.
    pub window: String,
    /// Frame, F1 to R3.
    pub frame: String,
    /// `virus` or `others`: the larger score, `others` where they are equal.
    pub prediction: String,
    /// Probability of class 0.
    pub score_others: String,
    /// Probability of class 1.
    pub score_virus: String,
    /// Bundle and digest.
    pub model: String,
}

impl FrameScoreRow {
    /// Columns.
    pub const HEADER: [&'static str; 8] =
        ["id", "sequence", "window", "frame", "prediction", "score_others", "score_virus", "model"];
}

/// `predictions/windows.tsv`: every window of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowVerdictRow {
    /// Sequence.
    pub sequence: String,
    /// Window.
    pub window: String,
    /// First base, counted from 0.
    pub start: u64,
    /// One past the last base.
    pub end: u64,
    /// Open frames, as `F1,R3`.
    pub frames: String,
    /// Why it has scores or none.
    pub status: WindowStatus,
    /// `virus`, `others`, or nothing where there is no score.
    pub verdict: String,
    /// Largest probability of class 0 among its frames.
    pub score_others: String,
    /// Largest probability of class 1 among its frames.
    pub score_virus: String,
    /// Bundle and digest.
    pub model: String,
}

impl WindowVerdictRow {
    /// Columns.
    pub const HEADER: [&'static str; 10] =
        ["sequence", "window", "start", "end", "frames", "status", "verdict", "score_others", "score_virus", "model"];
}

/// `predictions/sequences.tsv`: every record of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceVerdictRow {
    /// Sample.
    pub sample: String,
    /// Sequence.
    pub sequence: String,
    /// Length in bases.
    pub length: u64,
    /// Windows.
    pub windows: u64,
    /// Windows with a score.
    pub windows_called: u64,
    /// Windows called viral.
    pub viral_windows: u64,
    /// Viral among called windows, 0 to 1; nothing where none was called.
    pub viral_share: String,
    /// Largest probability of a virus among its windows.
    pub best_p_virus: String,
    /// Mean over its windows of the window's largest probability of a virus.
    pub mean_p_virus: String,
    /// `viral`, `mixed`, `non-viral` or `no-call`.
    pub tier: String,
    /// Bundle and digest.
    pub model: String,
}

impl SequenceVerdictRow {
    /// Columns.
    pub const HEADER: [&'static str; 11] = [
        "sample",
        "sequence",
        "length",
        "windows",
        "windows_called",
        "viral_windows",
        "viral_share",
        "best_p_virus",
        "mean_p_virus",
        "tier",
        "model",
    ];
}
