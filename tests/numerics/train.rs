//! Training against PyTorch, and on data whose answer is known.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use virnucpro::runtime::progress::Progress;
use virnucpro::train::recipe::{Balance, Recipe};
use virnucpro::train::{Checkpoints, Member, Rows, Standard, Training, fit, weights};
use virnucpro::units::DeviceChoice;

use crate::support::{Sandbox, repository};

/// Fits members to rows of which each belongs to the fold of its number.
fn fitted(rows: &Rows, recipe: &Recipe, seed: u64, threads: usize) -> Vec<Member> {
    let sandbox = Sandbox::new();
    let folds: Vec<usize> = (0..rows.len()).map(|row| row % recipe.folds).collect();
    let standard = Standard::of(rows, &recipe.inputs);
    let training = Training {
        rows,
        standard: standard.as_ref(),
        weights: &weights(rows, recipe.balance),
        folds: &folds,
        recipe,
        seed,
        device: &DeviceChoice::Cpu,
        threads,
        checkpoints: Checkpoints {
            folder: sandbox.folder().to_owned(),
            interval: Duration::MAX,
            fingerprint: String::new(),
        },
    };
    fit(&training, &Progress::Silent.task("train", "rows", None)).unwrap()
}

/// Rows of two classes that differ in the first of `dim` inputs, as far as `apart` says.
fn toy(count: usize, dim: usize, apart: f32, label: impl Fn(usize) -> bool) -> Rows {
    let mut state = 5_u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let viral: Vec<bool> = (0..count).map(&label).collect();
    let mut rows = Rows::zeros(dim, viral, (0..count as u32).collect()).unwrap();
    for row in 0..count {
        let sign = if rows.viral[row] { apart } else { -apart };
        let values = rows.row_mut(row);
        values.iter_mut().for_each(|value| *value = unit());
        values[0] += sign;
    }
    rows
}

/// As a head computes: layers with ReLU between them, in f64.
fn logit(member: &Member, input: &[f32]) -> f64 {
    let mut x: Vec<f64> = input.iter().map(|value| f64::from(*value)).collect();
    for (number, layer) in member.layers.iter().enumerate() {
        let of = |output: usize| {
            let row = layer.weight[output * layer.inputs..].iter().zip(&x);
            row.map(|(weight, x)| f64::from(*weight) * x).sum::<f64>() + f64::from(layer.bias[output])
        };
        let is_hidden = number + 1 < member.layers.len();
        x = (0..layer.outputs).map(of).map(|y| if is_hidden { y.max(0.0) } else { y }).collect();
    }
    if let [others, virus] = x[..] { virus - others } else { x[0] }
}

#[test]
fn losses_are_those_of_pytorch_from_the_same_weights() {
    let folder = repository().join("tests/golden/train");
    let golden: Value = serde_json::from_str(&fs::read_to_string(folder.join("losses.json")).unwrap()).unwrap();
    let viral: Vec<bool> = golden["labels"].as_str().unwrap().bytes().map(|label| label == b'1').collect();
    let groups = (0..viral.len() as u32).collect();
    let mut rows = Rows::zeros(golden["width"].as_u64().unwrap() as usize, viral, groups).unwrap();
    let bytes = fs::read(folder.join("rows.f32")).unwrap();
    rows.values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    for (name, batch, epochs) in [("original", 32, 12), ("balanced", 64, 6)] {
        let recipe = Recipe { batch, epochs, folds: 5, members: 1, patience: None, ..Recipe::find(name).unwrap() };
        let members = fitted(&rows, &recipe, golden["seed"].as_u64().unwrap(), 1);
        let expected = golden[name].as_array().unwrap();
        assert_eq!(members[0].course.epochs.len(), expected.len());
        for (number, (found, expected)) in members[0].course.epochs.iter().zip(expected).enumerate() {
            for (found, expected) in [(found.loss, &expected[0]), (found.held_out_loss, &expected[1])] {
                let expected = expected.as_f64().unwrap();
                assert!((found - expected).abs() < 1e-4, "{name}, epoch {}: {found} {expected}", number + 1);
            }
        }
    }
}

#[test]
fn what_can_be_learnt_is_learnt_and_labels_that_mean_nothing_are_not() {
    let recipe = Recipe { hidden: vec![16], batch: 32, epochs: 10, ..Recipe::find("balanced").unwrap() };
    let auroc = |rows: &Rows| {
        let members = fitted(rows, &recipe, 1, 2);
        assert_eq!(members.len(), 5);
        let last = |member: &Member| member.course.epochs.last().unwrap().held_out_auroc.unwrap();
        members.iter().map(last).sum::<f64>() / 5.0
    };
    let learnt = auroc(&toy(500, 6, 0.5, |row| row % 3 == 0));
    assert!(learnt > 0.97, "{learnt}");
    let chance = auroc(&toy(500, 6, 0.0, |row| row % 3 == 0));
    assert!((0.35..0.65).contains(&chance), "{chance}");
}

#[test]
fn the_loss_falls_and_the_best_weights_are_kept() {
    let rows = toy(300, 4, 0.3, |row| row % 2 == 0);
    let mut recipe = Recipe { hidden: vec![32], epochs: 60, patience: Some(3), ..Recipe::find("original").unwrap() };
    recipe.rate.start = 0.05;
    let member = &fitted(&rows, &recipe, 3, 1)[0];
    let (epochs, kept) = (&member.course.epochs, member.course.kept);
    assert!(epochs.last().unwrap().loss < 0.8 * epochs[0].loss, "{epochs:?}");
    let least = epochs.iter().map(|epoch| epoch.held_out_loss).fold(f64::INFINITY, f64::min);
    assert_eq!(epochs[kept - 1].held_out_loss, least);
    assert!(kept < 60 && epochs.len() == (kept + 3).min(60), "{kept} of {}", epochs.len());
    // The logits are those of the weights that were kept, not of the last.
    let viral: Vec<bool> = member.held_out.iter().map(|row| rows.viral[*row]).collect();
    assert_eq!(virnucpro::train::measure::loss(&member.logits, &viral), least);
}

#[test]
fn folded_layers_give_the_logits_of_the_network() {
    let rows = toy(200, 5, 0.4, |row| row % 2 == 0);
    for (name, batch) in [("original", 16), ("balanced", 64)] {
        let recipe = Recipe { batch, epochs: 3, ..Recipe::find(name).unwrap() };
        let standard = Standard::of(&rows, &recipe.inputs);
        for member in fitted(&rows, &recipe, 5, 2) {
            for (row, expected) in member.held_out.iter().zip(&member.logits) {
                let input: Vec<f32> = match &standard {
                    Some(standard) => standard.apply(rows.row(*row)).collect(),
                    None => rows.row(*row).to_vec(),
                };
                let found = logit(&member, &input);
                assert!((found - f64::from(*expected)).abs() < 1e-5, "{name}, row {row}: {found} {expected}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads_and_another_seed_others() {
    let rows = toy(240, 8, 0.4, |row| row % 3 == 0);
    let recipe = Recipe {
        hidden: vec![32, 16],
        batch: 32,
        epochs: 2,
        balance: Balance { classes: true, groups: 0.5 },
        ..Recipe::find("balanced").unwrap()
    };
    let first = fitted(&rows, &recipe, 1, 1);
    assert_eq!(fitted(&rows, &recipe, 1, 3), first);
    assert_ne!(fitted(&rows, &recipe, 2, 1), first);
}
