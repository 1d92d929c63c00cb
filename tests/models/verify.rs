//! `models verify` and `models list`: what a bundle is, whether it is what it was, and whether it still gives what it
//! gave.

use std::fs;
use std::path::Path;

use crate::support::{Ran, Sandbox};
use virnucpro::bundle::{BUNDLE_YAML, VECTORS_JSON};
#[cfg(feature = "torch")]
use virnucpro::fs::digest::Digest;

/// The embedded bundle as a folder that can be changed.
fn with_copy_of_untrained() -> Sandbox {
    let sandbox = Sandbox::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/untrained");
    let files = crate::support::untrained().spec().files.keys().cloned().collect::<Vec<_>>();
    for file in files.iter().map(String::as_str).chain([BUNDLE_YAML, VECTORS_JSON]) {
        sandbox.write(&format!("models/copy/{file}"), fs::read(source.join(file)).unwrap());
    }
    sandbox
}

fn verify(sandbox: &Sandbox, options: &[&str]) -> Ran {
    sandbox.run(&[&["models", "verify", "models/copy"], options].concat())
}

/// Replaces `old` by `new`, once, in a text file of the bundle.
fn change(sandbox: &Sandbox, file: &str, old: &str, new: &str) {
    let text = sandbox.text(&format!("models/copy/{file}"));
    assert!(text.contains(old), "{old} in {file}");
    sandbox.write(&format!("models/copy/{file}"), text.replacen(old, new, 1));
}

/// Records the digest that a file of the bundle has now, and the bundle's in its stored vectors.
#[cfg(feature = "torch")]
fn record_again(sandbox: &Sandbox, file: &str) {
    let (before, content) =
        (crate::support::untrained(), fs::read(sandbox.path(&format!("models/copy/{file}"))).unwrap());
    let recorded = before.spec().files[file].sha256.to_string();
    change(sandbox, BUNDLE_YAML, &recorded, &Digest::of(&content).to_string());
    let digest = Digest::of(sandbox.text(&format!("models/copy/{BUNDLE_YAML}")).as_bytes());
    change(sandbox, VECTORS_JSON, &before.digest().to_string(), &digest.to_string());
}

#[test]
fn an_untouched_bundle_is_proved_by_digests_and_vectors() {
    let sandbox = with_copy_of_untrained();
    let digests = verify(&sandbox, &["--digests-only"]).ok();
    assert!(digests.stdout.contains("6 are what bundle.yaml records"), "{}", digests.stdout);
    assert!(digests.stdout.contains("stored, not computed"), "{}", digests.stdout);
    let whole = verify(&sandbox, &["--device", "cpu", "--dtype", "f32"]).ok();
    let computed = if cfg!(feature = "torch") { "1 sequence on cpu f32" } else { "not computed: this build" };
    assert!(whole.stdout.contains(computed), "{}", whole.stdout);
    assert!(whole.stdout.contains("UNTRAINED"), "{}", whole.stdout);
}

#[cfg(feature = "torch")]
#[test]
fn bf16_agrees_within_its_wider_bound() {
    let sandbox = with_copy_of_untrained();
    let ran = verify(&sandbox, &["--device", "cpu", "--dtype", "bf16"]);
    if !virnucpro::device::multiplies_bf16() {
        ran.fails(64, "VN-USAGE");
        return;
    }
    let ran = ran.ok();
    assert!(ran.stdout.contains("cpu bf16"), "{}", ran.stdout);
}

/// A model that was exchanged together with its digest is found by what it computes.
#[cfg(feature = "torch")]
#[test]
fn weights_that_give_other_vectors_are_refused() {
    let sandbox = with_copy_of_untrained();
    let head = "head.safetensors";
    let path = sandbox.path(&format!("models/copy/{head}"));
    let mut bytes = fs::read(&path).unwrap();
    // The signs of the last layer, f32 [2, 16], which stands last.
    bytes.rchunks_exact_mut(4).take(32).for_each(|value| value[3] ^= 0x80);
    fs::write(&path, bytes).unwrap();
    verify(&sandbox, &[]).fails(78, "VN-MODEL-HASH");
    record_again(&sandbox, head);
    verify(&sandbox, &["--digests-only"]).ok();
    let error = verify(&sandbox, &["--device", "cpu"]).fails(78, "VN-MODEL-VECTORS");
    assert!(error["expected"].as_str().unwrap().contains("at most 1e-4 on cpu f32"), "{error}");
}

#[cfg(feature = "torch")]
#[test]
fn the_smallest_change_of_a_stored_vector_beyond_the_bound_is_found() {
    let first = crate::support::untrained().stored_vectors().unwrap().unwrap().sequences.swap_remove(0);
    let largest = first.dnabert.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    for (change_by, within) in [(0.5e-4, true), (2e-4, false)] {
        let sandbox = with_copy_of_untrained();
        let value = first.dnabert[0];
        change(&sandbox, VECTORS_JSON, &format!("[{value},"), &format!("[{},", value + change_by * largest));
        let ran = verify(&sandbox, &["--device", "cpu"]);
        if within {
            ran.ok();
        } else {
            ran.fails(78, "VN-MODEL-VECTORS");
        }
    }
}

#[test]
fn stored_vectors_of_another_bundle_or_none_are_reported() {
    let sandbox = with_copy_of_untrained();
    change(&sandbox, BUNDLE_YAML, "name: untrained", "name: maxi");
    verify(&sandbox, &[]).fails(78, "VN-MODEL-FIT");
    fs::remove_file(sandbox.path(&format!("models/copy/{VECTORS_JSON}"))).unwrap();
    let ran = verify(&sandbox, &[]).ok();
    assert!(ran.stdout.contains("none are stored"), "{}", ran.stdout);
    sandbox.write(&format!("models/copy/{VECTORS_JSON}"), "{}");
    verify(&sandbox, &[]).fails(78, "VN-MODEL-FORMAT");
}

#[test]
fn bundles_are_listed_with_size_digest_and_place() {
    let sandbox = with_copy_of_untrained();
    sandbox.write("models/broken/bundle.yaml", "format: 99\n");
    let ran = sandbox.run(&["models", "list", "--models", "models"]).ok();
    let mini = crate::support::untrained();
    let line = ran.stdout.lines().find(|line| line.starts_with("copy ")).unwrap();
    for part in ["500", "48 + 64", "1.8 MB", &mini.digest().to_string()[..12], "models/copy"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(ran.stdout.contains("broken in models/broken cannot be used"), "{}", ran.stdout);
    let verified = sandbox.run(&["models", "verify", "copy", "--models", "models", "--digests-only"]).ok();
    assert!(verified.stdout.contains(&mini.digest().to_string()), "{}", verified.stdout);
}

#[test]
fn a_bundle_is_named_by_option_environment_or_path() {
    let sandbox = with_copy_of_untrained();
    for (option, environment) in
        [(Some("copy"), None), (Some("./models/copy"), None), (None, Some("copy")), (Some("copy"), Some("nowhere"))]
    {
        let mut command = sandbox.command(&["info", "--models", "models", "--device", "cpu"]);
        command.args(option.iter().flat_map(|name| ["--model", name]));
        command.envs(environment.map(|name| ("VIRNUCPRO_MODEL", name)));
        let ran = Ran::of(command).ok();
        assert!(ran.stdout.contains("untrained@"), "{option:?} {environment:?}: {}", ran.stdout);
    }
}
