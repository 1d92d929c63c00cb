//! Vectors of files that are not complete: kept when a run ends early, and taken up by the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock, send};

/// Shards of one sample: `windows/` in the sandbox.
fn shards(seed: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(seed).fasta(1500, 2000));
    sandbox.run(&["chunk", "x.fa", "--shard-frames", "300", "-o", "windows"]).ok();
    sandbox
}

fn args<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["embed-esm", "windows", "--model", model, "--batch-tokens", "64", "-o", "esm"], more].concat()
}

const SHARED: [&str; 2] = ["--checkpoint-dir", "kept"];
const OFTEN: [&str; 4] = ["--checkpoint-dir", "kept", "--checkpoint-interval", "0"];

/// Parts in `folder`.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let part = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("rows-");
    entries(folder).flat_map(|checkpoint| entries(&checkpoint).collect::<Vec<_>>()).filter(part).collect()
}

/// Starts the stage, sends a signal once `ready`, and gives how it ended.
fn ended_early(sandbox: &Sandbox, more: &[&str], signal: libc::c_int, ready: impl Fn() -> bool) -> Ran {
    let model = mock();
    let mut command = sandbox.command(&args(&model, more));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was kept");
        sleep(Duration::from_millis(1));
    }
    send(&child, signal);
    Ran::from_output("ended early".to_owned(), child.wait_with_output().unwrap())
}

/// How many vectors a run took from earlier tries.
fn taken(ran: &Ran) -> u64 {
    let counts = ran.stderr.lines().filter_map(|line| line.split(": going on after ").nth(1));
    counts.filter_map(|count| count.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// A sandbox in which a run was killed after it had kept some vectors, and whose output is lost, as that of a task is.
fn killed() -> Sandbox {
    let sandbox = shards(5);
    ended_early(&sandbox, &OFTEN, libc::SIGKILL, || parts(&sandbox.path("kept")).len() > 3);
    assert!(!parts(&sandbox.path("kept")).is_empty());
    fs::remove_dir_all(sandbox.path("esm")).unwrap();
    sandbox
}

fn undisturbed() -> Sandbox {
    let sandbox = shards(5);
    sandbox.run(&args(&mock(), &[])).ok();
    sandbox
}

#[test]
fn a_task_whose_output_is_lost_goes_on_from_the_checkpoint_folder() {
    let sandbox = killed();
    let ran = sandbox.run(&args(&mock(), &SHARED)).ok();
    assert!(taken(&ran) > 0, "{}", ran.told());
    assert_same_files(&undisturbed().files("esm"), &sandbox.files("esm"), "after a kill");
    assert_eq!(
        fs::read_dir(sandbox.path("kept")).unwrap().count(),
        0,
        "a complete command leaves nothing in the folder"
    );
}

#[test]
fn a_run_that_is_asked_to_stop_keeps_all_it_has_in_its_output() {
    let sandbox = shards(5);
    let ready = || fs::read_dir(sandbox.path("esm")).is_ok_and(|entries| entries.count() > 2);
    ended_early(&sandbox, &[], libc::SIGTERM, ready).fails(143, "VN-TERMINATED");
    let kept = parts(&sandbox.path("esm/.checkpoints"));
    let ran = sandbox.run(&args(&mock(), &[])).ok();
    assert!(kept.is_empty() || taken(&ran) > 0, "{}", ran.told());
    assert_same_files(&undisturbed().files("esm"), &sandbox.files("esm"), "after SIGTERM");
    assert!(!sandbox.path("esm/.checkpoints").exists());
}

#[test]
fn a_damaged_part_is_told_and_its_vectors_are_computed_again() {
    let sandbox = killed();
    let kept = parts(&sandbox.path("kept"));
    let first = kept.iter().find(|part| part.file_name().unwrap().to_string_lossy().starts_with("rows-0-")).unwrap();
    let mut bytes = fs::read(first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(first, bytes).unwrap();
    let ran = sandbox.run(&args(&mock(), &SHARED)).ok();
    ran.says(&["a checkpoint is not used, and its vectors are computed again"]);
    assert_same_files(&undisturbed().files("esm"), &sandbox.files("esm"), "with a damaged part");
}

#[test]
fn other_input_other_settings_and_no_resume_take_nothing() {
    let sandbox = killed();
    let other = shards(6);
    fs::rename(sandbox.path("kept"), other.path("kept")).unwrap();
    let ran = other.run(&args(&mock(), &SHARED)).ok();
    assert_eq!(taken(&ran), 0);
    assert!(!parts(&other.path("kept")).is_empty(), "checkpoints of another sample stay");
    fs::rename(other.path("kept"), sandbox.path("kept")).unwrap();
    let ran = sandbox.run(&args(&mock(), &[&SHARED[..], &["--no-resume"]].concat())).ok();
    assert_eq!(taken(&ran), 0);
    assert_same_files(&undisturbed().files("esm"), &sandbox.files("esm"), "without resuming");
}

#[test]
fn a_folder_that_cannot_be_written_to_later_does_not_end_the_run() {
    let sandbox = killed();
    let checkpoint = parts(&sandbox.path("kept"))[0].parent().unwrap().to_owned();
    fs::remove_dir_all(&checkpoint).unwrap();
    fs::write(&checkpoint, "in the way").unwrap();
    let ran = sandbox.run(&args(&mock(), &OFTEN)).ok();
    ran.says(&["no more vectors of unfinished files are kept"]);
    assert_same_files(&undisturbed().files("esm"), &sandbox.files("esm"), "without checkpoints");
}

#[test]
fn an_output_folder_or_a_file_is_not_a_checkpoint_folder() {
    let sandbox = shards(5);
    let model = mock();
    for (folder, code, fault) in [("out/esm", 64, "VN-USAGE"), ("x.fa", 1, "VN-IO-WRITE")] {
        let ran = sandbox.run(&["run", "x.fa", "--model", &model, "-o", "out", "--checkpoint-dir", folder]);
        ran.fails(code, fault);
        assert!(!sandbox.path("out").exists(), "{folder}");
    }
    let ran = sandbox.run(&args(&mock(), &["--checkpoint-dir", "./esm"]));
    ran.fails(64, "VN-USAGE");
    assert!(!sandbox.path("esm").exists());
}
