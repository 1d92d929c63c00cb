//! What the reader of records and the checks before it agree on: rules, findings, line numbers in headers.

use std::io::Write as _;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::letters::Alphabet;
use super::source::Source;
use super::summary::{Format, Note};
use super::tally::Masked;
use crate::error::Error;
use crate::units::InputPolicy;

/// Bounds on what one record may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of an identifier.
    pub id_bytes: usize,
    /// Bases of a record: the reader holds one record in memory.
    pub record_bases: u64,
}

impl Limits {
    /// 64 KiB and 4 Gbp.
    pub const DEFAULT: Self = Self { id_bytes: 64 << 10, record_bases: 4 << 30 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the checks found, for whoever reads the records.
#[derive(Default)]
pub(super) struct Findings {
    /// The error that ended the text early, and the record (from 1) it is in.
    pub fault: Option<(u64, Error)>,
    /// Headers seen.
    pub records: u64,
    /// Peculiarities.
    pub notes: Vec<Note>,
    /// Letters U.
    pub uracil: u64,
    /// Letters read as N.
    pub masked: Masked,
}

impl Findings {
    /// Adds a note, unless there is one of its kind.
    pub(super) fn note_once(&mut self, note: Note) {
        if !self.notes.iter().any(|other| discriminant(other) == discriminant(&note)) {
            self.notes.push(note);
        }
    }

    /// Adds a note in place of one of its kind.
    pub(super) fn note_instead(&mut self, note: Note) {
        self.notes.retain(|other| discriminant(other) != discriminant(&note));
        self.notes.push(note);
    }
}

/// [`Findings`], shared with the reader that is buried in the parser.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Findings>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Findings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How to read a text.
pub(super) struct Rules {
    pub source: Source,
    pub format: Format,
    pub alphabet: Alphabet,
    pub limits: Limits,
    pub policy: InputPolicy,
    /// Whether the policy is the user's to choose.
    pub chosen: bool,
    /// Whether the kind of the sequences is known: a shard that its manifest lists.
    pub known: bool,
    /// Whether headers are handed on whole, not only their names.
    pub titles: bool,
    /// Line of the first header.
    pub line: u64,
}

/// Puts the line of a header before its name.
pub(super) fn write_line_number(header: &mut Vec<u8>, line: u64) {
    // Writing to memory cannot fail.
    let _ = write!(header, "{line}{AFTER_LINE}");
}

/// What stands between the line number and the name.
const AFTER_LINE: char = ':';

/// Line number and name of a header as [`CheckedText`] writes it.
pub(super) fn line_and_name(header: &[u8]) -> Option<(u64, &[u8])> {
    let end = header.iter().position(|byte| *byte == AFTER_LINE as u8)?;
    let line = str::from_utf8(&header[..end]).ok()?.parse().ok()?;
    Some((line, &header[end + 1..]))
}
