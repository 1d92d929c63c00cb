//! `bench`: what it measures, and what it says of it.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Ran, Sandbox, mock, send};

const SHORT: [&str; 4] = ["--rounds", "2", "--round-seconds", "0.05"];

#[test]
fn both_encoders_of_a_bundle_are_told_in_words_and_in_json() {
    let sandbox = Sandbox::new();
    let run = |more: &[&str]| sandbox.run(&[&["bench", "--model", &mock()][..], &SHORT, more].concat()).ok().stdout;
    let words = run(&[]);
    for part in
        ["sequences of 100 tokens", "sequences of 168 tokens", "tokens per second", "lanes computing", "memory:"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    let json: Value = serde_json::from_str(&run(&["--json", "--tokens", "50"])).unwrap();
    assert_eq!(json["virnucpro"], env!("CARGO_PKG_VERSION"));
    let encoders = json["encoders"].as_array().unwrap();
    assert_eq!(encoders.len(), 2);
    for encoder in encoders {
        assert_eq!((&encoder["tokens"], encoder["rounds"].as_array().unwrap().len()), (&50.into(), 2));
        let round = &encoder["rounds"][0];
        assert!(
            round["tokens_per_s"].as_f64().unwrap() > 0.0 && round["seconds_by_work"]["plan_s"].is_number(),
            "{round}"
        );
        assert!(round["bare_flops"].is_null(), "a mock has no matrix products");
    }
}

#[cfg(feature = "torch")]
#[test]
fn a_shape_is_measured_without_its_weights_beside_its_bare_products() {
    let sandbox = Sandbox::new();
    for (shape, tokens) in [("esm2-8m", 168), ("dnabert-s", 100)] {
        let args = ["bench", "--shape", shape, "--layers", "1", "--threads", "2", "--json"];
        let json: Value = serde_json::from_str(&sandbox.run(&[&args[..], &SHORT].concat()).ok().stdout).unwrap();
        let encoder = &json["encoders"][0];
        assert_eq!((&encoder["lanes"], &encoder["tokens"]), (&2.into(), &tokens.into()));
        for round in encoder["rounds"].as_array().unwrap() {
            let number = |name: &str| round[name].as_f64().unwrap();
            let same = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
            assert!(same(number("tokens_per_s"), number("tokens") / number("seconds")), "{round}");
            assert!(same(number("sequences_per_s"), number("sequences") / number("seconds")), "{round}");
            let flops_per_token = encoder["flops_per_token"].as_f64().unwrap();
            assert!(same(number("flops"), flops_per_token * number("tokens_per_s")), "{round}");
            assert!(same(number("share"), number("flops") / number("bare_flops")), "{round}");
            assert!(number("share") > 0.0 && number("share") < 1.5, "{round}");
            // ESM-2 has a token for each residue; DNABERT-S comes near.
            let per_sequence = number("tokens") / number("sequences");
            assert!((per_sequence / f64::from(tokens) - 1.0).abs() < 0.02, "{round}");
            assert_eq!((&round["copies"], &round["retries"]), (&0.into(), &0.into()));
        }
    }
}

#[test]
fn a_name_that_is_neither_a_shape_nor_a_bundle_is_told_with_what_could_be_meant() {
    let sandbox = Sandbox::new();
    for name in ["esm2-4b", "./absent"] {
        let ran = sandbox.run(&["bench", "--shape", name]);
        ran.fails(64, "VN-USAGE");
        ran.says(&["esm2-3b", "dnabert-s", "virnucpro models list", &format!("'{name}' is neither")]);
    }
    sandbox.run(&["bench", "--layers", "3"]).fails(64, "VN-USAGE");
}

#[test]
fn a_shape_may_be_a_bundle_by_folder_or_by_name_with_both_its_encoders() {
    let sandbox = Sandbox::new();
    let mock = mock();
    let (models, name) = mock.rsplit_once('/').unwrap();
    for what in [&["--shape", &mock][..], &["--shape", name, "--models", models]] {
        let args = [&["bench", "--json"][..], &SHORT, what].concat();
        let json: Value = serde_json::from_str(&sandbox.run(&args).ok().stdout).unwrap();
        let titles: Vec<_> =
            json["encoders"].as_array().unwrap().iter().map(|each| each["title"].to_string()).collect();
        assert_eq!(titles.len(), 2, "{titles:?}");
        assert!(titles.iter().all(|title| title.contains(name)), "{titles:?}");
    }
    let ran = sandbox.run(&["bench", "--shape", &mock, "--layers", "2"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["a bundle is measured whole"]);
}

#[test]
fn a_damaged_bundle_is_told_as_such() {
    let sandbox = Sandbox::new();
    sandbox.write("broken/bundle.yaml", "nonsense");
    assert_ne!(sandbox.run(&["bench", "--shape", "./broken"]).code, 64);
}

#[test]
fn more_layers_than_a_shape_has_are_told_with_its_number() {
    let ran = Sandbox::new().run(&["bench", "--shape", "ESM2-650M", "--layers", "34"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["--layers from 1 to 33", "34"]);
}

#[test]
fn a_shape_and_a_model_exclude_each_other_where_both_are_given() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["bench", "--shape", "esm2-8m", "--model", "mini"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["--shape", "--model"]);
    sandbox.write("c.yaml", "shape: nothing\nmodel: nothing\n");
    let mock = mock();
    for typed in ["--shape", "--model"] {
        let args = [&["bench", typed, &mock][..], &SHORT].concat();
        // The flag outranks what the environment or a file says of the other.
        for set in
            [&[("VIRNUCPRO_SHAPE", "nothing"), ("VIRNUCPRO_MODEL", "nothing")][..], &[("VIRNUCPRO_CONFIG", "c.yaml")]]
        {
            let mut command = sandbox.command(&args);
            command.envs(set.iter().copied());
            Ran::of(command).ok();
        }
    }
}

#[test]
fn short_sequences_which_repeat_are_all_computed() {
    let mock = mock();
    let args = [&["bench", "--model", &mock, "--tokens", "3", "--json"][..], &SHORT].concat();
    let json: Value = serde_json::from_str(&Sandbox::new().run(&args).ok().stdout).unwrap();
    for encoder in json["encoders"].as_array().unwrap() {
        for round in encoder["rounds"].as_array().unwrap() {
            assert_eq!(round["copies"], 0);
            assert_eq!(round["tokens"].as_u64(), round["sequences"].as_u64().map(|sequences| 3 * sequences), "{round}");
        }
    }
}

#[test]
fn a_temporary_folder_that_does_not_serve_is_named_with_its_variable() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&[&["bench", "--model", &mock()][..], &SHORT].concat());
    command.env("TMPDIR", sandbox.path("absent"));
    let ran = Ran::of(command);
    ran.fails(1, "VN-IO-WRITE");
    ran.says(&["TMPDIR", "absent", "256.0 MB"]);
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -f 8; exec \"$0\" bench --model \"$1\" --rounds 1 --round-seconds 1"]);
    command.args([env!("CARGO_BIN_EXE_virnucpro"), &mock()]).env("TMPDIR", sandbox.folder());
    let ran = Ran::of(command);
    ran.fails(1, "VN-IO-FILESIZE");
    ran.says(&["TMPDIR", &sandbox.folder().display().to_string()]);
}

#[test]
fn a_stopped_measurement_does_not_promise_that_work_is_kept() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["bench", "--model", &mock(), "--rounds", "10000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    send(&child, libc::SIGINT);
    let ran = Ran::from_output("bench, SIGINT".to_owned(), child.wait_with_output().unwrap());
    ran.fails(130, "VN-INTERRUPTED");
    ran.says(&["nothing is kept", "--round-seconds"]);
    assert!(!ran.stderr.contains("finished work is kept"), "{}", ran.told());
}

#[cfg(feature = "torch")]
#[test]
fn a_model_larger_than_the_memory_is_refused_before_it_is_loaded() {
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 6000000; exec \"$0\" bench --shape esm2-15b --layers 48 --device cpu --threads 1"]);
    command.arg(env!("CARGO_BIN_EXE_virnucpro"));
    let ran = Ran::of(command);
    ran.fails(1, "VN-DEVICE-MODELFIT");
    ran.says(&["60.4 GB of free memory", "of 6.1 GB free", "use a smaller model"]);
}
