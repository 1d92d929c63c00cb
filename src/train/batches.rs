//! Rows as a network takes them in training: standardised, disturbed, and in an order of the seed's.

use std::ops::Range;

use super::Training;
use super::random::Random;

/// The order of training rows in an epoch, batch by batch. A last row that would be alone comes with the batch before, for
/// BatchNorm needs two.
pub fn order(rows: &[usize], batch: usize, random: &mut Random) -> Vec<Vec<usize>> {
    let mut order = rows.to_vec();
    random.shuffle(&mut order);
    let mut batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    if batches.len() > 1
        && let Some(alone) = batches.pop_if(|last| last.len() == 1)
        && let Some(before) = batches.last_mut()
    {
        before.extend(alone);
    }
    batches
}

/// Rows of some numbers, side by side: row-major f32 [rows, dim].
pub fn inputs(training: &Training<'_>, rows: &[usize]) -> Vec<f32> {
    let mut values = Vec::with_capacity(rows.len() * training.rows.dim);
    for &row in rows {
        let row = training.rows.row(row);
        match training.standard {
            Some(standard) => values.extend(standard.apply(row)),
            None => values.extend_from_slice(row),
        }
    }
    values
}

/// The same with the noise and dropout of the recipe.
pub fn disturbed(training: &Training<'_>, rows: &[usize], random: &mut Random) -> Vec<f32> {
    let (mut values, inputs) = (inputs(training, rows), &training.recipe.inputs);
    if inputs.noise > 0.0 {
        values.iter_mut().for_each(|value| *value += inputs.noise * random.normal());
    }
    if inputs.dropout > 0.0 {
        random.drop_out(inputs.dropout, &mut values);
    }
    values
}

/// What the values of each hidden layer are multiplied by: f32 [rows, width] each; nothing where the recipe has no dropout.
pub fn masks(training: &Training<'_>, rows: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let recipe = training.recipe;
    if recipe.dropout == 0.0 {
        return Vec::new();
    }
    let mask = |width: &usize| {
        let mut mask = vec![1.0; rows * width];
        random.drop_out(recipe.dropout, &mut mask);
        mask
    };
    recipe.hidden.iter().map(mask).collect()
}

/// Places of `count` rows in pieces of at most `size`.
pub fn pieces(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(size).map(move |start| start..count.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_and_none_comes_alone() {
        for count in [2, 5, 8, 9, 10] {
            let rows: Vec<usize> = (100..100 + count).collect();
            let batches = order(&rows, 4, &mut Random::of(&[1]));
            assert!(batches.iter().all(|batch| (2..=5).contains(&batch.len())), "{batches:?}");
            let mut all = batches.concat();
            all.sort_unstable();
            assert_eq!(all, rows);
        }
        assert_eq!(pieces(5, 2).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
    }
}
