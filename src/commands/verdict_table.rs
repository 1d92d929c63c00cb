//! Verdicts for a reader at a terminal.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Fault, Result, printable};
use crate::store::tables::{SUMMARY, SequenceVerdictRow};
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
    let count = |name: &str| manifest.totals.get(name).copied().unwrap_or(0);
    let verdicts = ["viral", "mixed", "non-viral", "no-call"].map(|verdict| count(&format!("sequences_{verdict}")));
    let total: u64 = verdicts.iter().sum();
    let mut rows = TableReader::<SequenceVerdictRow>::open(&path)?;
    let calibrated = is_calibrated(folder)?;
    let mut lines = String::new();
    for _ in 0..SHOWN {
        let Some(row) = rows.next_row()? else { break };
        lines.push_str(&line(&row, calibrated));
    }
    let scores = if calibrated { ["p", "tier"] } else { ["best", "mean"] };
    let mut text = format!(
        "{:ID_COLUMNS$} {:>10} {:>8} {:>6} {:>6} {:>6} {:>6}  verdict\n{lines}",
        "sequence", "length", "windows", "scored", "viral", scores[0], scores[1]
    );
    if total > SHOWN as u64 {
        text.push_str(&format!("... and {} more in {}\n", total - SHOWN as u64, path.display()));
    }
    let [viral, mixed, others, no_call] = verdicts;
    let mixed = if calibrated { String::new() } else { format!(" {mixed} mixed,") };
    text.push_str(&format!(
        "\n{}: {viral} viral,{mixed} {others} non-viral, {no_call} without a scored window\n",
        counted(total, "sequence"),
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

/// Whether verdicts come from probabilities. The rows need not tell: none of them may have a score.
fn is_calibrated(folder: &Path) -> Result<bool> {
    #[derive(Deserialize)]
    struct Summary {
        calibrated: bool,
    }
    let path = folder.join(SUMMARY);
    let text = fs::read(&path).map_err(|error| Error::reading(&path, error))?;
    let summary: Summary = serde_json::from_slice(&text).map_err(|error| {
        Error::new(Fault::InputStage, format!("{} is damaged", path.display())).file(&path).caused_by(error)
    })?;
    Ok(summary.calibrated)
}

fn line(row: &SequenceVerdictRow<'_>, calibrated: bool) -> String {
    let p = |p: Option<f32>| p.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}"));
    let scores = if calibrated {
        [p(row.p_virus), row.tier.as_deref().unwrap_or("-").to_owned()]
    } else {
        [p(row.best_score_virus), p(row.mean_score_virus)]
    };
    format!(
        "{:ID_COLUMNS$} {:>10} {:>8} {:>6} {:>6} {:>6} {:>6}  {}\n",
        printable(&row.sequence_id, ID_COLUMNS - 1),
        row.length,
        row.n_windows,
        row.n_scored_windows,
        row.n_viral_windows,
        scores[0],
        scores[1],
        row.verdict
    )
}
