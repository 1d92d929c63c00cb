//! Bases, pairs and triplets of a window, both strands together.

use super::{Out, entropy, share};
use crate::seq::base::NO_BASE;

/// Counts of the words of one, two and three bases as they stand.
pub struct Words {
    /// A, C, G, T.
    bases: [u32; 4],
    pairs: [u32; 16],
    triplets: [u32; 64],
}

impl Words {
    /// With nothing counted.
    pub fn new() -> Self {
        Self { bases: [0; 4], pairs: [0; 16], triplets: [0; 64] }
    }

    /// Counts the words of a window, by the numbers of its bases.
    pub fn count(&mut self, bases: &[u8]) {
        *self = Self::new();
        let (mut code, mut valid) = (0, 0);
        for &base in bases {
            if base == NO_BASE {
                valid = 0;
                continue;
            }
            valid += 1;
            code = (code << 2 | usize::from(base)) & 63;
            self.bases[usize::from(base)] += 1;
            if valid >= 2 {
                self.pairs[code & 15] += 1;
            }
            if valid >= 3 {
                self.triplets[code] += 1;
            }
        }
    }

    /// A, C, G, T.
    pub fn bases(&self) -> [f32; 4] {
        self.bases.map(|count| count as f32)
    }

    /// Entropy of the words of three bases, a word and its reverse complement as one, in nats.
    pub fn entropy(&self) -> f32 {
        let canonical = (0..64).filter(|&word| word < reverse_complement(word, 3));
        let both = |word| (self.triplets[word] + self.triplets[reverse_complement(word, 3)]) as f32;
        entropy(&canonical.map(both).collect::<Vec<_>>())
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

/// A word on the other strand.
fn reverse_complement(word: usize, length: usize) -> usize {
    (0..length).fold(0, |other, place| other << 2 | (3 - (word >> (2 * place) & 3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_on_the_other_strand_is_read_backwards_with_complements() {
        assert_eq!(reverse_complement(0b00_01_10, 3), 0b01_10_11); // ACG, CGT
        assert_eq!((0..64).filter(|&word| word == reverse_complement(word, 3)).count(), 0);
    }
}
