//! What is measured of which part of the rows.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Map, Value, json};

use super::truth::{Scored, Truth};
use crate::error::Result;
use crate::labels::Labels;
use crate::metrics::{self, Curves, GroupValues, Interval, Item, Metric, Sample, Values};
use crate::runtime::progress::TaskProgress;
use crate::runtime::{interrupt, machine, threads};

/// Lengths in bases at which windows and sequences are parted.
const WINDOW_LENGTHS: [u64; 3] = [150, 300, 500];
const SEQUENCE_LENGTHS: [u64; 4] = [500, 1000, 3000, 10_000];
/// A group of fewer rows is not among the worst: chance decides there.
const LEAST_OF_GROUP: u64 = 10;
/// Worst groups that are listed.
const WORST: usize = 20;

/// What rows without a score count as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncalled {
    /// Nothing: metrics are those of rows with a score.
    LeftOut,
    /// Rows that are certainly no virus.
    NonViral,
}

impl Uncalled {
    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left_out",
            Self::NonViral => "non_viral",
        }
    }
}

/// Metrics of a part of the rows, counted in one way.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Name of the part.
    pub subset: String,
    /// What rows without a score count as.
    pub uncalled: Uncalled,
    /// Rows that are counted.
    pub n: u64,
    /// Viruses among them.
    pub n_viruses: u64,
    /// Their groups.
    pub n_groups: u64,
    /// Rows with a score among all of the part.
    pub called: f64,
    values: Values,
    intervals: [Option<Interval>; Metric::ALL.len()],
}

impl Measured {
    /// A value and its interval.
    pub fn get(&self, metric: Metric) -> (Option<f64>, Option<Interval>) {
        (self.values.get(metric), self.intervals[metric as usize])
    }
}

/// Everything of one table.
#[derive(Clone, Debug)]
pub struct Level {
    /// `windows` or `sequences`.
    pub name: &'static str,
    /// Column that the scores come from.
    pub score: &'static str,
    /// The whole, then categories and lengths, each counted in both ways.
    pub measured: Vec<Measured>,
    /// Categories with the numbers of their colours: viruses 0, others 1.
    pub categories: Vec<(String, usize)>,
    /// Named groups, the worst first.
    pub groups: Vec<(String, GroupValues)>,
    /// Curves of rows with a score.
    pub curves: Curves,
    n: u64,
    n_called: u64,
}

/// A part of the rows and the number of its colour.
struct Part<'a> {
    name: String,
    rows: Vec<&'a Scored>,
}

/// Scores of the rows: calibrated probabilities where all rows with a score have one, else raw scores.
#[derive(Clone, Copy)]
struct Scores {
    calibrated: bool,
}

impl Scores {
    fn of(rows: &[Scored]) -> Self {
        Self { calibrated: rows.iter().all(|row| row.raw.is_none() || row.p_virus.is_some()) }
    }

    fn p(self, row: &Scored) -> Option<f32> {
        if self.calibrated { row.p_virus } else { row.raw }
    }

    fn items(self, rows: &[&Scored], uncalled: Uncalled) -> Vec<Item> {
        let p = |row: &Scored| match uncalled {
            Uncalled::LeftOut => self.p(row),
            Uncalled::NonViral => Some(self.p(row).unwrap_or(0.0)),
        };
        let item = |row: &&Scored| Some(Item { p: p(row)?, is_virus: row.is_virus, group: row.group });
        rows.iter().filter_map(item).collect()
    }
}

/// Measures both levels; of sequences only where they are labelled and of both classes.
///
/// # Errors
/// The user asked to stop, or the system gives no thread.
pub fn levels(truth: &Truth, labels: &Labels, task: &TaskProgress) -> Result<Vec<Level>> {
    let both = [
        ("windows", &truth.windows, ["p_virus", "score_virus"], &WINDOW_LENGTHS[..]),
        ("sequences", &truth.sequences, ["p_virus", "mean_score_virus"], &SEQUENCE_LENGTHS[..]),
    ];
    let mut levels = Vec::new();
    for (name, rows, [calibrated, raw], lengths) in both {
        if !(rows.iter().any(|row| row.is_virus) && rows.iter().any(|row| !row.is_virus)) {
            continue;
        }
        let scores = Scores::of(rows);
        let (categories, colours) = categories(rows, labels);
        let whole = Part { name: "all".to_owned(), rows: rows.iter().collect() };
        let all = scores.items(&whole.rows, Uncalled::LeftOut);
        let parts = [whole].into_iter().chain(categories).chain(lengths_of(rows, lengths)).collect();
        levels.push(Level {
            name,
            score: if scores.calibrated { calibrated } else { raw },
            measured: measure_all(parts, scores, task)?,
            categories: colours,
            groups: groups(&all, labels),
            curves: Curves::of(&all),
            n: rows.len() as u64,
            n_called: all.len() as u64,
        });
    }
    Ok(levels)
}

/// Measures all parts, one per processor at a time.
fn measure_all(parts: Vec<Part<'_>>, scores: Scores, task: &TaskProgress) -> Result<Vec<Measured>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut measured = Vec::new();
        loop {
            interrupt::check()?;
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(number) else { return Ok(measured) };
            measured.push((number, measure(part, scores)));
            task.add(1);
        }
    };
    let mut measured = thread::scope(|scope| {
        let workers =
            (0..machine::cpus().value.min(parts.len())).map(|_| threads::spawn_scoped(scope, "measure", work));
        let workers = workers.collect::<Result<Vec<_>>>()?;
        let results = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|cause| resume_unwind(cause)));
        results.collect::<Result<Vec<_>>>()
    })?
    .concat();
    measured.sort_by_key(|(number, _)| *number);
    Ok(measured.into_iter().flat_map(|(_, both)| both).collect())
}

fn measure(part: &Part<'_>, scores: Scores) -> [Measured; 2] {
    let n_called = part.rows.iter().filter(|row| scores.p(row).is_some()).count();
    let called = n_called as f64 / part.rows.len() as f64;
    let of = |uncalled| {
        let items = scores.items(&part.rows, uncalled);
        let sample = Sample::new(&items);
        Measured {
            subset: part.name.clone(),
            uncalled,
            n: items.len() as u64,
            n_viruses: items.iter().filter(|item| item.is_virus).count() as u64,
            n_groups: sample.n_groups() as u64,
            called,
            values: sample.values(&vec![1; sample.n_groups()]),
            intervals: metrics::intervals(&sample, metrics::ROUNDS),
        }
    };
    let left_out = of(Uncalled::LeftOut);
    // Where everything has a score, both ways to count are one.
    let non_viral = if n_called == part.rows.len() {
        Measured { uncalled: Uncalled::NonViral, ..left_out.clone() }
    } else {
        of(Uncalled::NonViral)
    };
    [left_out, non_viral]
}

/// Each category beside the whole other class; those of viruses first.
fn categories<'a>(rows: &'a [Scored], labels: &Labels) -> (Vec<Part<'a>>, Vec<(String, usize)>) {
    let (mut parts, mut colours) = (Vec::new(), Vec::new());
    for is_virus in [true, false] {
        for (number, name) in (0_u32..).zip(labels.category_names()) {
            let own = |row: &&Scored| row.category == Some(number) && row.is_virus == is_virus;
            if !rows.iter().any(|row| own(&row)) {
                continue;
            }
            let in_both = rows.iter().any(|row| row.category == Some(number) && row.is_virus != is_virus);
            let class = match (in_both, is_virus) {
                (false, _) => "",
                (true, true) => "/virus",
                (true, false) => "/others",
            };
            let name = format!("category:{name}{class}");
            let rows = rows.iter().filter(|row| own(row) || row.is_virus != is_virus).collect();
            parts.push(Part { name: name.clone(), rows });
            colours.push((name, usize::from(!is_virus)));
        }
    }
    (parts, colours)
}

/// Rows by length, where there are several classes of it.
fn lengths_of<'a>(rows: &'a [Scored], bounds: &[u64]) -> Vec<Part<'a>> {
    let class = |length: u64| bounds.partition_point(|bound| *bound <= length);
    let name = |class: usize| match (class.checked_sub(1).map(|below| bounds[below]), bounds.get(class)) {
        (Some(from), Some(to)) => format!("length:{from}-{}", to - 1),
        (Some(from), None) => format!("length:{from}-"),
        (None, to) => format!("length:-{}", to.map_or(0, |to| to - 1)),
    };
    let parts = (0..=bounds.len()).map(|number| Part {
        name: name(number),
        rows: rows.iter().filter(|row| class(row.length) == number).collect(),
    });
    let parts: Vec<Part<'_>> = parts.filter(|part| !part.rows.is_empty()).collect();
    if parts.len() > 1 { parts } else { Vec::new() }
}

/// Groups that have names, the worst first: by right calls, then by ranks.
fn groups(items: &[Item], labels: &Labels) -> Vec<(String, GroupValues)> {
    let named = metrics::by_group(items).into_iter().filter_map(|values| {
        let name = labels.group_names().get(values.group as usize)?;
        Some((name.to_string(), values))
    });
    let mut groups: Vec<(String, GroupValues)> = named.collect();
    let key = |values: &GroupValues| (values.accuracy, values.auroc.unwrap_or(1.0));
    groups.sort_by(|(_, one), (_, other)| {
        let ((one, rank), (other, other_rank)) = (key(one), key(other));
        one.total_cmp(&other).then(rank.total_cmp(&other_rank))
    });
    groups
}

impl Level {
    /// Metrics of a part.
    pub fn find(&self, subset: &str, uncalled: Uncalled) -> Option<&Measured> {
        self.measured.iter().find(|measured| measured.subset == subset && measured.uncalled == uncalled)
    }

    /// The same as a document.
    pub fn json(&self) -> Value {
        let bin = |bin: &metrics::Bin| json!({"n": bin.n, "mean_p": bin.mean_p, "share_virus": bin.share});
        let enough = |(_, values): &&(String, GroupValues)| values.n >= LEAST_OF_GROUP;
        let group = |(name, values): &(String, GroupValues)| {
            json!({
                "group": name, "n": values.n, "n_virus": values.n_viruses,
                "accuracy": values.accuracy, "auroc": values.auroc,
            })
        };
        json!({
            "score": self.score,
            "n": self.n,
            "n_called": self.n_called,
            "subsets": self.measured.iter().map(Measured::json).collect::<Vec<_>>(),
            "reliability": self.curves.bins.iter().map(bin).collect::<Vec<_>>(),
            "worst_groups": self.groups.iter().filter(enough).take(WORST).map(group).collect::<Vec<_>>(),
        })
    }
}

impl Measured {
    fn json(&self) -> Value {
        let metric = |metric: Metric| {
            let (value, interval) = self.get(metric);
            let [low, high] = [interval.map(|interval| interval.low), interval.map(|interval| interval.high)];
            (metric.name().to_owned(), json!({"value": value, "low": low, "high": high}))
        };
        json!({
            "subset": self.subset,
            "uncalled": self.uncalled.name(),
            "n": self.n,
            "n_virus": self.n_viruses,
            "n_groups": self.n_groups,
            "called": self.called,
            "metrics": Metric::ALL.into_iter().map(metric).collect::<Map<_, _>>(),
        })
    }
}
