//! Which sequences run together. Models take sequences of several lengths in one batch, without padding: what counts is
//! that batches are full, and that those of one length stand together.

use std::cmp::Reverse;

use crate::units::Tokens;

/// Batches as lists of positions in `lengths`.
///
/// Every position stands in exactly one batch; a batch holds at most `budget` tokens unless it is a single longer
/// sequence. Within and across batches the longest come first, those of one length by position: so memory runs out at once
/// or not at all. There are as few batches as that order allows, and the fullest is as small as their number allows. The
/// plan depends on the lengths and the budget alone.
///
/// ```
/// use virnucpro::pack::plan;
/// use virnucpro::units::Tokens;
///
/// assert_eq!(plan(&[4, 12, 5, 4], Tokens(20)), [vec![1], vec![2, 0, 3]]);
/// ```
pub fn plan(lengths: &[usize], budget: Tokens) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| (Reverse(lengths[i]), i));
    let too_long = order.partition_point(|&i| lengths[i] > budget.0);
    let (alone, together) = order.split_at(too_long);
    let sorted: Vec<usize> = together.iter().map(|&i| lengths[i]).collect();
    let mut batches: Vec<Vec<usize>> = alone.iter().map(|&i| vec![i]).collect();
    let mut rest = together;
    for size in filled(&sorted, even_budget(&sorted, budget.0)) {
        let (batch, others) = rest.split_at(size);
        batches.push(batch.to_vec());
        rest = others;
    }
    batches
}

/// The smallest budget that needs no more batches than `most` does: a last batch of a single sequence would leave the device
/// idle.
fn even_budget(sorted: &[usize], most: usize) -> usize {
    let count = filled(sorted, most).count();
    let total: usize = sorted.iter().sum();
    let longest = sorted.first().copied().unwrap_or(0);
    let (mut least, mut most) = (total.div_ceil(count.max(1)).max(longest), most);
    while least < most {
        let middle = least + (most - least) / 2;
        if filled(sorted, middle).count() <= count { most = middle } else { least = middle + 1 }
    }
    most
}

/// Sizes of batches that are filled one after the other. No other cut of the same order needs fewer.
fn filled(sorted: &[usize], budget: usize) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let (first, mut tokens) = (next, 0);
        while next < sorted.len() && (next == first || tokens + sorted[next] <= budget) {
            tokens += sorted[next];
            next += 1;
        }
        (next > first).then_some(next - first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_first_ties_by_position_even_sizes() {
        let lengths = [3, 5, 3, 3, 5, 3, 3];
        assert_eq!(plan(&lengths, Tokens(9)), [vec![1], vec![4, 0], vec![2, 3], vec![5, 6]]);
        assert_eq!(plan(&[3; 7], Tokens(15)), [vec![0, 1, 2, 3], vec![4, 5, 6]]);
        assert_eq!(plan(&[], Tokens(9)), Vec::<Vec<usize>>::new());
        assert_eq!(plan(&[100, 2, 101], Tokens(9)), [vec![2], vec![0], vec![1]]);
    }

    fn tokens(batch: &[usize], lengths: &[usize]) -> usize {
        batch.iter().map(|&i| lengths[i]).sum()
    }

    proptest! {
        #[test]
        fn each_once_within_budget_sorted(lengths in prop::collection::vec(1usize..40, 0..300), budget in 1usize..200) {
            let batches = plan(&lengths, Tokens(budget));
            let order = batches.concat();
            let mut expected: Vec<usize> = (0..lengths.len()).collect();
            expected.sort_by_key(|&i| (Reverse(lengths[i]), i));
            prop_assert_eq!(order, expected);
            for batch in &batches {
                prop_assert!(tokens(batch, &lengths) <= budget || batch.len() == 1);
            }
            prop_assert_eq!(&batches, &plan(&lengths, Tokens(budget)));
        }

        #[test]
        fn batches_are_few_and_evenly_filled(lengths in prop::collection::vec(1usize..40, 1..300), budget in 40usize..400) {
            let batches = plan(&lengths, Tokens(budget));
            let total: usize = lengths.iter().sum();
            // A batch is left before it is full only for the next sequence, which is at most 39 long.
            prop_assert!(batches.len() <= total.div_ceil(budget - 38), "{} batches of {total}", batches.len());
            let fullest = batches.iter().map(|batch| tokens(batch, &lengths)).max().unwrap();
            prop_assert!(fullest <= total.div_ceil(batches.len()) + 39, "{fullest} of {total}");
        }

        #[test]
        fn sequences_of_one_length_share_as_few_batches_as_fit(count in 1usize..200, length in 1usize..20, budget in 1usize..200) {
            let batches = plan(&vec![length; count], Tokens(budget));
            prop_assert_eq!(batches.len(), count.div_ceil((budget / length).max(1)));
        }
    }
}
