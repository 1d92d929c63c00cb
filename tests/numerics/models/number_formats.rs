//! bf16 and f16 against f32: vectors point the same way.
//!
//! Shifts of scores are printed and bounded for f16 only: the tiny head turns a relative error of 1.5 % in a vector into up to
//! 0.05 in a score, which a trained one does not. Scores are those of all pairs of stored records.

use tch::{Device, Kind};
use virnucpro::device::Placement;
use virnucpro::model::{Encoder, Head};
use virnucpro::pack::TokenBatch;

use super::{dnabert, esm2, head};

/// Tokens from which on bf16 has a bound: the roundings of fewer hardly cancel in their mean.
const LONG_TOKENS: usize = 32;

/// What half the bits cost.
struct Cost {
    /// Lowest cosines of ESM-2 and DNABERT-S, over records of `LONG_TOKENS` and more, and over all.
    long: [f64; 2],
    all: [f64; 2],
    /// Shifts of the virus score, ascending.
    shifts: Vec<f32>,
}

impl Cost {
    fn of(kind: Kind) -> Self {
        let compute = Placement { device: Device::Cpu, kind };
        let (esm, dna) = (esm_batch(), dnabert_batch());
        let esm_exact = esm2::published().embed(&esm).unwrap();
        let dna_exact = dnabert::published().embed(&dna).unwrap();
        let esm_rounded = esm2::load(&esm2::weights(), &esm2::config(), &compute).embed(&esm).unwrap();
        let dna_rounded = dnabert::load(&dnabert::weights(), &dnabert::config(), &compute).embed(&dna).unwrap();
        assert!(esm_rounded != esm_exact && dna_rounded != dna_exact, "{kind:?} was not used");
        let (exact, rounded) = (virus_scores(&dna_exact, &esm_exact), virus_scores(&dna_rounded, &esm_rounded));
        let mut shifts: Vec<f32> = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).collect();
        shifts.sort_by(f32::total_cmp);
        let lowest = |least: usize| {
            let esm = lowest_cosine(&esm, least, [&esm_exact, &esm_rounded]);
            [esm, lowest_cosine(&dna, least, [&dna_exact, &dna_rounded])]
        };
        let cost = Self { long: lowest(LONG_TOKENS), all: lowest(0), shifts };
        let [median, most, all] = [0.5, 0.95, 1.0].map(|part| cost.shift(part));
        println!(
            "{kind:?}: lowest cosines of ESM-2 and DNABERT-S {:.6?}, from {LONG_TOKENS} tokens on {:.6?}; shift of a \
             score {median:.1e} (median), {most:.1e} (95 %), {all:.1e} (all of {})",
            cost.all,
            cost.long,
            cost.shifts.len()
        );
        cost
    }

    /// The shift that this part of the scores stays below.
    fn shift(&self, part: f64) -> f32 {
        self.shifts[((self.shifts.len() - 1) as f64 * part) as usize]
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Of the sequences of `batch` with at least so many tokens.
fn lowest_cosine(batch: &TokenBatch, least: usize, [a, b]: [&[f32]; 2]) -> f64 {
    let dim = a.len() / batch.len();
    let pairs = (0..batch.len()).zip(a.chunks(dim).zip(b.chunks(dim)));
    let long = pairs.filter(|(i, _)| batch.sequence(*i).len() >= least);
    long.map(|(_, (a, b))| cosine(a, b)).fold(1.0, f64::min)
}

fn esm_batch() -> TokenBatch {
    let vectors = esm2::vectors();
    TokenBatch::of(esm2::pooled_records(&vectors).iter().map(|record| vectors.ids(&format!("tokens/{record}"))))
}

fn dnabert_batch() -> TokenBatch {
    let vectors = dnabert::vectors();
    TokenBatch::of(vectors.records("pooled").iter().map(|record| vectors.ids(&format!("tokens/{record}"))))
}

/// Scores of every nucleotide vector beside every protein vector.
fn virus_scores(dna: &[f32], esm: &[f32]) -> Vec<f32> {
    let beside = |dna: &[f32]| -> Vec<f32> { esm.chunks(esm2::DIM).flat_map(|esm| [dna, esm].concat()).collect() };
    let merged: Vec<f32> = dna.chunks(dnabert::DIM).flat_map(beside).collect();
    let scores = head::load(&head::weights()).score(&merged).unwrap();
    scores.iter().map(|score| score.virus).collect()
}

#[test]
fn bf16_keeps_vectors() {
    let cost = Cost::of(Kind::BFloat16);
    assert!(cost.long.iter().all(|&cosine| cosine >= 0.999) && cost.all.iter().all(|&cosine| cosine >= 0.995));
}

#[test]
fn f16_keeps_vectors_and_scores() {
    let cost = Cost::of(Kind::Half);
    assert!(cost.all.iter().all(|&cosine| cosine >= 0.99999));
    assert!(cost.shift(0.5) <= 1e-3 && cost.shift(1.0) <= 5e-3);
}
