//! `chunk`: sequences to windows, windows to frames, frames to shards. A row for every record and
//! every window, and counts that add up.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;

use super::input_digest::InputDigest;
use super::legacy::LegacyFile;
use super::shards::{FrameSink, Shard, ShardWriter, Sides, is_shard};
use super::upstream::refuse_input_in_output;
use crate::bundle::Bundle;
use crate::config::{self, Input, Side};
use crate::embed::load;
use crate::error::{Error, Fault, Result, printable};
use crate::fs::{FileDigest, SealedFile};
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::seq::{
    Alphabet, FrameId, Letters, Limits, Names, Reader, Record, SixFrames, Source, Summary, Window, windows,
};
use crate::store::tables::{InputRow, WindowRow, WindowStatus};
use crate::store::{Fingerprint, MadeFrom, Manifest, Origin, Provenance, Row, StageDir, TableWriter};
use crate::units::{FrameRule, InputPolicy, counted};

const TABLES: [&str; 2] = [WindowRow::TSV, InputRow::TSV];
/// Their copies, which only some runs write.
const PARQUET: [&str; 2] = [WindowRow::PARQUET, InputRow::PARQUET];
/// Windows between two looks at whether to stop.
const CHECK_EVERY: usize = 4096;

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::{self, BundleChoice, Chunk};
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::chunk::chunk;
/// use virnucpro::units::{Duplicates, FrameRule, InputPolicy, Resume, TableFormats};
///
/// let settings = Chunk {
///     inputs: config::inputs(&["contigs.fa".into()])?,
///     output: "out/windows".into(),
///     window: Some(500),
///     frames: Some(FrameRule::Open),
///     model: BundleChoice { name: "mini".to_owned(), search: Vec::new() },
///     shard_frames: config::DEFAULT_SHARD_FRAMES,
///     duplicates: Duplicates::Rename,
///     policy: InputPolicy::default(),
///     allow_empty: false,
///     legacy: false,
///     tables: TableFormats::Tsv,
///     resume: Resume::KEEP,
/// };
/// let manifest = chunk(&settings, &Progress::Silent)?;
/// println!("{} frames", manifest.totals["frames"]);
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// An input is missing or damaged, at the line that the error names; or the output cannot be written.
pub fn chunk(settings: &config::Chunk, progress: &Progress) -> Result<Manifest> {
    let layout = match (settings.window, settings.frames) {
        (Some(window), Some(frames)) => Layout { window, frames, sides: Sides::BOTH },
        _ => Layout::of(settings, &load::bundle(&settings.model)?),
    };
    let shards = ShardWriter::new(&settings.output, settings.shard_frames, layout.sides);
    cut(settings, layout, Box::new(shards), progress)?.commit()
}

/// How sequences are cut, and what is read of the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Window length in bases.
    pub window: usize,
    /// Which frames count.
    pub frames: FrameRule,
    /// What is kept of the frames, as shards.
    pub sides: Sides,
}

impl Layout {
    /// What the user asks for, else what the bundle was trained on.
    pub fn of(settings: &config::Chunk, bundle: &Bundle) -> Self {
        let (spec, sides) = (bundle.spec(), load::sides(bundle));
        Self {
            window: settings.window.unwrap_or(spec.window as usize),
            frames: settings.frames.unwrap_or(spec.frames),
            sides: Sides { nucleotides: sides.contains(&Side::Dnabert), proteins: sides.contains(&Side::Esm) },
        }
    }

    /// The same without shards.
    pub fn without_shards(self) -> Self {
        Self { sides: Sides { nucleotides: false, proteins: false }, ..self }
    }

    /// Window length and frames, as the manifest of windows has them.
    pub fn recorded(manifest: &Manifest) -> Option<Self> {
        let window = usize::try_from(manifest.settings["window"].as_u64()?).ok()?;
        Some(Self { window, frames: manifest.settings["frames"].as_str()?.parse().ok()?, sides: Sides::BOTH })
    }
}

/// Settings, as far as they change results.
pub fn fingerprint(settings: &config::Chunk, layout: Layout) -> Fingerprint {
    let settings = json!({
        "window": layout.window,
        "frames": layout.frames,
        "shard_frames": settings.shard_frames,
        "duplicates": settings.duplicates,
        "letters": settings.policy.letters,
    });
    let wrote = |folder: &Path| folder.join(WindowRow::TSV).is_file() && folder.join(InputRow::TSV).is_file();
    Fingerprint { stage: "chunk", settings, model: None, owns, wrote }
}

/// Whether this stage gives files such a name.
fn owns(name: &str) -> bool {
    let legacy = name.starts_with("chunked") || [Legacy::NUCLEOTIDES, Legacy::PROTEINS].contains(&name);
    is_shard(name) || legacy || TABLES.contains(&name) || PARQUET.contains(&name)
}

/// All windows of an input: cut, written and on the device, but not in place of an earlier run's yet.
pub struct Cut {
    dir: StageDir,
    origin: Origin,
    /// None where the folder holds these windows already.
    made: Option<Made>,
}

struct Made {
    finished: Finished,
    input: MadeFrom,
}

/// The windows, where the folder holds their tables already, without shards, and the input can be read twice. Nothing is
/// touched.
///
/// # Errors
/// Those of [`chunk`].
pub fn finished(settings: &config::Chunk, layout: Layout) -> Result<Option<Cut>> {
    let mut dir = open(settings, layout)?;
    if dir.names(is_shard) {
        return Ok(None);
    }
    Ok(match earlier(settings, layout, &mut dir)? {
        Earlier::Done(origin) => Some(Cut { dir, origin, made: None }),
        Earlier::Other | Earlier::Unknown => None,
    })
}

/// What a folder holds of an earlier run.
enum Earlier {
    /// These windows.
    Done(Origin),
    /// Something else, or nothing.
    Other,
    /// What cannot be told before the input is read.
    Unknown,
}

fn open(settings: &config::Chunk, layout: Layout) -> Result<StageDir> {
    check_inputs(settings)?;
    let dir = StageDir::open(&settings.output, fingerprint(settings, layout), settings.resume)?;
    refuse_input_in_output(settings.inputs.iter().map(|input| input.path.as_path()), &settings.output)?;
    Ok(dir)
}

fn earlier(settings: &config::Chunk, layout: Layout, dir: &mut StageDir) -> Result<Earlier> {
    let Some(known) = known_input(settings, layout, dir)? else { return Ok(Earlier::Unknown) };
    let (input, origin) = known.finish(settings, layout, dir.recorded_origin());
    dir.claim(Some(origin.clone()))?;
    Ok(if dir.all_done(&input)? { Earlier::Done(origin) } else { Earlier::Other })
}

/// Cuts the input and hands its frames to `frames`, or finds that this is done already. Nothing of an earlier run is touched.
///
/// # Errors
/// Those of [`chunk`].
pub fn cut(
    settings: &config::Chunk,
    layout: Layout,
    frames: Box<dyn FrameSink + '_>,
    progress: &Progress,
) -> Result<Cut> {
    config::unusual_window(layout.window).iter().for_each(|reason| log::warn!("chunk: {reason}"));
    let mut dir = open(settings, layout)?;
    let has_shards = dir.names(is_shard);
    let may_be_done = match earlier(settings, layout, &mut dir)? {
        // Frames that are not kept are wanted again, and so are shards that were removed.
        Earlier::Done(origin) if layout.sides.any() && has_shards => {
            log::info!("chunk: {} is already complete for this input", settings.output.display());
            return Ok(Cut { dir, origin, made: None });
        }
        earlier => matches!(earlier, Earlier::Unknown) && (has_shards || !layout.sides.any()),
    };
    dir.create()?;
    let task = progress.task("chunk", "bases", None);
    let mut pass = Pass::create((&dir, settings, layout), frames, &task)?;
    let mut digest = InputDigest::new(settings, layout);
    let mut samples = HashSet::new();
    for input in &settings.inputs {
        pass.is_later_file = !samples.insert(&input.sample);
        let summary = pass.input(input, settings.allow_empty)?;
        if let Some(Summary { format, compression, records, bases, bytes, .. }) = &summary {
            let (path, records) = (input.path.display(), counted(*records, "record"));
            log::debug!("{path}: {format}, {compression}, {bytes} bytes, {records}, {bases} bases");
        }
        digest.add(input, &summary)?;
    }
    interrupt::check()?; // a signal to a pipe's writer ends the input early
    digest.has_uracil = pass.counts.uracil > 0;
    let (input, origin) = digest.finish(settings, layout, None);
    dir.claim(Some(origin.clone()))?;
    let finished = pass.finish(&input)?;
    if may_be_done && dir.holds_work() && dir.all_done(&input)? {
        log::info!("chunk: {} is already complete for this input", settings.output.display());
        return Ok(Cut { dir, origin, made: None });
    }
    Ok(Cut { dir, origin, made: Some(Made { finished, input }) })
}

impl Cut {
    /// The sequences that were cut.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Size and digest of `windows.tsv` and `inputs.tsv`.
    pub fn tables(&self) -> Option<[FileDigest; 2]> {
        let digest = |name: &str| match &self.made {
            None => self.dir.recorded(name).map(|entry| entry.file.clone()),
            Some(Made { finished, .. }) => {
                let file = finished.files.iter().find(|(made, ..)| made == name);
                file.map(|(.., file)| file.digest().clone())
            }
        };
        Some([digest(WindowRow::TSV)?, digest(InputRow::TSV)?])
    }

    /// Whether shards are about to be written again that were removed.
    pub fn restores_shards(&self) -> bool {
        let is_known = self.dir.recorded(WindowRow::TSV).is_some() && self.dir.recorded_origin() == Some(&self.origin);
        self.made.is_some() && is_known && !self.dir.names(is_shard)
    }

    /// Whether windows of other content are about to be replaced. Nothing depends on shards that were removed.
    pub fn replaces_others(&self) -> bool {
        let are_gone = !self.dir.names(is_shard);
        let same = |(name, _, file): &(String, u64, SealedFile)| {
            let recorded = self.dir.recorded(name);
            !is_shard(name) || recorded.map_or(are_gone, |entry| entry.file == *file.digest())
        };
        self.made
            .as_ref()
            .is_some_and(|made| self.dir.recorded(WindowRow::TSV).is_some() && !made.finished.files.iter().all(same))
    }

    /// Puts the windows in their place.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn commit(self) -> Result<Manifest> {
        let Self { mut dir, made, .. } = self;
        let Some(Made { finished, input }) = made else { return dir.keep() };
        dir.begin()?;
        let (mut names, mut files) = (Vec::new(), Vec::new());
        for (name, rows, file) in finished.files {
            dir.note(&name, input.entry(rows, file.digest().clone()));
            names.push(name);
            files.push(file);
        }
        SealedFile::publish(files)?;
        let counts = &finished.totals;
        log::info!(
            "chunk: {}, {}, {} with a frame that counts, {}",
            counted(counts["records"], "record"),
            counted(counts["windows"], "window"),
            counts["windows_framed"],
            counted(counts["frames"], "frame")
        );
        let Mates { records, example } = &finished.mates;
        if let Some(example) = example {
            let records = counted(*records, "record");
            log::info!("chunk: in later files of a sample {records} had an id again, as mates of pairs do: {example}");
        }
        if counts["renamed"] > *records {
            let renamed = counted(counts["renamed"] - records, "record");
            log::warn!(
                "chunk: {renamed} had the id of an earlier one; original_id in inputs.tsv tells which got a new one"
            );
        }
        dir.remove_unrecorded(&names, |name| is_shard(name) || PARQUET.contains(&name))?;
        dir.finish(&names, finished.totals)
    }
}

/// Refuses inputs that are not there: the last one should not cost the time of reading the others.
///
/// # Errors
/// [`Fault::InputMissing`].
pub fn check_inputs(settings: &config::Chunk) -> Result<()> {
    settings.inputs.iter().try_for_each(present)
}

fn present(input: &Input) -> Result<()> {
    if input.path == Path::new(config::STDIN) {
        return Ok(());
    }
    std::fs::metadata(&input.path).map(drop).map_err(|error| Error::reading(&input.path, error))
}

/// Digest of the input as it is now, if there is finished work to keep and the input can be read twice.
fn known_input(settings: &config::Chunk, layout: Layout, dir: &StageDir) -> Result<Option<InputDigest>> {
    if !dir.holds_work() || settings.inputs.iter().any(|input| !input.path.is_file()) {
        return Ok(None);
    }
    let mut digest = InputDigest::new(settings, layout);
    for input in &settings.inputs {
        digest.add_text(input, &FileDigest::of(&input.path)?.blake3);
    }
    Ok(Some(digest))
}

/// One pass over all inputs.
struct Pass<'a> {
    size: NonZeroUsize,
    policy: InputPolicy,
    names: Names,
    frames: SixFrames,
    sink: Box<dyn FrameSink + 'a>,
    windows: TableWriter<WindowRow<'static>>,
    inputs: TableWriter<InputRow<'static>>,
    legacy: Option<Legacy>,
    counts: Counts,
    mates: Mates,
    /// Whether the input is not the first of its sample.
    is_later_file: bool,
    text: Text,
    task: &'a TaskProgress,
}

/// Records that were renamed in a file which is not the first of its sample.
#[derive(Default)]
struct Mates {
    records: u64,
    /// The first of them: what happened to it.
    example: Option<String>,
}

impl Mates {
    fn note(&mut self, source: &Source, record: &Record<'_>) {
        self.records += 1;
        let Record { id, original_id, .. } = record;
        self.example.get_or_insert_with(|| format!("{original_id} of {source} is called {id}"));
    }
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
    /// U, read as T or kept.
    uracil: u64,
    statuses: BTreeMap<WindowStatus, u64>,
}

/// What a pass made.
struct Finished {
    files: Vec<(String, u64, SealedFile)>,
    totals: BTreeMap<String, u64>,
    mates: Mates,
}

impl<'a> Pass<'a> {
    fn create(
        (dir, settings, layout): (&StageDir, &config::Chunk, Layout),
        sink: Box<dyn FrameSink + 'a>,
        task: &'a TaskProgress,
    ) -> Result<Self> {
        let size = NonZeroUsize::new(layout.window);
        let size = size.ok_or_else(|| Error::new(Fault::Usage, "a window has at least one base"))?;
        let legacy = settings.legacy.then(|| Legacy::create(dir, size)).transpose()?;
        Ok(Self {
            size,
            policy: settings.policy,
            names: Names::new(settings.duplicates),
            frames: SixFrames::new(layout.frames),
            sink,
            windows: TableWriter::create(dir.folder(), settings.tables)?,
            inputs: TableWriter::create(dir.folder(), settings.tables)?,
            legacy,
            counts: Counts::default(),
            mates: Mates::default(),
            is_later_file: false,
            text: Text::default(),
            task,
        })
    }

    /// Reads one input to its end; `None` for one without sequences where that is allowed.
    fn input(&mut self, input: &Input, allow_empty: bool) -> Result<Option<Summary>> {
        let source = Source::from(input.path.clone());
        let mut reader = match Reader::open_with(&source, Alphabet::Nucleotide, Limits::default(), self.policy) {
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
            if self.is_later_file && record.id != record.original_id {
                self.mates.note(&source, &record);
            }
            letters += self.record(input, in_file, &record)?;
            self.task.add(record.bases().len() as u64);
        }
        let summary = reader.summary().cloned();
        if let Some(summary) = &summary {
            self.counts.uracil += summary.uracil + letters.uracil;
            summary.notes.iter().for_each(|note| log::warn!("{source}: {note}"));
            warn_of_letters(&source, summary, letters);
        }
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
            let counting = self.window([&input.sample, record.id], bases, window)?;
            cut += 1;
            framed += u64::from(counting > 0);
            frames += counting;
        }
        self.counts.bases += bases.len() as u64;
        self.inputs.row(&InputRow {
            sample: input.sample.as_str().into(),
            file: printable(&input.path.to_string_lossy(), usize::MAX).into(),
            record: number,
            line: record.line,
            sequence_id: record.id.into(),
            original_id: record.original_id.into(),
            length: bases.len() as u64,
            n_ambiguous: letters.ambiguous + letters.uracil + letters.gap,
            n_windows: cut,
            n_framed_windows: framed,
            n_frames: frames,
        })?;
        Ok(letters)
    }

    /// Writes the frames that count and the row of one window. Gives their number.
    fn window(&mut self, [sample, sequence]: [&str; 2], bases: &[u8], place: Window) -> Result<u64> {
        let bases = &bases[place.start..place.end];
        let Text { window, frames } = &mut self.text;
        window.clear();
        window.push_str(sequence);
        window.push_str("_chunk_");
        window.push_str(itoa::Buffer::new().format(place.index));
        frames.clear();
        let (mut counting, mut run) = (0, None);
        for frame in self.frames.read(bases) {
            counting += 1;
            run = frame.run.clone();
            frames.push_str(if frames.is_empty() { "" } else { "," });
            frames.push_str(frame.frame.name());
            let id = FrameId { window, frame: frame.frame.name() };
            self.sink.push(id, &frame)?;
            if let Some(legacy) = &mut self.legacy {
                legacy.nucleotides.one_line_record(id, frame.nucleotides)?;
                legacy.proteins.one_line_record(id, frame.protein)?;
            }
        }
        if let Some(legacy) = &mut self.legacy {
            legacy.windows.1.wrapped_record(window, bases)?;
        }
        let status = status_of(counting, &self.frames, bases);
        *self.counts.statuses.entry(status).or_default() += 1;
        self.counts.frames += counting;
        let in_sequence = |base: usize| (place.start + base) as u64;
        self.windows.row(&WindowRow {
            sample: sample.into(),
            sequence_id: sequence.into(),
            window_id: window.as_str().into(),
            start: place.start as u64,
            end: place.end as u64,
            frames: (counting > 0).then(|| frames.as_str().into()),
            run_start: run.as_ref().map(|run| in_sequence(run.start)),
            run_end: run.as_ref().map(|run| in_sequence(run.end)),
            status,
        })?;
        Ok(counting)
    }

    /// Puts every file on the device, once the counts are found to add up.
    fn finish(self, input: &MadeFrom) -> Result<Finished> {
        let (records, windows) = (self.names.records(), self.windows.rows());
        let (handed_on, shards) = self.sink.finish()?;
        let of_statuses: u64 = self.counts.statuses.values().sum();
        for (what, expected, found) in [
            ("records and rows of inputs.tsv", records, self.inputs.rows()),
            ("windows and rows of windows.tsv", of_statuses, windows),
            ("frames that count and frames handed on", self.counts.frames, handed_on),
        ] {
            if expected != found {
                return Err(Error::new(Fault::Count, format!("the numbers of {what} differ; this is a bug"))
                    .expected(expected.to_string())
                    .found(found.to_string()));
            }
        }
        let mut files: Vec<(String, u64, SealedFile)> = shards.into_iter().flat_map(Shard::into_files).collect();
        let provenance = Provenance { stage: "chunk", input, model: None };
        let tables = [(windows, self.windows.seal(&provenance)?), (records, self.inputs.seal(&provenance)?)];
        for (rows, table) in tables {
            files.extend(table.into_iter().map(|(name, file)| (name.to_owned(), rows, file)));
        }
        if let Some(legacy) = self.legacy {
            files.extend(legacy.seal()?);
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
        let totals = totals.map(|(name, count)| (name.to_owned(), count)).into();
        Ok(Finished { files, totals, mates: self.mates })
    }
}

/// Why so many frames of a window count.
fn status_of(counting: u64, frames: &SixFrames, bases: &[u8]) -> WindowStatus {
    match counting {
        1.. => WindowStatus::Framed,
        _ if bases.len() < 3 => WindowStatus::TooShort,
        _ if frames.stopped() => WindowStatus::NoOpenFrame,
        _ => WindowStatus::Ambiguous,
    }
}

fn warn_of_letters(source: &Source, summary: &Summary, letters: Letters) {
    if letters.uracil > 0 {
        let kept = letters.uracil;
        log::warn!("{source}: RNA: {kept} U kept as in the original program: {}", left_out(kept));
    } else if summary.uracil > 0 {
        log::warn!("{source}: RNA: {} U read as T", summary.uracil);
    }
    if summary.masked.letters > 0 {
        let (unknown, line) = (counted(summary.masked.letters, "unknown letter"), summary.masked.line);
        log::warn!("{source}: {unknown} read as N, the first on line {line}");
    }
    if letters.gap > 0 {
        log::warn!("{source}: {} ('-'), as in an alignment: {}", counted(letters.gap, "gap"), left_out(letters.gap));
    }
    if letters.ambiguous > 0 {
        let ambiguous = counted(letters.ambiguous, "ambiguous base");
        log::info!("{source}: {ambiguous} (N and the like): {}", left_out(letters.ambiguous));
    }
}

/// What becomes of the codons of `count` letters.
fn left_out(count: u64) -> &'static str {
    if count == 1 { "its codon is left out" } else { "their codons are left out" }
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

    fn seal(self) -> Result<[(String, u64, SealedFile); 3]> {
        let seal = |name: &str, file: LegacyFile| -> Result<_> { Ok((name.to_owned(), file.rows(), file.seal()?)) };
        Ok([
            seal(&self.windows.0, self.windows.1)?,
            seal(Self::NUCLEOTIDES, self.nucleotides)?,
            seal(Self::PROTEINS, self.proteins)?,
        ])
    }
}
