//! What was measured, as pictures.

use super::report::{Level, Measured, Uncalled};
use crate::error::printable;
use crate::metrics::{Metric, Point};
use crate::plot::{Corner, Forest, ForestRow, Series, SquareChart};

/// A bin of fewer items has no point: chance decides where it lies.
const LEAST_OF_BIN: u64 = 10;
/// Columns of the bundle's name.
const MODEL_COLUMNS: usize = 32;

/// Names of all pictures.
pub const NAMES: [&str; 4] = ["roc.svg", "precision_recall.svg", "reliability.svg", "categories.svg"];

/// Pictures of rows with a score, by name.
pub fn pictures(levels: &[Level], model: &str) -> Vec<(&'static str, String)> {
    let whole = |level: &Level| level.find("all", Uncalled::LeftOut).map_or(0, |measured| measured.n);
    let counts: Vec<String> = levels.iter().map(|level| format!("{} {}", whole(level), level.name)).collect();
    let note = format!("{} · {}", printable(model, MODEL_COLUMNS), counts.join(", "));
    let chart = |title, axes, names, series: Vec<Series>| SquareChart {
        title,
        note: &note,
        axes,
        diagonal: names == Corner::LowerRight,
        marks: false,
        names,
        series,
    };
    let [roc, precision, reliability] = [roc, precision, reliability].map(|of| levels.iter().map(of).collect());
    let roc = chart("ROC", ["False-positive rate", "Recall"], Corner::LowerRight, roc);
    let precision = chart("Precision and recall", ["Recall", "Precision"], Corner::LowerLeft, precision);
    let axes = ["Mean probability of a virus", "Share of viruses"];
    let reliability = SquareChart { marks: true, ..chart("Reliability", axes, Corner::LowerRight, reliability) };
    let mut pictures: Vec<(&str, String)> =
        NAMES.into_iter().zip([roc, precision, reliability].map(|chart| chart.svg())).collect();
    pictures.extend(categories(levels, &note).map(|picture| (NAMES[3], picture)));
    pictures
}

/// A name with the number that sums a curve up.
fn label(level: &Level, metric: Metric, shown: &str) -> String {
    let value = level.find("all", Uncalled::LeftOut).map_or_else(String::new, |all| with_interval(all, metric));
    format!("{}: {shown} {value}", level.name)
}

fn with_interval(measured: &Measured, metric: Metric) -> String {
    let (value, interval) = measured.get(metric);
    let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    interval.map_or(value.clone(), |interval| format!("{value} ({:.3}–{:.3})", interval.low, interval.high))
}

fn pairs(points: &[Point]) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.x, point.y)).collect()
}

fn roc(level: &Level) -> Series {
    let points = pairs(&level.curves.roc);
    Series { label: label(level, Metric::Auroc, "AUROC"), points, floor: None, counts: Vec::new() }
}

fn precision(level: &Level) -> Series {
    let floor = level.find("all", Uncalled::LeftOut).and_then(|all| all.get(Metric::Prevalence).0);
    let points = pairs(&level.curves.precision_recall);
    Series { label: label(level, Metric::Auprc, "AUPRC"), points, floor, counts: Vec::new() }
}

fn reliability(level: &Level) -> Series {
    let bins = level.curves.bins.iter();
    let points = bins.clone().filter(|bin| bin.n >= LEAST_OF_BIN).map(|bin| (bin.mean_p, bin.share)).collect();
    let counts = bins.map(|bin| bin.n).collect();
    Series { label: label(level, Metric::Ece, "ECE"), points, floor: None, counts }
}

/// Areas under the curves of the categories of windows.
fn categories(levels: &[Level], note: &str) -> Option<String> {
    let windows = levels.first().filter(|level| !level.categories.is_empty())?;
    let row = |(subset, kind): &(String, usize)| {
        let measured = windows.find(subset, Uncalled::LeftOut)?;
        let (value, interval) = measured.get(Metric::Auroc);
        let own = if *kind == 0 { measured.n_viruses } else { measured.n - measured.n_viruses };
        Some(ForestRow {
            label: subset.trim_start_matches("category:").to_owned(),
            value: value?,
            interval: interval.map(|interval| (interval.low, interval.high)),
            note: format!("n = {own}"),
            kind: *kind,
        })
    };
    let rows: Vec<ForestRow> = windows.categories.iter().filter_map(row).collect();
    let axis = "AUROC of windows against the whole other class";
    (!rows.is_empty()).then(|| Forest { title: "Categories", note, axis, kinds: &["viruses", "others"], rows }.svg())
}
