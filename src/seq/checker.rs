//! The checks themselves: which byte may stand where, and the words for one that may not.

use std::io;

use super::advice::Misplaced;
use super::ids::identifier;
use super::kind;
use super::letters::{Alphabet, QUALITY, run};
use super::residues::{Likeness, Residues};
use super::shared::{Rules, Shared, write_line_number};
use super::sniff::{control, show};
use super::summary::{Format, Note};
use super::tally::{Evidence, Masked, Tally};
use crate::error::{Error, Fault, Result};
use crate::units::{UnknownLetters, counted};

/// Text looked at beyond a letter of proteins, to tell a file of proteins from one odd line.
const AHEAD: usize = 64 << 10;

/// A header's last letters that look like a sequence, when all are bases.
const SEQUENCE_IN_HEADER: usize = 20;

/// Follows a text line by line, over any division into pieces.
pub(super) struct Checker {
    rules: Rules,
    shared: Shared,
    part: LinePart,
    /// The line being read, from 1.
    line: u64,
    /// Bytes read of it.
    column: u64,
    /// What the next line of a FASTQ record is.
    expected: LinePart,
    records: u64,
    /// Line of the current record's header.
    header_line: u64,
    /// Letters of all sequences of nucleotides.
    tally: Tally,
    /// Those of proteins: of the records before, and of the current one.
    residues: [Residues; 2],
    /// Bases of the current record.
    bases: u64,
    /// Quality values of the current record.
    qualities: u64,
    blanks: Option<Blanks>,
    /// The header line without its line end, up to a bound.
    header: Vec<u8>,
    /// The current record's name as it stands in the file.
    word: Vec<u8>,
    newline_last: bool,
    /// Output that found no room.
    pending: Vec<u8>,
    pending_from: usize,
}

/// Bytes of a chunk that were read, and bytes that were written for them.
#[derive(Default)]
pub(super) struct Progressed {
    pub used: usize,
    pub written: usize,
}

/// Where in a line the checker is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LinePart {
    LineStart,
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

impl Checker {
    pub(super) fn new(rules: Rules, shared: Shared) -> Self {
        Self {
            line: rules.line,
            tally: Tally::new(rules.policy),
            rules,
            shared,
            part: LinePart::LineStart,
            column: 0,
            expected: LinePart::Header,
            records: 0,
            header_line: 0,
            residues: Default::default(),
            bases: 0,
            qualities: 0,
            blanks: None,
            header: Vec::new(),
            word: Vec::new(),
            newline_last: true,
            pending: Vec::new(),
            pending_from: 0,
        }
    }

    /// Notes the error that ends the text.
    pub(super) fn fail(&self, error: Error) {
        self.shared.lock().fault = Some((self.records, error));
    }

    /// An error of reading.
    pub(super) fn io_fault(&self, error: io::Error) -> Error {
        self.rules.source.io_fault(error)
    }

    /// Moves waiting output to `out`.
    pub(super) fn flush(&mut self, out: &mut [u8]) -> usize {
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
    pub(super) fn check(&mut self, chunk: &[u8], out: &mut [u8], progress: &mut Progressed) -> Result<()> {
        while progress.used < chunk.len() && progress.written < out.len() {
            let rest = &chunk[progress.used..];
            let room = &mut out[progress.written..];
            match self.part {
                LinePart::LineStart => self.begin_line(rest[0]),
                LinePart::Header | LinePart::Separator => progress.used += self.take_words(rest)?,
                LinePart::Bases | LinePart::Quality => {
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
        self.part = match self.rules.format {
            Format::Fasta if first == b'>' => LinePart::Header,
            Format::Fasta => LinePart::Bases,
            Format::Fastq => self.expected,
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
        self.end_line(b"")?;
        Ok(words.len() + 1)
    }

    /// Copies the letters that `rest` starts with, as many as there is room for.
    fn take_letters(&mut self, rest: &[u8], room: &mut [u8]) -> Result<usize> {
        if self.blanks.is_some() {
            return Ok(0);
        }
        let quality = self.part == LinePart::Quality;
        let table = if quality { &QUALITY } else { self.admitted() };
        let count = run(table, &rest[..rest.len().min(room.len())]);
        room[..count].copy_from_slice(&rest[..count]);
        if quality {
            self.qualities += count as u64;
        } else {
            self.read_bases(&mut room[..count], &rest[count..])?;
        }
        self.column += count as u64;
        Ok(count)
    }

    /// The letters that are read, be it as others.
    fn admitted(&self) -> &'static [u8; 256] {
        self.rules.alphabet.admitted(self.rules.policy.letters)
    }

    /// Reads letters of a sequence, which `ahead` follows.
    fn read_bases(&mut self, letters: &mut [u8], ahead: &[u8]) -> Result<()> {
        self.bases += letters.len() as u64;
        if self.bases > self.rules.limits.record_bases {
            return Err(self
                .fault(Fault::TooLong, "a record is longer than the limit")
                .expected(format!("at most {} letters", self.rules.limits.record_bases))
                .advice("split the record, or check that this is the right file"));
        }
        if self.rules.alphabet == Alphabet::Protein {
            if !self.rules.known {
                self.residues[1].add(letters);
            }
            return Ok(());
        }
        let masks = self.rules.policy.letters == UnknownLetters::Mask && self.tally.masked.letters == 0;
        let first = if masks { run(self.rules.alphabet.table(), letters) } else { letters.len() };
        let unknown = letters.get(first).copied();
        self.tally.read(letters, self.line);
        match unknown {
            Some(byte) if self.is_protein(ahead) => {
                Err(self.proteins().found(at_column(byte, self.column + first as u64 + 1)))
            }
            _ => Ok(()),
        }
    }

    /// Reads one byte that is not a letter; `rest` starts with it.
    fn take_other(&mut self, rest: &[u8]) -> Result<()> {
        let byte = rest[0];
        self.column += 1;
        match (byte, self.blanks) {
            (b'\n', _) => self.end_line(&rest[1..]),
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

    /// Ends a line, which `ahead` follows.
    fn end_line(&mut self, ahead: &[u8]) -> Result<()> {
        self.blanks = None;
        let blank_before_record =
            self.rules.format == Format::Fastq && self.part == LinePart::Header && self.header.trim_ascii().is_empty();
        if blank_before_record {
            self.header.clear();
        } else {
            match self.part {
                LinePart::Header => self.end_header()?,
                LinePart::Separator => self.end_separator()?,
                LinePart::Quality => self.end_quality(ahead)?,
                LinePart::LineStart | LinePart::Bases => {}
            }
            if self.rules.format == Format::Fastq {
                self.expected = match self.part {
                    LinePart::Header => LinePart::Bases,
                    LinePart::Bases => LinePart::Separator,
                    LinePart::Separator => LinePart::Quality,
                    LinePart::Quality | LinePart::LineStart => LinePart::Header,
                };
                self.pending.push(b'\n');
            }
        }
        self.part = LinePart::LineStart;
        self.line += 1;
        Ok(())
    }

    fn end_header(&mut self) -> Result<()> {
        self.end_record()?;
        self.header_line = self.line;
        let mut header = std::mem::take(&mut self.header);
        header.truncate(header.trim_ascii_end().len());
        if self.rules.format == Format::Fasta && self.records > 0 {
            self.pending.push(b'\n');
        }
        self.records += 1;
        self.bases = 0;
        self.qualities = 0;
        self.word.clear();
        self.shared.lock().records = self.records;
        if header.contains(&b'\r') {
            return Err(self.carriage_return());
        }
        let Some((mark, title)) = header.split_first() else { return Ok(()) };
        if mark.is_ascii_control() {
            return Err(self.control(&header));
        }
        if !matches!(mark, b'>' | b'@') || (*mark == b'>') != (self.rules.format == Format::Fasta) {
            return Err(self
                .fault(Fault::InputFastq, "a FASTQ record does not start with '@'")
                .expected("'@' and a name")
                .found(show(*mark))
                .advice(match mark {
                    b'>' => "this looks like a FASTA record in a FASTQ file: do not mix the formats",
                    _ => "look at the record before this line: it must have four lines",
                }));
        }
        self.pending.push(*mark);
        let title = title.trim_ascii_start();
        let word = &title[..title.iter().position(u8::is_ascii_whitespace).unwrap_or(title.len())];
        self.check_name(word, *mark)?;
        self.word.extend_from_slice(word);
        if self.rules.format == Format::Fasta && word.len() < title.len() && ends_in_sequence(title) {
            self.shared.lock().note_once(Note::SequenceInHeader { line: self.line });
        }
        write_line_number(&mut self.pending, self.line);
        self.pending.extend_from_slice(if self.rules.titles { title } else { word });
        if self.rules.format == Format::Fasta {
            self.pending.push(b'\n');
        }
        header.clear();
        self.header = header;
        Ok(())
    }

    /// Only the first byte of a separator says anything.
    fn end_separator(&mut self) -> Result<()> {
        let line = self.header.trim_ascii_end();
        match line.first() {
            Some(b'+') => {
                let name = line[1..].split(u8::is_ascii_whitespace).find(|word| !word.is_empty());
                if name.is_some_and(|name| name != self.word) {
                    self.shared.lock().note_once(Note::SeparatorName { line: self.line });
                }
                self.pending.push(b'+');
            }
            Some(byte) if byte.is_ascii_control() => return Err(self.control(line)),
            Some(_) if self.bases == 0 && run(self.admitted(), line) == line.len() => {
                return Err(self
                    .fault(
                        Fault::InputFastq,
                        "a blank line stands between the header and the sequence of a FASTQ record",
                    )
                    .line(self.line - 1)
                    .expected("four lines per record")
                    .found("a blank line")
                    .advice("remove the blank line; `grep .` leaves out all blank lines of a file"));
            }
            Some(_) if run(self.admitted(), line) == line.len() => {
                return Err(self
                    .fault(Fault::InputFastq, "the sequence of a FASTQ record stands on several lines")
                    .expected("four lines per record")
                    .advice(
                        "write each sequence on one line first, for example with `seqtk seq` or `seqkit seq -w 0`",
                    ));
            }
            first => {
                return Err(self
                    .fault(Fault::InputFastq, "the third line of a FASTQ record does not start with '+'")
                    .expected("four lines per record")
                    .found(first.map_or_else(|| "a blank line".to_owned(), |byte| show(*byte)))
                    .advice("look at the record around this line; a line may be missing or doubled"));
            }
        }
        self.header.clear();
        Ok(())
    }

    /// Compares the length of the quality line with that of the sequence.
    fn end_quality(&self, ahead: &[u8]) -> Result<()> {
        if self.qualities == self.bases {
            return Ok(());
        }
        let (message, advice) = match completes_qualities(ahead, self.bases.saturating_sub(self.qualities)) {
            true if self.qualities == 0 => (
                "a blank line stands before the quality values of a FASTQ record",
                "remove the blank line; `grep .` leaves out all blank lines of a file",
            ),
            true => (
                "the quality values of a FASTQ record stand on several lines",
                "write them on one line first, for example with `seqtk seq` or `seqkit seq -w 0`",
            ),
            false => (
                "the quality line of a FASTQ record is not as long as its sequence",
                "the file is damaged or truncated here: copy or download it again",
            ),
        };
        let expected = counted(self.bases, "quality value");
        Err(self.fault(Fault::InputFastq, message).expected(expected).found(self.qualities.to_string()).advice(advice))
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
                .advice("a line break may be missing after the header; otherwise shorten the identifier"));
        }
        Ok(())
    }

    /// The end of the file.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.part != LinePart::LineStart && !self.newline_last {
            self.end_line(b"")?;
        }
        if self.expected != LinePart::Header {
            return Err(self
                .fault(Fault::InputTruncated, "the file ends in the middle of a FASTQ record")
                .expected("four lines per record")
                .advice("the file is probably truncated: copy or download it again"));
        }
        if !self.newline_last {
            if self.rules.format == Format::Fasta && self.bases == 0 {
                return Err(self
                    .fault(
                        Fault::InputTruncated,
                        "the last record has no sequence, and the file has no final line break",
                    )
                    .line(self.line.saturating_sub(1))
                    .expected("a sequence after the header")
                    .advice("the file is probably truncated: copy or download it again"));
            }
            self.shared.lock().notes.push(Note::NoFinalNewline);
        }
        if self.rules.format == Format::Fasta && self.records > 0 {
            self.pending.push(b'\n');
        }
        self.end_record()?;
        self.judge_all()?;
        let Tally { masked, uracil, .. } = self.tally;
        let mut findings = self.shared.lock();
        (findings.masked, findings.uracil) = (masked, uracil);
        Ok(())
    }

    /// Judges the record that ends here: whether it is of the other kind, in a file of the right one.
    fn end_record(&mut self) -> Result<()> {
        let Self { tally, residues: [before, residues], header_line, .. } = self;
        let line = *header_line;
        let (nucleotides, masked) = (tally.record, tally.masked_here);
        let record = std::mem::take(residues);
        *before += record;
        tally.begin_record();
        if self.rules.known {
            return Ok(());
        }
        if masked.letters > 0 && nucleotides.is_protein_record() {
            return Err(self.named(self.protein(self.tally.evidence())).line(masked.line).found(besides_codes(masked)));
        }
        let mut findings = self.shared.lock();
        match nucleotides.few_bases() {
            Some((others, letters)) if nucleotides.is_enough(false) => {
                findings.note_once(Note::FewBases { line: Some(line), others, letters });
            }
            _ => {}
        }
        if record.likeness() == Likeness::Nucleotides {
            return Err(self.named(kind::nucleotides(&self.rules.source, &record.words())).line(line));
        }
        if record.is_notable() {
            findings.note_once(Note::Nucleotides { line: Some(line) });
        }
        Ok(())
    }

    /// Judges the letters of the whole input.
    fn judge_all(&self) -> Result<()> {
        let (nucleotides, masked, residues) = (self.tally.evidence(), self.tally.masked, self.residues[0]);
        if self.rules.known {
            return Ok(());
        }
        if masked.letters > 0 && self.is_protein(b"") {
            return Err(self.named(kind::proteins(&self.rules.source)).line(masked.line).found(besides_codes(masked)));
        }
        if let Some((others, letters)) = nucleotides.few_bases() {
            if nucleotides.is_enough(true) {
                return Err(kind::few_bases(&self.rules.source, others, letters));
            }
            self.shared.lock().note_instead(Note::FewBases { line: None, others, letters });
        }
        match residues.likeness() {
            Likeness::Nucleotides => return Err(kind::nucleotides(&self.rules.source, &residues.words())),
            Likeness::Unclear => self.shared.lock().note_instead(Note::Nucleotides { line: None }),
            Likeness::Protein => {}
        }
        Ok(())
    }

    fn fault(&self, fault: Fault, message: &str) -> Error {
        self.named(self.rules.source.fault(fault, message).line(self.line))
    }

    /// An error with the current record's name.
    fn named(&self, error: Error) -> Error {
        identifier(&self.word).into_iter().fold(error, Error::record)
    }

    /// The error for a control character, which `rest` starts with.
    fn control(&self, rest: &[u8]) -> Error {
        control(rest, &self.rules.source).line(self.line)
    }

    fn carriage_return(&self) -> Error {
        self.fault(Fault::InputCarriageReturn, "a line ends with a carriage return only")
            .expected("line feeds, or carriage return and line feed")
            .found("0x0D")
            .advice("convert the line ends, for example with `tr '\\r' '\\n'`")
    }

    /// The error for a byte that may not stand in a sequence or quality line.
    fn character(&self, byte: u8, column: u64, rest: &[u8]) -> Error {
        if byte.is_ascii_control() && byte != b'\t' {
            return self.control(rest);
        }
        let found = at_column(byte, column);
        if self.part == LinePart::Quality {
            return self
                .fault(Fault::InputFastq, "a character is not a quality value")
                .expected("printable ASCII, '!' to '~'")
                .found(found)
                .advice(if is_numbers(rest) {
                    "these are numbers: write each quality as one character (Phred+33)"
                } else {
                    "the file is damaged here, or a record does not have exactly four lines"
                });
        }
        if self.is_protein(rest) {
            return self.proteins().found(found);
        }
        if self.is_protein_record(rest) {
            return self.named(kind::protein_record(&self.rules.source)).line(self.line).found(found);
        }
        let what = match self.rules.alphabet {
            Alphabet::Nucleotide => "a character is not a nucleotide code",
            Alphabet::Protein => "a character is not a residue",
        };
        self.fault(Fault::InputCharacter, what)
            .expected(self.rules.alphabet.words())
            .found(found)
            .advice(Misplaced { byte, column, rest, rules: &self.rules }.advice())
    }

    /// Whether what was read and what `ahead` starts with is a file of proteins.
    fn is_protein(&self, ahead: &[u8]) -> bool {
        self.wants_fasta_of_nucleotides() && with(self.tally.evidence(), ahead).is_protein()
    }

    /// Whether the current record, which `ahead` goes on with, is a protein.
    fn is_protein_record(&self, ahead: &[u8]) -> bool {
        let end = ahead.windows(2).position(|pair| pair == b"\n>").unwrap_or(ahead.len());
        self.wants_fasta_of_nucleotides() && with(self.tally.record, &ahead[..end]).is_protein()
    }

    fn wants_fasta_of_nucleotides(&self) -> bool {
        self.rules.alphabet == Alphabet::Nucleotide && self.rules.format == Format::Fasta
    }

    fn proteins(&self) -> Error {
        self.named(kind::proteins(&self.rules.source)).line(self.line)
    }

    /// The error for a protein in a file that is what `evidence` tells.
    fn protein(&self, evidence: Evidence) -> Error {
        let error = if evidence.is_protein() { kind::proteins } else { kind::protein_record };
        error(&self.rules.source)
    }
}

/// Evidence with that of the text ahead.
fn with(mut evidence: Evidence, ahead: &[u8]) -> Evidence {
    evidence.add_fasta(&ahead[..ahead.len().min(AHEAD)]);
    evidence
}

fn besides_codes(masked: Masked) -> String {
    format!("{} besides the nucleotide codes, the first here", counted(masked.letters, "letter"))
}

/// Whether the lines of `ahead` up to the next record have `missing` quality values.
fn completes_qualities(ahead: &[u8], mut missing: u64) -> bool {
    let mut lines = ahead.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    while missing > 0 {
        match lines.next() {
            Some(line) if !line.is_empty() && line.len() as u64 <= missing => missing -= line.len() as u64,
            _ => return false,
        }
    }
    lines.find(|line| !line.is_empty()).is_none_or(|line| line.starts_with(b"@"))
}

/// Whether the rest of a line is numbers.
fn is_numbers(rest: &[u8]) -> bool {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.iter().any(u8::is_ascii_digit)
        && line.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace() || *byte == b'-')
}

fn at_column(byte: u8, column: u64) -> String {
    format!("{} at column {column}", show(byte))
}

fn ends_in_sequence(title: &[u8]) -> bool {
    let tail = &title[title.len().saturating_sub(SEQUENCE_IN_HEADER)..];
    tail.len() == SEQUENCE_IN_HEADER
        && tail.iter().all(|byte| matches!(byte.to_ascii_uppercase(), b'A' | b'C' | b'G' | b'T' | b'N'))
}
