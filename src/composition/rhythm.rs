//! Where the longest run lies relative to the others, and which periods the bases of a window have.

use super::{Out, on_strand, share};
use crate::seq::base::NO_BASE;
use crate::seq::run::{Run, Runs};

/// Fills 7 features: the longest runs of the other frames, in the order in which their codons begin on the strand of the longest
/// of all, that strand first; the bases before the longest run and after it, as shares of the window.
pub(super) fn place(length: usize, runs: &Runs, run: Option<Run>, out: &mut Out<'_>) {
    let Some(run) = run else { return out.put([0.0; 7]) };
    let share_of = |bases: usize| bases as f32 / length as f32;
    let mut others = [0.0; 6];
    for other in runs.longest {
        // Where codons of the other frame begin, in bases after those of the longest run.
        let (strand, begin) = if other.frame.strand() == run.frame.strand() {
            (0, other.frame.offset())
        } else {
            (3, length - other.frame.offset().min(length))
        };
        others[strand + (begin + 2 * run.start) % 3] = share_of(3 * other.readable);
    }
    out.put(others.into_iter().skip(1));
    out.put([share_of(run.start), share_of(length - run.end())]);
}

/// Fills 2 features: how much the bases of the three codon positions differ, in the longest run and in the window, as chi-squared
/// per base.
pub(super) fn periodicity(bases: &[u8], run: Option<Run>, out: &mut Out<'_>) {
    let in_run =
        run.map_or(0.0, |run| difference(on_strand(bases, run.frame.strand()).skip(run.start).take(3 * run.codons)));
    out.put([in_run, difference(bases.iter().copied())]);
}

/// Fills 16 features: autocorrelation of bases at a distance: strong (G, C) against weak ones at 1 to 12 bases,
/// purines against pyrimidines at 1, 2, 3 and 6.
pub(super) fn autocorrelations(bases: &[u8], out: &mut Out<'_>) {
    let by = |signs: [i32; 4]| -> Vec<i32> {
        bases.iter().map(|&base| signs.get(usize::from(base)).copied().unwrap_or(0)).collect()
    };
    let (strong, purine) = (by([-1, 1, 1, -1]), by([1, -1, 1, -1]));
    out.put((1..=12).map(|distance| autocorrelation(&strong, distance)));
    out.put([1, 2, 3, 6].map(|distance| autocorrelation(&purine, distance)));
}

/// In whole numbers, whose sums are exact.
fn autocorrelation(signs: &[i32], distance: usize) -> f32 {
    let all = |signs: &[i32]| i64::from(signs.iter().sum::<i32>());
    let Some(later) = signs.get(distance..) else { return 0.0 };
    let earlier = &signs[..later.len()];
    let products = i64::from(earlier.iter().zip(later).map(|(one, other)| one * other).sum::<i32>());
    let squares = i64::from(signs.iter().map(|sign| sign * sign).sum::<i32>());
    let (n, sum) = (signs.len() as i64, all(signs));
    let covariance = n * n * products - n * sum * (all(earlier) + all(later)) + later.len() as i64 * sum * sum;
    share(covariance as f32, (n * (n * squares - sum * sum)) as f32)
}

/// Chi-squared per base of the bases at three positions in turn.
fn difference(bases: impl Iterator<Item = u8>) -> f32 {
    let mut counts = [[0.0_f32; 4]; 3];
    for (place, base) in bases.enumerate().filter(|(_, base)| *base != NO_BASE) {
        counts[place % 3][usize::from(base)] += 1.0;
    }
    let total: f32 = counts.iter().flatten().sum();
    let of_position = counts.map(|position| position.iter().sum::<f32>());
    let mut sum = 0.0;
    for base in 0..4 {
        let of_base: f32 = counts.iter().map(|position| position[base]).sum();
        for (position, all) in counts.iter().zip(of_position) {
            let expected = all * of_base / total;
            sum += share((position[base] - expected).powi(2), expected);
        }
    }
    share(sum, total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::base::{Codons, number};

    fn filled<const N: usize>(fill: impl Fn(&mut Out<'_>)) -> [f32; N] {
        let mut features = [f32::NAN; N];
        fill(&mut Out { features: &mut features });
        features
    }

    #[test]
    fn other_frames_are_ordered_by_their_place_relative_to_the_longest_run() {
        // F1 has all five codons. TGAT.. is a stop in F2; R1 begins where codons of F1 do.
        let window = b"ATGATGATGAAACAT";
        let runs = Runs::of(&Codons::of(window));
        let found: [f32; 7] = filled(|out| place(15, &runs, runs.longest_of_all(), out));
        let readable = runs.longest.map(|run| 3.0 * run.readable as f32 / 15.0);
        assert_eq!(found[..5], [readable[1], readable[2], readable[3], readable[5], readable[4]]);
        assert_eq!(found[5..], [0.0, 0.0]);
        let none: [f32; 7] = filled(|out| place(0, &Runs::of(&Codons::of(b"")), None, out));
        assert_eq!(none, [0.0; 7]);
    }

    #[test]
    fn bases_that_alternate_correlate_at_even_distances() {
        let bases: Vec<u8> = b"ACACACACACACACACACAC".iter().copied().map(number).collect();
        let found: [f32; 16] = filled(|out| autocorrelations(&bases, out));
        assert_eq!((found[0], found[1], found[12], found[13]), (-0.95, 0.9, -0.95, 0.9));
        let same: [f32; 16] = filled(|out| autocorrelations(&[2; 30], out));
        assert_eq!(same, [0.0; 16]);
    }

    #[test]
    fn codon_positions_of_one_base_each_differ_most() {
        let bases: Vec<u8> = b"ACGACGACG".iter().copied().map(number).collect();
        let found: [f32; 2] = filled(|out| periodicity(&bases, None, out));
        assert!((found[1] - 2.0).abs() < 1e-6 && found[0] == 0.0, "{found:?}");
        assert_eq!(difference([0, 0, 0, 0].into_iter()), 0.0);
        assert_eq!(difference([].into_iter()), 0.0);
    }
}
