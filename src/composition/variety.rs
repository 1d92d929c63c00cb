//! How varied the words of a window are: repeats, inverted repeats, palindromes and stretches of low complexity.

use super::{Out, entropy, share};
use crate::seq::base::NO_BASE;

/// Lengths of words.
const LENGTHS: [usize; 4] = [4, 6, 8, 10];
/// Bases of a stretch whose complexity is measured, as in DUST.
const STRETCH: usize = 64;

/// The words of a window that were seen, in buffers that are used again.
#[derive(Default)]
pub struct Variety {
    /// Each with its reverse complement.
    words: Vec<(usize, usize)>,
    /// A bit per word.
    seen: Vec<u64>,
}

impl Variety {
    /// Fills 13 features of a window, by the numbers of its bases: for each length of words the share of different ones, and of
    /// those whose reverse complement occurs; palindromes of four and of six bases over what chance lets expect; entropy of
    /// words of four; the lowest and the mean complexity of stretches.
    pub(super) fn measure(&mut self, bases: &[u8], out: &mut Out<'_>) {
        for length in LENGTHS {
            self.read(bases, length);
            let total = self.words.len() as f32;
            let [different, inverted] = self.repeats();
            out.put([share(different as f32, total), share(inverted as f32, total)]);
            if length < 8 {
                let palindromes = self.words.iter().filter(|(word, other)| word == other).count();
                out.put([share(palindromes as f32, total) * (1 << length) as f32]);
            }
            if length == 4 {
                out.put([self.entropy_of_fours()]);
            }
        }
        out.put(complexity(bases));
    }

    /// All words of one length, overlapping.
    fn read(&mut self, bases: &[u8], length: usize) {
        self.words.clear();
        let (mut word, mut other, mut valid) = (0, 0, 0);
        for &base in bases {
            valid = if base == NO_BASE { 0 } else { valid + 1 };
            let base = usize::from(base & 3);
            word = (word << 2 | base) & ((1 << (2 * length)) - 1);
            other = other >> 2 | (3 - base) << (2 * length - 2);
            if valid >= length {
                self.words.push((word, other));
            }
        }
    }

    /// How many of the words that were read are different, and of how many the reverse complement was read too.
    fn repeats(&mut self) -> [usize; 2] {
        self.seen.resize(1 << (2 * LENGTHS[3] - 6), 0);
        let mut different = 0;
        for &(word, _) in &self.words {
            let bits = &mut self.seen[word >> 6];
            different += usize::from(*bits >> (word & 63) & 1 == 0);
            *bits |= 1 << (word & 63);
        }
        let is_seen = |word: usize| self.seen[word >> 6] >> (word & 63) & 1 == 1;
        let inverted = self.words.iter().filter(|(_, other)| is_seen(*other)).count();
        self.words.iter().for_each(|(word, _)| self.seen[word >> 6] = 0);
        [different, inverted]
    }

    fn entropy_of_fours(&self) -> f32 {
        let mut counts = [0.0; 256];
        for &(word, other) in &self.words {
            counts[word] += 1.0;
            counts[other] += 1.0;
        }
        entropy(&counts)
    }
}

/// The highest and the mean score of DUST over stretches: pairs of equal triplets per triplet. A shorter window is one stretch.
fn complexity(bases: &[u8]) -> [f32; 2] {
    let mut code = 0;
    let mut valid = 0;
    let triplet = |&base: &u8| {
        valid = if base == NO_BASE { 0 } else { valid + 1 };
        code = (code << 2 | usize::from(base & 3)) & 63;
        (valid >= 3).then_some(code)
    };
    // The first two end before a triplet is whole.
    let found: Vec<Option<usize>> = bases.iter().map(triplet).skip(2).collect();
    let in_stretch = STRETCH - 2;
    let (mut counts, mut pairs, mut highest, mut sum, mut stretches) = ([0_u32; 64], 0, 0, 0, 0);
    for (place, code) in found.iter().enumerate() {
        if let Some(&Some(code)) = place.checked_sub(in_stretch).map(|first| &found[first]) {
            counts[code] -= 1;
            pairs -= counts[code];
        }
        if let Some(code) = *code {
            pairs += counts[code];
            counts[code] += 1;
        }
        if place + 1 >= in_stretch || place + 1 == found.len() {
            highest = highest.max(pairs);
            sum += pairs;
            stretches += 1;
        }
    }
    let scale = (in_stretch - 1) as f32;
    [highest as f32 / scale, share(sum as f32, stretches as f32) / scale]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::base::number;

    fn measured(window: &str) -> [f32; 13] {
        let bases: Vec<u8> = window.bytes().map(number).collect();
        let mut features = [f32::NAN; 13];
        Variety::default().measure(&bases, &mut Out { features: &mut features });
        features
    }

    #[test]
    fn repeats_make_words_alike_and_complexity_low() {
        let repeat = measured(&"ACG".repeat(40));
        assert_eq!(repeat[0], 3.0 / 117.0);
        assert_eq!(repeat[4], 3.0 / 115.0);
        assert!(repeat[11] > 9.0, "{repeat:?}");
        assert_eq!(repeat[11], repeat[12]);
    }

    #[test]
    fn a_palindrome_is_its_own_inverted_repeat() {
        assert_eq!(measured("GAATTC")[..4], [1.0, 1.0, 16.0 / 3.0, measured("GAATTC")[3]]);
        assert_eq!(measured("GAATTC")[6], 64.0);
        assert_eq!(measured("AAAAAA")[1], 0.0);
    }

    #[test]
    fn other_letters_break_words() {
        assert_eq!(measured("ACGNACGNACGN")[..11], [0.0; 11]);
    }
}
