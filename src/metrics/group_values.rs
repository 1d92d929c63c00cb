//! How each group fares by itself.

use super::{CUT_OFF, Item};

/// A group: mostly of one class, so that few metrics are of use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupValues {
    /// Its number.
    pub group: u32,
    /// Its items.
    pub n: u64,
    /// Its viruses.
    pub n_viruses: u64,
    /// Share of right calls at the cut-off.
    pub accuracy: f64,
    /// Mean over its items of the share of all items of the other class that lie on the right side of it, a tie counting
    /// half: of a group of one class, the area under the curve against the whole other class. None without another class.
    pub auroc: Option<f64>,
}

/// Values of each group of `items`, by number.
pub fn by_group(items: &[Item]) -> Vec<GroupValues> {
    let mut scores = [Vec::new(), Vec::new()];
    items.iter().for_each(|item| scores[usize::from(item.is_virus)].push(item.p));
    scores.iter_mut().for_each(|scores| scores.sort_unstable_by(f32::total_cmp));
    let [others, viruses] = scores;
    let mut order: Vec<&Item> = items.iter().collect();
    order.sort_by_key(|item| item.group);
    let own = |members: &[&Item]| {
        let n = members.len() as f64;
        let right = members.iter().filter(|item| (item.p >= CUT_OFF) == item.is_virus).count() as f64;
        let wins = |item: &&Item| {
            if item.is_virus { share_below(&others, item.p) } else { 1.0 - share_below(&viruses, item.p) }
        };
        let auroc = members.iter().map(wins).sum::<f64>() / n;
        GroupValues {
            group: members[0].group,
            n: members.len() as u64,
            n_viruses: members.iter().filter(|item| item.is_virus).count() as u64,
            accuracy: right / n,
            auroc: auroc.is_finite().then_some(auroc),
        }
    };
    order.chunk_by(|one, other| one.group == other.group).map(own).collect()
}

/// Share of `sorted` below `p`, equal ones counting half; not a number of nothing.
fn share_below(sorted: &[f32], p: f32) -> f64 {
    let (below, up_to) = (sorted.partition_point(|other| *other < p), sorted.partition_point(|other| *other <= p));
    (below + up_to) as f64 / 2.0 / sorted.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Metric, measure};
    use super::*;

    #[test]
    fn a_group_is_measured_against_the_whole_other_class() {
        let item = |p, is_virus, group| Item { p, is_virus, group };
        let items =
            [item(0.9, true, 3), item(0.3, true, 3), item(0.6, true, 5), item(0.6, false, 4), item(0.1, false, 4)];
        let values = by_group(&items);
        assert_eq!(values.iter().map(|values| values.group).collect::<Vec<_>>(), [3, 4, 5]);
        let without_5: Vec<Item> = items.into_iter().filter(|item| item.group != 5).collect();
        assert_eq!(values[0].auroc, measure(&without_5).get(Metric::Auroc));
        assert_eq!(values[1].auroc, measure(&items).get(Metric::Auroc));
        assert_eq!((values[0].n, values[0].n_viruses, values[0].accuracy), (2, 2, 0.5));
        assert_eq!((values[2].accuracy, values[2].auroc), (1.0, Some(0.75)));
        assert_eq!(by_group(&items[..3])[0].auroc, None);
    }
}
