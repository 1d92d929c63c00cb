//! bf16 against f32: vectors point the same way, and scores hardly move.

use tch::{Device, Kind};
use virnucpro::model::{Encoder, Head};
use virnucpro::pack::TokenBatch;
use virnucpro::runtime::device::Compute;

use crate::{distance, dnabert, esm2, head};

const BF16: Compute = Compute { device: Device::Cpu, kind: Kind::BFloat16 };
const COSINE: f64 = 0.999;
const SCORE_SHIFT: f32 = 5e-3;

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

#[test]
fn bf16_vectors_and_scores_stay_close_to_f32() {
    let (esm, dna) = (esm_batch(), dnabert_batch());
    let esm_f32 = esm2::published().embed(&esm).unwrap();
    let esm_bf16 = esm2::load(&esm2::checkpoint(), &esm2::config(), &BF16).embed(&esm).unwrap();
    let dna_f32 = dnabert::published().embed(&dna).unwrap();
    let dna_bf16 = dnabert::load(&dnabert::checkpoint(), &dnabert::config(), &BF16).embed(&dna).unwrap();
    let esm_cosine = lowest_cosine(&esm_f32, &esm_bf16, esm2::DIM);
    let dna_cosine = lowest_cosine(&dna_f32, &dna_bf16, dnabert::DIM);
    println!("lowest cosine: ESM-2 {esm_cosine:.6}, DNABERT-S {dna_cosine:.6}");

    // Every nucleotide vector beside every protein vector.
    let merged = |dna: &[f32], esm: &[f32]| -> Vec<f32> {
        let beside = |dna: &[f32]| -> Vec<f32> { esm.chunks(esm2::DIM).flat_map(|esm| [dna, esm].concat()).collect() };
        dna.chunks(dnabert::DIM).flat_map(beside).collect()
    };
    let head = head::load(&head::checkpoint());
    let scores = |vectors: Vec<f32>| head::flat(&head.score(&vectors).unwrap());
    let shift = distance(&scores(merged(&dna_f32, &esm_f32)), &scores(merged(&dna_bf16, &esm_bf16)));
    println!("largest shift of a score: {shift:.2e} in {} pairs", dna.len() * esm.len());

    assert!(esm_f32 != esm_bf16 && dna_f32 != dna_bf16, "bf16 was not used");
    assert!(esm_cosine >= COSINE && dna_cosine >= COSINE);
    assert!(shift <= SCORE_SHIFT);
}
