//! What a window is made of, as numbers: the features that the family `composition` has in the place of a language model's
//! vector. They need no weights and no libtorch.
//!
//! | features | |
//! |---|---|
//! | 680 | frequencies of words of 3, 4 and 5 bases, a word and its reverse complement as one (`words.rs`) |
//! | 30 | runs and stops of the six frames, bases of the window, the longest run and its three codon positions (`shape.rs`) |
//! | 484 | codons, amino acids and dipeptides of the longest run (`coding.rs`) |
//! | 16 | odds of two neighbouring bases (`words.rs`) |
//!
//! All but ties do not depend on the strand. Letters other than A, C, G, T break words and codons, and are not counted.

mod coding;
mod shape;
mod words;

use crate::seq::base::{self, Codons};
use crate::seq::run::Runs;
use coding::Coding;
use words::Words;

/// Number of features.
pub const FEATURES: usize = 1210;

/// Computes features of one window after the other in buffers that are used again.
///
/// ```
/// use virnucpro::composition::{FEATURES, Features};
///
/// let mut features = [0.0; FEATURES];
/// Features::new().of(b"ATGGCCTAA", &mut features);
/// assert!(features.iter().all(|value| value.is_finite()));
/// ```
pub struct Features {
    bases: Vec<u8>,
    codons: Codons,
    words: Words,
    coding: Coding,
}

impl Default for Features {
    fn default() -> Self {
        Self::new()
    }
}

impl Features {
    /// With empty buffers.
    pub fn new() -> Self {
        Self { bases: Vec::new(), codons: Codons::default(), words: Words::new(), coding: Coding::new() }
    }

    /// The features of a window, before standardisation.
    pub fn of(&mut self, window: &[u8], features: &mut [f32; FEATURES]) {
        self.of_bases(window.iter().copied().map(base::number), features);
    }

    /// The same, of the numbers of its bases.
    pub fn of_bases(&mut self, bases: impl Iterator<Item = u8>, features: &mut [f32; FEATURES]) {
        self.bases.clear();
        self.bases.extend(bases);
        self.codons.read(self.bases.iter().copied());
        self.words.count(&self.bases);
        let runs = Runs::of(&self.codons);
        let run = runs.longest_of_all();
        self.coding.count(&self.codons, run);
        let mut out = Out { features: features.as_mut_slice() };
        self.words.frequencies(&mut out);
        shape::shape(&self.bases, &runs, &self.words, &self.coding, &mut out);
        self.coding.frequencies(&mut out);
        self.words.odds(&mut out);
    }
}

/// What is left to fill.
struct Out<'a> {
    features: &'a mut [f32],
}

impl Out<'_> {
    /// Fills the next ones.
    fn put(&mut self, values: impl IntoIterator<Item = f32>) {
        let mut filled = 0;
        for (place, value) in self.features.iter_mut().zip(values) {
            *place = value;
            filled += 1;
        }
        self.features = &mut std::mem::take(&mut self.features)[filled..];
    }
}

/// A part of a whole; 0 of nothing.
fn share(part: f32, whole: f32) -> f32 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::codon::reverse_complement;
    use proptest::prelude::*;

    fn features(window: &[u8]) -> Vec<f32> {
        let mut features = [f32::NAN; FEATURES];
        Features::new().of(window, &mut features);
        features.to_vec()
    }

    proptest! {
        #[test]
        fn every_feature_is_filled_and_a_buffer_used_again_changes_nothing(
            first in "[ACGTN]{0,600}", second in "[acgtnRY]{0,600}",
        ) {
            let mut used = Features::new();
            for window in [&first, &second, &first] {
                let mut again = [f32::NAN; FEATURES];
                used.of(window.as_bytes(), &mut again);
                prop_assert!(again.iter().all(|value| value.is_finite()));
                prop_assert_eq!(&again[..], &features(window.as_bytes())[..]);
            }
        }

        #[test]
        fn the_other_strand_has_the_same_features(window in "[ACGT]{60,200}") {
            let runs = Runs::of(&Codons::of(window.as_bytes()));
            let most = runs.longest_of_all().unwrap().codons;
            prop_assume!(runs.longest.iter().filter(|run| run.codons == most).count() == 1);
            let mut reverse = Vec::new();
            reverse_complement(window.as_bytes(), &mut reverse);
            for (a, b) in features(window.as_bytes()).iter().zip(features(&reverse)) {
                prop_assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_window_without_bases_has_no_words_and_codes_for_nothing() {
        for window in [&b""[..], b"NNNNNNNN", b"-"] {
            let found = features(window);
            assert!(found[..680].iter().chain(&found[710..]).all(|value| *value == 0.0), "{}", window.len());
        }
    }
}
