//! What sequences and windows are known to be: the truth that heads are trained on and measured against.

mod table;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};

/// What something is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Not a virus: class 0 of a head.
    Others,
    /// A virus: class 1 of a head.
    Virus,
}

impl Class {
    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Others => "others",
            Self::Virus => "virus",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the ids of a table of labels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labelled {
    /// Sequences: column `sequence`. A label holds for all windows of its sequence.
    Sequences,
    /// Windows or frames: column `id`.
    Windows,
}

/// What is known of a sequence, a window or a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it is.
    pub class: Class,
    /// Relatives that must not be parted, by number.
    pub group: Option<u32>,
    /// Class that reports are split by, by number.
    pub category: Option<u32>,
}

/// The ids of a window.
#[derive(Clone, Copy, Debug)]
pub struct WindowIds<'a> {
    /// Its sequence.
    pub sequence: &'a str,
    /// The window: `{sequence}_chunk_{k}`.
    pub window: &'a str,
    /// Names of its frames, as `F1,R3`.
    pub frames: &'a str,
}

/// Labels by id.
///
/// ```no_run
/// use std::path::Path;
/// use virnucpro::labels::{Class, Labels};
///
/// let mut labels = Labels::read(Path::new("labels.tsv"))?;
/// if let Some(label) = labels.of_sequence("contig7") {
///     println!("{}", label.class == Class::Virus);
/// }
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Labels {
    path: PathBuf,
    labelled: Labelled,
    entries: HashMap<Box<str>, Entry>,
    groups: Names,
    categories: Names,
}

#[derive(Debug)]
struct Entry {
    label: Label,
    line: u64,
    is_used: bool,
}

impl Labels {
    /// Reads a table of labels: `docs/labels.md` has its form.
    ///
    /// # Errors
    /// [`Fault::InputLabels`] with the line for a table that is not one of labels; the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        table::read(path)
    }

    /// The table.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its ids name.
    pub fn labelled(&self) -> Labelled {
        self.labelled
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no labels. A table without any is refused when it is read.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names of all groups, by number.
    pub fn group_names(&self) -> &[Box<str>] {
        &self.groups.names
    }

    /// Names of all categories, by number.
    pub fn category_names(&self) -> &[Box<str>] {
        &self.categories.names
    }

    /// The label of a sequence, where sequences are labelled.
    pub fn of_sequence(&mut self, sequence: &str) -> Option<Label> {
        (self.labelled == Labelled::Sequences).then(|| self.find(sequence)).flatten()
    }

    /// The label of a frame: its own, its window's, or its sequence's. `frame` is the whole id, as `c1_chunk_3R2`.
    pub fn of_frame(&mut self, sequence: &str, window: &str, frame: &str) -> Option<Label> {
        match self.labelled {
            Labelled::Sequences => self.find(sequence),
            Labelled::Windows => self.find(frame).or_else(|| self.find(window)),
        }
    }

    /// The label of a window: its sequence's, its own, or that of its frames.
    ///
    /// # Errors
    /// [`Fault::InputLabels`] where its frames have different labels.
    pub fn of_window(&mut self, ids: WindowIds<'_>) -> Result<Option<Label>> {
        if self.labelled == Labelled::Sequences {
            return Ok(self.find(ids.sequence));
        }
        let mut known = self.find(ids.window);
        for frame in ids.frames.split(',').filter(|frame| !frame.is_empty()) {
            let found = self.find(&format!("{}{frame}", ids.window));
            if let (Some(one), Some(other)) = (known, found)
                && one != other
            {
                return Err(self.contradicting(ids.window, frame));
            }
            known = known.or(found);
        }
        Ok(known)
    }

    fn contradicting(&self, window: &str, frame: &str) -> Error {
        Error::new(Fault::InputLabels, "a window and its frames have different labels")
            .file(&self.path)
            .record(window)
            .expected("one label, group and category for all frames of a window")
            .found(format!("another one for frame {frame}"))
            .advice("label the window, or all its frames alike")
    }

    fn find(&mut self, id: &str) -> Option<Label> {
        let entry = self.entries.get_mut(id)?;
        entry.is_used = true;
        Some(entry.label)
    }

    /// Labels that nothing has asked for so far: how many, and the id and line of the first.
    pub fn unused(&self) -> Option<(usize, &str, u64)> {
        let unused = || self.entries.iter().filter(|(_, entry)| !entry.is_used);
        let (id, entry) = unused().min_by_key(|(_, entry)| entry.line)?;
        Some((unused().count(), id, entry.line))
    }
}

/// Names with numbers, in the order in which they come.
#[derive(Debug, Default)]
struct Names {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Names {
    /// The number of a name; an empty one has none.
    fn number(&mut self, name: &str) -> Option<u32> {
        if name.is_empty() {
            return None;
        }
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.tsv");
        std::fs::write(&path, text).unwrap();
        Labels::read(&path).unwrap()
    }

    fn ids<'a>(window: &'a str, frames: &'a str) -> WindowIds<'a> {
        WindowIds { sequence: window.split("_chunk_").next().unwrap(), window, frames }
    }

    #[test]
    fn the_label_of_a_sequence_holds_for_its_windows_and_frames() {
        let mut labels = labels("sequence\tlabel\tgroup\tcategory\na\tvirus\tg1\tphage\nb\tothers\tg2\tbacteria\n");
        let a = Label { class: Class::Virus, group: Some(0), category: Some(0) };
        assert_eq!(labels.of_sequence("a"), Some(a));
        assert_eq!(labels.of_window(ids("a_chunk_1", "F1")).unwrap(), Some(a));
        assert_eq!(labels.of_frame("a", "a_chunk_2", "a_chunk_2R1"), Some(a));
        assert_eq!(labels.of_sequence("c"), None);
        assert_eq!(labels.unused(), Some((1, "b", 3)));
        assert_eq!((&*labels.group_names()[1], &*labels.category_names()[1]), ("g2", "bacteria"));
    }

    #[test]
    fn a_window_has_its_own_label_or_that_of_its_frames() {
        let mut labels = labels("id\tlabel\na_chunk_1\tvirus\na_chunk_2F1\tothers\na_chunk_2R3\tothers\n");
        let class = |label: Option<Label>| label.map(|label| label.class);
        assert_eq!(class(labels.of_window(ids("a_chunk_1", "F1,F2")).unwrap()), Some(Class::Virus));
        assert_eq!(class(labels.of_window(ids("a_chunk_2", "F1,R3")).unwrap()), Some(Class::Others));
        assert_eq!(class(labels.of_window(ids("a_chunk_3", "")).unwrap()), None);
        assert_eq!(class(labels.of_frame("a", "a_chunk_1", "a_chunk_1F2")), Some(Class::Virus));
        assert_eq!((labels.of_sequence("a"), labels.unused()), (None, None));
    }

    #[test]
    fn frames_of_one_window_with_different_labels_are_an_error() {
        let mut labels = labels("id\tlabel\na_chunk_2F1\tothers\na_chunk_2R3\tvirus\n");
        let error = labels.of_window(ids("a_chunk_2", "F1,R3")).unwrap_err();
        assert_eq!(error.fault(), Fault::InputLabels);
        assert!(error.report("v").contains("R3"), "{}", error.report("v"));
    }
}
