//! Verdicts for a reader at a terminal.

use std::path::Path;

use crate::error::{Result, printable};
use crate::store::tables::SequenceVerdictRow;
use crate::store::{Manifest, Row, TableReader};
use crate::units::counted;

/// Sequences shown.
const SHOWN: usize = 20;
/// Columns of an identifier.
const ID_COLUMNS: usize = 32;

/// The first rows of `sequences.tsv` in columns, and what they add up to.
///
/// # Errors
/// The tables cannot be read.
pub fn text(folder: &Path, manifest: &Manifest) -> Result<String> {
    let path = folder.join(SequenceVerdictRow::TSV);
    let mut rows = TableReader::<SequenceVerdictRow>::open(&path)?;
    let mut text = format!(
        "{:ID_COLUMNS$} {:>10} {:>8} {:>6} {:>6} {:>6} {:>6}  verdict\n",
        "sequence", "length", "windows", "scored", "viral", "best p", "mean p"
    );
    let mut total = 0;
    while let Some(row) = rows.next_row()? {
        total += 1;
        if total <= SHOWN {
            text.push_str(&line(&row));
        }
    }
    if total > SHOWN {
        text.push_str(&format!("... and {} more in {}\n", total - SHOWN, path.display()));
    }
    let count = |name: &str| manifest.totals.get(name).copied().unwrap_or(0);
    text.push_str(&format!(
        "\n{}: {} viral, {} mixed, {} non-viral, {} without a scored window\n",
        counted(total as u64, "sequence"),
        count("sequences_viral"),
        count("sequences_mixed"),
        count("sequences_non-viral"),
        count("sequences_no-call")
    ));
    text.push_str(&format!("tables: {}\n", folder.display()));
    if let Some(model) = &manifest.model {
        text.push_str(&format!("model:  {}\n", model.cell()));
        if !model.trained {
            text.push_str("        UNTRAINED: random weights; these scores and verdicts mean nothing\n");
        }
    }
    Ok(text)
}

fn line(row: &SequenceVerdictRow<'_>) -> String {
    let p = |p: Option<f32>| p.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}"));
    format!(
        "{:ID_COLUMNS$} {:>10} {:>8} {:>6} {:>6} {:>6} {:>6}  {}\n",
        printable(&row.sequence_id, ID_COLUMNS - 1),
        row.length,
        row.n_windows,
        row.n_scored_windows,
        row.n_viral_windows,
        p(row.best_p_virus),
        p(row.mean_p_virus),
        row.verdict
    )
}
