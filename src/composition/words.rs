//! Frequencies of short words, both strands together.

use super::{Out, share};
use crate::seq::base::NO_BASE;

/// Lengths of words.
const LENGTHS: [usize; 3] = [3, 4, 5];

/// Counts of words, those of one length after those of another; a word and its reverse complement have one place.
pub struct Words {
    /// Place of each word, by length.
    places: [Vec<u16>; 3],
    counts: [Vec<u32>; 3],
    /// Words of two bases, as they stand.
    pairs: [u32; 16],
    /// A, C, G, T.
    bases: [u32; 4],
}

impl Words {
    /// With nothing counted.
    pub fn new() -> Self {
        let places = LENGTHS.map(places);
        let counts =
            places.each_ref().map(|places| vec![0; usize::from(places.iter().copied().max().unwrap_or(0)) + 1]);
        Self { places, counts, pairs: [0; 16], bases: [0; 4] }
    }

    /// Counts the words of a window, by the numbers of its bases.
    pub fn count(&mut self, bases: &[u8]) {
        self.counts.iter_mut().for_each(|counts| counts.fill(0));
        (self.pairs, self.bases) = ([0; 16], [0; 4]);
        let (mut code, mut valid) = (0, 0);
        for &base in bases {
            if base == NO_BASE {
                valid = 0;
                continue;
            }
            valid += 1;
            code = (code << 2 | usize::from(base)) & 1023;
            self.bases[usize::from(base)] += 1;
            if valid >= 2 {
                self.pairs[code & 15] += 1;
            }
            for (i, length) in LENGTHS.into_iter().enumerate() {
                if valid >= length {
                    let place = self.places[i][code & ((1 << (2 * length)) - 1)];
                    self.counts[i][usize::from(place)] += 1;
                }
            }
        }
    }

    /// A, C, G, T.
    pub fn bases(&self) -> [f32; 4] {
        self.bases.map(|count| count as f32)
    }

    /// The frequencies of all words: 32, 136 and 512 numbers.
    pub(super) fn frequencies(&self, out: &mut Out<'_>) {
        for counts in &self.counts {
            let total = counts.iter().sum::<u32>().max(1) as f32;
            out.put(counts.iter().map(|&count| count as f32 / total));
        }
    }

    /// Entropy of the words of three bases, in nats.
    pub fn entropy(&self) -> f32 {
        let total = self.counts[0].iter().sum::<u32>() as f64;
        let nats = |&count: &u32| {
            let share = f64::from(count) / total;
            -share * share.ln()
        };
        self.counts[0].iter().filter(|&&count| count > 0).map(nats).fold(0.0, std::ops::Add::add) as f32
    }

    /// How much more often two bases are neighbours, on either strand, than their frequencies let expect: 16 numbers. Those
    /// frequencies are of both strands too, so G and C are half of GC each.
    pub(super) fn odds(&self, out: &mut Out<'_>) {
        let [a, c, g, t] = self.bases();
        let gc = share(c + g, a + c + g + t);
        let expected = |base: usize| if matches!(base, 1 | 2) { gc / 2.0 } else { (1.0 - gc) / 2.0 };
        let total = 2.0 * self.pairs.iter().sum::<u32>() as f32;
        out.put((0..16).map(|pair| {
            let both = self.pairs[pair] + self.pairs[reverse_complement(pair, 2)];
            share(share(both as f32, total), expected(pair >> 2) * expected(pair & 3))
        }));
    }
}

/// Places of the words of one length, in the order of the lower of a word and its reverse complement.
fn places(length: usize) -> Vec<u16> {
    let words = 1 << (2 * length);
    let mut places = vec![0; words];
    let mut next = 0;
    for word in 0..words {
        let other = reverse_complement(word, length);
        if word <= other {
            (places[word], places[other]) = (next, next);
            next += 1;
        }
    }
    places
}

/// A word on the other strand.
fn reverse_complement(word: usize, length: usize) -> usize {
    (0..length).fold(0, |other, place| other << 2 | (3 - (word >> (2 * place) & 3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_their_other_strand_have_one_place() {
        for (length, number) in [(3, 32), (4, 136), (5, 512)] {
            let places = places(length);
            assert_eq!(usize::from(*places.iter().max().unwrap()) + 1, number);
        }
        assert_eq!(reverse_complement(0b00_01_10, 3), 0b01_10_11); // ACG, CGT
    }
}
