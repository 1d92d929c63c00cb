//! Fits a calibration to scores of windows that training has not seen: logistic regression by Newton's method (Platt, 1999),
//! with Platt's targets, so that scores that part the classes perfectly have a finite answer too.

use std::collections::BTreeMap;

use super::{Calibration, SequenceCalibration, WindowCalibration, between, probability};

/// Windows of each class that a length of its own takes, at least.
pub const OF_A_CLASS: usize = 250;
/// A length of its own has at least one window in so many.
const LENGTHS: usize = 20;
/// Steps of Newton's method, at most: it takes about ten.
const STEPS: usize = 100;
/// The answer is found when no number moves by more.
const ENOUGH: f64 = 1e-10;
/// What holds slopes near 1 and intercepts near 0 where the data say nothing.
const WINDOW_RIDGE: f64 = 1e-3;
/// The same for sequences, of which there may be few: it weighs as much as a handful of them.
const SEQUENCE_RIDGE: f64 = 1.0;

/// A window that was scored by a head that had not seen it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredWindow<'a> {
    /// The sequence it was cut from.
    pub sequence: &'a str,
    /// Its bases.
    pub length: u64,
    /// The head's logit.
    pub logit: f32,
    /// Whether it is of a virus.
    pub is_viral: bool,
}

/// How much the classes count in a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classes {
    /// As often as they are there.
    AsTheyAre,
    /// The same, whichever is more frequent.
    Equal,
}

/// Fits slopes and intercepts at lengths chosen from the data, then what sequences of several windows need beyond that.
/// None where the scores do not rise with the labels: there is nothing to calibrate.
pub fn fit(windows: &[ScoredWindow<'_>], classes: Classes) -> Option<Calibration> {
    let mut few = 1;
    let windows_fit = loop {
        let lengths = lengths(windows, few);
        let fitted = at_lengths(windows, &lengths, classes)?;
        if fitted.iter().all(|window| window.slope > 0.0) {
            break fitted;
        }
        if lengths.len() == 1 {
            return None;
        }
        few *= 2;
    };
    let mut calibration = Calibration { windows: windows_fit, sequences: SequenceCalibration::default() };
    calibration.sequences = of_sequences(&sequences(windows, &calibration), classes);
    calibration.check().is_ok().then_some(calibration)
}

/// Lengths that have enough windows for a slope of their own, ascending. Neighbours that have not share their median;
/// `few` times as many windows are wanted.
fn lengths(windows: &[ScoredWindow<'_>], few: usize) -> Vec<u64> {
    let mut counts: BTreeMap<u64, [usize; 2]> = BTreeMap::new();
    for window in windows {
        counts.entry(window.length).or_default()[usize::from(window.is_viral)] += 1;
    }
    let add = |sum: [usize; 2], count: &[usize; 2]| [sum[0] + count[0], sum[1] + count[1]];
    let is_enough = |sum: [usize; 2]| {
        sum.into_iter().min() >= Some(few * OF_A_CLASS) && sum[0] + sum[1] >= few * windows.len() / LENGTHS
    };
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let (mut sum, mut left) = ([0, 0], counts.values().fold([0, 0], add));
    for (length, count) in counts {
        open.push((length, count[0] + count[1]));
        (sum, left) = (add(sum, &count), [left[0] - count[0], left[1] - count[1]]);
        // The last one also takes what would not be enough for one more.
        if left == [0, 0] || (is_enough(sum) && is_enough(left)) {
            found.extend(median(&open));
            open.clear();
            sum = [0, 0];
        }
    }
    found
}

/// Of lengths with their numbers of windows.
fn median(lengths: &[(u64, usize)]) -> Option<u64> {
    let all: usize = lengths.iter().map(|(_, count)| count).sum();
    let mut before = 0;
    let middle = lengths.iter().find(|(_, count)| {
        before += count;
        before * 2 >= all
    });
    middle.map(|(length, _)| *length)
}

/// Slopes and intercepts at `lengths`, fitted to all windows together, each between two lengths as it will be applied.
fn at_lengths(windows: &[ScoredWindow<'_>], lengths: &[u64], classes: Classes) -> Option<Vec<WindowCalibration>> {
    let count = lengths.len();
    let outcomes = Outcomes::of(windows.iter().map(|window| window.is_viral), classes)?;
    let rows = windows.iter().map(|window| {
        let [(low, low_share), (high, high_share)] = between(lengths, window.length);
        let logit = f64::from(window.logit);
        let slopes = [(low, low_share * logit), (high, high_share * logit)];
        let intercepts = [(count + low, low_share), (count + high, high_share)];
        Row { terms: [slopes[0], slopes[1], intercepts[0], intercepts[1]], offset: 0.0, is_viral: window.is_viral }
    });
    let start: Vec<f64> = (0..2 * count).map(|place| if place < count { 1.0 } else { 0.0 }).collect();
    let found = Fit { rows: rows.collect(), outcomes, prior: start, ridge: WINDOW_RIDGE }.solve()?;
    let at = |(place, &length)| WindowCalibration { length, slope: found[place], intercept: found[count + place] };
    Some(lengths.iter().enumerate().map(at).collect())
}

/// A sequence of scored windows.
struct ScoredSequence {
    ln_windows: f64,
    /// Of the calibrated logits of its windows.
    mean: f64,
    is_viral: bool,
}

/// Sequences of several windows, all of one label.
fn sequences(windows: &[ScoredWindow<'_>], calibration: &Calibration) -> Vec<ScoredSequence> {
    let mut sums: BTreeMap<&str, (u64, u64, f64)> = BTreeMap::new();
    for window in windows {
        let (count, viral, sum) = sums.entry(window.sequence).or_default();
        *count += 1;
        *viral += u64::from(window.is_viral);
        *sum += calibration.window(window.length, window.logit);
    }
    let several = sums.into_values().filter(|(count, viral, _)| *count > 1 && (*viral == 0 || viral == count));
    let of = |(count, viral, sum)| {
        let count_f64 = count as f64;
        ScoredSequence { ln_windows: count_f64.ln(), mean: sum / count_f64, is_viral: viral > 0 }
    };
    several.map(of).collect()
}

/// b and d; both 0 without sequences of both classes.
fn of_sequences(sequences: &[ScoredSequence], classes: Classes) -> SequenceCalibration {
    let fitted = |with_slope: bool| {
        let outcomes = Outcomes::of(sequences.iter().map(|sequence| sequence.is_viral), classes)?;
        let rows = sequences.iter().map(|ScoredSequence { ln_windows, mean, is_viral }| {
            let slope = if with_slope { mean * ln_windows } else { 0.0 };
            let terms = [(0, slope), (1, *ln_windows), (0, 0.0), (1, 0.0)];
            Row { terms, offset: *mean, is_viral: *is_viral }
        });
        Fit { rows: rows.collect(), outcomes, prior: vec![0.0; 2], ridge: SEQUENCE_RIDGE }.solve()
    };
    // More windows do not make a sequence less sure: a slope below 0 is left out.
    let found = fitted(true).filter(|found| found[0] >= 0.0).or_else(|| fitted(false));
    let [slope_per_ln, intercept_per_ln] = found.and_then(|found| found.try_into().ok()).unwrap_or_default();
    SequenceCalibration { slope_per_ln, intercept_per_ln }
}

/// What a logistic regression aims at: target and weight of each class, others first.
struct Outcomes {
    targets: [f64; 2],
    weights: [f64; 2],
}

impl Outcomes {
    /// None unless both classes are there.
    fn of(labels: impl Iterator<Item = bool>, classes: Classes) -> Option<Self> {
        let mut counts = [0.0, 0.0];
        labels.for_each(|is_viral| counts[usize::from(is_viral)] += 1.0);
        let [others, viral] = counts;
        let targets = [1.0 / (others + 2.0), (viral + 1.0) / (viral + 2.0)];
        let weights = match classes {
            Classes::AsTheyAre => [1.0, 1.0],
            Classes::Equal => counts.map(|count| (others + viral) / (2.0 * count)),
        };
        (others > 0.0 && viral > 0.0).then_some(Self { targets, weights })
    }
}

/// One row of a logistic regression.
struct Row {
    /// Which parameter, times what; a parameter may stand twice.
    terms: [(usize, f64); 4],
    /// What is added.
    offset: f64,
    is_viral: bool,
}

impl Row {
    fn logit(&self, parameters: &[f64]) -> f64 {
        self.terms.iter().map(|(place, times)| parameters[*place] * times).sum::<f64>() + self.offset
    }
}

/// A logistic regression, with a normal prior around `prior`.
struct Fit {
    rows: Vec<Row>,
    outcomes: Outcomes,
    prior: Vec<f64>,
    ridge: f64,
}

impl Fit {
    /// The parameters of the largest likelihood; none if they are not found.
    fn solve(&self) -> Option<Vec<f64>> {
        let mut parameters = self.prior.clone();
        let mut loss = self.loss(&parameters);
        for _ in 0..STEPS {
            let (gradient, curvature) = self.derivatives(&parameters);
            let step = solve(curvature, gradient)?;
            let mut share = 1.0;
            let next = loop {
                let next: Vec<f64> = parameters.iter().zip(&step).map(|(old, step)| old - share * step).collect();
                let next_loss = self.loss(&next);
                if next_loss <= loss {
                    loss = next_loss;
                    break next;
                }
                share /= 2.0;
                if share < ENOUGH {
                    return Some(parameters);
                }
            };
            parameters = next;
            if step.iter().all(|step| (share * step).abs() < ENOUGH) {
                return Some(parameters);
            }
        }
        loss.is_finite().then_some(parameters)
    }

    /// Negative logarithm of the likelihood.
    fn loss(&self, parameters: &[f64]) -> f64 {
        let of_row = |row: &Row| {
            let class = usize::from(row.is_viral);
            let logit = row.logit(parameters);
            // -t ln p - (1 - t) ln (1 - p)
            self.outcomes.weights[class] * (ln_1p_exp(logit) - self.outcomes.targets[class] * logit)
        };
        let away = parameters.iter().zip(&self.prior).map(|(own, prior)| (own - prior).powi(2));
        self.rows.iter().map(of_row).sum::<f64>() + self.ridge / 2.0 * away.sum::<f64>()
    }

    /// First and second derivatives of the loss.
    fn derivatives(&self, parameters: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let count = parameters.len();
        let mut gradient: Vec<f64> =
            parameters.iter().zip(&self.prior).map(|(own, prior)| self.ridge * (own - prior)).collect();
        let mut curvature = vec![vec![0.0; count]; count];
        (0..count).for_each(|place| curvature[place][place] = self.ridge);
        for row in &self.rows {
            let class = usize::from(row.is_viral);
            let (weight, target) = (self.outcomes.weights[class], self.outcomes.targets[class]);
            let p = probability(row.logit(parameters));
            for &(one, times) in &row.terms {
                gradient[one] += weight * (p - target) * times;
                for &(other, times_other) in &row.terms {
                    curvature[one][other] += weight * p * (1.0 - p) * times * times_other;
                }
            }
        }
        (gradient, curvature)
    }
}

/// ln (1 + e^x) without overflow.
fn ln_1p_exp(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Solves a symmetric positive definite system by Cholesky's method; none if it is not one.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let count = right.len();
    for row in 0..count {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| matrix[row][k] * matrix[column][k]).sum();
            let left = matrix[row][column] - known;
            if row == column {
                if left.is_nan() || left <= 0.0 {
                    return None;
                }
                matrix[row][row] = left.sqrt();
            } else {
                matrix[row][column] = left / matrix[column][column];
            }
        }
    }
    for row in 0..count {
        let known: f64 = (0..row).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    for row in (0..count).rev() {
        let known: f64 = (row + 1..count).map(|k| matrix[k][row] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [0, 1) that look random.
    struct Uniform(u64);

    impl Uniform {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Windows whose label follows `truth` of their length and logit.
    fn windows<'a>(count: usize, lengths: &[u64], truth: impl Fn(u64, f64) -> f64) -> Vec<ScoredWindow<'a>> {
        let mut uniform = Uniform(7);
        let draw = |number: usize| {
            let (length, logit) = (lengths[number % lengths.len()], (uniform.next() - 0.5) * 8.0);
            let is_viral = uniform.next() < probability(truth(length, logit));
            ScoredWindow { sequence: "", length, logit: logit as f32, is_viral }
        };
        let mut windows: Vec<_> = (0..count).map(draw).collect();
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        windows.iter_mut().enumerate().for_each(|(number, window)| window.sequence = NAMES[number % 4]);
        windows
    }

    #[test]
    fn the_curve_that_labels_were_drawn_from_is_found_at_each_length() {
        let truth = |length, logit| match length {
            150 => 0.5 * logit - 0.4,
            300 => 0.8 * logit,
            _ => 1.3 * logit + 0.3,
        };
        let fitted = fit(&windows(60_000, &[150, 300, 500], truth), Classes::AsTheyAre).unwrap();
        assert_eq!(fitted.windows.iter().map(|window| window.length).collect::<Vec<_>>(), [150, 300, 500]);
        for (window, (slope, intercept)) in fitted.windows.iter().zip([(0.5, -0.4), (0.8, 0.0), (1.3, 0.3)]) {
            assert!((window.slope - slope).abs() < 0.04 && (window.intercept - intercept).abs() < 0.06, "{window:?}");
        }
    }

    #[test]
    fn at_the_answer_the_derivatives_are_nought() {
        let windows = windows(3000, &[300, 400, 500], |_, logit| 0.7 * logit);
        let fitted = at_lengths(&windows, &[300, 500], Classes::Equal).unwrap();
        let calibration = Calibration { windows: fitted, sequences: SequenceCalibration::default() };
        let outcomes = Outcomes::of(windows.iter().map(|window| window.is_viral), Classes::Equal).unwrap();
        let residual = |times: fn(&ScoredWindow<'_>) -> f64| -> f64 {
            let of_window = |window: &ScoredWindow<'_>| {
                let class = usize::from(window.is_viral);
                let p = probability(calibration.window(window.length, window.logit));
                outcomes.weights[class] * (p - outcomes.targets[class]) * times(window)
            };
            windows.iter().map(of_window).sum()
        };
        for times in [|_: &ScoredWindow<'_>| 1.0, |window: &ScoredWindow<'_>| f64::from(window.logit)] {
            assert!(residual(times).abs() < 0.01, "{}", residual(times));
        }
    }

    #[test]
    fn rare_lengths_share_a_slope_with_their_neighbours() {
        let common: Vec<u64> = [500; 36].into_iter().chain([300; 20]).chain(301..=304).collect();
        let few = windows(24_000, &common, |_, logit| logit);
        assert_eq!(lengths(&few, 1), [300, 302, 500]);
        assert_eq!(lengths(&few[..900], 1), [500]);
        let uniform: Vec<u64> = (150..=500).collect();
        let many = lengths(&windows(40_000, &uniform, |_, logit| logit), 1);
        assert!((15..=20).contains(&many.len()), "{many:?}");
        assert_eq!(lengths(&windows(100, &uniform, |_, logit| logit), 1).len(), 1);
    }

    #[test]
    fn classes_that_count_equally_move_the_intercept_by_the_logarithm_of_their_ratio() {
        let windows = windows(40_000, &[500], |_, logit| logit - 2.0);
        let viral = windows.iter().filter(|window| window.is_viral).count() as f64;
        let [plain, equal] =
            [Classes::AsTheyAre, Classes::Equal].map(|classes| fit(&windows, classes).unwrap().windows[0].intercept);
        let ratio = ((windows.len() as f64 - viral) / viral).ln();
        assert!((equal - plain - ratio).abs() < 0.15, "{plain} {equal} {ratio}");
        assert!((plain + 2.0).abs() < 0.1);
    }

    #[test]
    fn scores_that_part_the_classes_perfectly_have_a_finite_answer() {
        let of = |number: i32| ScoredWindow { sequence: "a", length: 500, logit: number as f32, is_viral: number > 0 };
        let windows: Vec<_> = (-40..40).map(of).collect();
        let fitted = fit(&windows, Classes::AsTheyAre).unwrap();
        assert!((0.1..100.0).contains(&fitted.windows[0].slope), "{fitted:?}");
    }

    #[test]
    fn scores_that_fall_with_the_labels_or_know_one_class_only_are_not_calibrated() {
        assert!(fit(&windows(5000, &[300, 500], |_, logit| -logit), Classes::AsTheyAre).is_none());
        assert!(fit(&windows(100, &[500], |_, _| 100.0), Classes::AsTheyAre).is_none());
        assert!(fit(&[], Classes::Equal).is_none());
    }

    #[test]
    fn many_windows_that_agree_make_a_sequence_surer() {
        // A window tells little: its calibrated logit is right by itself, and 20 independent ones tell far more.
        let mut uniform = Uniform(3);
        let names: Vec<String> = (0..600).map(|number| format!("s{number}")).collect();
        let mut windows = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let is_viral = number % 2 == 0;
            for _ in 0..(2 + number % 30) {
                let noise = (0..6).map(|_| uniform.next() - 0.5).sum::<f64>() * 2.0;
                let logit = (noise + if is_viral { 0.5 } else { -0.5 }) as f32;
                windows.push(ScoredWindow { sequence: name, length: 500, logit, is_viral });
            }
        }
        let fitted = fit(&windows, Classes::Equal).unwrap();
        assert!(fitted.sequences.slope_per_ln > 1.0, "{fitted:?}");
        assert!(fitted.sequences.intercept_per_ln.abs() < 1.0, "{fitted:?}");
        windows.dedup_by_key(|window| window.sequence);
        assert_eq!(fit(&windows, Classes::Equal).unwrap().sequences, SequenceCalibration::default());
    }
}
