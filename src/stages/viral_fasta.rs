//! The sequences called viral, as FASTA: the input is read once more, beside the table of its sequences.

use std::path::{Path, absolute};

use serde::Deserialize;

use super::chunk;
use super::input_digest::content_digest;
use super::upstream;
use super::verdict::SequenceVerdict;
use super::verdict_tables::is_table;
use crate::config::{Predict, STDIN, ViralFasta};
use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest, parent, room};
use crate::runtime::interrupt;
use crate::seq::{FastaWriter, Limits, Names, Reader, Record, Source};
use crate::store::tables::SequenceVerdictRow;
use crate::store::{MANIFEST_FILE, Manifest, Row as _, TableReader, float32_text};
use crate::units::{Duplicates, InputPolicy, UnknownLetters, counted};

/// What stands in the header of each of them, and of nothing else.
const VIRAL: &str = " verdict=viral";

/// Looks at what can be known before any work: the inputs can be read twice, and the file is free or holds such
/// sequences.
///
/// # Errors
/// [`Fault::Usage`] for standard input, pipes, the input itself and files of a stage; [`Fault::OutputForeign`] for a file with something else
/// in it.
pub fn check(settings: &Predict) -> Result<()> {
    let Some(ViralFasta { path, inputs }) = &settings.viral_fasta else { return Ok(()) };
    for input in inputs {
        if input.path == Path::new(STDIN) || input.path.metadata().is_ok_and(|kind| !kind.is_file()) {
            return Err(Error::new(Fault::Usage, "--viral-fasta reads the sequences a second time")
                .file(&input.path)
                .expected("files of sequences")
                .found("standard input or a pipe")
                .advice("write the sequences to a file first, or leave out --viral-fasta"));
        }
        if same_file(path, &input.path) {
            return Err(Error::new(Fault::Usage, "--viral-fasta names an input")
                .file(path)
                .expected("another file")
                .advice("choose another name: the input would be replaced"));
        }
    }
    if is_of_a_stage(path, settings) {
        return Err(Error::new(Fault::Usage, "--viral-fasta names a file that a stage writes")
            .file(path)
            .expected("a file of its own")
            .advice("choose another name: a table would be replaced"));
    }
    room::check_writable(parent(path))?;
    if path.is_dir() {
        return Err(Error::writing(path, std::io::ErrorKind::IsADirectory.into()).advice("give a file, not a folder"));
    }
    if settings.resume.overwrite || !path.exists() || holds_viral_sequences(path) {
        return Ok(());
    }
    Err(Error::new(Fault::OutputForeign, format!("{} already exists", path.display()))
        .file(path)
        .expected("a new file, or viral sequences of an earlier run")
        .found("something else")
        .advice("choose another name, or replace it with --overwrite"))
}

/// Whether a stage writes, or may write, a file of this name there.
fn is_of_a_stage(path: &Path, settings: &Predict) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_in = |folder: &Path| {
        let places = [parent(path), folder].map(|place| place.canonicalize().or_else(|_| absolute(place)).ok());
        places[0] == places[1]
    };
    let is_of = |folder: &Path, owns: fn(&str) -> bool| (owns(&name) || name == MANIFEST_FILE) && is_in(folder);
    is_of(&settings.output, is_table) || is_of(&settings.windows, chunk::owns)
}

fn same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// Whether a file is what this module writes: no record, or one that says so.
fn holds_viral_sequences(path: &Path) -> bool {
    match Reader::open_titled(&Source::from(path), Limits::default(), InputPolicy::AS_IT_STANDS) {
        Err(error) => error.fault() == Fault::InputEmpty,
        Ok(mut reader) => match reader.next(&mut Names::new(Duplicates::Rename)) {
            Some(Ok(first)) => first.title().ends_with(VIRAL),
            _ => false,
        },
    }
}

/// How the input was read: what the manifest of windows says.
#[derive(Deserialize)]
struct Reading {
    duplicates: Duplicates,
    letters: UnknownLetters,
}

/// Writes the file, where one is asked for, from finished tables.
///
/// # Errors
/// [`Fault::InputChanged`] where the input is not the one that the tables come from; it cannot be read, or the file not
/// written.
pub fn write(settings: &Predict) -> Result<()> {
    let Some(viral) = &settings.viral_fasta else { return Ok(()) };
    let manifest = upstream::manifest(&settings.windows)?.ok_or_else(|| {
        let message = format!("{} has no manifest", settings.windows.display());
        Error::new(Fault::CheckpointIncomplete, message).file(&settings.windows).advice("run `virnucpro chunk` again")
    })?;
    let reading: Reading = serde_json::from_value(manifest.settings.clone()).map_err(|error| {
        Error::new(Fault::CheckpointCorrupt, "the manifest of the windows does not say how they were cut")
            .file(&settings.windows)
            .advice("run `virnucpro chunk` again with --overwrite")
            .caused_by(error)
    })?;
    let failed = |error| Error::writing(&viral.path, error);
    std::fs::create_dir_all(parent(&viral.path)).map_err(failed)?;
    let fasta = FastaWriter::new(&viral.path, AtomicFile::create(&viral.path)?).map_err(failed)?;
    let rows = TableReader::open(&settings.output.join(SequenceVerdictRow::TSV))?;
    let mut pass = Pass { names: Names::new(reading.duplicates), letters: reading.letters, rows, fasta, viral, n: 0 };
    let digests = viral.inputs.iter().map(|input| pass.input(&input.path)).collect::<Result<Vec<_>>>()?;
    let Pass { mut rows, fasta, n, .. } = pass;
    if let Some(row) = rows.next_row()? {
        return Err(changed(&settings.windows).expected(format!("sequence {}", row.sequence_id)).found("no more"));
    }
    prove(&manifest, &digests, &settings.windows)?;
    let sealed = fasta.finish().map_err(failed)?.seal()?;
    // A file that stays as it is keeps its time: nothing that depends on it is made again.
    if !viral.path.exists() || FileDigest::of(&viral.path)? != *sealed.digest() {
        crate::fs::SealedFile::publish(vec![sealed])?;
    }
    log::info!("{}: {}", viral.path.display(), counted(n, "viral sequence"));
    Ok(())
}

fn prove(manifest: &Manifest, digests: &[String], windows: &Path) -> Result<()> {
    let found = content_digest(digests.iter().map(String::as_str));
    match &manifest.origin {
        Some(origin) if origin.blake3 != found => {
            Err(changed(windows).expected(origin.cell()).found(format!("files with digest {}", &found[..12])))
        }
        _ => Ok(()),
    }
}

fn changed(path: &Path) -> Error {
    Error::new(Fault::InputChanged, "the sequences are not those that the tables come from")
        .file(path)
        .advice("give the files that `virnucpro chunk` read, in the same order; if one was changed, run it again")
}

/// One pass over inputs and table.
struct Pass<'a> {
    names: Names,
    letters: UnknownLetters,
    rows: TableReader<SequenceVerdictRow<'static>>,
    fasta: FastaWriter<AtomicFile>,
    viral: &'a ViralFasta,
    n: u64,
}

impl Pass<'_> {
    /// Reads an input to its end; the digest of its bytes.
    fn input(&mut self, path: &Path) -> Result<String> {
        let policy = InputPolicy { letters: self.letters, ..InputPolicy::AS_IT_STANDS };
        let mut reader = match Reader::open_titled(&Source::from(path), Limits::default(), policy) {
            Err(error) if error.fault() == Fault::InputEmpty => return Ok(FileDigest::of(path)?.blake3),
            opened => opened?,
        };
        while let Some(record) = reader.next(&mut self.names) {
            interrupt::check()?;
            let record = record?;
            let row = self.rows.next_row()?;
            let length = record.bases().len() as u64;
            let shown = |id: &str, length| format!("sequence {id} of {}", counted(length, "base"));
            let found = changed(path).found(shown(record.id, length));
            match row {
                Some(row) if row.sequence_id == record.id && row.length == length => {
                    if row.verdict == SequenceVerdict::Viral.name() {
                        let written = self.fasta.record(&title(&record, &row), record.bases());
                        written.map_err(|error| Error::writing(&self.viral.path, error))?;
                        self.n += 1;
                    }
                }
                Some(row) => return Err(found.expected(shown(&row.sequence_id, row.length))),
                None => return Err(found.expected("no further sequence")),
            }
        }
        Ok(reader.summary().map(|summary| summary.digest.to_hex().to_string()).unwrap_or_default())
    }
}

/// The original header and what was found.
fn title(record: &Record<'_>, row: &SequenceVerdictRow<'_>) -> String {
    let mut title = record.title();
    let mut add = |name: &str, value: Option<String>| {
        title.extend(value.map(|value| format!(" {name}={value}")));
    };
    add("sequence_id", (record.id != record.original_id).then(|| record.id.to_owned()));
    match row.p_virus {
        Some(p_virus) => add("p_virus", Some(float32_text(p_virus))),
        None => {
            add("viral_share", row.viral_share.map(|share| share.to_string()));
            add("mean_score_virus", row.mean_score_virus.map(float32_text));
        }
    }
    add("tier", row.tier.as_deref().map(str::to_owned));
    title + VIRAL
}
