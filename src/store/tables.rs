//! Rows of the tables that stages hand to each other and to the user. One struct, one list of columns, one table.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::row::{Cell, Kind, Value, table_row};
use crate::units::Share;

/// Name of the counts beside the tables of verdicts.
pub const SUMMARY: &str = "summary.json";

/// Why a window has scores or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowStatus {
    /// It has a frame that counts.
    Framed,
    /// Every frame that can be read holds a stop codon.
    NoOpenFrame,
    /// No frame can be read: every codon holds a letter other than A, C, G, T.
    Ambiguous,
    /// Fewer than three bases: no codon.
    TooShort,
}

impl WindowStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Framed, Self::NoOpenFrame, Self::Ambiguous, Self::TooShort];

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

impl Cell for WindowStatus {
    const KIND: Kind = Kind::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(self.name())
    }
}

table_row! {
    /// `windows/inputs.tsv`: every record of the input.
    pub struct InputRow<'a> = "inputs" {
        /// Sample, from the sample sheet or the file's name.
        pub sample: Cow<'a, str>,
        /// File.
        pub file: Cow<'a, str>,
        /// Number of the record in its file, from 1.
        pub record: u64,
        /// Line of its header.
        pub line: u64,
        /// Identifier in this run, unique.
        pub sequence_id: Cow<'a, str>,
        /// Identifier in the file; differs from `sequence_id` where an earlier record had the same.
        pub original_id: Cow<'a, str>,
        /// Length in bases.
        pub length: u64,
        /// Letters other than A, C, G, T.
        pub n_ambiguous: u64,
        /// Windows.
        pub n_windows: u64,
        /// Windows with a frame that counts.
        pub n_framed_windows: u64,
        /// Frames that count.
        pub n_frames: u64,
    }
}

table_row! {
    /// `windows/windows.tsv`: every window of the input.
    pub struct WindowRow<'a> = "windows" {
        /// Sample.
        pub sample: Cow<'a, str>,
        /// Identifier of the sequence, unique in the run.
        pub sequence_id: Cow<'a, str>,
        /// Identifier of the window: `{sequence_id}_chunk_{k}`.
        pub window_id: Cow<'a, str>,
        /// First base, counted from 0.
        pub start: u64,
        /// One past the last base.
        pub end: u64,
        /// Frames that count, as `F1,R3`; nothing where there is none.
        pub frames: Option<Cow<'a, str>>,
        /// First base of the longest run, counted from 0; nothing where open frames are read.
        pub run_start: Option<u64>,
        /// One past its last base.
        pub run_end: Option<u64>,
        /// Why it has scores or none.
        pub status: WindowStatus,
    }
}

impl WindowRow<'_> {
    /// Names of the frames that count.
    pub fn frame_names(&self) -> impl Iterator<Item = &str> {
        self.frames.iter().flat_map(|names| names.split(','))
    }
}

table_row! {
    /// `predictions/frames.tsv`: every frame that counts.
    pub struct FrameVerdictRow<'a> = "frames" {
        /// Sample.
        pub sample: Cow<'a, str>,
        /// Identifier of the sequence.
        pub sequence_id: Cow<'a, str>,
        /// Identifier of the window.
        pub window_id: Cow<'a, str>,
        /// Identifier of the frame: window and frame.
        pub frame_id: Cow<'a, str>,
        /// Frame, F1 to R3.
        pub frame: Cow<'a, str>,
        /// `virus` or `others`: the larger score, `others` where they are equal.
        pub verdict: Cow<'a, str>,
        /// Probability of class 0.
        pub score_others: f32,
        /// Probability of class 1.
        pub score_virus: f32,
        /// Bundle and digest.
        pub model: Cow<'a, str>,
    }
}

table_row! {
    /// `predictions/windows.tsv`: every window of the input.
    pub struct WindowVerdictRow<'a> = "windows" {
        /// Sample.
        pub sample: Cow<'a, str>,
        /// Identifier of the sequence.
        pub sequence_id: Cow<'a, str>,
        /// Identifier of the window.
        pub window_id: Cow<'a, str>,
        /// First base, counted from 0.
        pub start: u64,
        /// One past the last base.
        pub end: u64,
        /// Frames that count, as `F1,R3`; nothing where there is none.
        pub frames: Option<Cow<'a, str>>,
        /// First base of the longest run, counted from 0; nothing where open frames are read.
        pub run_start: Option<u64>,
        /// One past its last base.
        pub run_end: Option<u64>,
        /// Why it has scores or none.
        pub status: WindowStatus,
        /// `virus`, `others`, or nothing where there is no score.
        pub verdict: Option<Cow<'a, str>>,
        /// Largest probability of class 0 among its frames.
        pub score_others: Option<f32>,
        /// Largest probability of class 1 among its frames.
        pub score_virus: Option<f32>,
        /// Calibrated probability of a virus; nothing where the bundle is not calibrated.
        pub p_virus: Option<f32>,
        /// Bundle and digest.
        pub model: Cow<'a, str>,
    }
}

table_row! {
    /// `metrics.tsv` of `evaluate`: a metric of a part of the labelled rows.
    pub struct MetricRow<'a> = "metrics" {
        /// `windows` or `sequences`.
        pub level: Cow<'a, str>,
        /// `all`, or a kind and a name, as `category:phage`.
        pub subset: Cow<'a, str>,
        /// What rows without a score count as: `left_out` or `non_viral`.
        pub uncalled: Cow<'a, str>,
        /// Name of the metric.
        pub metric: Cow<'a, str>,
        /// Its value; nothing where it is not defined.
        pub value: Option<f32>,
        /// Lower end of its 95 % interval; nothing without one.
        pub low: Option<f32>,
        /// Upper end.
        pub high: Option<f32>,
        /// Rows that it is computed from.
        pub n: u64,
        /// Their groups.
        pub n_groups: u64,
    }
}

table_row! {
    /// `predictions/sequences.tsv`: every record of the input.
    pub struct SequenceVerdictRow<'a> = "sequences" {
        /// Sample.
        pub sample: Cow<'a, str>,
        /// Identifier in this run, unique.
        pub sequence_id: Cow<'a, str>,
        /// Identifier in the file.
        pub original_id: Cow<'a, str>,
        /// Length in bases.
        pub length: u64,
        /// Windows.
        pub n_windows: u64,
        /// Windows with a score.
        pub n_scored_windows: u64,
        /// Windows whose verdict is `virus`.
        pub n_viral_windows: u64,
        /// Viral among scored windows; nothing where none has a score.
        pub viral_share: Option<Share>,
        /// Largest probability of a virus among its windows.
        pub best_score_virus: Option<f32>,
        /// Mean over its windows of the window's largest probability of a virus.
        pub mean_score_virus: Option<f32>,
        /// Calibrated probability of a virus; nothing where the bundle is not calibrated.
        pub p_virus: Option<f32>,
        /// How sure that is: `high`, `medium`, `low`, or nothing where others are more likely.
        pub tier: Option<Cow<'a, str>>,
        /// `viral`, `mixed`, `non-viral` or `no-call`.
        pub verdict: Cow<'a, str>,
        /// Bundle and digest.
        pub model: Cow<'a, str>,
    }
}
