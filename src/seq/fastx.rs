//! Records of FASTA and FASTQ files, one at a time.
//!
//! needletail divides the text into records; what it does not check is checked before it (`text`), and what
//! it does not read is decompressed or refused before that (`decompress`, `sniff`). Memory is that of the
//! longest record, held once, and of the digests of all identifiers.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use needletail::parser::{FastaReader, FastqReader, FastxReader, SequenceRecord};

use super::checked::CheckedText;
use super::decompress::decompress;
use super::ids::{Names, identifier};
use super::kind;
use super::letters::{Alphabet, Letters};
use super::shared::{Limits, Rules, Shared, line_and_name};
use super::sniff;
use super::source::{Source, Watch};
use super::summary::{Compression, Format, Note, Summary};
use crate::error::{Error, Fault, Result, printable};
use crate::units::InputPolicy;

type Text = Box<dyn BufRead + Send>;

/// Bytes read from the source at a time, and the parser's buffer to start with.
const BUFFER: usize = 256 << 10;

/// A record of the input.
#[derive(Debug)]
pub struct Record<'a> {
    /// Number of the record over all inputs, from 1: the key that no identifier can upset.
    pub ordinal: u64,
    /// Identifier, different from that of every other record.
    pub id: &'a str,
    /// Identifier as in the input: the first word of the header, dangerous characters escaped.
    pub original_id: &'a str,
    /// Line of the header, from 1.
    pub line: u64,
    sequence: SequenceRecord<'a>,
}

impl Record<'_> {
    /// The sequence in one piece, letters as in the input but for those that the policy reads as others; empty for a
    /// header without sequence.
    pub fn bases(&self) -> &[u8] {
        self.sequence.raw_seq()
    }

    /// The header without its mark, safe to print: whole if the reader was asked for titles, else its first word. Tabs are
    /// blanks, and dangerous characters are escaped.
    pub fn title(&self) -> String {
        let title = line_and_name(self.sequence.id()).map_or(&b""[..], |(_, title)| title);
        printable(&String::from_utf8_lossy(title).replace('\t', " "), usize::MAX)
    }

    /// Counts of the letters that deserve a word.
    pub fn letters(&self) -> Letters {
        Letters::count(self.bases())
    }
}

/// Reads the records of one input.
///
/// ```no_run
/// use std::path::Path;
/// use virnucpro::seq::{Alphabet, Limits, Names, Reader};
/// use virnucpro::units::Duplicates;
///
/// let mut reader = Reader::open(&Path::new("reads.fq.gz").into(), Alphabet::Nucleotide, Limits::default())?;
/// let mut names = Names::new(Duplicates::Rename);
/// while let Some(record) = reader.next(&mut names) {
///     let record = record?;
///     println!("{}: {} bases", record.id, record.bases().len());
/// }
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
pub struct Reader {
    parser: Box<dyn FastxReader>,
    source: Source,
    format: Format,
    compression: Compression,
    strict: bool,
    shared: Shared,
    watch: Watch,
    original_id: String,
    id: String,
    records: u64,
    bases: u64,
    state: State,
}

/// What an input is read as.
enum Terms {
    /// A file of the user's own, every letter as it stands.
    AsItStands,
    /// A file of the user's own, under a policy of the user's choice.
    Policy(InputPolicy),
    /// The same, with whole headers.
    Titles(InputPolicy),
    /// A shard that its manifest lists.
    Shard,
}

enum State {
    Start,
    Records,
    Failed,
    Read(Box<Summary>),
}

impl Reader {
    /// Opens an input of sequences over `alphabet`: plain or compressed, FASTA or FASTQ, told by content. Letters stay as
    /// they stand.
    ///
    /// # Errors
    /// The input is missing, empty, of another format or compression, holds the other kind of sequences, or has text
    /// before the first header.
    pub fn open(source: &Source, alphabet: Alphabet, limits: Limits) -> Result<Self> {
        Self::open_on(source, alphabet, limits, Terms::AsItStands)
    }

    /// The same, with a policy for the letters of nucleotides and for signs of damage.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_with(source: &Source, alphabet: Alphabet, limits: Limits, policy: InputPolicy) -> Result<Self> {
        Self::open_on(source, alphabet, limits, Terms::Policy(policy))
    }

    /// The same, with whole headers: see [`Record::title`].
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_titled(source: &Source, limits: Limits, policy: InputPolicy) -> Result<Self> {
        Self::open_on(source, Alphabet::Nucleotide, limits, Terms::Titles(policy))
    }

    /// The same for a shard that its manifest lists as one of `held`: that is believed, whatever the letters look like.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_shard(source: &Source, alphabet: Alphabet, limits: Limits, held: Alphabet) -> Result<Self> {
        kind::check_shard(held, alphabet, source)?;
        Self::open_on(source, alphabet, limits, Terms::Shard)
    }

    fn open_on(source: &Source, alphabet: Alphabet, limits: Limits, terms: Terms) -> Result<Self> {
        let titles = matches!(terms, Terms::Titles(_));
        let (policy, chosen, known) = match terms {
            Terms::AsItStands => (InputPolicy::AS_IT_STANDS, false, false),
            Terms::Policy(policy) | Terms::Titles(policy) => (policy, true, false),
            Terms::Shard => (InputPolicy::AS_IT_STANDS, false, true),
        };
        let (raw, watch) = source.open()?;
        let shared = Shared::default();
        let io_fault = |error| source.io_fault(error);

        let (head, raw) = peek(Box::new(BufReader::with_capacity(BUFFER, raw))).map_err(io_fault)?;
        let compression = sniff::compression(&head, source)?;
        if let Source::Path(path) = source
            && sniff::promised(path).is_some_and(|promised| promised != compression)
        {
            shared.lock().notes.push(Note::NameMismatch { content: compression });
        }
        let text: Text = match compression {
            Compression::Plain => raw,
            _ => Box::new(BufReader::with_capacity(BUFFER, decompress(raw, compression, source, &shared)?)),
        };
        let (head, mut text) = peek(text).map_err(io_fault)?;
        if head.starts_with(b"\xEF\xBB\xBF") {
            shared.lock().notes.push(Note::ByteOrderMark);
            text.consume(3);
        }
        let line = skip_blank_lines(&mut text, source)?;
        let (head, text) = peek(text).map_err(io_fault)?;
        if head.is_empty() {
            return Err(sniff::empty(source));
        }
        let format = sniff::format(&head, line, source)?;
        if !known {
            kind::check(&head, format, alphabet, source).map_err(|error| error.line(line))?;
        }

        let rules = Rules { source: source.clone(), format, alphabet, limits, policy, chosen, known, titles, line };
        let checked = CheckedText::new(text, rules, shared.clone());
        let parser: Box<dyn FastxReader> = match format {
            Format::Fasta => Box::new(FastaReader::with_capacity(checked, BUFFER)),
            Format::Fastq => Box::new(FastqReader::with_capacity(checked, BUFFER)),
        };
        Ok(Self {
            parser,
            source: source.clone(),
            format,
            compression,
            strict: policy.strict,
            shared,
            watch,
            original_id: String::new(),
            id: String::new(),
            records: 0,
            bases: 0,
            state: State::Start,
        })
    }

    /// The next record; its name is given by `names`, which all inputs of a run share.
    ///
    /// # Errors
    /// The input is damaged, at the line that the error names; nothing follows an error.
    pub fn next(&mut self, names: &mut Names) -> Option<Result<Record<'_>>> {
        match self.state {
            State::Start => {
                names.begin(&self.source);
                self.state = State::Records;
            }
            State::Records => {}
            State::Failed | State::Read(_) => return None,
        }
        let parsed = self.parser.next();
        let ordinal = self.records + 1;
        // A fault ends the text early: the record it is in must not pass for whole.
        let fault = {
            let mut findings = self.shared.lock();
            let reached = findings.fault.as_ref().is_some_and(|(record, _)| *record <= ordinal || parsed.is_none());
            let doubt = || findings.notes.iter().find_map(|note| note.as_error(&self.source));
            let doubt = if self.strict { doubt() } else { None };
            if reached { findings.fault.take().map(|(_, error)| error) } else { doubt }
        };
        let result = match (fault, parsed) {
            (Some(error), _) => Err(error),
            (None, Some(Err(error))) => {
                Err(self.source.fault(Fault::Bug, "the parser failed on checked text").caused_by(error))
            }
            (None, Some(Ok(sequence))) => match admit(&sequence, &mut self.original_id, &mut self.id, names) {
                Ok(line) => {
                    self.records = ordinal;
                    self.bases += sequence.raw_seq().len() as u64;
                    let (id, original_id) = (&self.id, &self.original_id);
                    return Some(Ok(Record { ordinal: names.records(), id, original_id, line, sequence }));
                }
                Err(error) => Err(error.file(self.source.to_string())),
            },
            (None, None) => self.watch.finish().and_then(|(bytes, digest)| {
                let findings = self.shared.lock();
                if findings.records != self.records {
                    return Err(self
                        .source
                        .fault(Fault::Count, "the number of records seen and read differs; this is a bug")
                        .expected(findings.records.to_string())
                        .found(self.records.to_string()));
                }
                Ok(Summary {
                    format: self.format,
                    compression: self.compression,
                    records: self.records,
                    bases: self.bases,
                    bytes,
                    digest,
                    uracil: findings.uracil,
                    masked: findings.masked,
                    notes: findings.notes.clone(),
                })
            }),
        };
        match result {
            Ok(summary) => {
                self.state = State::Read(Box::new(summary));
                None
            }
            Err(error) => {
                self.state = State::Failed;
                Some(Err(error))
            }
        }
    }

    /// What was read; nothing before [`Reader::next`] has come to the end without an error.
    pub fn summary(&self) -> Option<&Summary> {
        match &self.state {
            State::Read(summary) => Some(summary),
            _ => None,
        }
    }

    /// FASTA or FASTQ.
    pub fn format(&self) -> Format {
        self.format
    }
}

/// Names a record; the line of its header.
fn admit(sequence: &SequenceRecord<'_>, original_id: &mut String, id: &mut String, names: &mut Names) -> Result<u64> {
    let defect = || Error::new(Fault::Bug, "a header was lost between the checks and the parser");
    let (line, title) = line_and_name(sequence.id()).ok_or_else(defect)?;
    let word = title.split(u8::is_ascii_whitespace).next().unwrap_or(title);
    *original_id = identifier(word).ok_or_else(defect)?;
    id.clone_from(original_id);
    names.admit(id, line)?;
    Ok(line)
}

/// The first bytes of a text, and the text with them.
fn peek(mut text: Text) -> io::Result<(Vec<u8>, Text)> {
    let mut head = Vec::with_capacity(sniff::HEAD);
    text.by_ref().take(sniff::HEAD as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(text))))
}

/// Passes over blank lines; the line that follows, from 1.
fn skip_blank_lines(text: &mut Text, source: &Source) -> Result<u64> {
    let mut line = 1;
    let mut blank = None;
    loop {
        let part = text.fill_buf().map_err(|error| source.io_fault(error))?;
        let count = part.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let ended = count < part.len() || part.is_empty();
        for byte in &part[..count] {
            blank = (*byte != b'\n').then_some(*byte);
            line += u64::from(*byte == b'\n');
        }
        let header = matches!(part.get(count), Some(b'>' | b'@'));
        text.consume(count);
        match blank {
            Some(byte) if header => {
                return Err(source
                    .fault(Fault::InputNoHeader, "the first header is not at the start of its line")
                    .line(line)
                    .expected("'>' (FASTA) or '@' (FASTQ)")
                    .found(sniff::show(byte))
                    .advice("remove the spaces before it"));
            }
            _ if ended => return Ok(line),
            _ => {}
        }
    }
}
