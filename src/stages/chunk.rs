//! `chunk`: sequences to windows, windows to open frames, open frames to shards. A row for every record and
//! every window, and counts that add up.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;

use super::legacy::LegacyFile;
use super::shards::{ShardWriter, is_shard};
use crate::config::{self, Input};
use crate::error::{Error, Fault, Result, printable};
use crate::fs::FileDigest;
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::seq::{
    Alphabet, FrameId, Letters, Limits, Names, Reader, Record, SixFrames, Source, Summary, Window, windows,
};
use crate::store::tables::{InputRow, WindowRow, WindowStatus};
use crate::store::{Fingerprint, Manifest, ShardEntry, StageDir, TableWriter};

const WINDOWS: &str = "windows.tsv";
const INPUTS: &str = "inputs.tsv";
/// Windows between two looks at whether to stop.
const CHECK_EVERY: usize = 4096;

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::{self, Chunk};
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::chunk::chunk;
/// use virnucpro::units::{Duplicates, Resume};
///
/// let settings = Chunk {
///     inputs: config::inputs(&["contigs.fa".into()])?,
///     output: "out/windows".into(),
///     window: Some(500),
///     shard_frames: config::DEFAULT_SHARD_FRAMES,
///     duplicates: Duplicates::Rename,
///     allow_empty: false,
///     legacy: false,
///     resume: Resume::Keep,
/// };
/// let manifest = chunk(&settings, &Progress::Silent)?;
/// println!("{} frames", manifest.totals["frames"]);
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// An input is missing or damaged, at the line that the error names; or the output cannot be written.
pub fn chunk(settings: &config::Chunk, progress: &Progress) -> Result<Manifest> {
    let window = settings.window.unwrap_or(config::DEFAULT_WINDOW);
    config::unusual_window(window).iter().for_each(|reason| log::warn!("chunk: {reason}"));
    let fingerprint = Fingerprint {
        stage: "chunk",
        settings: json!({
            "window": window,
            "shard_frames": settings.shard_frames,
            "duplicates": settings.duplicates,
        }),
        model: None,
    };
    // A last input that is not there should not cost the time of reading the others.
    settings.inputs.iter().try_for_each(present)?;
    let mut dir = StageDir::open(&settings.output, fingerprint, settings.resume)?;
    if let Some(input) = known_input(settings, &dir)? {
        if dir.all_done(&input)? {
            log::info!("chunk: {} is already complete for this input", settings.output.display());
            return dir.keep();
        }
        log::warn!(
            "chunk: {} was made from a different input or is damaged; making it again",
            settings.output.display()
        );
    }
    let size = NonZeroUsize::new(window).ok_or_else(|| Error::new(Fault::Usage, "a window has at least one base"))?;
    let task = progress.task("chunk", "bases", None);
    let mut pass = Pass::create(&dir, settings, size, &task)?;
    let mut digest = InputDigest::new(settings.legacy);
    for input in &settings.inputs {
        let summary = pass.input(input, settings.allow_empty)?;
        digest.add(input, &summary);
    }
    let input = digest.finish();
    interrupt::check()?; // a signal to a pipe's writer ends the input early
    let finished = pass.finish()?;
    for (name, rows, file) in finished.files {
        dir.note(&name, ShardEntry { rows, file, input: input.clone() });
    }
    let counts = &finished.totals;
    log::info!(
        "chunk: {} records, {} windows, {} with an open frame, {} frames",
        counts["records"],
        counts["windows"],
        counts["windows_framed"],
        counts["frames"]
    );
    if counts["renamed"] > 0 {
        log::warn!(
            "chunk: {} records had the id of an earlier one and were renamed, as x__2; see inputs.tsv",
            counts["renamed"]
        );
    }
    dir.remove_unrecorded(&finished.names, is_shard)?;
    dir.finish(&finished.names, finished.totals)
}

/// Refuses an input that is not there.
fn present(input: &Input) -> Result<()> {
    if input.path == Path::new(config::STDIN) {
        return Ok(());
    }
    std::fs::metadata(&input.path).map(drop).map_err(|error| Error::reading(&input.path, error))
}

/// Digest of the input as it is now, if there is finished work to keep and the input can be read twice.
fn known_input(settings: &config::Chunk, dir: &StageDir) -> Result<Option<String>> {
    if !dir.holds_work() || settings.inputs.iter().any(|input| !input.path.is_file()) {
        return Ok(None);
    }
    let mut digest = InputDigest::new(settings.legacy);
    for input in &settings.inputs {
        digest.add_file(input, &FileDigest::of(&input.path)?);
    }
    Ok(Some(digest.finish()))
}

/// One digest for what was read, in order, with the names that stand in `inputs.tsv`, and for what is made of it:
/// more files of the same windows cost another reading, not other vectors.
struct InputDigest(blake3::Hasher);

impl InputDigest {
    fn new(legacy: bool) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(if legacy { b"legacy\n" } else { b"" });
        Self(hasher)
    }

    fn add(&mut self, input: &Input, summary: &Option<Summary>) {
        let digest = summary.as_ref().map_or_else(|| blake3::hash(b""), |summary| summary.digest);
        self.add_text(input, &digest.to_hex());
    }

    fn add_file(&mut self, input: &Input, digest: &FileDigest) {
        self.add_text(input, &digest.blake3);
    }

    fn add_text(&mut self, input: &Input, digest: &str) {
        self.0.update(format!("{}\t{}\t{digest}\n", input.sample, input.path.display()).as_bytes());
    }

    fn finish(self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// One pass over all inputs.
struct Pass<'a> {
    size: NonZeroUsize,
    names: Names,
    frames: SixFrames,
    shards: ShardWriter<'a>,
    windows: TableWriter,
    inputs: TableWriter,
    legacy: Option<Legacy>,
    counts: Counts,
    text: Text,
    task: &'a TaskProgress,
}

/// The original program's files.
struct Legacy {
    windows: (String, LegacyFile),
    nucleotides: LegacyFile,
    proteins: LegacyFile,
}

/// Buffers of a row, used again.
#[derive(Default)]
struct Text {
    window: String,
    frames: String,
}

#[derive(Default)]
struct Counts {
    bases: u64,
    frames: u64,
    statuses: BTreeMap<WindowStatus, u64>,
}

/// What a pass made.
struct Finished {
    names: Vec<String>,
    files: Vec<(String, u64, FileDigest)>,
    totals: BTreeMap<String, u64>,
}

impl<'a> Pass<'a> {
    fn create(dir: &'a StageDir, settings: &config::Chunk, size: NonZeroUsize, task: &'a TaskProgress) -> Result<Self> {
        let legacy = settings.legacy.then(|| Legacy::create(dir, size)).transpose()?;
        Ok(Self {
            size,
            names: Names::new(settings.duplicates),
            frames: SixFrames::new(),
            shards: ShardWriter::new(dir, settings.shard_frames),
            windows: TableWriter::create(&dir.path(WINDOWS), &WindowRow::HEADER)?,
            inputs: TableWriter::create(&dir.path(INPUTS), &InputRow::HEADER)?,
            legacy,
            counts: Counts::default(),
            text: Text::default(),
            task,
        })
    }

    /// Reads one input to its end; `None` for one without sequences where that is allowed.
    fn input(&mut self, input: &Input, allow_empty: bool) -> Result<Option<Summary>> {
        let source = Source::from(input.path.clone());
        let mut reader = match Reader::open(&source, Alphabet::Nucleotide, Limits::default()) {
            Err(error) if allow_empty && error.fault() == Fault::InputEmpty => {
                log::warn!("{source} contains no sequences");
                return Ok(None);
            }
            opened => opened?,
        };
        let (mut in_file, mut letters) = (0, Letters::default());
        while let Some(record) = reader.next(&mut self.names) {
            let record = record?;
            interrupt::check()?;
            in_file += 1;
            letters += self.record(input, in_file, &record)?;
            self.task.add(record.bases().len() as u64);
        }
        let summary = reader.summary().cloned();
        for note in summary.iter().flat_map(|summary| &summary.notes) {
            log::warn!("{source}: {note}");
        }
        warn_of_letters(&source, letters);
        Ok(summary)
    }

    /// Cuts one record and writes its row.
    fn record(&mut self, input: &Input, number: u64, record: &Record<'_>) -> Result<Letters> {
        let bases = record.bases();
        let letters = record.letters();
        let (mut cut, mut framed, mut frames) = (0, 0, 0);
        for window in windows(bases.len(), self.size) {
            if window.index % CHECK_EVERY == 0 {
                interrupt::check()?;
            }
            let open = self.window(record.id, bases, window)?;
            cut += 1;
            framed += u64::from(open > 0);
            frames += open;
        }
        self.counts.bases += bases.len() as u64;
        self.inputs.row(&InputRow {
            sample: input.sample.clone(),
            file: printable(&input.path.to_string_lossy(), usize::MAX),
            record: number,
            line: record.line,
            sequence: record.id.to_owned(),
            original: record.original_id.to_owned(),
            length: bases.len() as u64,
            ambiguous: letters.ambiguous + letters.uracil + letters.gap,
            windows: cut,
            framed,
            frames,
        })?;
        Ok(letters)
    }

    /// Writes the open frames and the row of one window. Gives the number of frames.
    fn window(&mut self, sequence: &str, bases: &[u8], place: Window) -> Result<u64> {
        let bases = &bases[place.start..place.end];
        let Text { window, frames } = &mut self.text;
        window.clear();
        window.push_str(sequence);
        window.push_str("_chunk_");
        window.push_str(itoa::Buffer::new().format(place.index));
        frames.clear();
        let mut open = 0;
        for frame in self.frames.read(bases) {
            open += 1;
            frames.push_str(if frames.is_empty() { "" } else { "," });
            frames.push_str(frame.frame.name());
            let id = FrameId { window, frame: frame.frame.name() };
            self.shards.push(id, frame.nucleotides, frame.protein)?;
            if let Some(legacy) = &mut self.legacy {
                legacy.nucleotides.one_line_record(id, frame.nucleotides)?;
                legacy.proteins.one_line_record(id, frame.protein)?;
            }
        }
        if let Some(legacy) = &mut self.legacy {
            legacy.windows.1.wrapped_record(window, bases)?;
        }
        let status = status_of(open, &self.frames, bases);
        *self.counts.statuses.entry(status).or_default() += 1;
        self.counts.frames += open;
        self.windows.cells([
            sequence.as_bytes(),
            window.as_bytes(),
            itoa::Buffer::new().format(place.start).as_bytes(),
            itoa::Buffer::new().format(place.end).as_bytes(),
            frames.as_bytes(),
            status.name().as_bytes(),
        ])?;
        Ok(open)
    }

    /// Gives every file its name, once the counts are found to add up.
    fn finish(self) -> Result<Finished> {
        let (records, windows) = (self.names.records(), self.windows.rows());
        let shards = self.shards.finish()?;
        let in_shards: u64 = shards.iter().map(|shard| shard.frames).sum();
        let of_statuses: u64 = self.counts.statuses.values().sum();
        for (what, expected, found) in [
            ("records and rows of inputs.tsv", records, self.inputs.rows()),
            ("windows and rows of windows.tsv", of_statuses, windows),
            ("open frames and records of shards", self.counts.frames, in_shards),
        ] {
            if expected != found {
                return Err(Error::new(Fault::Count, format!("the numbers of {what} differ; this is a bug"))
                    .expected(expected.to_string())
                    .found(found.to_string()));
            }
        }
        let mut files: Vec<(String, u64, FileDigest)> =
            shards.into_iter().flat_map(|shard| shard.files.map(|(name, file)| (name, shard.frames, file))).collect();
        files.push((WINDOWS.to_owned(), windows, self.windows.commit()?));
        files.push((INPUTS.to_owned(), records, self.inputs.commit()?));
        if let Some(legacy) = self.legacy {
            files.extend(legacy.commit()?);
        }
        let count = |status| self.counts.statuses.get(&status).copied().unwrap_or(0);
        let totals = [
            ("records", records),
            ("bases", self.counts.bases),
            ("windows", windows),
            ("windows_framed", count(WindowStatus::Framed)),
            ("windows_no_open_frame", count(WindowStatus::NoOpenFrame)),
            ("windows_ambiguous", count(WindowStatus::Ambiguous)),
            ("windows_too_short", count(WindowStatus::TooShort)),
            ("frames", self.counts.frames),
            ("renamed", self.names.renamed()),
        ];
        Ok(Finished {
            names: files.iter().map(|(name, _, _)| name.clone()).collect(),
            files,
            totals: totals.map(|(name, count)| (name.to_owned(), count)).into(),
        })
    }
}

/// Why a window has `open` open frames.
fn status_of(open: u64, frames: &SixFrames, bases: &[u8]) -> WindowStatus {
    match open {
        1.. => WindowStatus::Framed,
        _ if bases.len() < 3 => WindowStatus::TooShort,
        _ if frames.stopped() => WindowStatus::NoOpenFrame,
        _ => WindowStatus::Ambiguous,
    }
}

fn warn_of_letters(source: &Source, letters: Letters) {
    if letters.uracil > 0 {
        log::warn!("{source}: {} U, as in RNA: their codons are left out; translate U to T first", letters.uracil);
    }
    if letters.gap > 0 {
        log::warn!("{source}: {} gaps ('-'), as in an alignment: their codons are left out", letters.gap);
    }
    if letters.ambiguous > 0 {
        log::info!("{source}: {} ambiguous bases (N and the like): their codons are left out", letters.ambiguous);
    }
}

impl Legacy {
    const NUCLEOTIDES: &str = "identified_nucleotide.fa";
    const PROTEINS: &str = "identified_protein.faa";

    fn create(dir: &StageDir, size: NonZeroUsize) -> Result<Self> {
        let windows = format!("chunked{size}.fa");
        Ok(Self {
            windows: (windows.clone(), LegacyFile::create(&dir.path(&windows), "")?),
            nucleotides: LegacyFile::create(&dir.path(Self::NUCLEOTIDES), "")?,
            proteins: LegacyFile::create(&dir.path(Self::PROTEINS), "")?,
        })
    }

    fn commit(self) -> Result<[(String, u64, FileDigest); 3]> {
        let commit = |name: &str, file: LegacyFile| -> Result<_> { Ok((name.to_owned(), file.rows(), file.commit()?)) };
        Ok([
            commit(&self.windows.0, self.windows.1)?,
            commit(Self::NUCLEOTIDES, self.nucleotides)?,
            commit(Self::PROTEINS, self.proteins)?,
        ])
    }
}
