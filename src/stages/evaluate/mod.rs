//! `evaluate`: what predictions are worth, measured against labels. Metrics and pictures for windows and for sequences.

mod pictures;
mod report;
mod truth;

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::{Map, Value, json};

use self::report::{Level, Measured, Uncalled};
use self::truth::{Predictions, Truth};
use super::upstream;
use crate::config;
use crate::error::{Error, Result};
use crate::fs::{AtomicFile, FileDigest};
use crate::labels::Labels;
use crate::metrics::{self, Metric};
use crate::runtime::progress::Progress;
use crate::store::tables::MetricRow;
use crate::store::{Fingerprint, MadeFrom, Manifest, ModelStamp, Provenance, Row, ShardEntry, StageDir, TableWriter};
use crate::units::{TableFormats, counted};

const STAGE: &str = "evaluate";
const DOCUMENT: &str = "metrics.json";

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::Evaluate;
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::evaluate::evaluate;
/// use virnucpro::units::Resume;
///
/// let settings = Evaluate {
///     predictions: vec!["out/predictions".into()],
///     labels: "labels.tsv".into(),
///     output: "evaluation".into(),
///     ignore_unlabelled: false,
///     resume: Resume::KEEP,
/// };
/// evaluate(&settings, &Progress::Silent)?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// The labels do not fit the predictions, or the predictions not each other; a file cannot be read or written.
pub fn evaluate(settings: &config::Evaluate, progress: &Progress) -> Result<Manifest> {
    let folders = truth::open_all(&settings.predictions)?;
    upstream::refuse_input_in_output([settings.labels.as_path()], &settings.output)?;
    let model = folders.first().and_then(|folder| folder.model.clone());
    let mut labels = Labels::read(&settings.labels)?;
    let input = made_from(&folders, settings)?;
    let mut dir = StageDir::open(&settings.output, fingerprint(model.clone(), settings), settings.resume)?;
    dir.claim(None)?;
    if dir.holds_work() && dir.all_done(&input)? {
        log::info!("evaluate: {} is already complete for these predictions", settings.output.display());
        return dir.keep();
    }
    let truth = Truth::read(&folders, &mut labels, settings.ignore_unlabelled)?;
    let task = progress.task(STAGE, "parts", None);
    let levels = report::levels(&truth, &labels, &task)?;
    drop(task);
    dir.create()?;
    let mut entries = table(&dir, &levels, &Provenance { stage: STAGE, input: &input, model: model.as_ref() })?;
    let mut files = vec![(DOCUMENT, document(&levels, &truth, &labels))];
    files.extend(pictures::pictures(&levels, &truth.model));
    for (name, content) in files {
        entries.push((name, input.entry(1, written(&dir, name, &content)?)));
    }
    dir.begin()?;
    let names: Vec<String> = entries.iter().map(|(name, _)| (*name).to_owned()).collect();
    entries.into_iter().for_each(|(name, entry)| dir.note(name, entry));
    let [windows, sequences] = [truth.windows.len() as u64, truth.sequences.len() as u64];
    log::info!("evaluate: {}, {}, of {}", counted(sequences, "sequence"), counted(windows, "window"), truth.model);
    dir.remove_unrecorded(&names, |name| pictures::NAMES.contains(&name))?;
    dir.finish(&names, BTreeMap::from([("windows".to_owned(), windows), ("sequences".to_owned(), sequences)]))
}

fn fingerprint(model: Option<ModelStamp>, settings: &config::Evaluate) -> Fingerprint {
    let owns = |name: &str| [MetricRow::TSV, DOCUMENT].contains(&name) || pictures::NAMES.contains(&name);
    let settings = json!({ "ignore_unlabelled": settings.ignore_unlabelled });
    Fingerprint { stage: STAGE, settings, model, owns, wrote: |folder| folder.join(DOCUMENT).is_file() }
}

fn made_from(folders: &[Predictions], settings: &config::Evaluate) -> Result<MadeFrom> {
    let mut sources = vec![FileDigest::of(&settings.labels)?];
    for folder in folders {
        sources.extend(folder.digests()?);
    }
    let paths = [&settings.labels].into_iter().chain(&settings.predictions);
    let names: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    Ok(MadeFrom::files(FileDigest::of_all(&sources), &names))
}

fn written(dir: &StageDir, name: &str, content: &str) -> Result<FileDigest> {
    let path = dir.path(name);
    let mut file = AtomicFile::create(&path)?;
    file.write_all(content.as_bytes()).map_err(|error| Error::writing(&path, error))?;
    file.commit()
}

/// `metrics.tsv`.
fn table(dir: &StageDir, levels: &[Level], provenance: &Provenance<'_>) -> Result<Vec<(&'static str, ShardEntry)>> {
    let mut table = TableWriter::<MetricRow<'static>>::create(dir.folder(), TableFormats::Tsv)?;
    for level in levels {
        level.measured.iter().try_for_each(|measured| rows(&mut table, level.name, measured))?;
        for (name, values) in &level.groups {
            for (metric, value) in [(Metric::Accuracy, Some(values.accuracy)), (Metric::Auroc, values.auroc)] {
                table.row(&MetricRow {
                    level: level.name.into(),
                    subset: format!("group:{name}").into(),
                    uncalled: Uncalled::LeftOut.name().into(),
                    metric: metric.name().into(),
                    value: value.map(|value| value as f32),
                    low: None,
                    high: None,
                    n: values.n,
                    n_groups: 1,
                })?;
            }
        }
    }
    table.commit(provenance)
}

fn rows(table: &mut TableWriter<MetricRow<'static>>, level: &str, measured: &Measured) -> Result<()> {
    let metrics = Metric::ALL.into_iter().map(|metric| (metric.name(), measured.get(metric)));
    for (name, (value, interval)) in metrics.chain([("called", (Some(measured.called), None))]) {
        table.row(&MetricRow {
            level: level.into(),
            subset: measured.subset.as_str().into(),
            uncalled: measured.uncalled.name().into(),
            metric: name.into(),
            value: value.map(|value| value as f32),
            low: interval.map(|interval| interval.low as f32),
            high: interval.map(|interval| interval.high as f32),
            n: measured.n,
            n_groups: measured.n_groups,
        })?;
    }
    Ok(())
}

/// `metrics.json`.
fn document(levels: &[Level], truth: &Truth, labels: &Labels) -> String {
    let levels: Map<String, Value> = levels.iter().map(|level| (level.name.to_owned(), level.json())).collect();
    let document = json!({
        "tool": concat!("virnucpro ", env!("CARGO_PKG_VERSION")),
        "model": truth.model,
        "labels": labels.len(),
        "rounds": metrics::ROUNDS,
        "cut_off": metrics::CUT_OFF,
        "levels": levels,
    });
    format!("{document:#}\n")
}
