//! What workflow engines rely on: files that a glob finds, names that they choose, and answers that they can read.

use crate::support::{Random, Sandbox, Table, assert_same_files, mock};

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
    crate::support::Ran::of(command).ok();
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
