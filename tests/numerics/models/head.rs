//! The head against torch.nn.

use virnucpro::error::Fault;
use virnucpro::model::classifier::Classifier;
use virnucpro::model::{Head, Score};

use super::stored::{Stored, golden};
use super::{SCORE_TOLERANCE, distance};
use crate::support::shared;

pub const DIM: usize = 112;

/// The tiny head under the names of a bundle.
pub fn weights() -> Stored {
    without_counter(Stored::read(&golden("mlp/tiny_model_state.safetensors")))
}

pub fn load(weights: &Stored) -> Classifier {
    Classifier::load(&weights.file()).unwrap()
}

pub fn vectors() -> Stored {
    Stored::read(&golden("mlp/mlp_golden.safetensors"))
}

pub fn flat(scores: &[Score]) -> Vec<f32> {
    scores.iter().flat_map(|score| [score.others, score.virus]).collect()
}

fn without_counter(weights: Stored) -> Stored {
    weights.without("bn1.num_batches_tracked")
}

fn agrees(head: &Classifier, model: &str) {
    let vectors = vectors();
    let x = vectors.floats(&format!("{model}/x"));
    let scores = head.score(&x).unwrap();
    let worst = distance(&flat(&scores), &vectors.floats(&format!("{model}/probs")));
    assert!(worst <= SCORE_TOLERANCE, "{worst}");
    let labels: Vec<i64> = scores.iter().map(|score| i64::from(score.virus > score.others)).collect();
    assert_eq!(labels, vectors.integers(&format!("{model}/argmax")));
    for (row, score) in x.chunks(head.dim()).zip(&scores) {
        let alone = head.score(row).unwrap();
        assert!(distance(&flat(&alone), &[score.others, score.virus]) <= SCORE_TOLERANCE);
        assert!((score.others + score.virus - 1.0).abs() <= 1e-6);
    }
}

#[test]
fn scores_agree() {
    let head = load(&weights());
    assert_eq!(head.dim(), DIM);
    agrees(&head, "tiny");
}

#[test]
fn scores_of_a_head_of_full_size_agree() {
    if let Some(path) = shared("golden/mlp/500_model_state.safetensors") {
        let head = load(&without_counter(Stored::read(&path)));
        assert_eq!(head.dim(), 3328);
        agrees(&head, "500");
    }
}

#[test]
fn vectors_of_another_width_are_refused() {
    let head = load(&weights());
    assert_eq!(head.score(&[0.0; DIM + 1]).unwrap_err().fault(), Fault::ModelMismatch);
    assert_eq!(head.score(&[]).unwrap(), []);
}

#[test]
fn a_head_that_does_not_fit_together_is_refused() {
    let fault = |weights: Stored| Classifier::load(&weights.file()).map(|_| ()).unwrap_err().fault();
    let tiny = weights();
    assert_eq!(fault(tiny.clone().without("bn1.running_mean")), Fault::ModelTensors);
    assert_eq!(fault(Stored::read(&golden("mlp/tiny_model_state.safetensors"))), Fault::ModelTensors);
    assert_eq!(fault(tiny.clone().alter("bn1.running_var", |values| values[3] = -1.0)), Fault::ModelNonFinite);
    assert_eq!(fault(tiny.clone().alter("bn1.bias", |values| values[0] = f32::NAN)), Fault::ModelNonFinite);
    let swapped = tiny.rename(|name| {
        Some(match name {
            "hidden_layer.bias" => "output_layer.bias".to_owned(),
            "output_layer.bias" => "hidden_layer.bias".to_owned(),
            other => other.to_owned(),
        })
    });
    assert_eq!(fault(swapped), Fault::ModelShape);
}
