//! The same command again: finished work is kept where its content proves it, and made again where not. Whatever
//! happened before, the files are those of an undisturbed run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock, untrained_folder};

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

/// A run that is refused with exit code 3 and leaves every file as it was.
#[track_caller]
fn refused_untouched(sandbox: &Sandbox, more: &[&str], fault: &str) -> Ran {
    let before = sandbox.files("out");
    let ran = run(sandbox, more);
    ran.fails(3, fault);
    assert_same_files(&before, &sandbox.files("out"), "refused");
    ran
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
    let replace = [&CUT[..], &["--overwrite"]].concat();
    refused_untouched(&sandbox, &CUT, "VN-CKPT-INPUT");
    run(&sandbox, &replace).ok();
    assert_same_files(&finished(&longer, &CUT).files("out"), &sandbox.files("out"), "one record more");
    let made = made(&before, &sandbox);
    for kept in ["dnabert/shard-00001.parquet", "esm/shard-00002.parquet", "merged/shard-00001.parquet"] {
        assert!(!made.contains(kept), "{kept} was made again: {made:?}");
    }
    assert!(made.contains("predictions/sequences.tsv"));
    // Fewer records: what no longer belongs to the output goes.
    let shorter: String = input().lines().take(4).map(|line| format!("{line}\n")).collect();
    sandbox.write("x.fa", &shorter);
    run(&sandbox, &replace).ok();
    assert_same_files(&finished(&shorter, &CUT).files("out"), &sandbox.files("out"), "fewer records");
}

#[test]
fn starting_over_leaves_nothing_of_other_settings() {
    let sandbox = finished(&input(), &[&CUT[..], &["--legacy"]].concat());
    run(&sandbox, &["--shard-frames", "1000"]).fails(3, "VN-CKPT-FOREIGN");
    let changed = ["--shard-frames", "1000", "--window", "300"];
    // To do work again is not to replace other work.
    refused_untouched(&sandbox, &[&changed[..], &["--no-resume"]].concat(), "VN-CKPT-FOREIGN");
    run(&sandbox, &[&changed[..], &["--no-resume", "-f"]].concat()).ok();
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
    run(&sandbox, &[&changed[..], &["--no-resume"]].concat()).fails(3, "VN-CKPT-HASH");
    run(&sandbox, &[&changed[..], &["--overwrite"]].concat()).ok();
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
fn a_lost_manifest_costs_its_stage_and_no_other() {
    let sandbox = finished(&input(), &CUT);
    for stage in ["windows", "dnabert", "esm", "merged", "predictions"] {
        let expected = sandbox.files("out");
        fs::remove_file(sandbox.path(&format!("out/{stage}/manifest.json"))).unwrap();
        let ran = refused_untouched(&sandbox, &CUT, "VN-CKPT-HASH");
        ran.says(&[&format!("out/{stage}"), "no manifest", "--overwrite"]);
        let before = identities(&sandbox);
        run(&sandbox, &[&CUT[..], &["--overwrite"]].concat()).ok();
        assert_same_files(&expected, &sandbox.files("out"), stage);
        let made = made(&before, &sandbox);
        assert!(made.iter().all(|name| name.starts_with(stage)), "{stage}: {made:?}");
    }
}

#[test]
fn a_damaged_manifest_costs_its_stage_and_no_other() {
    let sandbox = finished(&input(), &CUT);
    let expected = sandbox.files("out");
    sandbox.write("out/esm/manifest.json", "{ torn");
    refused_untouched(&sandbox, &CUT, "VN-CKPT-HASH").says(&["out/esm/manifest.json", "--overwrite"]);
    let before = identities(&sandbox);
    run(&sandbox, &[&CUT[..], &["-f"]].concat()).ok();
    assert_same_files(&expected, &sandbox.files("out"), "made again");
    assert!(made(&before, &sandbox).iter().all(|name| name.starts_with("esm")));
}

#[test]
fn finished_results_of_another_input_are_refused_naming_both() {
    let sandbox = finished(&input(), &CUT);
    let other = Random::new(99).fasta(5, 1400);
    sandbox.write("other.fa", &other);
    let model = mock();
    let command = |more: &[&'static str]| {
        let first = ["run", "other.fa", "-q", "--model", &model, "-o", "out"].map(str::to_owned).to_vec();
        let all = [first, CUT.map(str::to_owned).to_vec(), more.iter().map(|arg| (*arg).to_owned()).collect()].concat();
        sandbox.run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let before = sandbox.files("out");
    command(&[]).fails(3, "VN-CKPT-INPUT");
    command(&[]).says(&["made from other.fa", "made from x.fa", "--overwrite"]);
    assert_same_files(&before, &sandbox.files("out"), "refused");
    // From a pipe the content is known only when it is read; what is there stays whole all the same.
    command(&["--no-resume"]).fails(3, "VN-CKPT-INPUT");
    let from_pipe = ["run", "-", "-q", "--model", &model, "-o", "out", "--shard-frames", "10"];
    sandbox.run_with_stdin(&from_pipe, other.as_bytes()).fails(3, "VN-CKPT-INPUT");
    assert_same_files(&before, &sandbox.files("out"), "refused from a pipe");
    command(&["--overwrite"]).ok();
    let fresh = Sandbox::new();
    fresh.write("other.fa", &other);
    fresh.run(&["run", "other.fa", "-q", "--model", &model, "-o", "out", "--shard-frames", "10"]).ok();
    assert_same_files(&fresh.files("out"), &sandbox.files("out"), "replaced");
}

#[test]
fn a_run_that_is_refused_touches_nothing() {
    let sandbox = finished(&input(), &CUT);
    sandbox.write("other.fa", Random::new(98).fasta(3, 900));
    let (model, before) = (mock(), sandbox.files("out"));
    let encoders = untrained_folder().display().to_string();
    for (more, code) in [
        (&["--window", "300"][..], 3),
        (&["--shard-frames", "7"], 3),
        (&["--device", "cuda:7"], 69),
        (&["--model", "gone"], 78),
        (&["--model", "ENCODERS", "-f"], 69),
        (&["gone.fa", "-f"], 66),
        (&["--viral-share", "0.1", "--mixed-share", "0.9", "-f"], 64),
    ] {
        if more.contains(&"--device") || (more.contains(&"ENCODERS") && cfg!(feature = "torch")) {
            continue; // the mock bundle has no device, and a full build can run the other
        }
        let mut args = vec!["run", "other.fa", "-o", "out", "-q"];
        if !more.contains(&"--model") {
            args.extend(["--model", &model]);
        }
        args.extend(more.iter().map(|word| if *word == "ENCODERS" { encoders.as_str() } else { word }));
        let ran = sandbox.run(&args);
        assert_eq!(ran.code, code, "{more:?}: {}", ran.told());
        assert_same_files(&before, &sandbox.files("out"), &format!("{more:?}"));
    }
}

#[test]
fn an_interrupted_run_on_another_input_leaves_nothing_that_calls_itself_complete_beside_it() {
    let other = Random::new(97).fasta(300, 1500);
    let expected = finished(&other, &CUT).files("out");
    let (more, mut met) = ([&CUT[..], &["-f"]].concat(), 0);
    for tries in 0..40 {
        let sandbox = finished(&input(), &CUT);
        sandbox.write("x.fa", &other);
        met += usize::from(killed(&sandbox, &more, 0, Duration::from_millis(3 * tries)));
        let windows = sandbox.json("out/windows/manifest.json");
        for stage in ["dnabert", "esm", "merged", "predictions"] {
            let manifest = sandbox.json(&format!("out/{stage}/manifest.json"));
            let of_these = manifest["origin"] == windows["origin"];
            assert!(of_these || manifest["complete"] == false, "{stage} calls itself complete beside other windows");
        }
        if tries % 8 == 0 {
            run(&sandbox, &more).ok();
            assert_same_files(&expected, &sandbox.files("out"), "run again");
        }
    }
    assert!(met >= 10, "only {met} kills met a running program");
}

#[test]
fn finished_work_is_not_written_to_again_and_may_be_read_only() {
    let sandbox = finished(&input(), &CUT);
    let written = || {
        let time = |name: &str| fs::metadata(sandbox.path("out").join(name)).unwrap().modified().unwrap();
        sandbox.files("out").into_keys().map(|name| (time(&name), name)).collect::<Vec<_>>()
    };
    let before = written();
    run(&sandbox, &CUT).ok();
    assert_eq!(before, written());
    let script = "chmod -R a-w out; \"$0\" \"$@\"; code=$?; chmod -R u+w out; exit $code";
    let mut command = std::process::Command::new("sh");
    let model = mock();
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_virnucpro")])
        .args(args(&model, &CUT))
        .current_dir(sandbox.folder());
    Ran::of(command).ok();
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
fn sequences_from_a_pipe_are_read_again_and_all_work_on_them_kept() {
    let sandbox = Sandbox::new();
    let model = mock();
    let command = [&["run", "-", "-q", "--model", &model, "-o", "out"], &CUT[..]].concat();
    sandbox.run_with_stdin(&command, input().as_bytes()).ok();
    let (expected, before) = (sandbox.files("out"), identities(&sandbox));
    sandbox.run_with_stdin(&command, input().as_bytes()).ok();
    assert_same_files(&expected, &sandbox.files("out"), "the second run");
    assert!(made(&before, &sandbox).is_empty(), "{:?}", made(&before, &sandbox));
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
    sandbox.run(&["chunk", "x.fa", "-q", "--overwrite", "-o", "out/windows"]).ok();
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
                let passing = [".partial", "manifest.json", ".lock"];
                let partial = passing.iter().any(|ending| name.ends_with(ending));
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
    sandbox.run(&["chunk", "x.fa", "-q", "-o", "out/windows"]).ok();
    for command in [&["run", "x.fa", "-o", "out"][..], &["embed-esm", "out/windows", "-o", "esm"], &["info"]] {
        let ran = sandbox.run(command);
        if command[0] == "info" && ran.code == 0 {
            assert!(ran.stdout.contains("no libtorch") || ran.stdout.contains("none"), "{}", ran.told());
            continue;
        }
        ran.fails(69, "VN-DEVICE-NONE");
        ran.says(&["no libtorch", "full build", "to do:"]);
    }
    run(&sandbox, &["--no-resume"]).ok();
}
