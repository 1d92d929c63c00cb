//! What pictures show: both curves, and probabilities against what is true.

use super::sample::bin;
use super::{BINS, Item};

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From 0 to 1.
    pub x: f64,
    /// From 0 to 1.
    pub y: f64,
}

/// A bin of probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Items in it.
    pub n: u64,
    /// Mean probability of a virus; 0 of nothing.
    pub mean_p: f64,
    /// Share of viruses; 0 of nothing.
    pub share: f64,
}

/// Curves of some items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Share of others called a virus, against share of viruses that are called one.
    pub roc: Vec<Point>,
    /// Recall against precision, from the highest score down.
    pub precision_recall: Vec<Point>,
    /// Bins of equal width.
    pub bins: [Bin; BINS],
}

impl Curves {
    /// Of `items`, which hold both classes; a point for each different score.
    pub fn of(items: &[Item]) -> Self {
        let mut order: Vec<(f32, bool)> = items.iter().map(|item| (item.p, item.is_virus)).collect();
        order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let viruses = order.iter().filter(|(_, is_virus)| *is_virus).count() as f64;
        let others = order.len() as f64 - viruses;
        let mut curves = Self { roc: vec![Point { x: 0.0, y: 0.0 }], bins: bins(items), ..Self::default() };
        let mut called = [0.0; 2];
        for (rank, (p, is_virus)) in order.iter().enumerate() {
            called[usize::from(*is_virus)] += 1.0;
            if order.get(rank + 1).is_none_or(|next| next.0 != *p) {
                let [wrong, right] = called;
                curves.roc.push(Point { x: wrong / others, y: right / viruses });
                curves.precision_recall.push(Point { x: right / viruses, y: right / (right + wrong) });
            }
        }
        curves
    }
}

fn bins(items: &[Item]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for item in items {
        let bin = &mut bins[bin(item.p)];
        bin.n += 1;
        bin.mean_p += f64::from(item.p);
        bin.share += f64::from(u8::from(item.is_virus));
    }
    bins.map(|bin| {
        let n = bin.n.max(1) as f64;
        Bin { n: bin.n, mean_p: bin.mean_p / n, share: bin.share / n }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_have_a_point_for_each_score_and_end_in_the_corner() {
        let item = |p, is_virus| Item { p, is_virus, group: 0 };
        let curves = Curves::of(&[item(0.9, true), item(0.5, false), item(0.5, true), item(0.1, false)]);
        let points = |curve: &[Point]| curve.iter().map(|point| (point.x, point.y)).collect::<Vec<_>>();
        assert_eq!(points(&curves.roc), [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        assert_eq!(points(&curves.precision_recall), [(0.5, 1.0), (1.0, 2.0 / 3.0), (1.0, 0.5)]);
        assert_eq!((curves.bins[7].n, curves.bins[7].mean_p, curves.bins[7].share), (2, 0.5, 0.5));
        assert_eq!(curves.bins.iter().map(|bin| bin.n).sum::<u64>(), 4);
    }

    #[test]
    fn certainty_has_a_bin() {
        assert_eq!((bin(0.0), bin(1.0), bin(0.99)), (0, BINS - 1, BINS - 1));
    }
}
