//! `bench`: what it measures, and what it says of it.

use crate::support::{Sandbox, mock};

const SHORT: [&str; 4] = ["--rounds", "2", "--round-seconds", "0.05"];

#[test]
fn both_encoders_of_a_bundle_are_told_in_words_and_in_json() {
    let sandbox = Sandbox::new();
    let run = |more: &[&str]| sandbox.run(&[&["bench", "--model", &mock()][..], &SHORT, more].concat()).ok().stdout;
    let words = run(&[]);
    for part in [
        "sequences of 100 tokens",
        "sequences of 168 tokens",
        "tokens per second",
        "lanes waiting for batches",
        "lanes waiting to write",
        "memory:",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let json: serde_json::Value = serde_json::from_str(&run(&["--json", "--tokens", "50"])).unwrap();
    assert_eq!(json["virnucpro"], env!("CARGO_PKG_VERSION"));
    let encoders = json["encoders"].as_array().unwrap();
    assert_eq!(encoders.len(), 2);
    for encoder in encoders {
        assert_eq!((&encoder["tokens"], encoder["rounds"].as_array().unwrap().len()), (&50.into(), 2));
        let round = &encoder["rounds"][0];
        assert!(round["tokens_per_s"].as_f64().unwrap() > 0.0 && round["threads"]["behind_s"].is_number(), "{round}");
        assert!(round["bare_flops"].is_null(), "a mock has no matrix products");
    }
}

#[cfg(feature = "torch")]
#[test]
fn a_shape_is_measured_without_its_weights_beside_its_bare_products() {
    let sandbox = Sandbox::new();
    for (shape, tokens) in [("esm2-8m", 168), ("dnabert-s", 100)] {
        let args = ["bench", "--shape", shape, "--layers", "1", "--threads", "2", "--json"];
        let json: serde_json::Value =
            serde_json::from_str(&sandbox.run(&[&args[..], &SHORT].concat()).ok().stdout).unwrap();
        let encoder = &json["encoders"][0];
        assert_eq!((&encoder["lanes"], &encoder["tokens"]), (&2.into(), &tokens.into()));
        for round in encoder["rounds"].as_array().unwrap() {
            let share = round["share"].as_f64().unwrap();
            assert!(share > 0.0 && share < 5.0, "{round}");
            assert_eq!((&round["copies"], &round["retries"]), (&0.into(), &0.into()));
        }
    }
}

#[test]
fn a_shape_that_is_not_known_is_told_with_those_that_are() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["bench", "--shape", "esm2-4b"]);
    ran.fails(64, "VN-USAGE");
    assert!(ran.stderr.contains("esm2-3b") && ran.stderr.contains("dnabert-s"), "{}", ran.stderr);
    sandbox.run(&["bench", "--layers", "3"]).fails(64, "VN-USAGE");
}
