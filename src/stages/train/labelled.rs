//! Merged vectors with the labels of their windows, as rows in memory, in the order of the windows.

use std::collections::HashMap;
use std::ops::Range;

use super::card::Source;
use super::{CutWindows, UpstreamFile, sources};
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::labels::{Class, Label, Labels, WindowIds};
use crate::runtime::interrupt;
use crate::runtime::progress::Progress;
use crate::seq::FrameId;
use crate::store::tables::{InputRow, WindowRow};
use crate::store::{TableReader, VectorReader};
use crate::train::Rows;
use crate::train::folds::Group;

/// Vectors read at a time.
const BLOCK_ROWS: usize = 1024;
/// In the place of a row's number: a frame that has none.
const UNLABELLED: u32 = u32::MAX;

/// A window whose frames are rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingWindow {
    /// Number of its sequence.
    pub sequence: u32,
    /// Its bases.
    pub length: u64,
    /// Its rows.
    pub rows: Range<usize>,
}

/// Rows with all that is known of them.
pub struct LabelledRows {
    /// Vectors and labels.
    pub rows: Rows,
    /// Windows of the rows, in their order.
    pub windows: Vec<TrainingWindow>,
    /// Ids of the sequences, by number.
    pub sequences: Vec<String>,
    /// Groups of the rows, by number.
    pub groups: Vec<Group>,
    /// Files that were read.
    pub sources: Vec<Source>,
}

impl LabelledRows {
    /// The fold of each row, from those of the groups.
    pub fn row_folds(&self, folds: &[usize]) -> Vec<usize> {
        self.rows.groups.iter().map(|group| folds[*group as usize]).collect()
    }
}

/// Which frame becomes which row: known before any vector is read.
pub struct Plan {
    /// Number of the row of each frame, by its id.
    places: HashMap<String, u32>,
    viral: Vec<bool>,
    row_groups: Vec<u32>,
    windows: Vec<TrainingWindow>,
    sequences: Vec<String>,
    groups: Groups,
    tables: Vec<Source>,
}

/// Groups by name: those of the table, and for what has none its sequence.
#[derive(Default)]
struct Groups {
    numbers: HashMap<(bool, u32), u32>,
    groups: Vec<Group>,
}

impl Groups {
    /// The number of the group of a row, which is counted.
    fn count(&mut self, label: Label, sequence: (u32, &str), names: &[Box<str>]) -> u32 {
        let key = label.group.map_or((false, sequence.0), |group| (true, group));
        let number = *self.numbers.entry(key).or_insert_with(|| {
            let name = match label.group {
                Some(group) => format!("group\t{}", names[group as usize]),
                None => format!("sequence\t{}", sequence.1),
            };
            self.groups.push(Group { name, rows: [0; 2] });
            (self.groups.len() - 1) as u32
        });
        self.groups[number as usize].rows[usize::from(label.class == Class::Virus)] += 1;
        number
    }
}

impl Plan {
    /// Reads all windows and finds their labels.
    ///
    /// # Errors
    /// [`Fault::InputLabels`] where a frame has no label, unless those are left out; where labels name nothing, or are of
    /// one class; a damaged table.
    pub fn read(cut: &CutWindows, labels: &mut Labels, ignore_unlabelled: bool) -> Result<Self> {
        let mut plan = Self {
            places: HashMap::new(),
            viral: Vec::new(),
            row_groups: Vec::new(),
            windows: Vec::new(),
            sequences: Vec::new(),
            groups: Groups::default(),
            tables: Vec::new(),
        };
        let (mut unlabelled, mut first) = (0_u64, None);
        let mut table = TableReader::<WindowRow>::open(&cut.windows.path)?;
        while let Some(window) = table.next_row().map_err(|error| cut.windows.explain(error))? {
            let left = plan.window(&window, labels)?;
            unlabelled += left;
            if left > 0 && first.is_none() {
                first = Some(window.window_id.to_string());
            }
        }
        let windows = table.finish()?;
        cut.windows.prove(&windows)?;
        // A sequence without a frame is known all the same.
        let mut inputs = TableReader::<InputRow>::open(&cut.inputs.path)?;
        while let Some(record) = inputs.next_row().map_err(|error| cut.inputs.explain(error))? {
            labels.of_sequence(&record.sequence_id);
        }
        cut.inputs.prove(&inputs.finish()?)?;
        plan.tables = vec![
            Source { file: cut.windows.name(), blake3: windows.blake3 },
            Source { file: "labels".to_owned(), blake3: FileDigest::of(labels.path())?.blake3 },
        ];
        plan.check(labels, ignore_unlabelled, unlabelled, first)?;
        Ok(plan)
    }

    /// Takes the frames of a window as rows. Gives the number of those without a label.
    fn window(&mut self, window: &WindowRow<'_>, labels: &mut Labels) -> Result<u64> {
        // Also of a window without a frame: its label names something.
        let frames = window.frames.as_deref().unwrap_or_default();
        labels.of_window(WindowIds { sequence: &window.sequence_id, window: &window.window_id, frames })?;
        if self.sequences.last().is_none_or(|last| *last != window.sequence_id) {
            self.sequences.push(window.sequence_id.to_string());
        }
        let (sequence, first) = ((self.sequences.len() - 1) as u32, self.viral.len());
        let mut unlabelled = 0;
        for frame in window.frame_names() {
            let id = FrameId { window: &window.window_id, frame }.to_string();
            let Some(label) = labels.of_frame(&window.sequence_id, &window.window_id, &id) else {
                self.places.insert(id, UNLABELLED);
                unlabelled += 1;
                continue;
            };
            self.places.insert(id, self.viral.len() as u32);
            self.viral.push(label.class == Class::Virus);
            let group = self.groups.count(label, (sequence, &window.sequence_id), labels.group_names());
            self.row_groups.push(group);
        }
        let rows = first..self.viral.len();
        if !rows.is_empty() {
            self.windows.push(TrainingWindow { sequence, length: window.end.saturating_sub(window.start), rows });
        }
        Ok(unlabelled)
    }

    fn check(&self, labels: &Labels, ignore_unlabelled: bool, unlabelled: u64, first: Option<String>) -> Result<()> {
        let wrong = |message: String| Error::new(Fault::InputLabels, message).file(labels.path());
        if self.viral.is_empty() {
            let unknown = labels.unused().map(|(_, id, line)| (id.to_owned(), line));
            let error = unknown
                .into_iter()
                .fold(wrong("no vector has a label".to_owned()), |error, (id, line)| error.record(id).line(line));
            let such = first.map_or_else(String::new, |id| format!("; the first window is {id}"));
            return Err(error
                .expected("labels of sequences, windows or frames that the vectors are of")
                .found(format!("{} vectors, {} labels{such}", self.places.len(), labels.len()))
                .advice("compare the ids with those in windows.tsv"));
        }
        if unlabelled > 0 && !ignore_unlabelled {
            let error = wrong(format!("{unlabelled} of {} vectors have no label", self.places.len()));
            return Err(first
                .into_iter()
                .fold(error, Error::record)
                .expected("a label for every vector")
                .found("none for this window")
                .advice("label it, or leave out what has no label with --ignore-unlabelled"));
        }
        if let Some((count, id, line)) = labels.unused() {
            let labels = if count == 1 { "1 label names".to_owned() } else { format!("{count} labels name") };
            log::warn!("{labels} nothing that was cut; the first is {id}, in line {line}");
        }
        let viral = self.viral.iter().filter(|is_viral| **is_viral).count();
        if viral == 0 || viral == self.viral.len() {
            let class = if viral == 0 { Class::Others } else { Class::Virus };
            return Err(wrong(format!("all labels are '{class}'"))
                .expected("vectors of both classes, virus and others")
                .found(format!("{} vectors of one", self.viral.len()))
                .advice("add sequences of the other class"));
        }
        let mixed = self.groups.groups.iter().filter(|group| group.rows.iter().all(|rows| *rows > 0)).count();
        if mixed > 0 {
            log::info!("train: {mixed} of {} groups hold both classes", self.groups.groups.len());
        }
        if unlabelled > 0 {
            log::info!("train: {unlabelled} vectors without a label are left out");
        }
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.viral.len()
    }

    /// Groups of the rows, by number.
    pub fn groups(&self) -> &[Group] {
        &self.groups.groups
    }

    /// Reads the vectors to their rows.
    ///
    /// # Errors
    /// [`Fault::HostMemory`]; [`Fault::MergeIds`] where vectors and windows do not match; [`Fault::InputStage`] for a
    /// value that is not finite; damaged files.
    pub fn fill(self, dim: usize, merged: &[UpstreamFile], progress: &Progress) -> Result<LabelledRows> {
        let mut rows = Rows::zeros(dim, self.viral, self.row_groups)?;
        let task = progress.task("read", "vectors", Some(self.places.len() as u64));
        let (mut seen, mut count, mut digests) = (vec![false; rows.len()], 0, Vec::new());
        for file in merged {
            let reader = VectorReader::open(&file.path).map_err(|error| file.explain(error))?;
            let mut blocks = reader.into_blocks(BLOCK_ROWS);
            for block in blocks.by_ref() {
                interrupt::check()?;
                let block = block.map_err(|error| file.explain(error))?;
                for (id, vector) in block.ids.iter().zip(block.values.chunks_exact(dim)) {
                    let place = self.places.get(id).copied().ok_or_else(|| file.explain(unknown(id)))?;
                    count += 1;
                    if place == UNLABELLED {
                        continue;
                    }
                    if let Some(value) = vector.iter().find(|value| !value.is_finite()) {
                        return Err(file.explain(not_finite(id, *value)));
                    }
                    if std::mem::replace(&mut seen[place as usize], true) {
                        return Err(file.explain(twice(id)));
                    }
                    rows.row_mut(place as usize).copy_from_slice(vector);
                }
                task.add(block.ids.len() as u64);
            }
            let digest = blocks.finish().map_err(|error| file.explain(error))?;
            file.prove(&digest)?;
            digests.push(digest);
        }
        if let Some(missing) = self.places.iter().filter(|(_, place)| seen.get(**place as usize) == Some(&false)).min()
        {
            return Err(without_vector(missing.0, self.places.len(), count));
        }
        let sources = sources(merged, digests).into_iter().chain(self.tables).collect();
        Ok(LabelledRows { rows, windows: self.windows, sequences: self.sequences, groups: self.groups.groups, sources })
    }
}

const SAME: &str = "give all merged shards of these windows, and the folder of windows they come from";

fn unknown(id: &str) -> Error {
    Error::new(Fault::MergeIds, "there are vectors of frames that are in no window").record(id).advice(SAME)
}

fn twice(id: &str) -> Error {
    Error::new(Fault::MergeIds, "an id occurs twice among the vectors")
        .record(id)
        .advice("give every vector file once; ids must be unique")
}

fn without_vector(id: &str, expected: usize, found: usize) -> Error {
    Error::new(Fault::MergeIds, "the merged vectors do not match the windows")
        .record(id)
        .expected(format!("{expected} vectors, one for each frame"))
        .found(format!("{found} vectors, none for this frame"))
        .advice(SAME)
}

fn not_finite(id: &str, value: f32) -> Error {
    Error::new(Fault::InputStage, "a vector is not finite")
        .record(id)
        .expected("finite numbers")
        .found(value.to_string())
        .advice("embed this shard again, in --dtype f32 where a smaller format overflows")
}
