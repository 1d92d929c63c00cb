//! Rows to train on: vectors and labels in memory, what each row counts, and how inputs are standardised.

use super::recipe::{Balance, Inputs};
use crate::error::{Error, Fault, Result};
use crate::units::Bytes;

/// Vectors with their labels.
#[derive(Debug, Default)]
pub struct Rows {
    /// Width of a vector.
    pub dim: usize,
    /// Row-major f32 [rows, dim].
    pub values: Vec<f32>,
    /// Whether each is of a virus.
    pub viral: Vec<bool>,
    /// Number of the group of each.
    pub groups: Vec<u32>,
}

impl Rows {
    /// Zeros, for vectors that are still to come.
    ///
    /// # Errors
    /// [`Fault::HostMemory`] where the system does not have so much.
    pub fn zeros(dim: usize, viral: Vec<bool>, groups: Vec<u32>) -> Result<Self> {
        let (rows, count) = (viral.len(), viral.len().saturating_mul(dim));
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|error| {
            Error::new(Fault::HostMemory, "the vectors do not fit in memory")
                .expected(format!("room for {}: {rows} rows of {dim} numbers", memory(rows, dim)))
                .advice("train on fewer rows, or with more memory")
                .caused_by(error)
        })?;
        values.resize(count, 0.0);
        Ok(Self { dim, values, viral, groups })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.viral.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.viral.is_empty()
    }

    /// A vector.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    /// The place of a vector.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.dim..(row + 1) * self.dim]
    }
}

/// Memory that so many vectors take.
pub(super) fn memory(rows: usize, dim: usize) -> Bytes {
    Bytes(rows.saturating_mul(dim).saturating_mul(size_of::<f32>()) as u64)
}

/// How inputs are standardised: (x - mean) / deviation, no further from 0 than the limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// Of each input `[D]`.
    pub mean: Vec<f32>,
    /// Of each input `[D]`; 1 for one that never changes.
    pub deviation: Vec<f32>,
    /// How far from 0.
    pub limit: f32,
}

impl Standard {
    /// Of the rows, as a recipe asks; none where it does not. Labels are not looked at.
    pub fn of(rows: &Rows, inputs: &Inputs) -> Option<Self> {
        if !inputs.standardise {
            return None;
        }
        let count = rows.len().max(1) as f64;
        let mut mean = vec![0.0_f64; rows.dim];
        for row in rows.values.chunks_exact(rows.dim.max(1)) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut squares = vec![0.0_f64; rows.dim];
        for row in rows.values.chunks_exact(rows.dim.max(1)) {
            let away = squares.iter_mut().zip(row.iter().zip(&mean));
            away.for_each(|(sum, (value, mean))| *sum += (f64::from(*value) - mean).powi(2));
        }
        let deviation = |sum: f64| {
            let deviation = (sum / count).sqrt() as f32;
            if deviation > f32::MIN_POSITIVE { deviation } else { 1.0 }
        };
        Some(Self {
            mean: mean.iter().map(|mean| *mean as f32).collect(),
            deviation: squares.into_iter().map(deviation).collect(),
            limit: inputs.limit.unwrap_or(f32::MAX),
        })
    }

    /// A standardised vector.
    pub fn apply<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        let inputs = row.iter().zip(self.mean.iter().zip(&self.deviation));
        inputs.map(|(value, (mean, deviation))| ((value - mean) / deviation).clamp(-self.limit, self.limit))
    }
}

/// What each row counts in the loss, 1 on average.
pub fn weights(rows: &Rows, balance: Balance) -> Vec<f32> {
    let groups = rows.groups.iter().max().map_or(0, |last| *last as usize + 1);
    // Of each group, and of each class.
    let (mut counts, mut classes) = (vec![[0.0_f64; 2]; groups], [0.0_f64; 2]);
    let of = |row: usize| (rows.groups[row] as usize, usize::from(rows.viral[row]));
    (0..rows.len()).map(of).for_each(|(group, class)| counts[group][class] += 1.0);
    let raw = |(group, class): (usize, usize)| counts[group][class].powf(balance.groups - 1.0);
    (0..rows.len()).map(of).for_each(|place| classes[place.1] += raw(place));
    let all: f64 = classes.iter().sum();
    let present = classes.iter().filter(|sum| **sum > 0.0).count() as f64;
    let weight = |place: (usize, usize)| {
        let share = if balance.classes { raw(place) / classes[place.1] / present } else { raw(place) / all };
        (share * rows.len() as f64) as f32
    };
    (0..rows.len()).map(of).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(groups: &[u32], viral: &[bool]) -> Rows {
        Rows { dim: 0, values: Vec::new(), viral: viral.to_vec(), groups: groups.to_vec() }
    }

    #[test]
    fn without_balance_every_row_counts_one() {
        let rows = rows(&[0, 0, 1, 2], &[true, true, false, false]);
        assert_eq!(weights(&rows, Balance::OFF), [1.0; 4]);
    }

    #[test]
    fn classes_and_groups_count_the_same_where_that_is_asked() {
        let rows = rows(&[0, 0, 0, 1, 2, 2], &[true, true, true, true, false, false]);
        let weights = weights(&rows, Balance { classes: true, groups: 0.0 });
        let sum = |range: std::ops::Range<usize>| weights[range].iter().sum::<f32>();
        assert!((sum(0..4) - 3.0).abs() < 1e-5 && (sum(4..6) - 3.0).abs() < 1e-5, "{weights:?}");
        assert!((sum(0..3) - 1.5).abs() < 1e-5 && (weights[3] - 1.5).abs() < 1e-5, "{weights:?}");
        let roots = super::weights(&rows, Balance { classes: false, groups: 0.5 });
        assert!((roots[3] / roots[0] - 3_f32.sqrt()).abs() < 1e-5 && (roots.iter().sum::<f32>() - 6.0).abs() < 1e-5);
    }

    #[test]
    fn vectors_that_no_machine_could_hold_are_told_with_their_number() {
        let error = Rows::zeros(usize::MAX / 8, vec![true; 9], vec![0; 9]).unwrap_err();
        assert_eq!(error.fault(), Fault::HostMemory);
        assert!(error.report("virnucpro").contains("9 rows of"), "{}", error.report("virnucpro"));
    }

    #[test]
    fn inputs_get_mean_0_and_deviation_1_and_one_that_never_changes_stays_finite() {
        let mut rows = Rows::zeros(3, vec![true, false, true], vec![0; 3]).unwrap();
        rows.values = vec![1.0, 5.0, 10.0, 2.0, 5.0, 20.0, 3.0, 5.0, 1000.0];
        let inputs = Inputs { standardise: true, limit: Some(1.3), noise: 0.0, dropout: 0.0 };
        let standard = Standard::of(&rows, &inputs).unwrap();
        let all: Vec<Vec<f32>> = (0..3).map(|row| standard.apply(rows.row(row)).collect()).collect();
        assert!((all[0][0] + 1.224_745).abs() < 1e-5 && all[1][0].abs() < 1e-6, "{all:?}");
        assert!(all.iter().all(|row| row[1] == 0.0) && all[2][2] == 1.3, "{all:?}");
        assert!(Standard::of(&rows, &Inputs { standardise: false, ..inputs }).is_none());
    }
}
