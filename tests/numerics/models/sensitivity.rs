//! Would the tolerances notice a mistake? Each test makes one and wants a difference well above them.

use virnucpro::device::Placement;
use virnucpro::model::{Encoder, Head};
use virnucpro::pack::TokenBatch;

use super::stored::Stored;
use super::{POOLED_TOLERANCE, SCORE_TOLERANCE, distance, dnabert, esm2, head};

const ESM_RECORDS: [&str; 5] = ["rand_7", "rand_33", "rand_100", "rand_1022", "XBUZO"];
const DNABERT_RECORDS: [&str; 4] = ["len_3", "len_33", "len_300", "tiny_var"];

fn mean(rows: &[f32], dim: usize) -> Vec<f32> {
    let count = (rows.len() / dim) as f32;
    (0..dim).map(|column| rows.iter().skip(column).step_by(dim).sum::<f32>() / count).collect()
}

/// Distance of each record from its stored vector.
fn esm_distances(model: &dyn Encoder) -> Vec<f32> {
    let vectors = esm2::vectors();
    let distance_of = |record: &&str| {
        let found = model.embed(&TokenBatch::of([vectors.ids(&format!("tokens/{record}"))])).unwrap();
        distance(&found, &vectors.floats(&format!("pooled_alone/{record}")))
    };
    ESM_RECORDS.iter().map(distance_of).collect()
}

fn dnabert_distances(model: &dyn Encoder) -> Vec<f32> {
    let vectors = dnabert::vectors();
    let distance_of = |record: &&str| {
        let found = model.embed(&TokenBatch::of([vectors.ids(&format!("tokens/{record}"))])).unwrap();
        distance(&found, &vectors.floats(&format!("pooled/{record}")))
    };
    DNABERT_RECORDS.iter().map(distance_of).collect()
}

fn all_exceed(distances: &[f32], factor: f32) {
    assert!(distances.iter().all(|&distance| distance > factor * POOLED_TOLERANCE), "{distances:?}");
}

fn esm_of(weights: &Stored) -> impl Encoder + use<> {
    esm2::load(weights, &esm2::config(), &Placement::CPU)
}

fn dnabert_of(weights: &Stored) -> impl Encoder + use<> {
    dnabert::load(weights, &dnabert::config(), &Placement::CPU)
}

fn inv_freq(layer: usize) -> String {
    format!("encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq")
}

/// 10000^(-2i/K) in f32, as a careless loader would compute it.
fn recompute(frequencies: &mut Vec<f32>) {
    let count = frequencies.len();
    *frequencies = (0..count).map(|i| 10000f32.powf(-(i as f32) / count as f32)).collect();
}

#[test]
fn esm_layer_norm_eps() {
    let config = virnucpro::model::esm2::Config { layer_norm_eps: 1e-12, ..esm2::config() };
    all_exceed(&esm_distances(&esm2::load(&esm2::weights(), &config, &Placement::CPU)), 100.0);
}

#[test]
fn esm_token_dropout() {
    // Embeddings that are larger by what the model takes off come out as if nothing was taken off.
    let unscaled = |values: &mut Vec<f32>| values.iter_mut().for_each(|value| *value /= 0.88);
    let altered = esm2::weights().alter("embeddings.word_embeddings.weight", unscaled);
    all_exceed(&esm_distances(&esm_of(&altered)), 1000.0);
}

#[test]
fn esm_recomputed_frequencies() {
    let altered = (0..esm2::LAYERS).fold(esm2::weights(), |all, layer| all.alter(&inv_freq(layer), recompute));
    all_exceed(&esm_distances(&esm_of(&altered)), 5.0);
}

#[test]
fn esm_recomputed_frequencies_of_a_single_layer() {
    let clean = esm_distances(&esm_of(&esm2::weights()));
    for layer in 0..esm2::LAYERS {
        let altered = esm_distances(&esm_of(&esm2::weights().alter(&inv_freq(layer), recompute)));
        // The longest record shows it best.
        let longest = ESM_RECORDS.iter().position(|&record| record == "rand_1022").unwrap();
        assert!(clean[longest] <= POOLED_TOLERANCE && altered[longest] > POOLED_TOLERANCE, "{layer}: {altered:?}");
    }
}

#[test]
fn esm_special_tokens_in_the_mean() {
    let (model, vectors) = (esm2::published(), esm2::vectors());
    for record in ["rand_1", "rand_33", "rand_166"] {
        let rows = esm2::represent(&model, &vectors.ids(&format!("tokens/{record}")));
        let stored = vectors.floats(&format!("pooled_alone/{record}"));
        let last = rows.len() - esm2::DIM;
        assert!(distance(&mean(&rows[esm2::DIM..last], esm2::DIM), &stored) <= POOLED_TOLERANCE, "{record}");
        for wrong in [&rows[..], &rows[..last], &rows[esm2::DIM..]] {
            assert!(distance(&mean(wrong, esm2::DIM), &stored) > 100.0 * POOLED_TOLERANCE, "{record}");
        }
    }
}

#[test]
fn esm_all_residues_in_the_mean_of_a_long_protein() {
    let (model, vectors) = (esm2::published(), esm2::vectors());
    let rows = esm2::represent(&model, &vectors.ids("tokens/rand_1100"));
    let all = mean(&rows[esm2::DIM..rows.len() - esm2::DIM], esm2::DIM);
    assert!(distance(&all, &vectors.floats("pooled_alone/rand_1100")) > 10.0 * POOLED_TOLERANCE);
}

#[test]
fn dnabert_layer_norm_eps() {
    let config = virnucpro::model::dnabert::Config { layer_norm_eps: 1e-5, ..dnabert::config() };
    let distances = dnabert_distances(&dnabert::load(&dnabert::weights(), &config, &Placement::CPU));
    let telling = DNABERT_RECORDS.iter().position(|&record| record == "tiny_var").unwrap();
    assert!(distances[telling] > 1000.0 * POOLED_TOLERANCE, "{distances:?}");
}

#[test]
fn dnabert_special_tokens_out_of_the_mean() {
    let (model, vectors) = (dnabert::published(), dnabert::vectors());
    for record in DNABERT_RECORDS.into_iter().filter(|&record| record != "len_3") {
        let rows = dnabert::represent(&model, &vectors.ids(&format!("tokens/{record}")));
        let stored = vectors.floats(&format!("pooled/{record}"));
        let last = rows.len() - dnabert::DIM;
        assert!(distance(&mean(&rows, dnabert::DIM), &stored) <= POOLED_TOLERANCE, "{record}");
        for wrong in [&rows[dnabert::DIM..], &rows[..last], &rows[dnabert::DIM..last]] {
            assert!(distance(&mean(wrong, dnabert::DIM), &stored) > 50.0 * POOLED_TOLERANCE, "{record}");
        }
    }
}

#[test]
fn dnabert_halves_of_the_gated_unit_swapped() {
    let swapped = (0..3).fold(dnabert::weights(), |all, layer| {
        all.alter(&format!("encoder.layer.{layer}.mlp.gated_layers.weight"), |values| {
            let half = values.len() / 2;
            values.rotate_left(half);
        })
    });
    all_exceed(&dnabert_distances(&dnabert_of(&swapped)), 1000.0);
}

#[test]
fn dnabert_without_token_type() {
    let altered = dnabert::weights().alter("embeddings.token_type_embeddings.weight", |values| values.fill(0.0));
    all_exceed(&dnabert_distances(&dnabert_of(&altered)), 1000.0);
}

#[test]
fn head_statistics_of_training() {
    let vectors = head::vectors();
    let (x, stored) = (vectors.floats("tiny/x"), vectors.floats("tiny/probs"));
    let wrong_eps = |values: &mut Vec<f32>| values.iter_mut().for_each(|variance| *variance += 1e-3 - 1e-5);
    for altered in [
        head::weights().alter("bn1.running_var", wrong_eps),
        head::weights().alter("bn1.running_var", |values| values.fill(1.0)),
        head::weights().alter("bn1.running_mean", |values| values.fill(0.0)),
    ] {
        let scores = head::flat(&head::load(&altered).score(&x).unwrap());
        assert!(distance(&scores, &stored) > 10.0 * SCORE_TOLERANCE);
    }
}
