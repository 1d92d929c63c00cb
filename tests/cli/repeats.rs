//! Identical sequences: embedded once, and nothing else is different.

use std::collections::BTreeMap;

#[cfg(feature = "torch")]
use crate::support::untrained_folder;
use crate::support::{Ran, Random, Sandbox, assert_same_files, mock};

/// Three files of proteins of 20 to 160 residues. Each has some of its own, and some that the others have too, several times.
fn proteins(sandbox: &Sandbox) -> [&'static str; 3] {
    let mut random = Random::new(7);
    let mut protein = || -> String {
        (0..20 + random.below(140)).map(|_| char::from(b"ACDEFGHIKLMNPQRSTVWY"[random.below(20)])).collect()
    };
    let common: Vec<String> = (0..5).map(|_| protein()).collect();
    let names = ["one.faa", "two.faa", "three.faa"];
    for (file, name) in names.iter().enumerate() {
        let own: Vec<String> = (0..7 + 30 * file).map(|_| protein()).collect();
        let all = common.iter().chain(&own).chain(&common).enumerate();
        sandbox.write(name, all.map(|(n, protein)| format!(">{}{n}\n{protein}\n", &name[..2])).collect::<String>());
    }
    names
}

/// Bundles, and whether their vectors are the same bytes in any batch.
fn bundles() -> Vec<(String, bool)> {
    #[cfg(feature = "torch")]
    let with_libtorch =
        Some((untrained_folder().display().to_string(), virnucpro::device::products::rows_are_independent()));
    #[cfg(not(feature = "torch"))]
    let with_libtorch = None;
    with_libtorch.into_iter().chain([(mock(), true)]).collect()
}

struct Embedding<'a> {
    sandbox: &'a Sandbox,
    bundle: &'a str,
    /// Vectors narrower than those of this processor.
    narrow: bool,
}

impl Embedding<'_> {
    fn run(&self, files: &[&str], out: &str, more: &[&str]) -> String {
        let args = [&["embed-esm"][..], files, &["-o", out, "--model", self.bundle, "--device", "cpu"], more].concat();
        let mut command = self.sandbox.command(&args);
        if self.narrow {
            command.env("ONEDNN_MAX_CPU_ISA", "AVX2");
        }
        Ran::of(command).ok().stderr
    }

    /// What is in the files of a folder, but for how the manifest was made.
    fn files(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        self.sandbox.files(out)
    }
}

#[test]
fn identical_sequences_of_all_files_are_embedded_once_with_the_same_files_as_if_each_had_been() {
    for (bundle, exact) in bundles().iter().filter(|(_, exact)| *exact) {
        let sandbox = Sandbox::new();
        let names = proteins(&sandbox);
        let embedding = Embedding { sandbox: &sandbox, bundle, narrow: false };
        let once = embedding.run(&names, "once", &[]);
        // 30 records of the five common proteins, and 7, 37 and 67 others.
        assert!(once.contains("25 of 141 sequences repeat others and took their vectors (17.7 %)"), "{exact} {once}");
        let each = embedding.run(&names, "each", &["--no-dedup"]);
        assert!(!each.contains("repeat others"), "{each}");
        assert_same_files(&embedding.files("once"), &embedding.files("each"), bundle);
    }
}

#[test]
fn a_run_that_goes_on_after_an_interruption_ends_with_the_same_files_on_any_processor() {
    for (bundle, _) in bundles() {
        for narrow in [false, true] {
            let sandbox = Sandbox::new();
            let names = proteins(&sandbox);
            let embedding = Embedding { sandbox: &sandbox, bundle: &bundle, narrow };
            embedding.run(&names, "whole", &[]);
            // The second and third file find the vectors of the first one in no memory any more.
            embedding.run(&names[..1], "parts", &[]);
            embedding.run(&names, "parts", &[]);
            assert_same_files(&embedding.files("whole"), &embedding.files("parts"), &bundle);
        }
    }
}
