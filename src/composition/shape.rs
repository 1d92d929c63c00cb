//! How a window reads: runs and stops of its frames, its bases, and the three codon positions of its longest run.

use super::coding::Coding;
use super::words::Words;
use super::{Out, share};
use crate::seq::base::NO_BASE;
use crate::seq::run::Runs;

/// Fills 30 features.
pub(super) fn shape(bases: &[u8], runs: &Runs, words: &Words, coding: &Coding, out: &mut Out<'_>) {
    let length = bases.len().max(1) as f32;
    let mut longest = runs.longest.map(|run| run.readable);
    longest.sort_unstable_by(|a, b| b.cmp(a));
    out.put(longest.map(|codons| 3.0 * codons as f32 / length));
    let mut stops = runs.stops;
    stops.sort_unstable();
    out.put(stops.map(|stops| 300.0 * stops as f32 / length));
    out.put([runs.stops.iter().filter(|&&stops| stops == 0).count() as f32]);
    let [a, c, g, t] = words.bases();
    out.put([share(g + c, a + c + g + t), share((g - c).abs(), g + c), share((t - a).abs(), t + a)]);
    out.put(coding.positions().map(|[a, c, g, t]| share(g + c, a + c + g + t)));
    out.put(coding.positions().map(|[a, c, g, t]| share(g - c, a + c + g + t)));
    out.put(coding.positions().map(|[a, c, g, t]| share(a - t, a + c + g + t)));
    let run = runs.longest_of_all();
    let begins = run.is_some_and(|run| run.start == run.frame.offset());
    let ends = run.is_some_and(|run| run.end() + 3 > bases.len());
    let codons = run.map_or(0, |run| run.readable);
    out.put([begins, ends].map(|is_so| f32::from(u8::from(is_so))));
    out.put([3.0 * codons as f32 / length, longest_homopolymer(bases) as f32, words.entropy()]);
}

/// Bases of the longest stretch of one base.
fn longest_homopolymer(bases: &[u8]) -> usize {
    let (mut longest, mut stretch, mut last) = (0, 0, NO_BASE);
    for &base in bases {
        stretch = if base == NO_BASE {
            0
        } else if base == last {
            stretch + 1
        } else {
            1
        };
        last = base;
        longest = longest.max(stretch);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::base::number;

    #[test]
    fn the_longest_homopolymer_ends_with_its_base_or_another_letter() {
        for (window, expected) in [("", 0), ("N", 0), ("ACGT", 1), ("AAANA", 3), ("ACCCCG", 4), ("NNNNGG", 2)] {
            let bases: Vec<u8> = window.bytes().map(number).collect();
            assert_eq!(longest_homopolymer(&bases), expected, "{window}");
        }
    }
}
