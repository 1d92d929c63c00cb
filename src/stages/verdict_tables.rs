//! The tables of verdicts, written in one pass over records, their windows and the frames of those.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::cut_windows::CutWindows;
use super::discoveries::Discoveries;
use super::frame_scores::Scores;
use super::legacy::{LegacyFile, WindowVerdicts};
use super::region_table::{REGIONS, RegionTable};
use super::verdict::{Judge, JudgedWindow, SequenceTally, SequenceVerdict, Verdict, WindowScore};
use crate::bundle::Bundle;
use crate::config::{self, CutOffs};
use crate::embed::load;
use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest};
use crate::model::Score;
use crate::seq::FrameId;
use crate::store::tables::{
    FrameVerdictRow, InputRow, SUMMARY, SequenceVerdictRow, WindowRow, WindowStatus, WindowVerdictRow,
};
use crate::store::{MadeFrom, Manifest, ModelStamp, Provenance, Row, StageDir, TableReader, TableSpool, TableWriter};
use crate::units::counted;

const TABLES: [&str; 3] = [FrameVerdictRow::TSV, WindowVerdictRow::TSV, SequenceVerdictRow::TSV];
/// Their copies, which only some runs write.
const PARQUET: [&str; 3] = [FrameVerdictRow::PARQUET, WindowVerdictRow::PARQUET, SequenceVerdictRow::PARQUET];
const LEGACY_FRAMES: &str = "prediction_results.txt";
const LEGACY_WINDOWS: &str = "prediction_results_highestscore.csv";

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Records by verdict.
    verdicts: BTreeMap<SequenceVerdict, u64>,
    /// Windows by status.
    statuses: BTreeMap<WindowStatus, u64>,
    /// Windows whose verdict is `virus`.
    n_viral_windows: u64,
    /// Frames scored.
    n_frames: u64,
}

/// Whether the stage gives files such a name.
pub fn is_table(name: &str) -> bool {
    let tables = TABLES.contains(&name) || PARQUET.contains(&name);
    tables || [REGIONS, SUMMARY, LEGACY_FRAMES, LEGACY_WINDOWS].contains(&name)
}

/// Whether the tables of a folder come from this stage.
pub fn wrote_tables(folder: &Path) -> bool {
    folder.join(SUMMARY).is_file()
}

/// The tables on their way.
pub struct VerdictTables<'a> {
    judge: Judge<'a>,
    stamp: ModelStamp,
    /// What stands in the column `model`.
    model: String,
    counts: Counts,
    frames: TableWriter<FrameVerdictRow<'static>>,
    windows: TableWriter<WindowVerdictRow<'static>>,
    sequences: TableWriter<SequenceVerdictRow<'static>>,
    /// Rows of sequences whose verdict depends on all of them.
    waiting: Option<Waiting>,
    regions: RegionTable,
    legacy: Option<(LegacyFile, WindowVerdicts)>,
}

/// Rows of sequences, and their probabilities.
struct Waiting {
    rows: TableSpool<SequenceVerdictRow<'static>>,
    discoveries: Discoveries,
    fdr: f64,
}

impl<'a> VerdictTables<'a> {
    /// Starts the tables in the folder of the stage.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(dir: &StageDir, settings: &config::Predict, bundle: &'a Bundle) -> Result<Self> {
        let header = "Sequence_ID\tPrediction\tscore1\tscore2\n";
        let legacy = settings.legacy.then(|| LegacyFile::create(&dir.path(LEGACY_FRAMES), header)).transpose()?;
        let stamp = load::stamp(bundle);
        let waiting =
            |fdr| TableSpool::create(dir.folder()).map(|rows| Waiting { rows, discoveries: Discoveries::new(), fdr });
        Ok(Self {
            judge: Judge { calibration: bundle.spec().calibration.as_ref(), cut_offs: settings.cut_offs },
            waiting: settings.cut_offs.fdr.map(waiting).transpose()?,
            model: stamp.cell(),
            stamp,
            counts: Counts::default(),
            frames: TableWriter::create(dir.folder(), settings.tables)?,
            windows: TableWriter::create(dir.folder(), settings.tables)?,
            sequences: TableWriter::create(dir.folder(), settings.tables)?,
            regions: RegionTable::create(dir.folder(), settings.cut_offs.region_cost)?,
            legacy: legacy.map(|file| (file, WindowVerdicts::sorted_in(dir.folder()))),
        })
    }

    /// Reads both tables of `chunk` and all scores to their ends. Gives the digests of the tables.
    ///
    /// # Errors
    /// They do not belong together, or cannot be read; or a table cannot be written.
    pub fn fill(&mut self, cut: &CutWindows, scores: &mut dyn Scores) -> Result<[FileDigest; 2]> {
        let CutWindows { windows, inputs, .. } = cut;
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
            self.sequence(record, &tally)?;
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

    fn window(&mut self, row: WindowRow<'_>, scores: &mut dyn Scores) -> Result<Option<JudgedWindow>> {
        let mut score: Option<WindowScore> = None;
        for frame in row.frame_names() {
            let id = FrameId { window: &row.window_id, frame }.to_string();
            let of_frame = scores.expect(&id)?;
            score = Some(score.map_or(WindowScore::of(of_frame), |score| score.with(of_frame)));
            self.frame(&row, frame, &id, of_frame)?;
        }
        let window = score.map(|score| self.judge.window(score, row.end - row.start));
        let verdict = window.map(|window| window.verdict);
        self.regions.window(row.start..row.end, window);
        *self.counts.statuses.entry(row.status).or_default() += 1;
        self.counts.n_viral_windows += u64::from(verdict == Some(Verdict::Virus));
        if let (Some(score), Some((_, verdicts))) = (score, &mut self.legacy) {
            verdicts.push(&row.window_id, score.verdict())?;
        }
        self.windows.row(&WindowVerdictRow {
            verdict: verdict.map(|verdict| verdict.name().into()),
            score_others: score.map(|score| score.others),
            score_virus: score.map(|score| score.virus),
            p_virus: window.and_then(|window| window.p_virus).map(|p_virus| p_virus as f32),
            model: self.model.as_str().into(),
            sample: row.sample,
            sequence_id: row.sequence_id,
            window_id: row.window_id,
            start: row.start,
            end: row.end,
            frames: row.frames,
            run_start: row.run_start,
            run_end: row.run_end,
            status: row.status,
        })?;
        Ok(window)
    }

    fn frame(&mut self, row: &WindowRow<'_>, frame: &str, id: &str, score: Score) -> Result<()> {
        self.counts.n_frames += 1;
        if let Some((file, _)) = &mut self.legacy {
            file.frame(id, score)?;
        }
        self.frames.row(&FrameVerdictRow {
            sample: row.sample.as_ref().into(),
            sequence_id: row.sequence_id.as_ref().into(),
            window_id: row.window_id.as_ref().into(),
            frame_id: id.into(),
            frame: frame.into(),
            verdict: Verdict::of_frame(score).name().into(),
            score_others: score.others,
            score_virus: score.virus,
            model: self.model.as_str().into(),
        })
    }

    fn sequence(&mut self, record: InputRow<'_>, tally: &SequenceTally) -> Result<()> {
        let judged = self.judge.sequence(tally);
        self.regions.sequence(&record.sequence_id)?;
        let row = SequenceVerdictRow {
            sample: record.sample,
            sequence_id: record.sequence_id,
            original_id: record.original_id,
            length: record.length,
            n_windows: tally.n_windows,
            n_scored_windows: tally.n_scored_windows,
            n_viral_windows: tally.n_viral_windows,
            viral_share: tally.viral_share(),
            best_score_virus: (tally.n_scored_windows > 0).then_some(tally.best_score_virus),
            mean_score_virus: tally.mean_score_virus().map(|mean| mean as f32),
            p_virus: judged.p_virus.map(|p_virus| p_virus as f32),
            tier: judged.tier.map(|tier| tier.name().into()),
            verdict: judged.verdict.name().into(),
            model: self.model.as_str().into(),
        };
        match &mut self.waiting {
            None => {
                *self.counts.verdicts.entry(judged.verdict).or_default() += 1;
                self.sequences.row(&row)
            }
            Some(waiting) => {
                row.p_virus.iter().for_each(|&p_virus| waiting.discoveries.add(f64::from(p_virus)));
                waiting.rows.row(&row)
            }
        }
    }

    /// Writes the rows that have waited for all others.
    fn write_waiting(&mut self) -> Result<()> {
        let Some(Waiting { rows, discoveries, fdr }) = self.waiting.take() else { return Ok(()) };
        let cut_off = discoveries.cut_off(fdr);
        self.judge.cut_offs.min_p = cut_off.unwrap_or(1.0);
        match cut_off {
            Some(p) => log::info!(
                "predict: sequences are called viral from a p_virus of {p} on: of those, at most a share of {fdr} is expected to be others"
            ),
            None => {
                log::warn!("predict: no sequence is sure enough to be called viral at a false discovery rate of {fdr}")
            }
        }
        let mut rows = rows.into_rows()?;
        while let Some(mut row) = rows.next_row()? {
            if let Some(p_virus) = row.p_virus {
                let verdict = match cut_off {
                    Some(_) => self.judge.by_probability(f64::from(p_virus)),
                    None => SequenceVerdict::NonViral,
                };
                row.verdict = verdict.name().into();
            }
            let verdict = SequenceVerdict::ALL.into_iter().find(|verdict| verdict.name() == row.verdict);
            verdict.into_iter().for_each(|verdict| *self.counts.verdicts.entry(verdict).or_default() += 1);
            self.sequences.row(&row)?;
        }
        Ok(())
    }

    /// Puts the tables in their place, made from `input`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn commit(mut self, mut dir: StageDir, input: &MadeFrom) -> Result<Manifest> {
        self.write_waiting()?;
        let Self { judge, stamp, counts, frames, windows, sequences, regions, legacy, .. } = self;
        log_counts(&counts, &stamp);
        dir.begin()?;
        let provenance = Provenance { stage: "predict", input, model: Some(&stamp) };
        let entry = |rows, file| input.entry(rows, file);
        let mut entries =
            [frames.commit(&provenance)?, windows.commit(&provenance)?, sequences.commit(&provenance)?].concat();
        entries.push((REGIONS, entry(regions.rows(), regions.commit()?)));
        if let Some((frames, verdicts)) = legacy {
            entries.push((LEGACY_FRAMES, entry(frames.rows(), frames.commit()?)));
            let mut windows = LegacyFile::create(&dir.path(LEGACY_WINDOWS), "Modified_ID\tIs_Virus\n")?;
            verdicts.write(&mut windows)?;
            entries.push((LEGACY_WINDOWS, entry(windows.rows(), windows.commit()?)));
        }
        entries.push((SUMMARY, entry(1, SummaryFile::of(&stamp, judge, &counts).write(&dir.path(SUMMARY))?)));
        let mut names = Vec::new();
        for (name, entry) in entries {
            // They count together, and with the totals: a run killed between two of them has none.
            dir.note(name, entry);
            names.push(name.to_owned());
        }
        dir.remove_unrecorded(&names, |name| PARQUET.contains(&name))?;
        dir.finish(&names, totals(&counts))
    }
}

fn log_counts(counts: &Counts, model: &ModelStamp) {
    let (sequences, windows): (u64, u64) = (counts.verdicts.values().sum(), counts.statuses.values().sum());
    let [sequences, windows, frames] =
        [(sequences, "sequence"), (windows, "window"), (counts.n_frames, "frame")].map(|(n, noun)| counted(n, noun));
    log::info!("predict: {sequences}, {windows}, {frames}, by {}", model.cell());
}

fn totals(counts: &Counts) -> BTreeMap<String, u64> {
    let of = |verdict: SequenceVerdict| (format!("sequences_{}", verdict.name()), count(&counts.verdicts, verdict));
    let verdicts = SequenceVerdict::ALL.map(of);
    let status = |status: WindowStatus| (format!("windows_{}", status.name()), count(&counts.statuses, status));
    verdicts
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
    /// Whether verdicts come from calibrated probabilities.
    calibrated: bool,
    cut_offs: CutOffs,
    /// By verdict.
    sequences: BTreeMap<&'static str, u64>,
    /// By status.
    windows: BTreeMap<&'static str, u64>,
    n_viral_windows: u64,
    n_frames: u64,
}

impl SummaryFile {
    fn of(model: &ModelStamp, judge: Judge<'_>, counts: &Counts) -> Self {
        Self {
            tool: concat!("virnucpro ", env!("CARGO_PKG_VERSION")),
            warning: (!model.trained).then_some("the model is untrained: its scores and verdicts mean nothing"),
            model: model.clone(),
            calibrated: judge.calibration.is_some(),
            cut_offs: judge.cut_offs,
            // Every key, also where the count is 0: a script need not ask whether it is there.
            sequences: SequenceVerdict::ALL.map(|verdict| (verdict.name(), count(&counts.verdicts, verdict))).into(),
            windows: WindowStatus::ALL.map(|status| (status.name(), count(&counts.statuses, status))).into(),
            n_viral_windows: counts.n_viral_windows,
            n_frames: counts.n_frames,
        }
    }

    fn write(&self, path: &Path) -> Result<FileDigest> {
        let mut file = AtomicFile::create(path)?;
        serde_json::to_writer_pretty(&mut file, self)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|error| Error::writing(path, error))?;
        file.commit()
    }
}
