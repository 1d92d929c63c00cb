//! How well probabilities tell viruses from others: numbers, their intervals, and curves. Plain arithmetic.
//!
//! Everything is computed from [`Item`]s. Metrics of ranks treat equal scores as one step; a metric that has no value, such
//! as a precision where nothing is called a virus, is `None`.

mod bootstrap;
mod curves;
mod group_values;
mod sample;

pub use bootstrap::{Interval, ROUNDS, intervals};
pub use curves::{Bin, Curves, Point};
pub use group_values::{GroupValues, by_group};
pub use sample::Sample;

/// Number of bins of equal width that calibration is judged in.
pub const BINS: usize = 15;
/// From this probability on, something is called a virus.
pub const CUT_OFF: f32 = 0.5;

/// Something that was scored and whose class is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// Probability of a virus, from 0 to 1.
    pub p: f32,
    /// Whether it is one.
    pub is_virus: bool,
    /// Number of the group that it belongs to.
    pub group: u32,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Area under the receiver operating characteristic: the probability that a virus scores higher than another, a tie
    /// counting half.
    Auroc,
    /// Average precision: the area under the steps of the precision-recall curve.
    Auprc,
    /// Share of right calls at the cut-off.
    Accuracy,
    /// Mean of recall and specificity.
    BalancedAccuracy,
    /// Harmonic mean of precision and recall.
    F1,
    /// Share of viruses among what is called one.
    Precision,
    /// Share of viruses that are called one.
    Recall,
    /// Share of others that are not called a virus.
    Specificity,
    /// Largest recall of a cut-off with at most 1 % false positives.
    RecallAtFpr1,
    /// The same with 5 %.
    RecallAtFpr5,
    /// The same with 10 %.
    RecallAtFpr10,
    /// Expected calibration error: mean distance between probability and share of viruses, over bins.
    Ece,
    /// Mean squared distance between probability and truth.
    Brier,
    /// Share of viruses: what [`Metric::Auprc`] is of random scores.
    Prevalence,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 14] = [
        Self::Auroc,
        Self::Auprc,
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::F1,
        Self::Precision,
        Self::Recall,
        Self::Specificity,
        Self::RecallAtFpr1,
        Self::RecallAtFpr5,
        Self::RecallAtFpr10,
        Self::Ece,
        Self::Brier,
        Self::Prevalence,
    ];

    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auroc => "auroc",
            Self::Auprc => "auprc",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::F1 => "f1",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Specificity => "specificity",
            Self::RecallAtFpr1 => "recall_at_fpr_0.01",
            Self::RecallAtFpr5 => "recall_at_fpr_0.05",
            Self::RecallAtFpr10 => "recall_at_fpr_0.10",
            Self::Ece => "ece",
            Self::Brier => "brier",
            Self::Prevalence => "prevalence",
        }
    }
}

/// False-positive rates that recall is given at.
const RATES: [f64; 3] = [0.01, 0.05, 0.10];

/// Values of all metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values([Option<f64>; Metric::ALL.len()]);

impl Values {
    /// The value of one; none where it is not defined.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    fn set(&mut self, metric: Metric, value: f64) {
        self.0[metric as usize] = value.is_finite().then_some(value);
    }
}

/// Values of all metrics of `items`.
///
/// ```
/// use virnucpro::metrics::{Item, Metric, measure};
///
/// let item = |p, is_virus| Item { p, is_virus, group: 0 };
/// let values = measure(&[item(0.9, true), item(0.4, true), item(0.6, false), item(0.1, false)]);
/// assert_eq!(values.get(Metric::Auroc), Some(0.75));
/// assert_eq!(values.get(Metric::Recall), Some(0.5));
/// ```
pub fn measure(items: &[Item]) -> Values {
    let sample = Sample::new(items);
    sample.values(&vec![1; sample.n_groups()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item((p, is_virus): (f32, bool)) -> Item {
        Item { p, is_virus, group: 0 }
    }

    fn near(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-6), "{found:?} is not {expected}");
    }

    /// Ten items; their values were computed by hand.
    const TEN: [(f32, bool); 10] = [
        (0.95, true),
        (0.9, true),
        (0.8, false),
        (0.7, true),
        (0.7, false),
        (0.6, true),
        (0.4, true),
        (0.3, false),
        (0.2, false),
        (0.1, false),
    ];

    #[test]
    fn every_metric_has_the_value_computed_by_hand() {
        let values = measure(&TEN.map(item));
        // Of 25 pairs 5 + 5 + 3.5 + 3 + 3 are in order, a tie counting half.
        near(values.get(Metric::Auroc), 19.5 / 25.0);
        // Recall grows by 1/5 at precisions 1, 1, 3/5 (a tie), 4/6 and 5/7.
        near(values.get(Metric::Auprc), (1.0 + 1.0 + 0.6 + 4.0 / 6.0 + 5.0 / 7.0) / 5.0);
        // Called viruses: 6, of which 4 are; 3 of 5 others are not called.
        near(values.get(Metric::Accuracy), 0.7);
        near(values.get(Metric::BalancedAccuracy), 0.7);
        near(values.get(Metric::Precision), 4.0 / 6.0);
        near(values.get(Metric::Recall), 0.8);
        near(values.get(Metric::Specificity), 0.6);
        near(values.get(Metric::F1), 8.0 / 11.0);
        near(values.get(Metric::RecallAtFpr1), 0.4);
        near(values.get(Metric::RecallAtFpr10), 0.4);
        near(values.get(Metric::Prevalence), 0.5);
        let brier = [0.05, 0.1, 0.8, 0.3, 0.7, 0.4, 0.6, 0.3, 0.2, 0.1].map(|d: f64| d * d).iter().sum::<f64>() / 10.0;
        near(values.get(Metric::Brier), brier);
        // Bins are 1/15 wide: 0.95 alone, 0.9 alone, 0.8 alone, both 0.7 together, the others alone.
        let ece = [0.05, 0.1, 0.8, (0.7 - 0.5) * 2.0, 0.4, 0.6, 0.3, 0.2, 0.1].iter().sum::<f64>() / 10.0;
        near(values.get(Metric::Ece), ece);
    }

    #[test]
    fn recall_at_a_rate_takes_the_last_step_that_keeps_to_it() {
        let mut items = vec![(0.9, true), (0.8, false), (0.7, true), (0.6, false), (0.5, true)];
        items.extend([(0.1, false); 18]);
        let items: Vec<Item> = items.into_iter().map(item).collect();
        let values = measure(&items);
        near(values.get(Metric::RecallAtFpr1), 1.0 / 3.0);
        near(values.get(Metric::RecallAtFpr5), 2.0 / 3.0);
        near(values.get(Metric::RecallAtFpr10), 1.0);
    }

    #[test]
    fn what_is_not_defined_has_no_value() {
        let values = measure(&[item((0.2, true)), item((0.1, true))]);
        for metric in [Metric::Auroc, Metric::Precision, Metric::Specificity, Metric::RecallAtFpr5] {
            assert_eq!(values.get(metric), None, "{}", metric.name());
        }
        assert_eq!((values.get(Metric::Recall), values.get(Metric::F1)), (Some(0.0), Some(0.0)));
        assert!(Metric::ALL.iter().all(|metric| measure(&[]).get(*metric).is_none()));
    }

    #[test]
    fn names_and_places_agree() {
        for (place, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, place);
        }
    }

    /// All pairs, one by one.
    fn auroc_by_pairs(items: &[Item]) -> Option<f64> {
        let of = |class: bool| items.iter().filter(move |item| item.is_virus == class);
        let pair = |virus: f32, other: f32| if virus > other { 1.0 } else { f64::from(u8::from(virus == other)) / 2.0 };
        let won: f64 = of(true).map(|virus| of(false).map(|other| pair(virus.p, other.p)).sum::<f64>()).sum();
        let pairs = of(true).count() * of(false).count();
        (pairs > 0).then(|| won / pairs as f64)
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        // Few different scores, so that there are ties.
        let item = (0u8..=20, any::<bool>(), 0u32..6);
        let item = item.prop_map(|(p, is_virus, group)| Item { p: f32::from(p) / 20.0, is_virus, group });
        prop::collection::vec(item, 0..60)
    }

    proptest! {
        #[test]
        fn the_area_under_the_curve_is_the_share_of_pairs_in_order(items in items()) {
            let (found, expected) = (measure(&items).get(Metric::Auroc), auroc_by_pairs(&items));
            prop_assert_eq!(found.is_some(), expected.is_some());
            prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12);
        }

        #[test]
        fn the_order_of_items_does_not_matter(items in items()) {
            let reversed: Vec<Item> = items.iter().rev().copied().collect();
            let (one, other) = (measure(&items), measure(&reversed));
            for metric in Metric::ALL {
                let [one, other] = [one, other].map(|values| values.get(metric));
                prop_assert_eq!(one.is_some(), other.is_some());
                prop_assert!((one.unwrap_or(0.0) - other.unwrap_or(0.0)).abs() < 1e-9);
            }
        }

        #[test]
        fn values_lie_between_0_and_1(items in items()) {
            let values = measure(&items);
            for metric in Metric::ALL {
                prop_assert!(values.get(metric).is_none_or(|value| (-1e-9..=1.0 + 1e-9).contains(&value)));
            }
        }

        #[test]
        fn ranks_alone_decide_areas(items in items()) {
            let bent: Vec<Item> = items.iter().map(|item| Item { p: item.p * item.p, ..*item }).collect();
            for metric in [Metric::Auroc, Metric::Auprc, Metric::RecallAtFpr5] {
                prop_assert_eq!(measure(&items).get(metric), measure(&bent).get(metric));
            }
        }

        #[test]
        fn a_weight_of_two_is_the_same_as_being_there_twice(items in items()) {
            let sample = Sample::new(&items);
            let weights: Vec<u32> = (0..sample.n_groups() as u32).map(|group| group % 3).collect();
            let copies = |item: &Item| weights[sample.group_place(item.group).unwrap()] as usize;
            let many: Vec<Item> = items.iter().flat_map(|item| std::iter::repeat_n(*item, copies(item))).collect();
            let (weighted, repeated) = (sample.values(&weights), measure(&many));
            for metric in Metric::ALL {
                let [one, other] = [weighted, repeated].map(|values| values.get(metric));
                prop_assert_eq!(one.is_some(), other.is_some());
                prop_assert!((one.unwrap_or(0.0) - other.unwrap_or(0.0)).abs() < 1e-9, "{}", metric.name());
            }
        }
    }
}
