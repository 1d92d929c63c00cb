//! Rows of predictions beside what they are known to be.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::super::upstream::{self, UpstreamFile};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::labels::{Class, Label, Labelled, Labels, WindowIds};
use crate::store::tables::{SequenceVerdictRow, WindowVerdictRow};
use crate::store::{ModelStamp, Row, TableReader};
use crate::units::counted;

/// A folder that `predict` wrote.
pub struct Predictions {
    windows: UpstreamFile,
    sequences: UpstreamFile,
    /// The bundle, where a manifest names it.
    pub model: Option<ModelStamp>,
}

impl Predictions {
    /// Looks for both tables; their content is not read.
    ///
    /// # Errors
    /// The folder is missing, not complete, or of another stage.
    pub fn open(folder: &Path) -> Result<Self> {
        let manifest = upstream::manifest(folder)?;
        let is = |stage: &str| manifest.as_ref().is_none_or(|manifest| manifest.stage == stage);
        let [windows, sequences] = [WindowVerdictRow::TSV, SequenceVerdictRow::TSV].map(|name| folder.join(name));
        if !is("predict") || !windows.exists() || !sequences.exists() {
            let inner = folder.join("predictions");
            let advice = if inner.is_dir() {
                format!("give {}", inner.display())
            } else {
                "give the folder that `virnucpro predict` wrote".to_owned()
            };
            return Err(Error::new(Fault::InputMissing, format!("{} holds no predictions", folder.display()))
                .file(folder)
                .expected("windows.tsv and sequences.tsv of `virnucpro predict`")
                .advice(advice));
        }
        if manifest.as_ref().is_some_and(|manifest| !manifest.complete) {
            return Err(Error::new(Fault::CheckpointIncomplete, format!("{} is not complete", folder.display()))
                .file(folder)
                .expected("a complete output of predict")
                .advice("wait if it is still running elsewhere, or let `virnucpro predict` finish"));
        }
        let file = |path: &Path| upstream::file(path, manifest.as_ref());
        let (windows, sequences) = (file(&windows)?, file(&sequences)?);
        Ok(Self { windows, sequences, model: manifest.and_then(|manifest| manifest.model) })
    }

    /// Digests of both tables.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn digests(&self) -> Result<[FileDigest; 2]> {
        Ok([self.windows.digest()?, self.sequences.digest()?])
    }
}

/// Folders that `paths` name, each once.
///
/// # Errors
/// A folder is given twice; those of [`Predictions::open`].
pub fn open_all(paths: &[PathBuf]) -> Result<Vec<Predictions>> {
    let mut seen: HashMap<PathBuf, &Path> = HashMap::new();
    for path in paths {
        let place = path.canonicalize().map_err(|error| Error::reading(path, error))?;
        if let Some(first) = seen.insert(place, path) {
            return Err(Error::new(Fault::Usage, format!("{} is given twice", path.display()))
                .file(path)
                .found(format!("the same folder as {}", first.display()))
                .advice("give each folder once: its rows would count twice"));
        }
    }
    paths.iter().map(|path| Predictions::open(path)).collect()
}

/// A labelled row of predictions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Calibrated probability; none without a calibration, or without a score.
    pub p_virus: Option<f32>,
    /// Raw score; none without a score.
    pub raw: Option<f32>,
    /// Whether it is a virus.
    pub is_virus: bool,
    /// Category, by number.
    pub category: Option<u32>,
    /// Group, by number; where it has none, one of its sequence alone.
    pub group: u32,
    /// Bases.
    pub length: u64,
}

/// Everything that was scored and is known.
#[derive(Debug, Default)]
pub struct Truth {
    /// Windows.
    pub windows: Vec<Scored>,
    /// Sequences; none where windows are labelled by themselves.
    pub sequences: Vec<Scored>,
    /// Bundle and digest, as the tables name it.
    pub model: String,
    /// Groups of their own, by sequence.
    lone: HashMap<String, u32>,
    /// None where the predictions are those of one run, whose ids are unique.
    samples: Option<Samples>,
    unlabelled: Unlabelled,
}

/// What has no label.
#[derive(Debug, Default)]
struct Unlabelled {
    windows: u64,
    sequences: u64,
    first: Option<String>,
}

impl Truth {
    /// Reads all tables and looks up all labels.
    ///
    /// # Errors
    /// [`Fault::InputLabels`] for labels that name nothing or one class alone, and for rows without a label unless
    /// `ignore_unlabelled`; for sequences of two samples with one id; [`Fault::ModelMismatch`] for predictions of several
    /// bundles; a table is damaged.
    pub fn read(folders: &[Predictions], labels: &mut Labels, ignore_unlabelled: bool) -> Result<Self> {
        let mut truth = Self { samples: (folders.len() > 1).then(Samples::default), ..Self::default() };
        for folder in folders {
            each_row(&folder.windows, |row: WindowVerdictRow<'_>| truth.window(&folder.windows, &row, labels))?;
            if labels.labelled() == Labelled::Sequences {
                each_row(&folder.sequences, |row: SequenceVerdictRow<'_>| {
                    truth.sequence(&folder.sequences, &row, labels)
                })?;
            }
        }
        truth.check_labels(labels, ignore_unlabelled)?;
        Ok(truth)
    }

    fn window(&mut self, file: &UpstreamFile, row: &WindowVerdictRow<'_>, labels: &mut Labels) -> Result<()> {
        self.same_model(file, &row.model)?;
        let frames = row.frames.as_deref().unwrap_or_default();
        let ids = WindowIds { sequence: &row.sequence_id, window: &row.window_id, frames };
        let Some(label) = labels.of_window(ids)? else {
            self.unlabelled.windows += 1;
            self.unlabelled.first.get_or_insert_with(|| row.window_id.to_string());
            return Ok(());
        };
        if let Some(samples) = &mut self.samples {
            samples.note(row, &file.path)?;
        }
        let scores = [row.p_virus, row.score_virus];
        let length = row.end.saturating_sub(row.start);
        let scored = self.scored(label, scores, (&row.sequence_id, labels));
        self.windows.push(Scored { length, ..probable(scored, file, &row.window_id)? });
        Ok(())
    }

    fn sequence(&mut self, file: &UpstreamFile, row: &SequenceVerdictRow<'_>, labels: &mut Labels) -> Result<()> {
        self.same_model(file, &row.model)?;
        let Some(label) = labels.of_sequence(&row.sequence_id) else {
            self.unlabelled.sequences += 1;
            self.unlabelled.first.get_or_insert_with(|| row.sequence_id.to_string());
            return Ok(());
        };
        let scored = self.scored(label, [row.p_virus, row.mean_score_virus], (&row.sequence_id, labels));
        self.sequences.push(Scored { length: row.length, ..probable(scored, file, &row.sequence_id)? });
        Ok(())
    }

    fn scored(&mut self, label: Label, scores: [Option<f32>; 2], of: (&str, &Labels)) -> Scored {
        let ([p_virus, raw], (sequence, labels)) = (scores, of);
        let group = label.group.unwrap_or_else(|| match self.lone.get(sequence) {
            Some(group) => *group,
            None => {
                let group = (labels.group_names().len() + self.lone.len()) as u32;
                self.lone.insert(sequence.to_owned(), group);
                group
            }
        });
        let is_virus = label.class == Class::Virus;
        Scored { p_virus, raw, is_virus, category: label.category, group, length: 0 }
    }

    fn same_model(&mut self, file: &UpstreamFile, model: &str) -> Result<()> {
        if self.model.is_empty() {
            model.clone_into(&mut self.model);
        }
        if self.model == model {
            return Ok(());
        }
        Err(Error::new(Fault::ModelMismatch, "the predictions come from several bundles")
            .file(&file.path)
            .expected(&self.model)
            .found(model)
            .advice("measure the predictions of each bundle by themselves"))
    }

    fn check_labels(&self, labels: &Labels, ignore_unlabelled: bool) -> Result<()> {
        let wrong = |message: &str| Error::new(Fault::InputLabels, message).file(labels.path());
        let first = self.unlabelled.first.clone();
        if let Some((count, id, line)) = labels.unused() {
            if count == labels.len() {
                let column = if labels.labelled() == Labelled::Sequences { "sequence" } else { "id" };
                let found = first.map_or("no rows".to_owned(), |first| format!("ids such as {first}"));
                return Err(wrong("no label names anything in the predictions")
                    .line(line)
                    .expected(format!("ids such as {id}, of the column `{column}`"))
                    .found(found)
                    .advice("`sequence` holds ids as in the column sequence_id of sequences.tsv, `id` those of windows or frames"));
            }
            log::warn!(
                "{}: {} nothing in the predictions; the first is {id}, in line {line}",
                labels.path().display(),
                if count == 1 { "1 label names".to_owned() } else { format!("{count} labels name") },
            );
        }
        let Unlabelled { windows, sequences, .. } = self.unlabelled;
        if windows + sequences > 0 {
            let parts = [(sequences, "sequence"), (windows, "window")].into_iter().filter(|(count, _)| *count > 0);
            let counts = parts.map(|(count, noun)| counted(count, noun)).collect::<Vec<_>>().join(" and ");
            if !ignore_unlabelled {
                return Err(wrong("something in the predictions has no label")
                    .record(first.unwrap_or_default())
                    .expected("a label for everything that is measured")
                    .found(format!("{counts} without one"))
                    .advice("add the labels, or leave out what has none with --ignore-unlabelled"));
            }
            log::warn!("{counts} without a label: left out");
        }
        for class in [Class::Virus, Class::Others] {
            if !self.windows.iter().any(|row| row.is_virus == (class == Class::Virus)) {
                return Err(wrong("the labelled windows are all of one class")
                    .expected("windows of viruses and of others")
                    .found(format!("no window labelled {class}"))
                    .advice("give predictions of both, and labels for them"));
            }
        }
        Ok(())
    }
}

/// Samples of labelled sequences, by id.
#[derive(Debug, Default)]
struct Samples(HashMap<String, String>);

impl Samples {
    /// Refuses an id that sequences of two samples have: one label cannot hold for both. The same sequences may be there
    /// twice, as with windows of two lengths.
    fn note(&mut self, row: &WindowVerdictRow<'_>, table: &Path) -> Result<()> {
        let Some(sample) = self.0.get(row.sequence_id.as_ref()) else {
            self.0.insert(row.sequence_id.to_string(), row.sample.to_string());
            return Ok(());
        };
        if *sample == row.sample {
            return Ok(());
        }
        Err(Error::new(Fault::InputLabels, "sequences of two samples have the same id")
            .file(table)
            .record(&*row.sequence_id)
            .expected("labelled ids that one sample alone has: a label names one sequence")
            .found(format!("samples {sample} and {}", row.sample))
            .advice("measure the samples one at a time, or give them to one `virnucpro run`, which keeps ids apart"))
    }
}

/// Refuses what is not a probability.
fn probable(scored: Scored, file: &UpstreamFile, id: &str) -> Result<Scored> {
    let wrong = [scored.p_virus, scored.raw].into_iter().flatten().find(|p| !(0.0..=1.0).contains(p));
    match wrong {
        None => Ok(scored),
        Some(p) => Err(Error::new(Fault::InputStage, format!("{} holds a wrong score", file.path.display()))
            .file(&file.path)
            .record(id)
            .expected("a number from 0 to 1")
            .found(p.to_string())
            .advice("run `virnucpro predict` again")),
    }
}

/// Reads a table to its end and proves that it is what its manifest records.
fn each_row<T>(file: &UpstreamFile, mut take: impl FnMut(T) -> Result<()>) -> Result<()>
where
    T: Row + DeserializeOwned,
{
    let explained = |error| file.explain(error);
    let mut rows = TableReader::<T>::open(&file.path).map_err(explained)?;
    while let Some(row) = rows.next_row().map_err(explained)? {
        take(row)?;
    }
    file.prove(&rows.finish()?)
}
