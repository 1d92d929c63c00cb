//! Intervals by resampling whole groups: relatives are not independent, and an interval that takes them for that is too
//! narrow.

use super::{Metric, Sample, Values};

/// Rounds of resampling.
pub const ROUNDS: u32 = 1000;
/// Where the numbers of the first round begin.
const SEED: u64 = 0x5EED;
/// A metric has an interval where at least this share of the rounds has a value.
const LEAST_DEFINED: f64 = 0.9;

/// The range that holds 95 % of the values of a metric over resampled groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// 2.5 % of the values lie below.
    pub low: f64,
    /// 2.5 % of the values lie above.
    pub high: f64,
}

/// Intervals of all metrics, by their place in [`Metric::ALL`]. A round draws as many groups as there are, with
/// replacement, of those with viruses alone, of those with others alone and of those with both. There is no interval where
/// a class that is there comes from one group: what another group would change is not known then.
pub fn intervals(sample: &Sample, rounds: u32) -> [Option<Interval>; Metric::ALL.len()] {
    let strata = sample.strata();
    let [viruses, others, both] = strata.each_ref().map(Vec::len);
    if [viruses, others].iter().any(|own| *own + both == 1) || sample.n_groups() == 0 {
        return [None; Metric::ALL.len()];
    }
    let mut weights = vec![0; sample.n_groups()];
    let mut drawn: Vec<Values> = Vec::new();
    for round in 0..rounds {
        let mut random = Random(SEED.wrapping_add(u64::from(round) << 32));
        weights.fill(0);
        for groups in strata.iter().filter(|groups| !groups.is_empty()) {
            groups.iter().for_each(|_| weights[groups[random.below(groups.len())]] += 1);
        }
        drawn.push(sample.values(&weights));
    }
    let whole = sample.values(&vec![1; sample.n_groups()]);
    Metric::ALL.map(|metric| {
        let interval = interval(drawn.iter().filter_map(|values| values.get(metric)).collect(), rounds)?;
        Some(if metric == Metric::Ece { interval.without_excess(whole.get(metric)?) } else { interval.range })
    })
}

/// An interval, and the mean of the values that it comes from.
struct Drawn {
    range: Interval,
    mean: f64,
}

impl Drawn {
    /// For a metric that noise makes larger, and resampling adds noise: moved down by what it added on average.
    fn without_excess(&self, value: f64) -> Interval {
        let excess = self.mean - value;
        Interval { low: (self.range.low - excess).max(0.0), high: (self.range.high - excess).max(0.0) }
    }
}

fn interval(mut values: Vec<f64>, rounds: u32) -> Option<Drawn> {
    if values.is_empty() || (values.len() as f64) < LEAST_DEFINED * f64::from(rounds) {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Some(Drawn { range: Interval { low: quantile(&values, 0.025), high: quantile(&values, 0.975) }, mean })
}

/// A quantile of sorted values, of which there is one at least, linear between two of them.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Numbers that look random and are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Item, measure};
    use super::*;

    /// A number between 0 and 1.
    fn unit(random: &mut Random) -> f64 {
        random.below(1 << 30) as f64 / f64::from(1 << 30)
    }

    /// Groups of one class each, whose members have much in common: scores of a group lie around one of its own.
    fn items(random: &mut Random, groups: u32, members: u32) -> Vec<Item> {
        let mut items = Vec::new();
        for group in 0..groups {
            let is_virus = group % 2 == 0;
            let own = unit(random) + if is_virus { 0.35 } else { 0.0 };
            for _ in 0..members {
                let p = (own + 0.2 * unit(random)) / 1.55;
                items.push(Item { p: p as f32, is_virus, group });
            }
        }
        items
    }

    #[test]
    fn the_same_items_have_the_same_intervals() {
        let items = items(&mut Random(1), 20, 5);
        let sample = Sample::new(&items);
        assert_eq!(intervals(&sample, 100), intervals(&sample, 100));
        let reversed: Vec<Item> = items.into_iter().rev().collect();
        assert_eq!(intervals(&Sample::new(&reversed), 100), intervals(&sample, 100));
    }

    #[test]
    fn an_interval_over_groups_is_as_wide_as_it_must_be() {
        let truth = measure(&items(&mut Random(7), 20_000, 5)).get(Metric::Auroc).unwrap();
        let (mut random, mut over_groups, mut over_items) = (Random(8), 0, 0);
        let trials = 200;
        for _ in 0..trials {
            let items = items(&mut random, 60, 20);
            let alone: Vec<Item> = (0..).zip(&items).map(|(group, item)| Item { group, ..*item }).collect();
            let holds = |items: &[Item]| {
                let interval = intervals(&Sample::new(items), 200)[Metric::Auroc as usize].unwrap();
                u32::from((interval.low..=interval.high).contains(&truth))
            };
            over_groups += holds(&items);
            over_items += holds(&alone);
        }
        let share = |count: u32| f64::from(count) / f64::from(trials);
        assert!((0.88..=0.99).contains(&share(over_groups)), "{over_groups} of {trials}");
        assert!(share(over_items) < 0.6, "taken one by one: {over_items} of {trials}");
    }

    #[test]
    fn the_interval_of_the_calibration_error_holds_its_value() {
        let mut random = Random(3);
        let items: Vec<Item> = (0..400)
            .map(|group| {
                let p = unit(&mut random);
                Item { p: p as f32, is_virus: unit(&mut random) < p, group }
            })
            .collect();
        let value = measure(&items).get(Metric::Ece).unwrap();
        let interval = intervals(&Sample::new(&items), 200)[Metric::Ece as usize].unwrap();
        assert!(interval.low < value && value < interval.high && interval.high < 0.1, "{value} {interval:?}");
    }

    #[test]
    fn one_group_of_a_kind_has_no_interval() {
        let item = |p, is_virus, group| Item { p, is_virus, group };
        let three = [item(0.9, true, 0), item(0.8, true, 0), item(0.1, false, 1), item(0.2, false, 2)];
        assert_eq!(intervals(&Sample::new(&three), 10), [None; Metric::ALL.len()]);
        assert!(intervals(&Sample::new(&three[2..]), 10)[Metric::Brier as usize].is_some());
        assert_eq!(intervals(&Sample::new(&[]), 10), [None; Metric::ALL.len()]);
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!([0.0, 0.5, 0.625, 1.0].map(|share| quantile(&values, share)), [0.0, 2.0, 2.5, 4.0]);
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
    }
}
