//! A table of labels as text: one line per label, cells separated by tabs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::path::Path;

use super::{Class, Entry, Label, Labelled, Labels, Names};
use crate::error::{Error, Fault, Result};
use crate::fs::text::decode_file;

/// Reads the table at `path`.
///
/// # Errors
/// [`Fault::InputLabels`] with the line for a table that is not one of labels; the file cannot be read.
pub(super) fn read(path: &Path) -> Result<Labels> {
    let bytes = std::fs::read(path).map_err(|error| Error::reading(path, error))?;
    let table = Table { path };
    if bytes.starts_with(&[0x1F, 0x8B]) {
        return Err(table.wrong("the labels are compressed").found("a gzip file").advice("unpack it"));
    }
    table.labels(decode_file(&bytes, path, Fault::InputLabels)?)
}

struct Table<'a> {
    path: &'a Path,
}

/// Places of the columns.
struct Columns {
    labelled: Labelled,
    id: usize,
    label: usize,
    group: Option<usize>,
    category: Option<usize>,
    count: usize,
}

impl Table<'_> {
    fn labels(&self, text: &str) -> Result<Labels> {
        let mut lines = (1..).zip(text.lines());
        let header = lines.next().map_or("", |(_, line)| line);
        let columns = self.columns(header)?;
        let mut entries: HashMap<Box<str>, Entry> = HashMap::new();
        let (mut groups, mut categories) = (Names::default(), Names::default());
        for (line, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
            let cells = self.cells(text).map_err(|error| error.line(line))?;
            if cells.len() != columns.count {
                let found = format!("{} in this line, {} in the header", cells.len(), columns.count);
                return Err(self.wrong("a line of the labels has another number of cells").line(line).found(found));
            }
            let cell = |place: Option<usize>| place.map_or("", |place| cells[place].trim());
            let id = cell(Some(columns.id));
            if id.is_empty() {
                return Err(self.wrong("a line of the labels has no id").line(line));
            }
            let word = cell(Some(columns.label));
            let class = class(word).ok_or_else(|| self.not_a_label(word).line(line).record(id))?;
            let (group, category) = (groups.number(cell(columns.group)), categories.number(cell(columns.category)));
            let entry = Entry { label: Label { class, group, category }, line, is_used: false };
            match entries.entry(id.into()) {
                Place::Vacant(place) => drop(place.insert(entry)),
                Place::Occupied(first) => return Err(self.twice(first.get().line).line(line).record(id)),
            }
        }
        if entries.is_empty() {
            return Err(self.wrong("the table holds no labels").found("nothing after the header"));
        }
        Ok(Labels { path: self.path.to_owned(), labelled: columns.labelled, entries, groups, categories })
    }

    fn columns(&self, header: &str) -> Result<Columns> {
        let cells = self.cells(header).map_err(|error| error.line(1))?;
        let wrong = |message: String| self.wrong(&message).line(1).found(header);
        let place = |name: &str| {
            let mut places = (0..cells.len()).filter(|place| cells[*place].trim() == name);
            match (places.next(), places.next()) {
                (_, Some(_)) => Err(wrong(format!("the labels have two columns `{name}`"))),
                (place, None) => Ok(place),
            }
        };
        let (labelled, id) = match (place("sequence")?, place("id")?) {
            (Some(place), None) => (Labelled::Sequences, place),
            (None, Some(place)) => (Labelled::Windows, place),
            (Some(_), Some(_)) => {
                let error = wrong("the labels have a column `sequence` and a column `id`".to_owned());
                return Err(error.advice("rename one of the two: it is not clear which one the labels are meant for"));
            }
            (None, None) => {
                let error = wrong("the labels have no column `sequence` or `id`".to_owned());
                return Err(if cells.len() == 1 && header.contains([',', ';']) {
                    error.advice("separate the cells with tabs")
                } else if cells.iter().any(|cell| cell.trim() == "sequence_id") {
                    error.advice("call the column `sequence_id` `sequence`")
                } else {
                    error
                });
            }
        };
        let label = place("label")?.ok_or_else(|| wrong("the labels have no column `label`".to_owned()))?;
        Ok(Columns { labelled, id, label, group: place("group")?, category: place("category")?, count: cells.len() })
    }

    /// Cells of a line; one that begins with a quotation mark ends with one, and has others doubled.
    fn cells<'a>(&self, line: &'a str) -> Result<Vec<Cow<'a, str>>> {
        line.split('\t')
            .map(|cell| match cell.strip_prefix('"') {
                None => Ok(cell.into()),
                Some(rest) => match rest.strip_suffix('"') {
                    Some(inner) => Ok(inner.replace("\"\"", "\"").into()),
                    None => Err(self
                        .wrong("a quotation mark in the labels is not closed")
                        .found(cell)
                        .advice("close it at the end of its cell, or remove it")),
                },
            })
            .collect()
    }

    fn not_a_label(&self, found: &str) -> Error {
        self.wrong("this is not a label")
            .expected("virus, viral or 1; or others, non-viral or 0")
            .found(if found.is_empty() { "an empty cell" } else { found })
            .advice("write one of these words in the column `label`")
    }

    fn twice(&self, first: u64) -> Error {
        self.wrong("an id has two labels").found(format!("the same id as in line {first}")).advice("remove one of them")
    }

    fn wrong(&self, message: &str) -> Error {
        Error::new(Fault::InputLabels, message)
            .file(self.path)
            .expected(
                "a tab-separated table with the columns `sequence` or `id`, and `label`; if wanted `group`, `category`",
            )
            .advice("a first line of `sequence<TAB>label`, then one line per sequence, as `contig7<TAB>virus`")
    }
}

fn class(word: &str) -> Option<Class> {
    match word.to_ascii_lowercase().as_str() {
        "virus" | "viral" | "1" => Some(Class::Virus),
        "others" | "non-viral" | "0" => Some(Class::Others),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(content: &[u8]) -> Result<Labels> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.tsv");
        std::fs::write(&path, content).unwrap();
        read(&path)
    }

    #[track_caller]
    fn refused(content: &[u8], says: &[&str]) {
        let error = read_text(content).unwrap_err();
        assert_eq!(error.fault(), Fault::InputLabels);
        let report = error.report("v");
        for part in says.iter().chain(&["to do:", "labels.tsv"]) {
            assert!(report.contains(part), "'{part}' is missing: {report}");
        }
    }

    #[test]
    fn both_spellings_of_both_labels_are_read() {
        let text = "note\tid\tlabel\n\ta\tvirus\n\tb\tothers\n\tc\t1\n\td\t0\n\te\tViral\n\tf\tnon-viral\n";
        let mut labels = read_text(text.as_bytes()).unwrap();
        let classes =
            ["a", "b", "c", "d", "e", "f"].map(|id| labels.of_frame("", "", id).unwrap().class == Class::Virus);
        assert_eq!((classes, labels.len()), ([true, false, true, false, true, false], 6));
        assert_eq!(labels.labelled(), Labelled::Windows);
    }

    #[test]
    fn windows_line_ends_a_byte_order_mark_blank_lines_and_quotes_make_no_difference() {
        let text = "\u{feff}sequence\tlabel\tgroup\r\n\r\n\"a\"\"b\"\tvirus\tx y\r\nc\t0\t\r\n";
        let mut labels = read_text(text.as_bytes()).unwrap();
        assert_eq!(labels.of_sequence("a\"b").unwrap().group, Some(0));
        assert_eq!(labels.of_sequence("c").unwrap(), Label { class: Class::Others, group: None, category: None });
        assert_eq!(labels.group_names(), [Box::from("x y")]);
    }

    #[test]
    fn what_is_not_a_table_of_labels_is_told_by_line_and_reason() {
        refused(b"", &["line 1", "no column `sequence` or `id`"]);
        refused(b"sequence\tclass\na\tvirus\n", &["line 1", "no column `label`"]);
        refused(b"sequence,label\na,virus\n", &["line 1", "with tabs"]);
        refused(b"sequence_id\tlabel\na\tvirus\n", &["line 1", "call the column"]);
        refused(b"sequence\tid\tlabel\na\tb\tvirus\n", &["line 1", "rename one"]);
        refused(b"id\tid\tlabel\na\tb\tvirus\n", &["line 1", "two columns `id`"]);
        refused(b"sequence\tlabel\n", &["no labels"]);
        refused(b"sequence\tlabel\na\n", &["line 2", "1 in this line, 2 in the header"]);
        refused(b"sequence\tlabel\n\n\tvirus\n", &["line 3", "no id"]);
        refused(b"sequence\tlabel\na\tphage\n", &["line 2", "phage", "virus, viral or 1", "record:   a"]);
        refused(b"sequence\tlabel\na\t\n", &["line 2", "an empty cell"]);
        refused(b"sequence\tlabel\na\t1\nb\t1\na\t1\n", &["line 4", "two labels", "line 2"]);
        refused(b"sequence\tlabel\n\"a\t1\n", &["line 2", "not closed"]);
        refused(b"sequence\tlabel\nK\xF6ln\t1\n", &["line 2", "not UTF-8"]);
        refused(b"\x1F\x8B\x08\x00", &["gzip", "unpack"]);
    }
}
