//! `predict`: scores of frames, verdicts of windows and records. Every window and record of the input has its
//! row, those without a score with the reason.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::cut_windows::CutWindows;
use super::frame_scores::{FrameScores, check_vectors};
use super::legacy::{LegacyFile, WindowVerdicts};
use super::upstream::{self, UpstreamFile};
use super::verdict::{SequenceTally, Tier, Verdict, WindowScore};
use crate::bundle::Bundle;
use crate::config::{self, Tiers};
use crate::embed::load;
use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest};
use crate::model::Score;
use crate::runtime::progress::Progress;
use crate::seq::FrameId;
use crate::store::tables::{FrameVerdictRow, InputRow, SequenceVerdictRow, WindowRow, WindowStatus, WindowVerdictRow};
use crate::store::{
    Fingerprint, MadeFrom, Manifest, ModelStamp, Provenance, Row, ShardEntry, StageDir, TableReader, TableWriter,
};
use crate::units::counted;

const TABLES: [&str; 3] = [FrameVerdictRow::TSV, WindowVerdictRow::TSV, SequenceVerdictRow::TSV];
/// Their copies, which only some runs write.
const PARQUET: [&str; 3] = [FrameVerdictRow::PARQUET, WindowVerdictRow::PARQUET, SequenceVerdictRow::PARQUET];
const SUMMARY: &str = "summary.json";
const LEGACY_FRAMES: &str = "prediction_results.txt";
const LEGACY_WINDOWS: &str = "prediction_results_highestscore.csv";

/// What came out, for the last lines of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records by verdict.
    pub tiers: BTreeMap<Tier, u64>,
    /// Windows by status.
    pub statuses: BTreeMap<WindowStatus, u64>,
    /// Windows whose verdict is `virus`.
    pub n_viral_windows: u64,
    /// Frames scored.
    pub n_frames: u64,
}

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::{BundleChoice, Compute, Predict, Tiers};
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::predict::predict;
/// use virnucpro::units::{Resume, TableFormats};
///
/// let settings = Predict {
///     merged: vec!["out/merged".into()],
///     windows: "out/windows".into(),
///     output: "out/predictions".into(),
///     model: BundleChoice { name: "mini".to_owned(), search: Vec::new() },
///     compute: Compute::default(),
///     tiers: Tiers::default(),
///     legacy: false,
///     tables: TableFormats::Tsv,
///     resume: Resume::KEEP,
/// };
/// predict(&settings, &Progress::Silent)?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// The vectors come from another bundle or do not fit the windows; or a file cannot be read or written.
pub fn predict(settings: &config::Predict, progress: &Progress) -> Result<Manifest> {
    let cut = upstream::manifest(&settings.windows)?.and_then(|manifest| manifest.settings["window"].as_u64());
    let bundle = load::bundle(&settings.model)?;
    if let Some(cut) = cut {
        warn_of_window(&bundle, cut);
    }
    score(settings, &bundle, progress)
}

/// The same, of windows whose length was looked at.
pub(super) fn score(settings: &config::Predict, bundle: &Bundle, progress: &Progress) -> Result<Manifest> {
    let model = load::stamp(bundle);
    let mut merged = upstream::files(&settings.merged, "merge", "parquet")?;
    // By number, as they were cut: engines hand files over in any order.
    merged.sort_by_key(|file| (file.stem.len(), file.stem.clone()));
    check_vectors(&merged, bundle, &model)?;
    let windows = CutWindows::open(&settings.windows)?;
    windows.match_origin(&settings.merged, &merged)?;
    let mut dir = StageDir::open(&settings.output, fingerprint(bundle), settings.resume)?;
    dir.claim(windows.origin())?;
    if dir.holds_work() {
        let sources = [&windows.windows, &windows.inputs].into_iter().chain(&merged).map(UpstreamFile::digest);
        let input = made_from(&sources.collect::<Result<Vec<_>>>()?, &merged, settings);
        if dir.all_done(&input)? {
            log::info!("predict: {} is already complete for these vectors", settings.output.display());
            return dir.keep();
        }
    }
    let total = merged.iter().map(UpstreamFile::rows).sum::<Option<u64>>();
    let task = progress.task("predict", "frames", total);
    let head = load::head(bundle, &settings.compute)?;
    let mut scores = FrameScores::new(&merged, head, &task)?;
    dir.create()?;
    let mut tables = Tables::create(&dir, settings)?;
    let mut pass = Pass { tables: &mut tables, model: &model.cell(), tiers: settings.tiers, counts: Counts::default() };
    let cut = pass.records(&windows.windows, &windows.inputs, &mut scores)?;
    let counts = pass.counts;
    let input = made_from(&[&cut[..], &scores.digests()].concat(), &merged, settings);
    let totals = totals(&counts);
    let (sequences, windows): (u64, u64) = (counts.tiers.values().sum(), counts.statuses.values().sum());
    let [sequences, windows, frames] =
        [(sequences, "sequence"), (windows, "window"), (counts.n_frames, "frame")].map(|(n, noun)| counted(n, noun));
    log::info!("predict: {sequences}, {windows}, {frames}, by {}", model.cell());
    let summary = SummaryFile::of(&model, settings.tiers, &counts);
    dir.begin()?;
    let mut names = Vec::new();
    for (name, entry) in
        tables.commit(&dir, &summary, &Provenance { stage: "predict", input: &input, model: Some(&model) })?
    {
        // They count together, and with the totals: a run killed between two of them has none.
        dir.note(name, entry);
        names.push(name.to_owned());
    }
    dir.remove_unrecorded(&names, |name| PARQUET.contains(&name))?;
    dir.finish(&names, totals)
}

/// Says that the head was trained on windows of another length than `cut`: that is the user's choice.
pub fn warn_of_window(bundle: &Bundle, cut: u64) {
    let trained = u64::from(bundle.spec().window);
    if cut != trained {
        log::warn!("the windows are {cut} bp long, the head of {} is for {trained} bp", bundle.spec().name);
    }
}

/// What scores depend on.
pub fn fingerprint(bundle: &Bundle) -> Fingerprint {
    let owns = |name: &str| {
        let tables = TABLES.contains(&name) || PARQUET.contains(&name);
        tables || [SUMMARY, LEGACY_FRAMES, LEGACY_WINDOWS].contains(&name)
    };
    let wrote = |folder: &Path| folder.join(SUMMARY).is_file();
    Fingerprint { stage: "predict", settings: json!({}), model: Some(load::stamp(bundle)), owns, wrote }
}

/// What the tables are made from: windows, inputs, merged files, the cut-offs and the kinds of files, for other ones
/// cost new tables and no new vectors.
fn made_from(sources: &[FileDigest], merged: &[UpstreamFile], settings: &config::Predict) -> MadeFrom {
    let asked = json!({
        "sources": FileDigest::of_all(sources),
        "tiers": settings.tiers,
        "legacy": settings.legacy,
        "tables": settings.tables,
    });
    let digest = blake3::hash(asked.to_string().as_bytes()).to_hex().to_string();
    MadeFrom::files(digest, &merged.iter().map(UpstreamFile::name).collect::<Vec<_>>())
}

/// The output tables.
struct Tables {
    frames: TableWriter<FrameVerdictRow<'static>>,
    windows: TableWriter<WindowVerdictRow<'static>>,
    sequences: TableWriter<SequenceVerdictRow<'static>>,
    legacy: Option<(LegacyFile, WindowVerdicts)>,
}

impl Tables {
    fn create(dir: &StageDir, settings: &config::Predict) -> Result<Self> {
        let header = "Sequence_ID\tPrediction\tscore1\tscore2\n";
        let legacy = settings.legacy.then(|| LegacyFile::create(&dir.path(LEGACY_FRAMES), header)).transpose()?;
        Ok(Self {
            frames: TableWriter::create(dir.folder(), settings.tables)?,
            windows: TableWriter::create(dir.folder(), settings.tables)?,
            sequences: TableWriter::create(dir.folder(), settings.tables)?,
            legacy: legacy.map(|file| (file, WindowVerdicts::sorted_in(dir.folder()))),
        })
    }

    fn commit(
        self,
        dir: &StageDir,
        summary: &SummaryFile,
        provenance: &Provenance<'_>,
    ) -> Result<Vec<(&'static str, ShardEntry)>> {
        let entry = |rows, file| provenance.input.entry(rows, file);
        let (frames, windows) = (self.frames.commit(provenance)?, self.windows.commit(provenance)?);
        let mut entries = [frames, windows, self.sequences.commit(provenance)?].concat();
        if let Some((frames, verdicts)) = self.legacy {
            entries.push((LEGACY_FRAMES, entry(frames.rows(), frames.commit()?)));
            let mut windows = LegacyFile::create(&dir.path(LEGACY_WINDOWS), "Modified_ID\tIs_Virus\n")?;
            verdicts.write(&mut windows)?;
            entries.push((LEGACY_WINDOWS, entry(windows.rows(), windows.commit()?)));
        }
        let path = dir.path(SUMMARY);
        let mut file = AtomicFile::create(&path)?;
        serde_json::to_writer_pretty(&mut file, summary)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|error| Error::writing(&path, error))?;
        entries.push((SUMMARY, entry(1, file.commit()?)));
        Ok(entries)
    }
}

/// One pass over the records: input row, its windows, their frames.
struct Pass<'a> {
    tables: &'a mut Tables,
    model: &'a str,
    tiers: Tiers,
    counts: Counts,
}

impl Pass<'_> {
    /// Reads both tables and all scores to their ends. Gives the digests of the tables.
    fn records(
        &mut self,
        windows: &UpstreamFile,
        inputs: &UpstreamFile,
        scores: &mut FrameScores<'_>,
    ) -> Result<[FileDigest; 2]> {
        let foreign = |record: &str| {
            Error::new(Fault::InputStage, "inputs.tsv and windows.tsv do not belong together")
                .file(&windows.path)
                .record(record)
                .advice("run `virnucpro chunk` again")
        };
        // A damaged table leads to ids that no vector has.
        let explained = |error: Error| match error.fault() {
            Fault::MergeIds | Fault::InputStage => inputs.explain(windows.explain(error)),
            _ => error,
        };
        let mut records = TableReader::<InputRow>::open(&inputs.path)?;
        let mut rows = TableReader::<WindowRow>::open(&windows.path)?;
        while let Some(record) = records.next_row().map_err(|error| inputs.explain(error))? {
            let mut tally = SequenceTally::default();
            for _ in 0..record.n_windows {
                let row = rows.next_row().map_err(|error| windows.explain(error))?;
                let row = row.filter(|row| row.sequence_id == record.sequence_id).ok_or_else(|| {
                    let expected = format!("{} windows of this sequence", record.n_windows);
                    explained(foreign(&record.sequence_id).expected(expected))
                })?;
                tally.add(self.window(row, scores).map_err(explained)?);
            }
            self.sequence(record, tally)?;
        }
        if let Some(row) = rows.next_row().map_err(|error| windows.explain(error))? {
            let found = "a window of a sequence that is not in inputs.tsv";
            return Err(explained(foreign(&row.window_id).found(found)));
        }
        scores.expect_end().map_err(explained)?;
        let read = [rows.finish()?, records.finish()?];
        windows.prove(&read[0])?;
        inputs.prove(&read[1])?;
        Ok(read)
    }

    fn window(&mut self, row: WindowRow<'_>, scores: &mut FrameScores<'_>) -> Result<Option<WindowScore>> {
        let mut window: Option<WindowScore> = None;
        for frame in row.frame_names() {
            let id = FrameId { window: &row.window_id, frame }.to_string();
            let score = scores.expect(&id)?;
            window = Some(window.map_or(WindowScore::of(score), |window| window.with(score)));
            self.frame(&row, frame, &id, score)?;
        }
        *self.counts.statuses.entry(row.status).or_default() += 1;
        self.counts.n_viral_windows += u64::from(window.is_some_and(|window| window.verdict() == Verdict::Virus));
        if let (Some(window), Some((_, verdicts))) = (window, &mut self.tables.legacy) {
            verdicts.push(&row.window_id, window.verdict())?;
        }
        self.tables.windows.row(&WindowVerdictRow {
            verdict: window.map(|window| window.verdict().name().into()),
            score_others: window.map(|window| window.best().others),
            score_virus: window.map(|window| window.best().virus),
            p_virus: None,
            run_start: None,
            run_end: None,
            model: self.model.into(),
            sample: row.sample,
            sequence_id: row.sequence_id,
            window_id: row.window_id,
            start: row.start,
            end: row.end,
            frames: row.frames,
            status: row.status,
        })?;
        Ok(window)
    }

    fn frame(&mut self, row: &WindowRow<'_>, frame: &str, id: &str, score: Score) -> Result<()> {
        self.counts.n_frames += 1;
        if let Some((file, _)) = &mut self.tables.legacy {
            file.frame(id, score)?;
        }
        self.tables.frames.row(&FrameVerdictRow {
            sample: row.sample.as_ref().into(),
            sequence_id: row.sequence_id.as_ref().into(),
            window_id: row.window_id.as_ref().into(),
            frame_id: id.into(),
            frame: frame.into(),
            verdict: Verdict::of_frame(score).name().into(),
            score_others: score.others,
            score_virus: score.virus,
            model: self.model.into(),
        })
    }

    fn sequence(&mut self, record: InputRow<'_>, tally: SequenceTally) -> Result<()> {
        let verdict = tally.verdict(self.tiers);
        *self.counts.tiers.entry(verdict).or_default() += 1;
        self.tables.sequences.row(&SequenceVerdictRow {
            sample: record.sample,
            sequence_id: record.sequence_id,
            original_id: record.original_id,
            length: record.length,
            n_windows: tally.n_windows,
            n_scored_windows: tally.n_scored_windows,
            n_viral_windows: tally.n_viral_windows,
            viral_share: tally.viral_share(),
            best_p_virus: (tally.n_scored_windows > 0).then_some(tally.best_p_virus),
            mean_p_virus: tally.mean_p_virus().map(|mean| mean as f32),
            p_virus: None,
            tier: None,
            verdict: verdict.name().into(),
            model: self.model.into(),
        })
    }
}

fn totals(counts: &Counts) -> BTreeMap<String, u64> {
    let tiers = Tier::ALL.map(|tier| (format!("sequences_{}", tier.name()), count(&counts.tiers, tier)));
    let status = |status: WindowStatus| (format!("windows_{}", status.name()), count(&counts.statuses, status));
    tiers
        .into_iter()
        .chain(WindowStatus::ALL.map(status))
        .chain([("viral_windows".to_owned(), counts.n_viral_windows), ("frames".to_owned(), counts.n_frames)])
        .collect()
}

fn count<K: Ord>(counts: &BTreeMap<K, u64>, key: K) -> u64 {
    counts.get(&key).copied().unwrap_or_default()
}

/// `summary.json`.
#[derive(Serialize)]
struct SummaryFile {
    tool: &'static str,
    model: ModelStamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    cut_offs: Tiers,
    /// By verdict.
    sequences: BTreeMap<&'static str, u64>,
    /// By status.
    windows: BTreeMap<&'static str, u64>,
    n_viral_windows: u64,
    n_frames: u64,
}

impl SummaryFile {
    fn of(model: &ModelStamp, tiers: Tiers, counts: &Counts) -> Self {
        Self {
            tool: concat!("virnucpro ", env!("CARGO_PKG_VERSION")),
            warning: (!model.trained).then_some("the model is untrained: its scores and verdicts mean nothing"),
            model: model.clone(),
            cut_offs: tiers,
            // Every key, also where the count is 0: a script need not ask whether it is there.
            sequences: Tier::ALL.map(|tier| (tier.name(), count(&counts.tiers, tier))).into(),
            windows: WindowStatus::ALL.map(|status| (status.name(), count(&counts.statuses, status))).into(),
            n_viral_windows: counts.n_viral_windows,
            n_frames: counts.n_frames,
        }
    }
}
