//! Rows dealt into folds by group, so that relatives never sit on both sides: like in size and in classes, and the same
//! for the same seed and names of groups.

use std::collections::BTreeSet;

use crate::error::{Error, Fault, Result};

/// A group of rows that must not be parted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Rows of others and of viruses.
    pub rows: [u64; 2],
}

/// The fold of each group.
///
/// # Errors
/// [`Fault::InputLabels`] where the groups are too few for the folds, or all viruses or all others fall into one.
pub fn deal(groups: &[Group], folds: usize, seed: u64) -> Result<Vec<usize>> {
    if groups.len() < folds {
        return Err(Error::new(Fault::InputLabels, "there are fewer groups than folds")
            .expected(format!("at least {folds} groups, or sequences where no groups are given"))
            .found(groups.len().to_string())
            .advice("give fewer folds with --folds, or more data"));
    }
    let total = groups.iter().fold([0, 0], |sum: [u64; 2], group| [sum[0] + group.rows[0], sum[1] + group.rows[1]]);
    let shares = |group: &Group| [0, 1].map(|class| group.rows[class] as f64 / total[class].max(1) as f64);
    // Large ones first, those of like size in an order of the seed's.
    let size = |group: &Group| shares(group).iter().sum::<f64>().log2().floor() as i64;
    let draw = |group: &Group| *blake3::hash(format!("{seed}\t{}", group.name).as_bytes()).as_bytes();
    let mut order: Vec<(i64, [u8; 32], usize)> =
        groups.iter().enumerate().map(|(place, group)| (-size(group), draw(group), place)).collect();
    order.sort_unstable();
    let (mut loads, mut counts) = (vec![[0.0; 2]; folds], vec![0_usize; folds]);
    let mut dealt = vec![0; groups.len()];
    for (left, (_, _, place)) in (1..=groups.len()).rev().zip(order) {
        let own = shares(&groups[place]);
        let cost = |fold: &usize| loads[*fold][0] * own[0] + loads[*fold][1] * own[1];
        let empty = counts.iter().filter(|count| **count == 0).count();
        let open = (0..folds).filter(|fold| left > empty || counts[*fold] == 0);
        let fold = open.min_by(|one, other| cost(one).total_cmp(&cost(other)).then(counts[*one].cmp(&counts[*other])));
        let fold = fold.unwrap_or_default();
        (0..2).for_each(|class| loads[fold][class] += own[class]);
        counts[fold] += 1;
        dealt[place] = fold;
    }
    check(groups, &dealt, total)?;
    Ok(dealt)
}

/// Every fold leaves both classes to train on.
fn check(groups: &[Group], dealt: &[usize], total: [u64; 2]) -> Result<()> {
    for (class, name) in [(0, "others"), (1, "virus")] {
        let of_class = groups.iter().zip(dealt).filter(|(group, _)| group.rows[class] > 0);
        let folds: BTreeSet<usize> = of_class.map(|(_, fold)| *fold).collect();
        if folds.len() < 2 {
            return Err(Error::new(Fault::InputLabels, format!("all rows of class {name} belong to one group"))
                .expected("at least two groups of each class: one to train on and one to hold out")
                .found(format!("{} rows, no two groups of which could be parted", total[class]))
                .advice("give data of more groups, or smaller groups"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: impl ToString, others: u64, viral: u64) -> Group {
        Group { name: name.to_string(), rows: [others, viral] }
    }

    #[test]
    fn folds_are_like_in_size_and_classes() {
        let groups: Vec<Group> = (0..200)
            .map(|number| match number % 3 {
                0 => group(number, 0, 1 + number * 7 % 50),
                _ => group(number, 1 + number * 11 % 60, 0),
            })
            .collect();
        let dealt = deal(&groups, 5, 1).unwrap();
        let mut rows = [[0; 2]; 5];
        for (group, fold) in groups.iter().zip(&dealt) {
            (0..2).for_each(|class| rows[*fold][class] += group.rows[class]);
        }
        for class in 0..2 {
            let total: u64 = rows.iter().map(|fold| fold[class]).sum();
            assert!(rows.iter().all(|fold| fold[class].abs_diff(total / 5) <= total / 50), "{rows:?}");
        }
    }

    #[test]
    fn they_follow_from_the_seed_and_the_names_of_groups_not_from_their_order() {
        let groups: Vec<Group> = (0..60).map(|number| group(number, number % 2 * 3, (1 - number % 2) * 3)).collect();
        let first = deal(&groups, 4, 1).unwrap();
        assert_eq!(deal(&groups, 4, 1).unwrap(), first);
        assert_ne!(deal(&groups, 4, 2).unwrap(), first);
        let mut turned: Vec<usize> = deal(&groups.iter().rev().cloned().collect::<Vec<_>>(), 4, 1).unwrap();
        turned.reverse();
        assert_eq!(turned, first);
    }

    #[test]
    fn no_fold_is_empty_and_a_huge_group_has_one_for_itself() {
        let groups = [group("huge", 1000, 0), group("a", 1, 0), group("b", 0, 5), group("c", 0, 5), group("d", 3, 0)];
        let dealt = deal(&groups, 5, 7).unwrap();
        let mut folds = dealt.clone();
        folds.sort_unstable();
        assert_eq!(folds, [0, 1, 2, 3, 4]);
        let dealt = deal(&groups, 2, 7).unwrap();
        assert!(dealt[2] != dealt[3] && dealt[1] != dealt[0] && dealt[4] != dealt[0]);
    }

    #[test]
    fn too_few_groups_are_told_with_their_number() {
        let groups = [group("a", 5, 0), group("b", 0, 5), group("c", 0, 5)];
        let error = deal(&groups, 4, 1).unwrap_err();
        assert_eq!(error.fault(), Fault::InputLabels);
        assert!(error.report("v").contains("found:    3"), "{}", error.report("v"));
        let error = deal(&groups, 3, 1).unwrap_err();
        assert!(error.to_string().contains("class others"), "{error}");
    }
}
