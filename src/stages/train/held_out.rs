//! What members say of rows that they have not seen.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::labelled::LabelledRows;
use crate::calibration::fit::ScoredWindow;
use crate::calibration::window_logit;
use crate::train::Member;
use crate::train::measure::{auroc, loss};
use crate::units::counted;

/// Logits of windows that were held out.
pub struct HeldOut {
    /// Place of each among the windows, and its logit.
    windows: Vec<(usize, f32)>,
}

/// How well they tell the classes apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Windows that were held out.
    pub windows: usize,
    /// Area under their receiver operating characteristic; none where they are of one class.
    pub auroc: Option<f64>,
    /// Mean cross-entropy of their logits, not calibrated.
    pub loss: f64,
}

impl HeldOut {
    /// Windows all of whose frames were held out and have one label.
    pub fn of(data: &LabelledRows, members: &[Member]) -> Self {
        let mut logits: Vec<Option<f32>> = vec![None; data.rows.len()];
        for member in members {
            for (row, logit) in member.held_out.iter().zip(&member.logits) {
                logits[*row] = Some(*logit);
            }
        }
        let logit = |rows: &std::ops::Range<usize>| {
            let own: Option<Vec<f32>> = logits[rows.clone()].iter().copied().collect();
            let viral = &data.rows.viral[rows.clone()];
            viral.iter().all(|is_viral| *is_viral == viral[0]).then(|| window_logit(own?)).flatten()
        };
        let windows = data.windows.iter().enumerate();
        Self { windows: windows.filter_map(|(place, window)| Some((place, logit(&window.rows)?))).collect() }
    }

    /// The windows as calibration takes them.
    pub fn scored<'a>(&self, data: &'a LabelledRows) -> Vec<ScoredWindow<'a>> {
        let of = |(place, logit): &(usize, f32)| {
            let window = &data.windows[*place];
            ScoredWindow {
                sequence: &data.sequences[window.sequence as usize],
                length: window.length,
                logit: *logit,
                is_viral: data.rows.viral[window.rows.start],
            }
        };
        self.windows.iter().map(of).collect()
    }

    /// All of them, and those nearest to each of some lengths.
    pub fn measured(&self, data: &LabelledRows, lengths: &[u64]) -> (Measured, BTreeMap<u64, Measured>) {
        let scored = self.scored(data);
        let nearest = |length: u64| lengths.iter().copied().min_by_key(|known| known.abs_diff(length));
        let mut parts: BTreeMap<u64, Vec<&ScoredWindow<'_>>> = BTreeMap::new();
        for window in &scored {
            if let Some(length) = nearest(window.length) {
                parts.entry(length).or_default().push(window);
            }
        }
        let parts = parts.into_iter().map(|(length, windows)| (length, measured(windows.into_iter())));
        (measured(scored.iter()), parts.collect())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.auroc {
            Some(auroc) => write!(f, "AUROC {auroc:.4} of {}", counted(self.windows as u64, "window")),
            None => write!(f, "{} of one class", counted(self.windows as u64, "window")),
        }
    }
}

fn measured<'a>(windows: impl Iterator<Item = &'a ScoredWindow<'a>>) -> Measured {
    let (logits, viral): (Vec<f32>, Vec<bool>) = windows.map(|window| (window.logit, window.is_viral)).unzip();
    Measured { windows: logits.len(), auroc: auroc(&logits, &viral), loss: loss(&logits, &viral) }
}
