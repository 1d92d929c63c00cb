//! bf16 and f16 against f32: vectors point the same way, scores hardly move.
//!
//! The tiny head turns a relative error of 1.5 % in a vector into up to 0.05 in a score: it notices more than a
//! trained one. Scores are those of all pairs of stored records.

use tch::{Device, Kind};
use virnucpro::device::Placement;
use virnucpro::model::{Encoder, Head};
use virnucpro::pack::TokenBatch;

use super::{dnabert, esm2, head};

/// What half the bits cost.
struct Cost {
    esm_cosine: f64,
    dna_cosine: f64,
    /// Shifts of the virus score, ascending.
    shifts: Vec<f32>,
}

impl Cost {
    fn of(kind: Kind) -> Self {
        let compute = Placement { device: Device::Cpu, kind };
        let (esm, dna) = (esm_batch(), dnabert_batch());
        let esm_exact = esm2::published().embed(&esm).unwrap();
        let dna_exact = dnabert::published().embed(&dna).unwrap();
        let esm = esm2::load(&esm2::weights(), &esm2::config(), &compute).embed(&esm).unwrap();
        let dna = dnabert::load(&dnabert::weights(), &dnabert::config(), &compute).embed(&dna).unwrap();
        // bf16 spares DNABERT-S.
        assert!(esm != esm_exact && (dna != dna_exact || kind == Kind::BFloat16), "{kind:?} was not used");
        let (exact, rounded) = (virus_scores(&dna_exact, &esm_exact), virus_scores(&dna, &esm));
        let mut shifts: Vec<f32> = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).collect();
        shifts.sort_by(f32::total_cmp);
        let cost = Self {
            esm_cosine: lowest_cosine(&esm_exact, &esm, esm2::DIM),
            dna_cosine: lowest_cosine(&dna_exact, &dna, dnabert::DIM),
            shifts,
        };
        let [median, most, all] = [0.5, 0.95, 1.0].map(|part| cost.shift(part));
        println!(
            "{kind:?}: lowest cosine ESM-2 {:.6}, DNABERT-S {:.6}; shift of a score {median:.1e} (median), \
             {most:.1e} (95 %), {all:.1e} (all of {})",
            cost.esm_cosine,
            cost.dna_cosine,
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

fn lowest_cosine(a: &[f32], b: &[f32], dim: usize) -> f64 {
    a.chunks(dim).zip(b.chunks(dim)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min)
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
fn bf16_keeps_vectors_and_scores() {
    let cost = Cost::of(Kind::BFloat16);
    assert!(cost.esm_cosine >= 0.999 && cost.dna_cosine >= 0.999);
    assert!(cost.shift(0.5) <= 1e-3 && cost.shift(1.0) <= 5e-3);
}

#[test]
fn f16_keeps_vectors_and_scores() {
    let cost = Cost::of(Kind::Half);
    assert!(cost.esm_cosine >= 0.99999 && cost.dna_cosine >= 0.99999);
    assert!(cost.shift(0.5) <= 1e-3 && cost.shift(1.0) <= 5e-3);
}
