//! What a window is made of, as numbers: the features that the family `composition` has in the place of a language model's
//! vector. They need no weights and no libtorch.
//!
//! | features | |
//! |---|---|
//! | 30 | runs and stops of the six frames, bases of the window, the longest run and its three codon positions (`shape.rs`) |
//! | 25 | other runs relative to the longest; how much the three codon positions differ; autocorrelations (`rhythm.rs`) |
//! | 16 | odds of two neighbouring bases (`words.rs`) |
//! | 13 | repeats, inverted repeats, palindromes and complexity (`variety.rs`) |
//! | 84 | codons and amino acids of the longest run (`coding.rs`) |
//! | 6 | bias of its codons |
//! | 128 | its words of three bases across codons |
//! | 192 | its pairs of classes of amino acids, two to four residues apart |
//!
//! All but ties do not depend on the strand. Letters other than A, C, G, T break words and codons, and are not counted.
//! Frequencies of words of 3 to 5 bases and of dipeptides are left out on purpose: with them a head does worse on genera that
//! it has not seen.

mod coding;
mod rhythm;
mod shape;
mod variety;
mod words;

use crate::seq::Strand;
use crate::seq::base::{self, Codons, NO_BASE};
use crate::seq::run::Runs;
use coding::Coding;
use variety::Variety;
use words::Words;

/// Number of features.
pub const FEATURES: usize = 494;

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
    variety: Variety,
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
        Self {
            bases: Vec::new(),
            codons: Codons::default(),
            words: Words::new(),
            variety: Variety::default(),
            coding: Coding::new(),
        }
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
        self.coding.read(&self.bases, &self.codons, run);
        let mut out = Out { features: features.as_mut_slice() };
        shape::shape(&self.bases, &runs, &self.words, &self.coding, &mut out);
        rhythm::place(self.bases.len(), &runs, run, &mut out);
        rhythm::periodicity(&self.bases, run, &mut out);
        rhythm::autocorrelations(&self.bases, &mut out);
        self.words.odds(&mut out);
        self.variety.measure(&self.bases, &mut out);
        self.coding.frequencies(&mut out);
        self.coding.bias(&mut out);
        self.coding.across_codons(&mut out);
        self.coding.pairs(&mut out);
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

/// Entropy of what was counted, in nats; 0 of nothing.
fn entropy(counts: &[f32]) -> f32 {
    let total: f32 = counts.iter().sum();
    counts
        .iter()
        .filter(|count| **count > 0.0)
        .map(|count| -(count / total) * (count / total).ln())
        .fold(0.0, std::ops::Add::add)
}

/// The numbers of the bases of a window, in the order of a strand.
fn on_strand(bases: &[u8], strand: Strand) -> impl Iterator<Item = u8> + '_ {
    let last = bases.len().wrapping_sub(1);
    (0..bases.len()).map(move |place| match strand {
        Strand::Forward => bases[place],
        Strand::Reverse if bases[last - place] == NO_BASE => NO_BASE,
        Strand::Reverse => 3 - bases[last - place],
    })
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
            assert!(found[30..].iter().all(|value| *value == 0.0), "{}", window.len());
        }
    }
}
