//! What workflow engines rely on: files that a glob finds, names that they choose, and answers that they can read.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Ran, Random, Sandbox, Table, assert_same_files, mock, repository};

const STOPS: &str = "TAACTAGCTAGTTAGTTAACTAA";

/// A place with three inputs: frames, no open frame, no record.
fn inputs() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(41).fasta(4, 900));
    sandbox.write("stops.fa", format!(">a\n{STOPS}\n>b\n{STOPS}\n"));
    sandbox.write("empty.fa", "");
    sandbox
}

fn samples(table: &Table) -> Vec<String> {
    let mut samples: Vec<String> = table.column("sample").into_iter().map(str::to_owned).collect();
    samples.dedup();
    samples
}

#[test]
fn the_name_of_the_sample_can_be_given() {
    let sandbox = inputs();
    let model = mock();
    sandbox.run(&["chunk", "x.fa", "stops.fa", "--sample", " s 1 ", "-o", "both"]).ok();
    assert_eq!(samples(&sandbox.table("both/windows.tsv")), ["s 1"]);
    sandbox.run_with_stdin(&["chunk", "-", "--sample", "s", "-o", "in"], b">a\nATGGCCGCA\n").ok();
    assert_eq!(samples(&sandbox.table("in/inputs.tsv")), ["s"]);
    sandbox.run_with_stdin(&["chunk", "-", "-o", "in2"], b">a\nATGGCCGCA\n").ok();
    assert_eq!(samples(&sandbox.table("in2/inputs.tsv")), ["stdin"]);
    sandbox.run(&["run", "x.fa", "--sample", "s1", "-q", "--model", &model, "-o", "out"]).ok();
    for table in ["frames", "windows", "sequences"] {
        assert_eq!(samples(&sandbox.table(&format!("out/predictions/{table}.tsv"))), ["s1"], "{table}");
    }
    let mut command = sandbox.command(&["chunk", "x.fa", "-o", "set"]);
    command.env("VIRNUCPRO_SAMPLE", "by-variable");
    Ran::of(command).ok();
    assert_eq!(samples(&sandbox.table("set/windows.tsv")), ["by-variable"]);
}

#[test]
fn another_name_of_the_sample_makes_other_tables_and_no_other_vectors() {
    let sandbox = inputs();
    let model = mock();
    let run = |sample: &str, output: &str| {
        sandbox.run(&["run", "x.fa", "--sample", sample, "--model", &model, "-o", output]).ok()
    };
    run("one", "out");
    let ran = run("two", "out");
    ran.says(&["embed-dnabert: ", "kept from before: 1"]);
    run("two", "new");
    assert_same_files(&sandbox.files("new"), &sandbox.files("out"), "renamed");
    assert!(!sandbox.text("out/predictions/windows.tsv").contains("one"));
}

#[test]
fn a_name_that_is_not_one_of_a_sample_is_refused() {
    let sandbox = inputs();
    for name in ["", "  ", "a\tb", "a\u{1b}[31m"] {
        let ran = sandbox.run(&["chunk", "x.fa", "--sample", name, "-o", "out"]);
        ran.fails(64, "VN-USAGE");
        ran.says(&["the name of a sample"]);
    }
    sandbox.write("s.csv", "sample,fasta\nA,x.fa\n");
    let ran = sandbox.run(&["chunk", "x.fa", "s.csv", "--sample", "s", "-o", "out"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["--sample and a sample sheet", "s.csv", "VIRNUCPRO_SAMPLE"]);
    sandbox.run(&["chunk", "x.fa", "./x.fa", "--sample", "s", "-o", "out"]).fails(64, "VN-USAGE");
    assert!(!sandbox.path("out").exists());
}

#[test]
fn mates_of_a_pair_keep_their_ids_apart_and_the_log_says_so() {
    let sandbox = Sandbox::new();
    let reads = |mate: u8| format!("@r1 {mate}:N:0:A\nATGGCCGCA\n+\nIIIIIIIII\n@r2 {mate}:N:0:A\nATGGCC\n+\nIIIIII\n");
    sandbox.write("data/a_1.fq", reads(1));
    sandbox.write("data/a_2.fq", reads(2));
    sandbox.write("data/b_1.fq", "@q/1\nATGGCCGCA\n+\nIIIIIIIII\n");
    sandbox.write("data/b_2.fq", "@q/2\nATGGCCGCA\n+\nIIIIIIIII\n");
    sandbox.write("data/c.fq", "@r1\nATGGCCGCA\n+\nIIIIIIIII\n");
    // As spreadsheets write it: quotation marks, blanks after commas, CR LF, and an empty second file.
    let sheet =
        "sample,fastq_1,fastq_2,strandedness\r\n\"A\",\"a_1.fq\", a_2.fq ,auto\r\nB,b_1.fq,b_2.fq,\r\nC,c.fq,,\r\n";
    sandbox.write("data/s.csv", sheet);
    let ran = sandbox.run(&["chunk", "data/s.csv", "-o", "out"]).ok();
    ran.says(&[
        "info: chunk: in later files of a sample 2 records had an id again, as mates of pairs do: r1 of data/a_2.fq is \
         called r1__2",
        "warn: chunk: 1 record had the id of an earlier one",
    ]);
    let table = sandbox.table("out/inputs.tsv");
    assert_eq!(table.column("sample"), ["A", "A", "A", "A", "B", "B", "C"]);
    assert_eq!(table.column("sequence_id"), ["r1", "r2", "r1__2", "r2__2", "q/1", "q/2", "r1__3"]);
    assert_eq!(table.column("original_id"), ["r1", "r2", "r1", "r2", "q/1", "q/2", "r1"]);
    // The same pair without a sheet.
    let ran = sandbox.run(&["chunk", "data/a_1.fq", "data/a_2.fq", "--sample", "A", "-o", "pair"]).ok();
    ran.says(&["2 records had an id again"]);
    assert!(!ran.stderr.contains("warn:"), "{}", ran.told());
}

#[test]
fn paths_in_a_sheet_start_at_its_folder_or_else_at_the_working_folder() {
    let sandbox = inputs();
    sandbox.write("sheets/own.fa", ">own\nATGGCCGCA\n");
    sandbox.write("own.fa", ">other\nATGGCCGCA\n");
    sandbox.write("sheets/s.csv", "sample,fasta\nA,own.fa\nB,x.fa\nC,stops.fa\n");
    let ran = sandbox.run(&["chunk", "sheets/s.csv", "-o", "out"]).ok();
    ran.says(&["info: sheets/s.csv: x.fa is read from the working folder, not from the sheet's (and 1 more)"]);
    let table = sandbox.table("out/inputs.tsv");
    assert_eq!(table.column("file")[..2], ["sheets/own.fa", "x.fa"]);
    assert_eq!(table.column("sequence_id")[0], "own");
}

#[test]
fn without_an_open_frame_there_is_an_empty_shard_that_every_stage_takes() {
    let sandbox = inputs();
    let model = mock();
    for (input, more) in [("stops.fa", &[][..]), ("empty.fa", &["--allow-empty"])] {
        let run = |args: &[&str]| sandbox.run(&[args, &["--log-level", "warn"]].concat()).ok();
        let out = |folder: &str| format!("{input}-stages/{folder}");
        run(&[&["run", input, "-q", "--model", &model, "-o", &format!("{input}-run")], more].concat());
        run(&[&["chunk", input, "-o", &out("windows")], more].concat());
        assert_eq!(sandbox.text(&out("windows/shard-00001.fna")), "");
        assert_eq!(sandbox.text(&out("windows/shard-00001.faa")), "");
        run(&["embed-dnabert", &out("windows"), "--model", &model, "-o", &out("dnabert")]);
        run(&["embed-esm", &out("windows"), "--model", &model, "-o", &out("esm")]);
        run(&["merge", "--dnabert", &out("dnabert"), "--esm", &out("esm"), "-o", &out("merged")]);
        run(&["predict", &out("merged"), "--model", &model, "-o", &out("predictions")]);
        let [by_run, by_stages] = ["run", "stages"].map(|how| sandbox.files(&format!("{input}-{how}")));
        assert!(by_run.contains_key("merged/shard-00001.parquet"), "{:?}", by_run.keys());
        assert_same_files(&by_run, &by_stages, input);
        let rows = |table: &str| sandbox.table(&out(&format!("predictions/{table}.tsv"))).rows.len();
        let expected = if input == "stops.fa" { 2 } else { 0 };
        assert_eq!([rows("frames"), rows("windows"), rows("sequences")], [0, expected, expected]);
    }
}

#[test]
fn an_empty_shard_is_taken_alone_as_engines_stage_it() {
    let sandbox = inputs();
    let model = mock();
    sandbox.run(&["chunk", "stops.fa", "-o", "windows"]).ok();
    for (name, side) in [("shard-00001.fna", "dnabert"), ("shard-00001.faa", "esm")] {
        sandbox.write(&format!("work-{side}/{name}"), "");
        let (shard, command) = (format!("work-{side}/{name}"), format!("embed-{side}"));
        sandbox.run(&[&command, &shard, "--model", &model, "-o", side]).ok();
    }
    let [dnabert, esm] = ["dnabert", "esm"].map(|side| format!("{side}/shard-00001.parquet"));
    sandbox.run(&["merge", "--dnabert", &dnabert, "--esm", &esm, "-o", "merged"]).ok();
    let merged = "merged/shard-00001.parquet";
    sandbox.run(&["predict", merged, "--windows", "windows", "--model", &model, "-o", "out"]).ok();
    assert_eq!(sandbox.table("out/sequences.tsv").column("verdict"), ["no-call"; 2]);
    // Beside shards with frames, and for the other side.
    sandbox.run(&["chunk", "x.fa", "--shard-frames", "8", "-o", "x"]).ok();
    sandbox.run(&["embed-esm", "x/shard-00002.faa", "work-esm", "--model", &model, "-o", "mixed"]).ok();
    assert!(sandbox.path("mixed/shard-00001.parquet").exists() && sandbox.path("mixed/shard-00002.parquet").exists());
    sandbox
        .run(&["embed-dnabert", "work-esm/shard-00001.faa", "--model", &model, "-o", "wrong"])
        .fails(65, "VN-IN-EMPTY");
    // Frames that are missing are missed: an empty file cannot stand for a shard with frames.
    sandbox.write("lost/shard-00001.fna", "");
    sandbox.write("lost/shard-00001.faa", "");
    for side in ["dnabert", "esm"] {
        let (output, command) = (format!("lost-{side}"), format!("embed-{side}"));
        let shard = format!("lost/shard-00001.{}", if side == "esm" { "faa" } else { "fna" });
        sandbox.run(&[&command, &shard, "--model", &model, "-o", &output]).ok();
    }
    sandbox.run(&["merge", "--dnabert", "lost-dnabert", "--esm", "lost-esm", "-o", "lost-merged"]).ok();
    let ran = sandbox.run(&["predict", "lost-merged", "--windows", "x", "--model", &model, "-o", "lost-out"]);
    ran.fails(3, "VN-CKPT-INPUT");
}

/// Keys of a JSON object.
fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap_or_else(|| panic!("not an object: {object}")).keys().cloned().collect()
}

/// The documented keys of an answer, each with the names in its description.
fn documented(answer: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let (_, table) = text.split_once(&format!("| key of `{answer}` |")).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let (key, told) = row.trim_matches('|').split_once('|').unwrap();
        (key.trim().trim_matches('`').to_owned(), told.to_owned())
    })
    .collect()
}

#[test]
fn info_answers_in_json_with_the_documented_keys() {
    let sandbox = Sandbox::new();
    let documented = documented("info --json");
    let expected: BTreeSet<String> = documented.iter().map(|(key, _)| key.clone()).collect();
    for more in [&[][..], &["--device", "cuda:77"], &["--device", "cpu", "--dtype", "f16"], &["--model", &mock()]] {
        let ran = sandbox.run(&[&["info", "--json"], more].concat()).ok();
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(keys(&answer), expected, "{more:?}");
        for (key, told) in &documented {
            for part in answer[key].as_object().into_iter().flatten() {
                assert!(told.contains(&format!("`{}`", part.0)), "{key}.{} is not documented", part.0);
            }
        }
        assert_eq!(answer["virnucpro"], env!("CARGO_PKG_VERSION"));
        assert!(
            answer["cpus"]["value"].as_u64().unwrap() >= 1 && answer["memory"]["total"].as_u64().unwrap() > 1 << 20
        );
    }
    let missing = sandbox.run(&["info", "--json", "--device", "cuda:77"]).ok();
    let answer: Value = serde_json::from_str(&missing.stdout).unwrap();
    assert_eq!((&answer["device"]["value"], &answer["device"]["gpus"]), (&Value::Null, &Value::from(0)));
    assert!(answer["device"]["error"].is_string() && answer["attention"].is_null(), "{answer}");
    if cfg!(feature = "torch") {
        let ran = sandbox.run(&["info", "--json", "--device", "cpu", "--attempt", "3"]).ok();
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&answer["device"]["value"], &answer["batch_tokens"]["value"]), (&"cpu".into(), &256.into()));
        assert_eq!(answer["number_format"]["value"], "f32");
    }
}

#[test]
fn the_list_of_models_is_had_in_json_with_the_documented_keys() {
    let sandbox = Sandbox::new();
    let bundles = repository().join("bundles");
    sandbox.write("broken/vnp/bundle.yaml", "format: x\n");
    let models = format!("{}:broken", bundles.display());
    let ran = sandbox.run(&["models", "list", "--json", "--models", &models]).ok();
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let documented = documented("models list --json");
    assert_eq!(keys(&answer), documented.iter().map(|(key, _)| key.clone()).collect());
    for (key, told) in &documented {
        for entry in answer[key].as_array().unwrap() {
            assert!(keys(entry).iter().all(|part| told.contains(&format!("`{part}`"))), "{key}: {entry}");
            assert_eq!(keys(entry).len(), if key == "bundles" { 11 } else { 3 }, "{entry}");
        }
    }
    let named = |name: &str| answer["bundles"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    assert!(named("mini")["path"].is_null() && named("mini")["window"] == 500 && named("mini")["error"].is_null());
    assert!(named("mock")["path"].as_str().unwrap().ends_with("bundles/mock"));
    assert!(named("vnp")["error"].is_string() && named("vnp")["digest"].is_null(), "{answer}");
}

fn progress(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message_type"] == "progress").collect()
}

#[test]
fn a_json_log_tells_how_far_each_stage_is() {
    let sandbox = inputs();
    let run = ["run", "x.fa", "--log-format", "json", "--model", &mock(), "-o", "out"];
    let lines = progress(&sandbox.run(&run).ok().stderr);
    let told: Vec<&str> = lines.iter().map(|line| line["stage"].as_str().unwrap()).collect();
    assert_eq!(told, ["chunk", "embed-dnabert", "embed-esm", "merge", "predict"]);
    let frames = sandbox.json("out/windows/manifest.json")["totals"]["frames"].clone();
    for line in &lines {
        let chunk = line["stage"] == "chunk";
        let (done, total, unit) =
            if chunk { (3600.into(), Value::Null, "bases") } else { (frames.clone(), frames.clone(), "frames") };
        assert_eq!((&line["done"], &line["total"], &line["unit"]), (&done, &total, &unit.into()), "{line}");
        assert!(line["time"].as_f64().unwrap() > 1e9 && line["per_second"].as_f64().is_some(), "{line}");
        assert_eq!(keys(line).len(), 7, "{line}");
    }
    let silent = sandbox.run(&[&run[..], &["--progress-seconds", "0", "-f", "--no-resume"]].concat()).ok();
    assert!(progress(&silent.stderr).is_empty(), "{}", silent.told());
}

/// What `chunk` says while its input comes slowly.
fn slowly(format: &str) -> String {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["chunk", "-", "--progress-seconds", "1", "--log-format", format, "-o", "out"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for n in 0..4 {
        write!(pipe, ">r{n}\nATGGCCGCA\n").unwrap();
        pipe.flush().unwrap();
        std::thread::sleep(Duration::from_millis(600));
    }
    drop(pipe);
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn a_log_tells_now_and_then_how_far_a_stage_is() {
    let lines = progress(&slowly("json"));
    assert!(lines.len() >= 2, "{lines:?}");
    let done: Vec<u64> = lines.iter().map(|line| line["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done[0] < 36 && done.last() == Some(&36), "{done:?}");
    let text = slowly("text");
    assert!(text.contains("info: chunk: ") && text.contains(" bases/s"), "{text}");
}

/// Waits until a file is there.
fn wait_for(path: &std::path::Path) {
    for _ in 0..600 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} did not come", path.display());
}

#[test]
fn a_second_writer_is_refused_with_the_name_of_the_first_and_a_killed_one_locks_nobody_out() {
    let sandbox = inputs();
    let model = mock();
    sandbox.run(&["chunk", "x.fa", "-o", "windows"]).ok();
    let embed = |output: &str| sandbox.run(&["embed-dnabert", "windows", "--model", &model, "-o", output]);
    embed("undisturbed").ok();
    let mut command = sandbox.command(&["embed-dnabert", "-", "--model", &model, "-o", "out"]);
    let mut first = command.stdin(Stdio::piped()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = first.stdin.take().unwrap();
    write!(pipe, ">r1_chunk_1F1\nATGGCC").unwrap();
    wait_for(&sandbox.path("out/.lock"));
    std::thread::sleep(Duration::from_millis(100)); // until the owner stands in it
    let ran = embed("out");
    let json = ran.fails(3, "VN-CKPT-LOCKED");
    assert_eq!(json["file"], "out");
    ran.says(&[&format!("process {} on ", first.id()), "another process is writing to out"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(sandbox.path("out/.lock").exists());
    embed("out").ok();
    assert_same_files(&sandbox.files("undisturbed"), &sandbox.files("out"), "after a kill");
    // What a process left that was killed at the very end goes with the next look at the folder.
    sandbox.write("out/.lock", "");
    embed("out").ok();
    assert_same_files(&sandbox.files("undisturbed"), &sandbox.files("out"), "complete before");
}

#[test]
fn a_command_that_is_started_several_times_at_once_ends_as_if_it_were_started_once() {
    let sandbox = inputs();
    let model = mock();
    let run = |output: &str| {
        let mut command = sandbox.command(&["run", "x.fa", "--shard-frames", "9", "--model", &model, "-o", output]);
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    Ran::of(run("once")).ok();
    for round in 0..3 {
        let output = format!("out{round}");
        let children: Vec<_> = (0..3).map(|_| run(&output).spawn().unwrap()).collect();
        let ended: Vec<Ran> =
            children.into_iter().map(|one| Ran::from_output("run".into(), one.wait_with_output().unwrap())).collect();
        assert!(ended.iter().any(|ran| ran.code == 0), "{}", ended[0].told());
        for ran in ended.iter().filter(|ran| ran.code != 0) {
            assert_eq!(ran.code, 3, "{}", ran.told());
        }
        Ran::of(run(&output)).ok();
        assert_same_files(&sandbox.files("once"), &sandbox.files(&output), &output);
    }
}

#[test]
fn no_stage_opens_more_files_than_it_works_on() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(47).fasta(20, 60));
    let script = "set -e; ulimit -n 40; \
        $V chunk x.fa --shard-frames 1 -o windows; \
        $V embed-dnabert windows -o dnabert; \
        $V embed-esm windows -o esm; \
        $V merge --dnabert dnabert --esm esm -o merged; \
        $V predict merged -o predictions; \
        $V chunk x.fa --shard-frames 2 -o windows2; \
        $V embed-dnabert windows2 -o dnabert2; \
        $V merge --dnabert dnabert2 --esm esm -o merged2; \
        $V predict merged2 -o predictions2";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script]).current_dir(sandbox.folder());
    command.env("V", env!("CARGO_BIN_EXE_virnucpro")).env("VIRNUCPRO_MODEL", mock()).env("VIRNUCPRO_QUIET", "1");
    Ran::of(command).ok();
    let shards = sandbox.files("windows").keys().filter(|name| name.ends_with(".fna")).count();
    assert!(shards > 80, "{shards}");
    assert_eq!(sandbox.text("predictions/frames.tsv"), sandbox.text("predictions2/frames.tsv"));
}
