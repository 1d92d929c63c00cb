//! Where in a sequence the virus is: windows parted into stretches that are viral and stretches that are not. Arithmetic only.
//!
//! A sequence is a path through two states, viral and not. A window speaks for the viral state by its logit, within
//! [`LIMIT`]; a change of state costs as much as the user says. The path with the largest sum (Viterbi) is the answer. So a
//! stretch within a sequence is a region where its logits add up to more than two costs, one at an end of the sequence where
//! they add up to more than one, and a whole sequence where they add up to more than nothing: its mean is then viral.

use std::ops::Range;

/// A window speaks no louder than this: at a cost of 8, a region within a sequence has four windows at least.
pub const LIMIT: f64 = 5.0;

/// The viral stretches among the windows of a sequence, by number; `logits` in order, none for a window without a score,
/// which changes nothing. Each begins and ends with a window that has one.
///
/// ```
/// use virnucpro::regions::regions;
///
/// let logits: Vec<Option<f64>> = (0..100).map(|n| Some(if (40..60).contains(&n) { 2.0 } else { -2.0 })).collect();
/// assert_eq!(regions(&logits, 8.0), [40..60]);
/// ```
pub fn regions(logits: &[Option<f64>], cost: f64) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (number, is_viral) in best_path(logits, cost).into_iter().enumerate() {
        match found.last_mut() {
            Some(region) if is_viral && region.end == number => region.end = number + 1,
            _ if is_viral => found.push(number..number + 1),
            _ => {}
        }
    }
    found.into_iter().filter_map(|region| trimmed(region, logits)).collect()
}

/// Whether each window is in the viral state.
fn best_path(logits: &[Option<f64>], cost: f64) -> Vec<bool> {
    let (mut viral, mut other) = (0.0_f64, 0.0_f64);
    // Whether the best path into either state, viral and not, comes from the other one.
    let mut changes: Vec<[bool; 2]> = Vec::with_capacity(logits.len());
    for logit in logits {
        let logit = logit.filter(|logit| !logit.is_nan()).map_or(0.0, |logit| logit.clamp(-LIMIT, LIMIT));
        let change = [other - cost > viral, viral - cost > other];
        let best = [if change[0] { other - cost } else { viral }, if change[1] { viral - cost } else { other }];
        (viral, other) = (best[0] + logit, best[1]);
        changes.push(change);
    }
    let mut is_viral = viral > other;
    let mut path: Vec<bool> = changes
        .into_iter()
        .rev()
        .map(|[to_viral, to_other]| {
            let here = is_viral;
            is_viral ^= if here { to_viral } else { to_other };
            here
        })
        .collect();
    path.reverse();
    path
}

/// A region without windows at its ends that have no score.
fn trimmed(region: Range<usize>, logits: &[Option<f64>]) -> Option<Range<usize>> {
    let scored = |number: &usize| logits[*number].is_some();
    let first = region.clone().find(scored)?;
    let last = region.rev().find(scored)?;
    Some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sum of six uniform numbers with a deviation of 1: close to normal.
    fn noise(state: &mut u64) -> f64 {
        let mut next = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        (0..6).map(|_| next()).sum::<f64>() * 2.0_f64.sqrt()
    }

    /// Logits of windows as a classifier with an area under the curve of about 0.86 gives them.
    fn logits(viral: &[bool], seed: u64) -> Vec<Option<f64>> {
        let mut state = seed;
        viral.iter().map(|viral| Some(if *viral { 1.2 } else { -1.2 } + 1.6 * noise(&mut state))).collect()
    }

    /// First windows of the regions, and those after the last.
    fn found(logits: &[Option<f64>]) -> Vec<(usize, usize)> {
        regions(logits, 8.0).into_iter().map(|region| (region.start, region.end)).collect()
    }

    #[test]
    fn a_prophage_of_30_kb_in_200_kb_is_one_region() {
        let truth: Vec<bool> = (0..400).map(|n| (150..210).contains(&n)).collect();
        for seed in 1..=50 {
            let found = found(&logits(&truth, seed));
            assert_eq!(found.len(), 1, "{seed}: {found:?}");
            let (start, end) = found[0];
            assert!(start.abs_diff(150) <= 10 && end.abs_diff(210) <= 10, "{seed}: {found:?}");
        }
    }

    #[test]
    fn noise_of_single_windows_is_no_region() {
        for seed in 1..=10 {
            let mut logits = logits(&[false; 4000], seed);
            assert!(found(&logits).is_empty(), "{seed}");
            logits.iter_mut().skip(100).step_by(100).for_each(|logit| *logit = Some(30.0));
            assert!(found(&logits).is_empty(), "{seed}");
        }
    }

    #[test]
    fn a_whole_viral_contig_is_one_region() {
        for seed in 1..=50 {
            let length = 1 + seed as usize * 7;
            let logits = logits(&vec![true; length], seed);
            let sum: f64 = logits.iter().flatten().sum();
            if sum > 0.0 {
                assert_eq!(found(&logits), [(0, length)], "{seed}");
            }
        }
        assert_eq!((found(&[Some(0.1)]), found(&[Some(-0.1)]), found(&[])), (vec![(0, 1)], vec![], vec![]));
    }

    #[test]
    fn two_prophages_are_two_regions_and_an_end_may_be_one() {
        let truth: Vec<bool> =
            (0..600).map(|n| (100..150).contains(&n) || (300..360).contains(&n) || n >= 560).collect();
        assert_eq!(found(&logits(&truth, 5)).len(), 3);
    }

    #[test]
    fn windows_without_a_score_neither_end_a_region_nor_begin_one() {
        let mut logits: Vec<Option<f64>> = vec![Some(-3.0); 30];
        logits[8..22].fill(None);
        logits[10..14].fill(Some(4.0));
        logits[16..20].fill(Some(4.0));
        assert_eq!(found(&logits), [(10, 20)]);
        assert!(found(&[None, None]).is_empty());
        assert_eq!(found(&[None, Some(1.0), None, Some(1.0), None]), [(1, 4)]);
    }

    /// The largest sum of all paths, one by one.
    fn largest_sum(logits: &[Option<f64>], cost: f64) -> f64 {
        let paths = 0_u32..1 << logits.len();
        paths.map(|path| sum(&bits(path, logits.len()), logits, cost)).fold(f64::NEG_INFINITY, f64::max)
    }

    fn bits(path: u32, length: usize) -> Vec<bool> {
        (0..length).map(|n| path >> n & 1 == 1).collect()
    }

    fn sum(path: &[bool], logits: &[Option<f64>], cost: f64) -> f64 {
        let changes = path.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64;
        let logits = path.iter().zip(logits).filter(|(viral, _)| **viral);
        logits.map(|(_, logit)| logit.unwrap_or(0.0)).sum::<f64>() - cost * changes
    }

    proptest! {
        #[test]
        fn no_path_has_a_larger_sum(
            logits in prop::collection::vec(prop::option::weighted(0.9, -40_i32..=40), 1..12),
            cost in 0_i32..=80,
        ) {
            let (logits, cost): (Vec<_>, _) =
                (logits.into_iter().map(|logit| logit.map(|logit| f64::from(logit) / 8.0)).collect(), f64::from(cost) / 8.0);
            let path = best_path(&logits, cost);
            prop_assert_eq!(sum(&path, &logits, cost), largest_sum(&logits, cost));
        }

        #[test]
        fn regions_are_apart_and_begin_and_end_with_a_score(
            logits in prop::collection::vec(prop::option::of(-9.0_f64..9.0), 0..200),
        ) {
            let found = regions(&logits, 2.0);
            prop_assert!(found.iter().all(|region| logits[region.start].is_some() && logits[region.end - 1].is_some()));
            prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
