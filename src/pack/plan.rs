//! Which sequences run together: groups of one exact token length, so that nothing is padded or masked.

use std::cmp::Reverse;

use crate::units::Tokens;

/// Batches as lists of positions in `lengths`.
///
/// Every position stands in exactly one batch; the sequences of a batch have one length; a batch holds at
/// most `budget` tokens unless it is a single longer sequence. Long sequences come first, so that memory
/// runs out at once or not at all. The plan depends on the lengths and the budget alone.
///
/// ```
/// use virnucpro::pack::plan;
/// use virnucpro::units::Tokens;
///
/// assert_eq!(plan(&[10, 12, 10, 10], Tokens(20)), [vec![1], vec![0, 2], vec![3]]);
/// ```
pub fn plan(lengths: &[usize], budget: Tokens) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| (Reverse(lengths[i]), i));
    let mut batches = Vec::new();
    for group in order.chunk_by(|&a, &b| lengths[a] == lengths[b]) {
        let most = (budget.0 / lengths[group[0]].max(1)).max(1);
        // Even batches: a last one of a single sequence would leave the device idle.
        let count = group.len().div_ceil(most);
        let (size, larger) = (group.len() / count, group.len() % count);
        let (first, rest) = group.split_at(larger * (size + 1));
        batches.extend(first.chunks(size + 1).chain(rest.chunks(size)).map(<[usize]>::to_vec));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_first_equal_together_even_sizes() {
        let lengths = [3, 5, 3, 3, 5, 3, 3];
        assert_eq!(plan(&lengths, Tokens(9)), [vec![1], vec![4], vec![0, 2, 3], vec![5, 6]]);
        assert_eq!(plan(&[], Tokens(9)), Vec::<Vec<usize>>::new());
        assert_eq!(plan(&[100], Tokens(9)), [vec![0]]);
    }

    proptest! {
        #[test]
        fn each_once_within_budget_one_length(lengths in prop::collection::vec(1usize..40, 0..300), budget in 1usize..200) {
            let batches = plan(&lengths, Tokens(budget));
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let tokens: usize = batch.iter().map(|&i| lengths[i]).sum();
                prop_assert!(batch.iter().all(|&i| lengths[i] == lengths[batch[0]]));
                prop_assert!(tokens <= budget || batch.len() == 1);
            }
            prop_assert_eq!(&batches, &plan(&lengths, Tokens(budget)));
        }

        #[test]
        fn sequences_of_one_length_share_as_few_batches_as_fit(count in 1usize..200, length in 1usize..20, budget in 1usize..200) {
            let batches = plan(&vec![length; count], Tokens(budget));
            prop_assert_eq!(batches.len(), count.div_ceil((budget / length).max(1)));
        }
    }
}
