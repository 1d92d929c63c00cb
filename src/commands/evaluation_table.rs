//! Metrics for a reader at a terminal.

use std::path::Path;

use crate::error::{Result, printable};
use crate::store::tables::MetricRow;
use crate::store::{Row, TableReader};

/// Columns of a name.
const NAME_COLUMNS: usize = 30;
/// Metrics shown, with their headings.
const SHOWN: [(&str, &str); 6] = [
    ("auroc", "AUROC (95 %)"),
    ("recall_at_fpr_0.05", "R at 5 %"),
    ("recall", "recall"),
    ("specificity", "specific."),
    ("auprc", "AUPRC"),
    ("ece", "ECE"),
];
/// Of these the first so many say something of a category. The others depend on how many of the other class there are.
const OF_CATEGORIES: usize = 4;
/// Of so many the interval is shown too.
const WITH_INTERVAL: usize = 1;
/// Groups shown.
const WORST: usize = 5;
/// Rows that a group must have to be shown.
const LEAST_OF_GROUP: u64 = 10;

/// One line of the table: a part of the rows.
#[derive(Default)]
struct Line {
    level: String,
    subset: String,
    n: u64,
    called: Option<f32>,
    cells: [Option<String>; SHOWN.len()],
}

/// The most wanted metrics of `metrics.tsv` in columns: the whole, categories and lengths, and the worst groups.
///
/// # Errors
/// The table cannot be read.
pub fn text(folder: &Path) -> Result<String> {
    let path = folder.join(MetricRow::TSV);
    let mut rows = TableReader::<MetricRow>::open(&path)?;
    let (mut lines, mut groups): (Vec<Line>, Vec<String>) = Default::default();
    while let Some(row) = rows.next_row()? {
        if let Some(name) = row.subset.strip_prefix("group:") {
            if row.metric == "accuracy" && row.n >= LEAST_OF_GROUP && row.level == "windows" && groups.len() < WORST {
                groups.push(format!("{} {}", printable(name, NAME_COLUMNS), score(row.value)));
            }
        } else if row.uncalled == "left_out" {
            add(&mut lines, &row);
        }
    }
    let mut text = String::new();
    for lines in lines.chunk_by(|one, other| one.level == other.level) {
        let (shown, heading) = (lines.first().map_or("", |line| &line.level), SHOWN.map(|(_, heading)| heading));
        text.push_str(&columns(shown, "n", "called", heading));
        for line in lines {
            let called = line.called.map_or_else(|| "-".to_owned(), |called| format!("{:.1} %", called * 100.0));
            let cells = line.cells.each_ref().map(|cell| cell.as_deref().unwrap_or("-"));
            text.push_str(&columns(&line.subset, &line.n.to_string(), &called, cells));
        }
        text.push('\n');
    }
    if !groups.is_empty() {
        text.push_str(&format!("groups with the fewest windows called right: {}\n", groups.join(", ")));
    }
    text.push_str(
        "Of rows with a score (called). R at 5 %: recall where 5 % of others are called viruses; recall and specificity: at 0.5.\n",
    );
    text.push_str(&format!("metrics and pictures: {}\n", folder.display()));
    Ok(text)
}

fn add(lines: &mut Vec<Line>, row: &MetricRow<'_>) {
    if lines.last().is_none_or(|line| line.level != row.level || line.subset != row.subset) {
        lines.push(Line { level: row.level.to_string(), subset: row.subset.to_string(), ..Line::default() });
    }
    let Some(line) = lines.last_mut() else { return };
    line.n = row.n;
    if row.metric == "called" {
        line.called = row.value;
    }
    let places = if row.subset.starts_with("category:") { OF_CATEGORIES } else { SHOWN.len() };
    if let Some(place) = SHOWN[..places].iter().position(|(name, _)| *name == row.metric) {
        let interval = row.low.zip(row.high).filter(|_| place < WITH_INTERVAL);
        let range = interval.map(|(low, high)| format!(" ({}-{})", score(Some(low)), score(Some(high))));
        line.cells[place] = row.value.map(|value| score(Some(value)) + &range.unwrap_or_default());
    }
}

fn score(value: Option<f32>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn columns(name: &str, n: &str, called: &str, cells: [&str; SHOWN.len()]) -> String {
    let mut text = format!("{:NAME_COLUMNS$} {n:>8} {called:>8}", printable(name, NAME_COLUMNS - 1));
    for (place, cell) in cells.into_iter().enumerate() {
        let wide = if place < WITH_INTERVAL { 20 } else { 9 };
        text.push_str(&format!(" {cell:>wide$}"));
    }
    text + "\n"
}
