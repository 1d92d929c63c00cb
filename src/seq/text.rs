//! The text as the parser is to see it: every byte checked, every sequence on one line.
//!
//! The parser (needletail) accepts any byte in a sequence, keeps an index entry per line and knows the line
//! of a record only. So this reader stands before it: it checks each byte while the line is known, drops
//! blanks at line ends, joins the lines of a FASTA sequence - a record then lies in the parser's buffer in
//! one piece, and windows need no copy - and puts the record's line number before its identifier.

use std::io::{self, BufRead, Read, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::letters::{Alphabet, QUALITY, is_protein_only, run};
use super::names::identifier;
use super::sniff::{binary, show};
use super::source::Source;
use super::summary::{Format, Note};
use crate::error::{Error, Fault, Result};

/// Bounds on what one record may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of an identifier.
    pub id_bytes: usize,
    /// Bases of a record: the reader holds one record in memory.
    pub record_bases: u64,
}

impl Default for Limits {
    /// 64 KiB and 4 Gbp.
    fn default() -> Self {
        Self { id_bytes: 64 << 10, record_bases: 4 << 30 }
    }
}

/// Records in which a letter of proteins means that the file is one of proteins.
const PROTEIN_RECORDS: u64 = 100;

/// A header's last letters that look like a sequence, when all are bases.
const SEQUENCE_IN_HEADER: usize = 20;

/// What the checks found, for whoever reads the records.
#[derive(Default)]
pub(super) struct Findings {
    /// The error that ended the text early, and the record (from 1) it is in.
    pub fault: Option<(u64, Error)>,
    /// Headers seen.
    pub records: u64,
    /// Peculiarities.
    pub notes: Vec<Note>,
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
    /// Line of the first header.
    pub line: u64,
}

/// Checked text. An error ends it as if the file ended there, and waits in the findings, so that the
/// records before it are still read.
pub(super) struct CheckedText {
    text: Box<dyn BufRead + Send>,
    checker: Checker,
    done: bool,
}

impl CheckedText {
    pub(super) fn new(text: Box<dyn BufRead + Send>, rules: Rules, shared: Shared) -> Self {
        let checker = Checker {
            line: rules.line,
            rules,
            shared,
            part: Part::LineStart,
            column: 0,
            expected: FastqLine::Header,
            records: 0,
            bases: 0,
            blanks: None,
            header: Vec::new(),
            word: Vec::new(),
            blank_line: None,
            newline_last: true,
            pending: Vec::new(),
            pending_from: 0,
        };
        Self { text, checker, done: false }
    }

    /// Fills `out` as far as one chunk of text reaches; the bytes written, also when an error ends the text.
    fn advance(&mut self, out: &mut [u8]) -> (usize, Result<()>) {
        loop {
            let written = self.checker.flush(out);
            if written > 0 || self.done || out.is_empty() {
                return (written, Ok(()));
            }
            let mut progress = Progress::default();
            let result = match self.text.fill_buf() {
                Ok([]) => {
                    self.done = true;
                    self.checker.end()
                }
                Ok(chunk) => self.checker.check(chunk, out, &mut progress),
                Err(error) => Err(self.checker.rules.source.io_fault(error)),
            };
            self.text.consume(progress.used);
            if progress.written > 0 || result.is_err() {
                return (progress.written, result);
            }
        }
    }
}

impl Read for CheckedText {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (written, result) = self.advance(out);
        if let Err(error) = result {
            self.done = true;
            self.checker.shared.lock().fault = Some((self.checker.records, error));
        }
        Ok(written)
    }
}

/// Bytes of a chunk that were read, and bytes that were written for them.
#[derive(Default)]
struct Progress {
    used: usize,
    written: usize,
}

/// Where in a line the checker is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    LineStart,
    Header,
    Bases,
    Separator,
    Quality,
}

/// The four lines of a FASTQ record.
#[derive(Clone, Copy)]
enum FastqLine {
    Header,
    Bases,
    Separator,
    Quality,
}

/// Blanks within a line, which must turn out to end it.
#[derive(Clone, Copy)]
struct Blanks {
    byte: u8,
    column: u64,
    carriage_return: bool,
}

struct Checker {
    rules: Rules,
    shared: Shared,
    part: Part,
    /// The line being read, from 1.
    line: u64,
    /// Bytes read of it.
    column: u64,
    expected: FastqLine,
    records: u64,
    /// Bases of the current record.
    bases: u64,
    blanks: Option<Blanks>,
    /// The header line without its line end, up to a bound.
    header: Vec<u8>,
    /// The current record's name as it stands in the file.
    word: Vec<u8>,
    /// The first of the blank lines that may end a FASTQ file.
    blank_line: Option<u64>,
    newline_last: bool,
    /// Output that found no room.
    pending: Vec<u8>,
    pending_from: usize,
}

impl Checker {
    /// Moves waiting output to `out`.
    fn flush(&mut self, out: &mut [u8]) -> usize {
        let waiting = &self.pending[self.pending_from..];
        let count = waiting.len().min(out.len());
        out[..count].copy_from_slice(&waiting[..count]);
        self.pending_from += count;
        if self.pending_from == self.pending.len() {
            self.pending.clear();
            self.pending_from = 0;
        }
        count
    }

    /// Reads from `chunk` while there is room in `out`.
    fn check(&mut self, chunk: &[u8], out: &mut [u8], progress: &mut Progress) -> Result<()> {
        while progress.used < chunk.len() && progress.written < out.len() {
            let rest = &chunk[progress.used..];
            let room = &mut out[progress.written..];
            match self.part {
                Part::LineStart => self.begin_line(rest[0]),
                Part::Header | Part::Separator => progress.used += self.take_words(rest)?,
                Part::Bases | Part::Quality => {
                    let count = self.take_letters(rest, room)?;
                    progress.used += count;
                    progress.written += count;
                    if count < rest.len() && count < room.len() {
                        self.take_other(&rest[count..])?;
                        progress.used += 1;
                    }
                }
            }
            progress.written += self.flush(&mut out[progress.written..]);
            if let Some(last) = progress.used.checked_sub(1) {
                self.newline_last = chunk[last] == b'\n';
            }
        }
        Ok(())
    }

    /// Decides what a line is by its first byte.
    fn begin_line(&mut self, first: u8) {
        self.column = 0;
        self.part = match (self.rules.format, self.expected) {
            (Format::Fasta, _) if first == b'>' => Part::Header,
            (Format::Fasta, _) => Part::Bases,
            (Format::Fastq, FastqLine::Header) => Part::Header,
            (Format::Fastq, FastqLine::Bases) => Part::Bases,
            (Format::Fastq, FastqLine::Separator) => Part::Separator,
            (Format::Fastq, FastqLine::Quality) => Part::Quality,
        };
    }

    /// Reads of a header or separator line what is there of it.
    fn take_words(&mut self, rest: &[u8]) -> Result<usize> {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let words = &rest[..end.unwrap_or(rest.len())];
        let keep = (self.rules.limits.id_bytes + 1024).saturating_sub(self.header.len());
        self.header.extend_from_slice(&words[..words.len().min(keep)]);
        self.column += words.len() as u64;
        if end.is_none() {
            return Ok(words.len());
        }
        self.end_line()?;
        Ok(words.len() + 1)
    }

    /// Copies the letters that `rest` starts with, as many as there is room for.
    fn take_letters(&mut self, rest: &[u8], room: &mut [u8]) -> Result<usize> {
        if self.blanks.is_some() {
            return Ok(0);
        }
        let table = if self.part == Part::Quality { &QUALITY } else { self.rules.alphabet.table() };
        let count = run(table, &rest[..rest.len().min(room.len())]);
        room[..count].copy_from_slice(&rest[..count]);
        self.column += count as u64;
        if self.part == Part::Bases {
            self.bases += count as u64;
            if self.bases > self.rules.limits.record_bases {
                return Err(self
                    .fault(Fault::TooLong, "a record is longer than the limit")
                    .expected(format!("at most {} bases", self.rules.limits.record_bases))
                    .advice("split the record, or check that the file is what it should be"));
            }
        }
        Ok(count)
    }

    /// Reads one byte that is no letter; `rest` starts with it.
    fn take_other(&mut self, rest: &[u8]) -> Result<()> {
        let byte = rest[0];
        self.column += 1;
        match (byte, self.blanks) {
            (b'\n', _) => self.end_line(),
            (b' ' | b'\t' | b'\r', _) => {
                let first = Blanks { byte, column: self.column, carriage_return: false };
                self.blanks.get_or_insert(first).carriage_return |= byte == b'\r';
                Ok(())
            }
            (_, Some(blanks)) if blanks.carriage_return => Err(self.carriage_return()),
            (_, Some(blanks)) => Err(self.character(blanks.byte, blanks.column, rest)),
            (_, None) => Err(self.character(byte, self.column, rest)),
        }
    }

    fn end_line(&mut self) -> Result<()> {
        self.blanks = None;
        match self.part {
            Part::Header => self.end_header()?,
            Part::Separator => {
                // Only its first byte says anything.
                self.header.truncate(1);
                self.pending.append(&mut self.header);
            }
            Part::LineStart | Part::Bases | Part::Quality => {}
        }
        if self.rules.format == Format::Fastq && self.blank_line.is_none() {
            self.expected = match self.expected {
                FastqLine::Header => FastqLine::Bases,
                FastqLine::Bases => FastqLine::Separator,
                FastqLine::Separator => FastqLine::Quality,
                FastqLine::Quality => FastqLine::Header,
            };
            self.pending.push(b'\n');
        }
        self.part = Part::LineStart;
        self.line += 1;
        Ok(())
    }

    fn end_header(&mut self) -> Result<()> {
        let mut header = std::mem::take(&mut self.header);
        header.truncate(header.trim_ascii_end().len());
        if self.rules.format == Format::Fastq {
            if header.is_empty() {
                self.blank_line.get_or_insert(self.line);
                return Ok(());
            }
            if let Some(line) = self.blank_line {
                let fault = self.fault(Fault::InputFastq, "blank lines stand between two FASTQ records");
                return Err(fault.line(line).advice("remove the blank lines; the file may be damaged there"));
            }
        }
        if self.rules.format == Format::Fasta && self.records > 0 {
            self.pending.push(b'\n');
        }
        self.records += 1;
        self.bases = 0;
        self.word.clear();
        self.shared.lock().records = self.records;
        if header.contains(&b'\r') {
            return Err(self.carriage_return());
        }
        let Some((mark, title)) = header.split_first() else { return Ok(()) };
        self.pending.push(*mark);
        if !matches!(mark, b'>' | b'@') {
            // No FASTQ header: the parser says so.
            return Ok(());
        }
        let word = title.trim_ascii_start();
        let word = &word[..word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len())];
        self.check_name(word, *mark)?;
        self.word.extend_from_slice(word);
        if self.rules.format == Format::Fasta && word.len() < title.len() && ends_in_sequence(title) {
            let mut findings = self.shared.lock();
            if !findings.notes.iter().any(|note| matches!(note, Note::SequenceInHeader { .. })) {
                findings.notes.push(Note::SequenceInHeader { line: self.line });
            }
        }
        write_line_number(&mut self.pending, self.line);
        self.pending.extend_from_slice(word);
        if self.rules.format == Format::Fasta {
            self.pending.push(b'\n');
        }
        header.clear();
        self.header = header;
        Ok(())
    }

    fn check_name(&self, word: &[u8], mark: u8) -> Result<()> {
        if word.is_empty() {
            return Err(self
                .fault(Fault::InputNoId, "a header has no identifier")
                .expected(format!("a name after '{}'", char::from(mark)))
                .advice("give every record a name"));
        }
        if word.len() > self.rules.limits.id_bytes {
            return Err(self
                .fault(Fault::InputIdTooLong, "an identifier is too long")
                .expected(format!("at most {} bytes up to the first blank", self.rules.limits.id_bytes))
                .advice("a line end may be missing after the header; else shorten the identifier"));
        }
        Ok(())
    }

    /// The end of the file.
    fn end(&mut self) -> Result<()> {
        if self.part != Part::LineStart && !self.newline_last {
            self.end_line()?;
        }
        if !self.newline_last {
            if self.rules.format == Format::Fasta && self.bases == 0 {
                return Err(self
                    .fault(Fault::InputTruncated, "the last record has no sequence, and the file no final line end")
                    .line(self.line.saturating_sub(1))
                    .expected("a sequence after the header")
                    .advice("the file was probably cut: copy or download it again"));
            }
            self.shared.lock().notes.push(Note::NoFinalNewline);
        }
        if self.rules.format == Format::Fasta && self.records > 0 {
            self.pending.push(b'\n');
        }
        Ok(())
    }

    fn fault(&self, fault: Fault, message: &str) -> Error {
        let error = self.rules.source.fault(fault, message).line(self.line);
        match identifier(&self.word) {
            Some(id) => error.record(id),
            None => error,
        }
    }

    fn carriage_return(&self) -> Error {
        self.fault(Fault::InputCarriageReturn, "a line is ended by a carriage return alone")
            .expected("line feeds, or carriage return and line feed")
            .found("0x0D")
            .advice("convert the line ends, as with `tr '\\r' '\\n'`")
    }

    /// The error for a byte that may not stand in a sequence or quality line.
    fn character(&self, byte: u8, column: u64, rest: &[u8]) -> Error {
        if byte.is_ascii_control() && byte != b'\t' {
            return binary(byte, &self.rules.source).line(self.line);
        }
        let found = format!("{} at column {column}", show(byte));
        if self.part == Part::Quality {
            return self
                .fault(Fault::InputFastq, "a character is no quality value")
                .expected("printable ASCII, '!' to '~'")
                .found(found)
                .advice("the file is damaged here, or a record has not exactly four lines");
        }
        if self.is_protein(rest) {
            return self
                .fault(Fault::InputProtein, format!("{} holds proteins", self.rules.source).as_str())
                .expected("nucleotide sequences")
                .found(found)
                .advice("give the genome or the reads, not their translation");
        }
        let advice = match byte {
            b'>' => "a line end seems to be missing before this header",
            b'@' | b'+' => "a FASTQ record seems to stand in a FASTA file: keep the formats apart",
            b'0'..=b'9' => "this looks like numbered lines, as in GenBank: convert the file to FASTA",
            b' ' | b'\t' => "remove the blanks inside the line",
            b'.' | b'*' => "this looks like an alignment or a translation: give the plain nucleotide sequence",
            b';' => "comment lines are not read: remove them",
            b'X' | b'x' => "write N for an unknown base",
            _ if is_protein_only(byte) => "this is a letter of proteins: give nucleotide sequences",
            _ => "correct the line; if there are many such lines, the file is of another kind",
        };
        self.fault(Fault::InputCharacter, "a character is no code of the alphabet")
            .expected(self.rules.alphabet.words())
            .found(found)
            .advice(advice)
    }

    /// Whether the rest of the line reads like a protein: two letters of amino acids and 5 % of them.
    fn is_protein(&self, rest: &[u8]) -> bool {
        if (self.rules.alphabet, self.rules.format) != (Alphabet::Nucleotide, Format::Fasta) {
            return false;
        }
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let letters = line.iter().filter(|byte| byte.is_ascii_alphabetic() || **byte == b'*').count();
        let protein = line.iter().filter(|byte| is_protein_only(**byte)).count();
        self.records <= PROTEIN_RECORDS && is_protein_only(rest[0]) && protein >= 2 && 20 * protein > letters
    }
}

fn ends_in_sequence(title: &[u8]) -> bool {
    let tail = &title[title.len().saturating_sub(SEQUENCE_IN_HEADER)..];
    tail.len() == SEQUENCE_IN_HEADER
        && tail.iter().all(|byte| matches!(byte.to_ascii_uppercase(), b'A' | b'C' | b'G' | b'T' | b'N'))
}

/// Puts the line of a header before its name.
fn write_line_number(header: &mut Vec<u8>, line: u64) {
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
