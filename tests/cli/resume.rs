//! The same command again: finished work is kept where its content proves it, and made again where not. Whatever
//! happened before, the files are those of an undisturbed run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock};

const CUT: [&str; 2] = ["--shard-frames", "10"];

fn input() -> String {
    Random::new(11).fasta(7, 1400)
}

fn args<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "x.fa", "-q", "--model", model, "-o", "out"], more].concat()
}

fn run(sandbox: &Sandbox, more: &[&str]) -> Ran {
    sandbox.run(&args(&mock(), more))
}

/// A place with an input and a finished run with some options.
fn finished(text: &str, more: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", text);
    run(&sandbox, more).ok();
    sandbox
}

/// Which file stands under each name: a file made again is another one. Manifests are left out.
fn identities(sandbox: &Sandbox) -> BTreeMap<String, u64> {
    let names = sandbox.files("out").into_keys().filter(|name| !name.ends_with("manifest.json"));
    names.map(|name| (name.clone(), fs::metadata(sandbox.path("out").join(name)).unwrap().ino())).collect()
}

/// Files that were made again, or are new.
fn made(before: &BTreeMap<String, u64>, sandbox: &Sandbox) -> BTreeSet<String> {
    identities(sandbox)
        .into_iter()
        .filter(|(name, file)| before.get(name) != Some(file))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn a_second_run_makes_nothing_again() {
    let sandbox = finished(&input(), &CUT);
    let (files, before) = (sandbox.files("out"), identities(&sandbox));
    assert!(before.contains_key("esm/shard-00003.parquet"), "{before:?}");
    run(&sandbox, &CUT).ok();
    assert!(made(&before, &sandbox).is_empty(), "{:?}", made(&before, &sandbox));
    assert_same_files(&files, &sandbox.files("out"), "the second run");
    // Nothing that results do not depend on is a reason either.
    run(&sandbox, &[&CUT[..], &["--threads", "1", "--batch-tokens", "64", "--prefetch", "1"]].concat()).ok();
    assert!(made(&before, &sandbox).is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Deleted,
    Truncated,
    Flipped,
}

fn damage(sandbox: &Sandbox, name: &str, how: Damage) {
    let path = sandbox.path("out").join(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    match how {
        Damage::Deleted => return fs::remove_file(path).unwrap(),
        Damage::Truncated => bytes.truncate(middle),
        Damage::Flipped => bytes[middle] ^= 1,
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_is_made_again_and_nothing_else() {
    let more = [&CUT[..], &["--legacy"]].concat();
    let sandbox = finished(&input(), &more);
    let expected = sandbox.files("out");
    let kinds = [Damage::Deleted, Damage::Truncated, Damage::Flipped];
    let names = [
        "windows/shard-00002.fna",
        "windows/shard-00001.faa",
        "windows/windows.tsv",
        "windows/chunked500.fa",
        "dnabert/shard-00001.parquet",
        "dnabert/shard-00003.parquet",
        "esm/shard-00002.parquet",
        "merged/shard-00002.parquet",
        "predictions/frames.tsv",
        "predictions/sequences.tsv",
        "predictions/summary.json",
        "predictions/prediction_results_highestscore.csv",
    ];
    for (i, name) in names.iter().enumerate() {
        let how = kinds[i % kinds.len()];
        damage(&sandbox, name, how);
        let before = identities(&sandbox);
        run(&sandbox, &more).ok();
        assert_same_files(&expected, &sandbox.files("out"), &format!("{name} {how:?}"));
        let made = made(&before, &sandbox);
        assert!(made.contains(*name) || matches!(how, Damage::Deleted), "{name} {how:?}: {made:?}");
        let stage = name.split('/').next().unwrap();
        assert!(made.iter().all(|other| other.starts_with(stage)), "{name} {how:?}: {made:?}");
        if name.ends_with("parquet") {
            assert!(made.len() == 1, "{name} {how:?}: {made:?}");
        }
    }
}

#[test]
fn one_damaged_file_in_every_stage_is_no_harder() {
    for how in [Damage::Deleted, Damage::Truncated, Damage::Flipped] {
        let sandbox = finished(&input(), &CUT);
        let expected = sandbox.files("out");
        for name in ["windows/shard-00001.fna", "dnabert/shard-00002.parquet", "esm/shard-00001.parquet"] {
            damage(&sandbox, name, how);
        }
        damage(&sandbox, "merged/shard-00003.parquet", how);
        damage(&sandbox, "predictions/windows.tsv", how);
        run(&sandbox, &CUT).ok();
        assert_same_files(&expected, &sandbox.files("out"), &format!("{how:?}"));
    }
}

#[test]
fn a_changed_input_leads_to_the_work_it_affects() {
    let sandbox = finished(&input(), &CUT);
    let before = identities(&sandbox);
    let longer = format!("{}>more\n{}\n", input(), Random::new(12).dna(1400));
    sandbox.write("x.fa", &longer);
    run(&sandbox, &CUT).ok();
    assert_same_files(&finished(&longer, &CUT).files("out"), &sandbox.files("out"), "one record more");
    let made = made(&before, &sandbox);
    for kept in ["dnabert/shard-00001.parquet", "esm/shard-00002.parquet", "merged/shard-00001.parquet"] {
        assert!(!made.contains(kept), "{kept} was made again: {made:?}");
    }
    assert!(made.contains("predictions/sequences.tsv"));
    // Fewer records: what no longer belongs to the output goes.
    let shorter: String = input().lines().take(4).map(|line| format!("{line}\n")).collect();
    sandbox.write("x.fa", &shorter);
    run(&sandbox, &CUT).ok();
    assert_same_files(&finished(&shorter, &CUT).files("out"), &sandbox.files("out"), "fewer records");
}

#[test]
fn starting_over_leaves_nothing_of_other_settings() {
    let sandbox = finished(&input(), &[&CUT[..], &["--legacy"]].concat());
    run(&sandbox, &["--shard-frames", "1000"]).fails(3, "VN-CKPT-FOREIGN");
    let changed = ["--shard-frames", "1000", "--window", "300"];
    run(&sandbox, &[&changed[..], &["--no-resume"]].concat()).ok();
    assert_same_files(&finished(&input(), &changed).files("out"), &sandbox.files("out"), "started over");
    let before = identities(&sandbox);
    run(&sandbox, &changed).ok();
    assert!(made(&before, &sandbox).is_empty());
    run(&sandbox, &[&changed[..], &["--resume=false"]].concat()).ok();
    assert_eq!(made(&before, &sandbox).len(), before.len(), "all is made again");
}

#[test]
fn starting_over_works_whatever_state_the_manifests_are_in() {
    let sandbox = finished(&input(), &CUT);
    for stage in ["windows", "dnabert", "esm", "merged", "predictions"] {
        sandbox.write(&format!("out/{stage}/manifest.json"), "{ torn");
    }
    run(&sandbox, &CUT).fails(3, "VN-CKPT-HASH");
    let changed = ["--shard-frames", "100"];
    run(&sandbox, &[&changed[..], &["--no-resume"]].concat()).ok();
    // Files that no manifest records are nobody's to remove; no stage takes them over either.
    let after = sandbox.files("out");
    for (name, content) in finished(&input(), &changed).files("out") {
        assert!(after.get(&name) == Some(&content), "{name}");
    }
}

#[test]
fn starting_over_never_removes_the_work_of_another_stage() {
    let sandbox = finished(&input(), &CUT);
    let (model, before) = (mock(), sandbox.files("out/windows"));
    let into_windows = ["embed-esm", "out/windows", "-q", "--no-resume", "--model", &model, "-o", "out/windows"];
    sandbox.run(&into_windows).fails(3, "VN-CKPT-FOREIGN");
    assert_same_files(&before, &sandbox.files("out/windows"), "windows");
}

#[test]
fn files_without_a_manifest_are_somebody_elses() {
    let sandbox = finished(&input(), &CUT);
    fs::remove_file(sandbox.path("out/windows/manifest.json")).unwrap();
    let before = sandbox.files("out");
    run(&sandbox, &CUT).fails(1, "VN-OUT-FOREIGN");
    assert_same_files(&before, &sandbox.files("out"), "refused");
}

#[test]
fn other_cut_offs_and_more_files_cost_no_vectors() {
    let sandbox = finished(&input(), &CUT);
    let before = identities(&sandbox);
    run(&sandbox, &[&CUT[..], &["--legacy", "--viral-share", "0.9"]].concat()).ok();
    let made = made(&before, &sandbox);
    assert!(made.iter().all(|name| !name.ends_with(".parquet")), "{made:?}");
    assert!(sandbox.files("out").contains_key("predictions/prediction_results.txt"));
    run(&sandbox, &CUT).ok();
    assert_same_files(&finished(&input(), &CUT).files("out"), &sandbox.files("out"), "back again");
}

#[test]
fn starting_over_with_one_shard_leaves_the_others() {
    let sandbox = finished(&input(), &CUT);
    let (model, before) = (mock(), sandbox.files("out/esm"));
    sandbox
        .run(&["embed-esm", "out/windows/shard-00002.faa", "-q", "--no-resume", "--model", &model, "-o", "out/esm"])
        .ok();
    assert_same_files(&before, &sandbox.files("out/esm"), "vectors");
}

#[test]
fn sequences_from_a_pipe_are_read_again_and_their_vectors_kept() {
    let sandbox = Sandbox::new();
    let model = mock();
    let command = [&["run", "-", "-q", "--model", &model, "-o", "out"], &CUT[..]].concat();
    sandbox.run_with_stdin(&command, input().as_bytes()).ok();
    let (expected, before) = (sandbox.files("out"), identities(&sandbox));
    sandbox.run_with_stdin(&command, input().as_bytes()).ok();
    assert_same_files(&expected, &sandbox.files("out"), "the second run");
    assert!(made(&before, &sandbox).iter().all(|name| name.starts_with("windows/")), "{:?}", made(&before, &sandbox));
}

#[test]
fn shards_embedded_one_by_one_into_one_folder_stay() {
    let sandbox = finished(&input(), &CUT);
    let model = mock();
    let embed = |shards: &[&str]| {
        sandbox.run(&[&["embed-esm", "-q", "--model", &model, "-o", "esm"], shards].concat()).ok();
    };
    let shards = ["out/windows/shard-00001.faa", "out/windows/shard-00002.faa", "out/windows/shard-00003.faa"];
    for shard in shards {
        embed(&[shard]);
    }
    let (one_by_one, expected) = (sandbox.files("esm"), sandbox.files("out/esm"));
    for name in ["shard-00001.parquet", "shard-00002.parquet", "shard-00003.parquet"] {
        assert!(one_by_one.get(name) == expected.get(name), "{name}: {:?}", one_by_one.keys());
    }
    assert_eq!(one_by_one.get("manifest.json"), expected.get("manifest.json"));
    // The whole folder given again is the whole stage: nothing else stays in the output.
    sandbox.run(&["chunk", "x.fa", "-q", "--no-resume", "-o", "out/windows"]).ok();
    embed(&["out/windows"]);
    assert_eq!(sandbox.files("esm").into_keys().collect::<Vec<_>>(), ["manifest.json", "shard-00001.parquet"]);
}

/// Starts a run, waits until its output holds so many files, and kills it after some more time. Says whether it was
/// still running.
fn killed(sandbox: &Sandbox, more: &[&str], files: usize, after: Duration) -> bool {
    let model = mock();
    let mut command = sandbox.command(&args(&model, more));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&sandbox.path("out")) < files && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(200));
    }
    sleep(after);
    let running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    running
}

/// Files in the folders of `folder`.
fn count(folder: &Path) -> usize {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries(folder).flat_map(|stage| entries(&stage).collect::<Vec<_>>()).count()
}

#[test]
fn killed_at_any_time_and_run_again_gives_the_files_of_an_undisturbed_run() {
    let text = Random::new(13).fasta(300, 1500);
    let more = ["--shard-frames", "150", "--legacy"];
    let expected = finished(&text, &more).files("out");
    let (mut random, mut kills) = (Random::new(14), 0);
    for _ in 0..60 {
        let sandbox = Sandbox::new();
        sandbox.write("x.fa", &text);
        // Up to four kills of one run; a run that ended before its kill is complete.
        for _ in 0..4 {
            let after = Duration::from_micros(random.below(20_000) as u64);
            let met = killed(&sandbox, &more, random.below(expected.len()), after);
            kills += usize::from(met);
            for (name, content) in sandbox.files("out") {
                let partial = name.ends_with(".partial") || name.ends_with("manifest.json");
                assert!(partial || expected[&name] == content, "{name} has its name and is not whole");
            }
            if !met {
                break;
            }
        }
        run(&sandbox, &more).ok();
        assert_same_files(&expected, &sandbox.files("out"), "after kills");
        if kills >= 20 {
            return;
        }
    }
    panic!("only {kills} kills met a running program");
}

#[cfg(not(feature = "torch"))]
#[test]
fn a_build_without_libtorch_says_so_for_bundles_with_weights() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", input());
    for command in [&["run", "x.fa", "-o", "out"][..], &["embed-esm", "out/windows", "-o", "esm"], &["info"]] {
        let ran = sandbox.run(command);
        if command[0] == "info" && ran.code == 0 {
            assert!(ran.stdout.contains("no libtorch") || ran.stdout.contains("none"), "{}", ran.told());
            continue;
        }
        ran.fails(69, "VN-DEVICE-NONE");
        ran.says(&["no libtorch", "mock", "to do:"]);
    }
    run(&sandbox, &["--no-resume"]).ok();
}
