//! From the logit of a head to a probability that means what it says: the calibration that a bundle stores, applied here
//! and fitted by [`fit`]. Arithmetic only.
//!
//! | of | calibrated logit |
//! |---|---|
//! | a window of L bases | slope(L) x logit + intercept(L), both interpolated between lengths, constant beyond the ends |
//! | a sequence of n scored windows | (1 + b ln n) x mean + d ln n, of the calibrated logits of its windows |
//!
//! A sequence of one window has the probability of the window.

pub mod fit;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};

/// What turns logits into calibrated ones.
///
/// ```
/// use virnucpro::calibration::{Calibration, SequenceCalibration, WindowCalibration, probability};
///
/// let at = |length, slope| WindowCalibration { length, slope, intercept: 0.0 };
/// let calibration =
///     Calibration { windows: vec![at(300, 0.5), at(500, 1.0)], sequences: SequenceCalibration::default() };
/// assert_eq!(calibration.window(400, 2.0), 1.5);
/// assert!(probability(calibration.sequence(7, 1.5)) > 0.8);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// By length of the window, ascending; at least one.
    pub windows: Vec<WindowCalibration>,
    /// Of sequences, from their windows.
    pub sequences: SequenceCalibration,
}

/// Calibration of windows of one length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowCalibration {
    /// Bases of a window.
    pub length: u64,
    /// What the head's logit is multiplied by; above 0.
    pub slope: f64,
    /// What is added.
    pub intercept: f64,
}

/// Calibration of sequences of several windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceCalibration {
    /// b: how much surer n windows are than one, per ln n; not below 0.
    pub slope_per_ln: f64,
    /// d: what is added per ln n.
    pub intercept_per_ln: f64,
}

impl Calibration {
    /// Calibrated logit of a window of `length` bases.
    pub fn window(&self, length: u64, logit: f32) -> f64 {
        let (slope, intercept) = self.at(length);
        slope * f64::from(logit) + intercept
    }

    /// Calibrated logit of a sequence: `n` scored windows, `mean` of their calibrated logits.
    pub fn sequence(&self, n: u64, mean: f64) -> f64 {
        let SequenceCalibration { slope_per_ln, intercept_per_ln } = self.sequences;
        let ln = (n.max(1) as f64).ln();
        (1.0 + slope_per_ln * ln) * mean + intercept_per_ln * ln
    }

    /// Lengths of windows, in bases, that it was fitted on: the least to the largest.
    pub fn lengths(&self) -> Option<RangeInclusive<u64>> {
        Some(self.windows.first()?.length..=self.windows.last()?.length)
    }

    /// Slope and intercept at a length.
    fn at(&self, length: u64) -> (f64, f64) {
        let lengths: Vec<u64> = self.windows.iter().map(|window| window.length).collect();
        let parts = between(&lengths, length).into_iter().filter(|(_, share)| *share > 0.0);
        parts.fold((0.0, 0.0), |(slope, intercept), (place, share)| {
            let window = &self.windows[place];
            (slope + share * window.slope, intercept + share * window.intercept)
        })
    }

    /// Whether every logit gets a finite one, and a larger logit a larger one.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`]: lengths do not ascend, a number is not finite, a slope is not above 0.
    pub fn check(&self) -> Result<()> {
        let wrong = |expected: &str, found: String| {
            Err(Error::new(Fault::ModelFormat, "the calibration of the bundle is wrong")
                .expected(expected)
                .found(found)
                .advice("train the head again with 'virnucpro train', or fetch the bundle again"))
        };
        let lengths = || self.windows.iter().map(|window| window.length).collect::<Vec<_>>();
        if self.windows.is_empty() || !lengths().is_sorted_by(|one, next| one < next) || lengths()[0] == 0 {
            return wrong("windows of at least one length, in ascending order", format!("lengths {:?}", lengths()));
        }
        for WindowCalibration { length, slope, intercept } in &self.windows {
            if !slope.is_finite() || *slope <= 0.0 || !intercept.is_finite() {
                let found = format!("length {length}: slope {slope}, intercept {intercept}");
                return wrong("a slope above 0 and a finite intercept", found);
            }
        }
        let SequenceCalibration { slope_per_ln, intercept_per_ln } = self.sequences;
        if !slope_per_ln.is_finite() || slope_per_ln < 0.0 || !intercept_per_ln.is_finite() {
            let found = format!("slope_per_ln {slope_per_ln}, intercept_per_ln {intercept_per_ln}");
            return wrong("sequences with a slope_per_ln of at least 0 and a finite intercept_per_ln", found);
        }
        Ok(())
    }
}

/// Probability of a virus at a calibrated logit.
pub fn probability(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Logit of a window from those of its frames: halfway between the smallest and the largest. It is at least 0 where the
/// window's verdict is `virus`, for the largest score of a virus is then at least the largest score of others. None
/// without frames; of one frame, its own.
pub fn window_logit(frames: impl IntoIterator<Item = f32>) -> Option<f32> {
    let ends = frames.into_iter().fold(None, |ends: Option<(f32, f32)>, logit| {
        Some(ends.map_or((logit, logit), |(least, most)| (least.min(logit), most.max(logit))))
    });
    ends.map(|(least, most)| least / 2.0 + most / 2.0)
}

/// The two places of ascending `lengths` that `length` lies between, each with its share; `lengths` is not empty.
fn between(lengths: &[u64], length: u64) -> [(usize, f64); 2] {
    let above = lengths.partition_point(|known| *known <= length);
    let (Some(below), Some(high)) = (above.checked_sub(1), lengths.get(above)) else {
        let end = above.saturating_sub(1);
        return [(end, 1.0), (end, 0.0)];
    };
    let low = lengths[below];
    let share = (length - low) as f64 / (high - low) as f64;
    [(below, 1.0 - share), (above, share)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(windows: &[(u64, f64, f64)]) -> Calibration {
        let of = |&(length, slope, intercept)| WindowCalibration { length, slope, intercept };
        Calibration { windows: windows.iter().map(of).collect(), sequences: SequenceCalibration::default() }
    }

    #[test]
    fn between_two_lengths_a_line_is_drawn_and_beyond_them_it_is_flat() {
        let calibration = calibration(&[(150, 0.5, -1.0), (300, 1.0, 0.0), (500, 2.0, 1.0)]);
        for (length, expected) in [(1, 0.0), (150, 0.0), (225, 1.0), (300, 2.0), (400, 3.5), (500, 5.0), (9000, 5.0)] {
            assert!((calibration.window(length, 2.0) - expected).abs() < 1e-12, "{length}");
        }
    }

    #[test]
    fn a_sequence_of_one_window_has_the_probability_of_the_window() {
        let mut calibration = calibration(&[(500, 1.0, 0.0)]);
        calibration.sequences = SequenceCalibration { slope_per_ln: 0.3, intercept_per_ln: -0.2 };
        assert_eq!(calibration.sequence(1, -0.7), -0.7);
        let ln = 8f64.ln();
        assert!((calibration.sequence(8, 1.5) - ((1.0 + 0.3 * ln) * 1.5 - 0.2 * ln)).abs() < 1e-12);
        assert_eq!((probability(0.0), probability(f64::INFINITY), probability(-800.0)), (0.5, 1.0, 0.0));
    }

    #[test]
    fn the_sign_of_a_windows_logit_is_its_verdict() {
        assert_eq!(window_logit([]), None);
        assert_eq!(window_logit([1.25]), Some(1.25));
        let score = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        for frames in [vec![-3.0, 1.0], vec![-1.0, 0.2, 3.0], vec![-2.0, -1.0], vec![-2.0, 2.0]] {
            let most = |others: bool| {
                let scores = frames.iter().map(|&logit| if others { 1.0 - score(logit) } else { score(logit) });
                scores.fold(0.0, f32::max)
            };
            let is_viral = most(false) + 1e-6 >= most(true);
            assert_eq!(window_logit(frames.iter().copied()).unwrap() >= 0.0, is_viral, "{frames:?}");
        }
    }

    #[test]
    fn a_calibration_that_would_turn_scores_round_or_give_no_number_is_refused() {
        calibration(&[(150, 0.5, -1.0), (300, 1.0, 0.0)]).check().unwrap();
        let wrong: [&[(u64, f64, f64)]; 7] = [
            &[],
            &[(0, 1.0, 0.0)],
            &[(300, 1.0, 0.0), (300, 1.0, 0.0)],
            &[(300, 1.0, 0.0), (150, 1.0, 0.0)],
            &[(300, 0.0, 0.0)],
            &[(300, f64::NAN, 0.0)],
            &[(300, 1.0, f64::INFINITY)],
        ];
        for windows in wrong {
            assert_eq!(calibration(windows).check().unwrap_err().fault(), Fault::ModelFormat, "{windows:?}");
        }
        let mut turned = calibration(&[(300, 1.0, 0.0)]);
        turned.sequences.slope_per_ln = -0.1;
        assert!(turned.check().is_err());
    }

    #[test]
    fn it_is_written_as_a_bundle_has_it() {
        let text = r#"{"windows":[{"length":150,"slope":0.5,"intercept":-1.0}],"sequences":{"slope_per_ln":0.25,"intercept_per_ln":0.0}}"#;
        let read: Calibration = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(serde_json::from_str::<Calibration>(&text.replace("slope_per_ln", "slope_per_log")).is_err());
    }
}
