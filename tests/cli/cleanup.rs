//! `run --cleanup`: shards and vectors go once the tables are proved, and what stays is as good as before. Whoever is
//! killed in between finds a folder to go on with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock};

const CUT: [&str; 2] = ["--shard-frames", "10"];
const AGAIN: &str = "were removed (--cleanup): they are computed again";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(21).fasta(7, 1400));
    sandbox
}

fn run(sandbox: &Sandbox, output: &str, more: &[&str]) -> Ran {
    let model = mock();
    sandbox.run(&[&["run", "x.fa", "--model", &model, "-o", output], &CUT[..], more].concat())
}

/// A place with a run that was kept and one that was cleaned up.
fn kept_and_cleaned() -> Sandbox {
    let sandbox = sandbox();
    run(&sandbox, "kept", &[]).ok();
    run(&sandbox, "cleaned", &["--cleanup"]).ok();
    sandbox
}

/// The tables below a folder, without the manifests, which say what they were made from.
fn tables(sandbox: &Sandbox, output: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = sandbox.files(output);
    files.retain(|name, _| {
        let (stage, file) = name.split_once('/').unwrap_or_default();
        ["windows", "predictions"].contains(&stage) && !file.starts_with("shard-") && file != "manifest.json"
    });
    files
}

/// Which file stands under each name: a file made again is another one.
fn identities(sandbox: &Sandbox, output: &str) -> BTreeMap<String, u64> {
    let names = sandbox.files(output).into_keys();
    names.map(|name| (name.clone(), fs::metadata(sandbox.path(output).join(name)).unwrap().ino())).collect()
}

fn folders(sandbox: &Sandbox, output: &str) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(output)).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Makes `output` a folder with these files and no others.
fn lay_out(sandbox: &Sandbox, output: &str, files: &BTreeMap<String, Vec<u8>>) {
    let _ = fs::remove_dir_all(sandbox.path(output));
    files.iter().for_each(|(name, content)| drop(sandbox.write(&format!("{output}/{name}"), content)));
}

#[test]
fn cleanup_leaves_the_same_tables_and_no_shards_and_vectors() {
    let sandbox = kept_and_cleaned();
    assert_same_files(&tables(&sandbox, "kept"), &tables(&sandbox, "cleaned"), "tables");
    assert_eq!(folders(&sandbox, "cleaned"), ["predictions", "windows"]);
    assert!(sandbox.path("kept/esm/shard-00002.parquet").exists());
    for stage in ["windows", "predictions"] {
        let manifest = sandbox.json(&format!("cleaned/{stage}/manifest.json"));
        assert_eq!(manifest["complete"], true);
        let mut named: Vec<String> = manifest["shards"].as_object().unwrap().keys().cloned().collect();
        named.push("manifest.json".to_owned());
        named.sort();
        assert_eq!(named, folders(&sandbox, &format!("cleaned/{stage}")), "{stage}");
        assert!(!sandbox.text(&format!("cleaned/{stage}/manifest.json")).contains("shard-0"));
    }
    let vectors = &sandbox.json("cleaned/predictions/manifest.json")["removed_vectors"];
    assert_eq!((&vectors["dnabert"]["dtype"], &vectors["esm"]["dim"]), (&"f32".into(), &64.into()));
}

#[test]
fn cleanup_leaves_files_of_the_original_program_and_copies_of_tables() {
    let sandbox = sandbox();
    let more = ["--legacy", "--tables", "tsv,parquet"];
    run(&sandbox, "kept", &more).ok();
    run(&sandbox, "cleaned", &[&more[..], &["--cleanup"]].concat()).ok();
    assert_same_files(&tables(&sandbox, "kept"), &tables(&sandbox, "cleaned"), "tables");
    assert!(sandbox.path("cleaned/windows/identified_protein.faa").exists());
    run(&sandbox, "cleaned", &more).ok().says(&["cleaned/predictions is already complete"]);
}

#[test]
fn a_second_run_over_a_cleanup_makes_nothing_again() {
    let sandbox = kept_and_cleaned();
    let before = identities(&sandbox, "cleaned");
    for more in [&[][..], &["--cleanup"], &["--cleanup", "--threads", "1"]] {
        run(&sandbox, "cleaned", more).ok().says(&["cleaned/predictions is already complete"]);
        assert_eq!(before, identities(&sandbox, "cleaned"));
    }
    // Sequences from a pipe are known once they are read.
    let model = mock();
    let piped = [&["run", "-", "--model", &model, "-o", "piped"], &CUT[..], &["--cleanup"]].concat();
    let text = sandbox.text("x.fa");
    sandbox.run_with_stdin(&piped, text.as_bytes()).ok();
    let before = identities(&sandbox, "piped");
    for words in [&piped[..], &piped[..piped.len() - 1]] {
        sandbox.run_with_stdin(words, text.as_bytes()).ok().says(&["piped/predictions is already complete"]);
        assert_eq!(before, identities(&sandbox, "piped"));
    }
    // Another input is refused as ever.
    sandbox.write("x.fa", Random::new(22).fasta(7, 1400));
    run(&sandbox, "cleaned", &["--cleanup"]).fails(3, "VN-CKPT-INPUT");
    run(&sandbox, "cleaned", &["--window", "300"]).fails(3, "VN-CKPT-FOREIGN");
}

#[test]
fn an_earlier_run_is_cleaned_up_by_the_same_command() {
    let sandbox = kept_and_cleaned();
    let before = identities(&sandbox, "kept");
    let ran = run(&sandbox, "kept", &["--cleanup", "--viral-fasta", "viral.fa"]).ok();
    ran.says(&["shards and vectors are removed"]);
    assert!(sandbox.text("viral.fa").starts_with('>'));
    assert_same_files(&sandbox.files("cleaned"), &sandbox.files("kept"), "cleaned up later");
    assert_eq!(folders(&sandbox, "kept"), ["predictions", "windows"]);
    for (name, file) in identities(&sandbox, "kept") {
        assert!(name.ends_with("manifest.json") || before[&name] == file, "{name} was made again");
    }
}

#[test]
fn what_needs_vectors_after_a_cleanup_computes_them_again_and_says_so() {
    let sandbox = kept_and_cleaned();
    let other = ["--viral-share", "0.9", "--mixed-share", "0.3"];
    run(&sandbox, "kept", &other).ok();
    let ran = run(&sandbox, "cleaned", &other).ok();
    ran.says(&[AGAIN]);
    assert_same_files(&sandbox.files("kept"), &sandbox.files("cleaned"), "other cut-offs");
    run(&sandbox, "cleaned", &[&other[..], &["--cleanup"]].concat()).ok();
    assert_eq!(folders(&sandbox, "cleaned"), ["predictions", "windows"]);
    assert_same_files(&tables(&sandbox, "kept"), &tables(&sandbox, "cleaned"), "other cut-offs");
    // A table that was changed, too.
    sandbox.write("cleaned/predictions/sequences.tsv", "sample\n");
    run(&sandbox, "cleaned", &[&other[..], &["--cleanup"]].concat()).ok().says(&[AGAIN]);
    assert_same_files(&tables(&sandbox, "kept"), &tables(&sandbox, "cleaned"), "a damaged table");
    // So does who asks for them.
    let ran = run(&sandbox, "cleaned", &[&other[..], &["--keep-intermediate"]].concat()).ok();
    assert!(!ran.stderr.contains(AGAIN), "{}", ran.told());
    assert_same_files(&sandbox.files("kept"), &sandbox.files("cleaned"), "kept");
}

#[test]
fn windows_of_a_cleanup_are_no_input_of_an_embed_stage() {
    let sandbox = kept_and_cleaned();
    let refused = sandbox.run(&["embed-esm", "cleaned/windows", "-m", &mock(), "-o", "esm"]);
    refused.fails(66, "VN-IN-MISSING");
    refused.says(&["without shards", "--keep-intermediate"]);
}

#[test]
fn tables_of_removed_vectors_in_another_number_format_are_not_replaced_unasked() {
    let sandbox = kept_and_cleaned();
    let manifest = sandbox.text("cleaned/predictions/manifest.json");
    sandbox.write("cleaned/predictions/manifest.json", manifest.replacen("\"f32\"", "\"f16\"", 1));
    let before = sandbox.files("cleaned");
    for more in [&[][..], &["--cleanup"], &["--keep-intermediate"]] {
        let ran = run(&sandbox, "cleaned", more);
        ran.fails(3, "VN-CKPT-FOREIGN");
        ran.says(&["dnabert dtype f32", "dnabert dtype f16", "--overwrite"]);
        assert_same_files(&before, &sandbox.files("cleaned"), "refused");
    }
    run(&sandbox, "cleaned", &["-f", "--cleanup"]).ok().says(&[AGAIN]);
    run(&sandbox, "kept", &["--cleanup"]).ok();
    assert_same_files(&sandbox.files("kept"), &sandbox.files("cleaned"), "replaced");
}

#[test]
fn cleanup_and_keep_intermediate_exclude_each_other() {
    let sandbox = sandbox();
    run(&sandbox, "out", &["--cleanup", "--keep-intermediate"]).fails(64, "VN-USAGE");
    sandbox.write("c.yaml", "cleanup: true\nkeep-intermediate: true\n");
    let model = mock();
    let with_file = |more: &[&str]| {
        sandbox.run(&[&["run", "x.fa", "--config", "c.yaml", "-m", &model, "-o", "out"], more].concat())
    };
    with_file(&[]).fails(64, "VN-USAGE");
    assert!(!sandbox.path("out").exists());
    // What is typed counts.
    with_file(&["--cleanup"]).ok();
    assert_eq!(folders(&sandbox, "out"), ["predictions", "windows"]);
}

#[test]
fn files_of_the_user_survive_a_cleanup() {
    let sandbox = sandbox();
    run(&sandbox, "out", &[]).ok();
    let own = ["notes.txt", "windows/notes.txt", "dnabert/notes.txt", "esm/own.parquet", "merged/more/notes.txt"];
    own.iter().for_each(|name| drop(sandbox.write(&format!("out/{name}"), "mine")));
    run(&sandbox, "out", &["--cleanup"]).ok();
    own.iter().for_each(|name| assert_eq!(sandbox.text(&format!("out/{name}")), "mine"));
    assert!(!sandbox.files("out").keys().any(|name| name.contains("shard-")));
    let before = sandbox.files("out");
    for more in [&[][..], &["--cleanup"]] {
        let ran = run(&sandbox, "out", more).ok();
        ran.says(&["out/predictions is already complete"]);
        assert!(!ran.stderr.contains("are removed"), "{}", ran.told());
        assert_same_files(&before, &sandbox.files("out"), "run again");
    }
    run(&sandbox, "out", &["--viral-share", "0.9"]).ok();
    assert!(sandbox.path("out/merged/shard-00002.parquet").exists());
    own.iter().for_each(|name| assert_eq!(sandbox.text(&format!("out/{name}")), "mine"));
}

#[test]
fn a_run_that_fails_or_finds_a_folder_in_use_cleans_nothing_up() {
    let sandbox = kept_and_cleaned();
    let before = sandbox.files("kept");
    sandbox.write("bad.fa", ">bad\nACGT!\n");
    let model = mock();
    let bad = ["run", "x.fa", "bad.fa", "--model", &model, "-o", "kept", "--cleanup", "-f"];
    sandbox.run(&[&bad[..], &CUT].concat()).fails(65, "VN-IN-CHAR");
    assert_same_files(&before, &sandbox.files("kept"), "a bad input");
    let lock = File::create(sandbox.path("kept/merged/.lock")).unwrap();
    lock.lock().unwrap();
    run(&sandbox, "kept", &["--cleanup"]).fails(3, "VN-CKPT-LOCKED");
    drop(lock);
    fs::remove_file(sandbox.path("kept/merged/.lock")).unwrap();
    assert_same_files(&before, &sandbox.files("kept"), "in use");
    run(&sandbox, "kept", &["--cleanup"]).ok();
    assert_same_files(&sandbox.files("cleaned"), &sandbox.files("kept"), "free again");
}

/// What a run leaves that is killed while it cleans up, step by step.
fn states(kept: &BTreeMap<String, Vec<u8>>, cleaned: &BTreeMap<String, Vec<u8>>) -> Vec<BTreeMap<String, Vec<u8>>> {
    let mut files = kept.clone();
    let mut states = Vec::new();
    for stage in ["predictions", "windows"] {
        let manifest = format!("{stage}/manifest.json");
        files.insert(manifest.clone(), cleaned[&manifest].clone());
        states.push(files.clone());
    }
    files.remove("windows/shard-00001.fna");
    states.push(files.clone());
    files.retain(|name, _| !name.starts_with("windows/shard-"));
    states.push(files.clone());
    for stage in ["merged", "esm", "dnabert"] {
        let name = format!("{stage}/manifest.json");
        let mut manifest: Value = serde_json::from_slice(&files[&name]).unwrap();
        manifest["complete"] = false.into();
        files.insert(name, serde_json::to_vec(&manifest).unwrap());
        states.push(files.clone());
        files.remove(&format!("{stage}/shard-00001.parquet"));
        states.push(files.clone());
        files.retain(|name, _| !name.starts_with(&format!("{stage}/shard-")));
        states.push(files.clone());
        files.retain(|name, _| !name.starts_with(stage));
        files.insert(format!("{stage}/.lock"), Vec::new());
        states.push(files.clone());
        files.retain(|name, _| !name.starts_with(stage));
    }
    ["windows/.lock", "predictions/.lock"].iter().for_each(|name| drop(files.insert((*name).to_owned(), Vec::new())));
    states.push(files);
    states
}

#[test]
fn a_cleanup_that_was_killed_after_any_step_is_completed_and_all_is_done() {
    let sandbox = kept_and_cleaned();
    run(&sandbox, "other", &["--viral-share", "0.9"]).ok();
    let (kept, cleaned) = (sandbox.files("kept"), sandbox.files("cleaned"));
    for (step, state) in states(&kept, &cleaned).iter().enumerate() {
        lay_out(&sandbox, "out", state);
        run(&sandbox, "out", &[]).ok().says(&["out/predictions is already complete"]);
        assert_same_files(&tables(&sandbox, "kept"), &tables(&sandbox, "out"), &format!("step {step}: run again"));
        run(&sandbox, "out", &["--cleanup"]).ok().says(&["out/predictions is already complete"]);
        assert_same_files(&cleaned, &sandbox.files("out"), &format!("step {step}: cleaned up"));
        assert_eq!(folders(&sandbox, "out"), ["predictions", "windows"], "step {step}");
        lay_out(&sandbox, "out", state);
        run(&sandbox, "out", &["--viral-share", "0.9"]).ok();
        assert_same_files(&sandbox.files("other"), &sandbox.files("out"), &format!("step {step}: other cut-offs"));
    }
}

#[test]
fn a_cleanup_killed_at_any_time_is_completed_by_the_same_command() {
    let sandbox = kept_and_cleaned();
    let (kept, cleaned, model) = (sandbox.files("kept"), sandbox.files("cleaned"), mock());
    let (expected, mut random, mut between) = (tables(&sandbox, "kept"), Random::new(23), 0);
    let started = Instant::now();
    run(&sandbox, "kept", &["--cleanup"]).ok();
    let took = started.elapsed().as_micros() as usize;
    for _ in 0..40 {
        lay_out(&sandbox, "out", &kept);
        let mut command = sandbox.command(&["run", "x.fa", "-q", "--model", &model, "-o", "out", "--cleanup"]);
        let mut child = command.args(CUT).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The end of a run is where it cleans up.
        sleep(Duration::from_micros((took / 2 + random.below(took)) as u64));
        let _ = child.kill();
        child.wait().unwrap();
        let left = sandbox.files("out");
        between += usize::from(left != kept && left != cleaned);
        assert!(expected.iter().all(|(name, content)| left.get(name) == Some(content)), "a table changed");
        run(&sandbox, "out", &["--cleanup"]).ok();
        assert_same_files(&cleaned, &sandbox.files("out"), "completed");
        assert_eq!(folders(&sandbox, "out"), ["predictions", "windows"]);
    }
    println!("{between} of 40 kills met a run that was cleaning up");
}

#[test]
fn a_run_without_stored_vectors_has_nothing_to_clean_up_but_those_of_an_earlier_one() {
    let sandbox = sandbox();
    let mini =
        |output: &str, more: &[&str]| sandbox.run(&[&["run", "x.fa", "-m", "mini", "-o", output], more].concat());
    mini("direct", &[]).ok();
    let ran = mini("cleaned", &["--cleanup"]).ok();
    assert!(!ran.stderr.contains("are removed"), "{}", ran.told());
    assert_same_files(&sandbox.files("direct"), &sandbox.files("cleaned"), "cleaned up");
    mini("stored", &["--keep-intermediate"]).ok();
    assert!(sandbox.path("stored/dnabert/shard-00001.parquet").exists());
    mini("stored", &["--cleanup"]).ok().says(&["are removed"]);
    assert_same_files(&sandbox.files("direct"), &sandbox.files("stored"), "stored ones");
    assert_eq!(folders(&sandbox, "stored"), ["predictions", "windows"]);
    mini("stored", &["--cleanup"]).ok().says(&["already complete"]);
}
