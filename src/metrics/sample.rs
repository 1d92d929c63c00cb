//! Items laid out so that all metrics of any weights of their groups come from one pass.

use super::{BINS, CUT_OFF, Item, Metric, RATES, Values};

/// Items, sorted once, whose groups may be weighed again and again.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Numbers of the groups as the items have them, sorted; their places are what the fields below call a group.
    groups: Vec<u32>,
    /// By falling score.
    ranked: Vec<Ranked>,
    tallies: Vec<Tally>,
    cells: Vec<Cell>,
}

/// An item in the order of scores, in 32 bits: its group, its class, and whether the next item scores lower.
#[derive(Clone, Copy, Debug)]
struct Ranked(u32);

impl Ranked {
    fn new(group: usize, is_virus: bool, ends_step: bool) -> Self {
        Self((group as u32) << 2 | u32::from(is_virus) << 1 | u32::from(ends_step))
    }

    fn group(self) -> usize {
        (self.0 >> 2) as usize
    }

    fn is_virus(self) -> bool {
        self.0 & 2 != 0
    }

    fn ends_step(self) -> bool {
        self.0 & 1 != 0
    }
}

/// Sums over the items of one group.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    viruses: u64,
    others: u64,
    right_viruses: u64,
    wrong_others: u64,
    squares: f64,
}

/// Sums over the items of one group in one bin.
#[derive(Clone, Copy, Debug)]
struct Cell {
    group: u32,
    bin: u32,
    p: f64,
    viruses: f64,
}

/// The bin of a probability.
pub(super) fn bin(p: f32) -> usize {
    ((f64::from(p) * BINS as f64) as usize).min(BINS - 1)
}

impl Sample {
    /// Sorts the items.
    pub fn new(items: &[Item]) -> Self {
        let mut groups: Vec<u32> = items.iter().map(|item| item.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let place = |item: &Item| groups.binary_search(&item.group).unwrap_or(0);
        let mut order: Vec<(f32, usize, bool)> =
            items.iter().map(|item| (item.p, place(item), item.is_virus)).collect();
        order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let ranked = order.iter().enumerate().map(|(rank, (p, group, is_virus))| {
            let ends_step = order.get(rank + 1).is_none_or(|next| next.0 != *p);
            Ranked::new(*group, *is_virus, ends_step)
        });
        let ranked = ranked.collect();
        let mut tallies = vec![Tally::default(); groups.len()];
        for (p, group, is_virus) in &order {
            tallies[*group].add(*p, *is_virus);
        }
        // In an order that depends on the items alone: sums of the same numbers shall be the same.
        order.sort_unstable_by(|one, other| (one.1, one.2).cmp(&(other.1, other.2)).then(one.0.total_cmp(&other.0)));
        let cells = cells(&order, groups.len());
        Self { groups, ranked, tallies, cells }
    }

    /// Number of groups.
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Place of a group among the weights.
    pub fn group_place(&self, group: u32) -> Option<usize> {
        self.groups.binary_search(&group).ok()
    }

    /// Groups by what they hold: viruses alone, others alone, both. A bootstrap that draws from each keeps both classes.
    pub fn strata(&self) -> [Vec<usize>; 3] {
        let mut strata = <[Vec<usize>; 3]>::default();
        for (group, tally) in self.tallies.iter().enumerate() {
            let stratum = if tally.others == 0 { 0 } else { 1 + usize::from(tally.viruses > 0) };
            strata[stratum].push(group);
        }
        strata
    }

    /// Values of all metrics where the group at place `i` counts `weights[i]` times.
    pub fn values(&self, weights: &[u32]) -> Values {
        let mut values = Values::default();
        let total = self.total(weights);
        total.set(&mut values);
        self.set_ranks(weights, &total, &mut values);
        let mut bins = [[0.0; 2]; BINS];
        for cell in &self.cells {
            let weight = f64::from(weights[cell.group as usize]);
            bins[cell.bin as usize][0] += weight * cell.p;
            bins[cell.bin as usize][1] += weight * cell.viruses;
        }
        let apart: f64 = bins.iter().map(|[p, viruses]| (p - viruses).abs()).sum();
        values.set(Metric::Ece, apart / (total.viruses + total.others) as f64);
        values
    }

    fn total(&self, weights: &[u32]) -> Tally {
        let mut total = Tally::default();
        for (tally, weight) in self.tallies.iter().zip(weights) {
            let count = u64::from(*weight);
            total.viruses += count * tally.viruses;
            total.others += count * tally.others;
            total.right_viruses += count * tally.right_viruses;
            total.wrong_others += count * tally.wrong_others;
            total.squares += f64::from(*weight) * tally.squares;
        }
        total
    }

    /// Metrics of the order: one pass from the highest score down.
    fn set_ranks(&self, weights: &[u32], total: &Tally, values: &mut Values) {
        let (viruses, others) = (total.viruses as f64, total.others as f64);
        let limits = RATES.map(|rate| (rate * others + 1e-9) as u64);
        let (mut above, mut step) = ([0_u64; 2], [0_u64; 2]);
        let (mut pairs, mut precision, mut recalled) = (0.0, 0.0, [0; RATES.len()]);
        for ranked in &self.ranked {
            step[usize::from(ranked.is_virus())] += u64::from(weights[ranked.group()]);
            if ranked.ends_step() {
                let [other, virus] = step;
                pairs += other as f64 * (above[1] as f64 + virus as f64 / 2.0);
                above = [above[0] + other, above[1] + virus];
                step = [0; 2];
                if virus > 0 {
                    precision += virus as f64 * above[1] as f64 / (above[0] + above[1]) as f64;
                }
                for (recalled, limit) in recalled.iter_mut().zip(limits) {
                    if above[0] <= limit {
                        *recalled = above[1];
                    }
                }
            }
        }
        values.set(Metric::Auroc, pairs / (viruses * others));
        if others > 0.0 {
            values.set(Metric::Auprc, precision / viruses);
            let at = [Metric::RecallAtFpr1, Metric::RecallAtFpr5, Metric::RecallAtFpr10];
            at.into_iter().zip(recalled).for_each(|(metric, count)| values.set(metric, count as f64 / viruses));
        }
    }
}

impl Tally {
    fn add(&mut self, p: f32, is_virus: bool) {
        let called = p >= CUT_OFF;
        self.viruses += u64::from(is_virus);
        self.others += u64::from(!is_virus);
        self.right_viruses += u64::from(is_virus && called);
        self.wrong_others += u64::from(!is_virus && called);
        self.squares += (f64::from(p) - f64::from(u8::from(is_virus))).powi(2);
    }

    /// Metrics of calls at the cut-off, and of squares.
    fn set(&self, values: &mut Values) {
        let [viruses, others, hits, false_alarms] =
            [self.viruses, self.others, self.right_viruses, self.wrong_others].map(|count| count as f64);
        let (recall, specificity) = (hits / viruses, 1.0 - false_alarms / others);
        values.set(Metric::Accuracy, (hits + others - false_alarms) / (viruses + others));
        values.set(Metric::BalancedAccuracy, f64::midpoint(recall, specificity));
        values.set(Metric::F1, 2.0 * hits / (hits + false_alarms + viruses));
        values.set(Metric::Precision, hits / (hits + false_alarms));
        values.set(Metric::Recall, recall);
        values.set(Metric::Specificity, specificity);
        values.set(Metric::Brier, self.squares / (viruses + others));
        values.set(Metric::Prevalence, viruses / (viruses + others));
    }
}

/// Sums by group and bin of items that are sorted by group.
fn cells(items: &[(f32, usize, bool)], n_groups: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut rest = items;
    for group in 0..n_groups {
        let (own, after) = rest.split_at(rest.partition_point(|item| item.1 == group));
        let mut bins = [[0.0; 2]; BINS];
        for (p, _, is_virus) in own {
            bins[bin(*p)][0] += f64::from(*p);
            bins[bin(*p)][1] += f64::from(u8::from(*is_virus));
        }
        let filled = bins.into_iter().enumerate().filter(|(_, bin)| *bin != [0.0; 2]);
        cells.extend(filled.map(|(bin, [p, viruses])| Cell { group: group as u32, bin: bin as u32, p, viruses }));
        rest = after;
    }
    cells
}
