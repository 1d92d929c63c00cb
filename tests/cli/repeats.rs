//! Identical sequences: embedded once, and nothing else is different.

use crate::support::{Random, Sandbox, assert_same_files, mock};

/// Three files of proteins: five different ones, each of them several times and in every file.
fn proteins(sandbox: &Sandbox) -> [&'static str; 3] {
    let mut random = Random::new(7);
    let kinds: Vec<String> = (0..5)
        .map(|_| (0..60 + random.below(80)).map(|_| char::from(b"ACDEFGHIKLMNPQRSTVWY"[random.below(20)])).collect())
        .collect();
    let names = ["one.faa", "two.faa", "three.faa"];
    for name in names {
        let record = |n: usize| format!(">{}{n}\n{}\n", &name[..2], kinds[n * 3 % 5]);
        sandbox.write(name, (0..12).map(record).collect::<String>());
    }
    names
}

fn bundles() -> Vec<String> {
    let with_libtorch = cfg!(feature = "torch").then(|| "mini".to_owned());
    with_libtorch.into_iter().chain([mock()]).collect()
}

#[test]
fn identical_sequences_of_all_files_are_embedded_once_with_the_same_files_as_if_each_had_been() {
    for bundle in bundles() {
        let sandbox = Sandbox::new();
        let names = proteins(&sandbox);
        let embed = |out: &str, more: &[&str]| {
            let args = [&["embed-esm"][..], &names, &["-o", out, "--model", &bundle, "--device", "cpu"], more];
            sandbox.run(&args.concat()).ok().stderr
        };
        let once = embed("once", &[]);
        assert!(once.contains("31 of 36 sequences repeat others and took their vectors (86.1 %)"), "{once}");
        let each = embed("each", &["--no-dedup"]);
        assert!(!each.contains("repeat others"), "{each}");
        assert_same_files(&sandbox.files("once"), &sandbox.files("each"), &bundle);
    }
}

#[test]
fn a_run_that_goes_on_after_an_interruption_ends_with_the_same_files() {
    for bundle in bundles() {
        let sandbox = Sandbox::new();
        let names = proteins(&sandbox);
        let embed = |files: &[&str], out: &str| {
            let args = [&["embed-esm"][..], files, &["-o", out, "--model", &bundle, "--device", "cpu"]];
            sandbox.run(&args.concat()).ok();
        };
        embed(&names, "whole");
        // The second and third file find the vectors of the first one in no memory any more.
        embed(&names[..1], "parts");
        embed(&names, "parts");
        assert_same_files(&sandbox.files("whole"), &sandbox.files("parts"), &bundle);
    }
}
