//! Whatever form sequences come in, the tables are the same; every record has its row, and the counts add up.

use std::fs;
use std::io::{Read, Write};

use crate::support::{Ran, Random, Sandbox, Table, assert_same_files, mock, shared};

/// Columns that name the file and not what is in it.
const ORIGIN: [&str; 2] = ["sample", "file"];

/// The tables of a run.
#[derive(Clone, Debug, PartialEq)]
struct Tables {
    inputs: Table,
    windows: Table,
    frames: Table,
    sequences: Table,
}

impl Tables {
    fn read(sandbox: &Sandbox, out: &str) -> Self {
        let table = |name: &str| sandbox.table(&format!("{out}/{name}"));
        Self {
            inputs: table("windows/inputs.tsv"),
            windows: table("predictions/windows.tsv"),
            frames: table("predictions/frames.tsv"),
            sequences: table("predictions/sequences.tsv"),
        }
    }

    fn without(&self, columns: &[&str]) -> Self {
        Self {
            inputs: self.inputs.without(columns),
            windows: self.windows.without(columns),
            frames: self.frames.without(columns),
            sequences: self.sequences.without(columns),
        }
    }
}

/// Runs the pipeline with the mock encoder.
fn tables(sandbox: &Sandbox, inputs: &[&str], out: &str) -> Tables {
    sandbox.run(&[&["run", "-q", "--model", &mock(), "-o", out], inputs].concat()).ok();
    Tables::read(sandbox, out)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

/// One compressed stream per third of the text, one after the other.
fn members(text: &[u8], compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    text.chunks(text.len().div_ceil(3)).flat_map(compress).collect()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn xz(text: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn zst(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

/// Records of every awkward length, with and without an open frame.
fn small() -> String {
    let mut random = Random::new(1);
    let mut text = random.fasta(4, 1300);
    for length in [1, 2, 3, 4, 299, 500, 501] {
        text.push_str(&format!(">length{length} a description\n{}\n", random.dna(length)));
    }
    let stops = "TAACTAGCTAGTTAGTTAACTAA".repeat(30);
    text.push_str(&format!(
        ">stops\n{stops}\n>unknown\n{}\n>mixed\n{}NNN{}\n",
        "N".repeat(700),
        stops,
        random.dna(400)
    ));
    text
}

#[test]
fn every_form_of_one_file_gives_the_same_tables() {
    let sandbox = Sandbox::new();
    let text = small();
    sandbox.write("x.fa", &text);
    let plain = tables(&sandbox, &["x.fa"], "plain");
    assert_eq!(plain.inputs.rows.len(), 14);
    assert_eq!(plain.sequences.column("sequence_id")[13], "mixed");
    let reference = plain.without(&ORIGIN);
    let bytes = text.as_bytes();
    for (name, content) in [
        ("x.fa.gz", gzip(bytes)),
        ("members.fa.gz", members(bytes, gzip)),
        ("x.fa.bz2", bzip2(bytes)),
        ("members.fa.bz2", members(bytes, bzip2)),
        ("x.fa.xz", xz(bytes)),
        ("members.fa.xz", members(bytes, xz)),
        ("x.fa.zst", zst(bytes)),
        ("members.fa.zst", members(bytes, zst)),
        ("misnamed.fa", gzip(bytes)),
        ("no-extension", xz(bytes)),
    ] {
        sandbox.write(name, content);
        assert_eq!(tables(&sandbox, &[name], &format!("out-{name}")).without(&ORIGIN), reference, "{name}");
    }
    for (out, content) in [("piped", bytes.to_vec()), ("piped-gz", gzip(bytes)), ("piped-zst", zst(bytes))] {
        sandbox.run_with_stdin(&["run", "-", "-q", "--model", &mock(), "-o", out], &content).ok();
        let piped = Tables::read(&sandbox, out);
        assert_eq!(piped.without(&ORIGIN), reference, "{out}");
        assert!(piped.inputs.column("sample").iter().all(|sample| *sample == "stdin"));
    }
}

/// Asserts that tables, manifests and summary of a run agree with each other and with the text.
fn counts_add_up(sandbox: &Sandbox, out: &str, records: usize, bases: u64) {
    let t = Tables::read(sandbox, out);
    let manifest = |stage: &str| sandbox.json(&format!("{out}/{stage}/manifest.json"));
    let total = |stage: &str, name: &str| manifest(stage)["totals"][name].as_u64().unwrap_or(0);
    assert_eq!(t.inputs.rows.len(), records, "rows of inputs.tsv");
    assert_eq!(t.sequences.rows.len(), records, "rows of sequences.tsv");
    assert_eq!(t.inputs.column("sequence_id"), t.sequences.column("sequence_id"));
    assert_eq!(t.inputs.sum("length"), bases);
    for (name, count) in [
        ("records", records as u64),
        ("bases", bases),
        ("windows", t.windows.rows.len() as u64),
        ("frames", t.frames.rows.len() as u64),
        ("windows_framed", t.inputs.sum("n_framed_windows")),
        ("windows", t.inputs.sum("n_windows")),
        ("windows", t.sequences.sum("n_windows")),
        ("windows_framed", t.sequences.sum("n_scored_windows")),
        ("frames", t.inputs.sum("n_frames")),
    ] {
        assert_eq!(total("windows", name), count, "{name}");
    }
    for stage in ["dnabert", "esm", "merged", "predictions"] {
        assert_eq!(total(stage, "frames"), t.frames.rows.len() as u64, "{stage}");
        assert_eq!(manifest(stage)["complete"], true);
    }
    let count = |column: Vec<&str>, value: &str| column.iter().filter(|cell| **cell == value).count() as u64;
    let summary = sandbox.json(&format!("{out}/predictions/summary.json"));
    let at = |kind: &str, name: &str| summary[kind][name].as_u64().unwrap_or(0);
    for status in ["framed", "no_open_frame", "ambiguous", "too_short"] {
        let rows = count(t.windows.column("status"), status);
        assert_eq!(total("windows", &format!("windows_{status}")), rows, "{status}");
        assert_eq!(at("windows", status), rows, "{status}");
    }
    for verdict in ["viral", "mixed", "non-viral", "no-call"] {
        assert_eq!(at("sequences", verdict), count(t.sequences.column("verdict"), verdict), "{verdict}");
        assert_eq!(at("sequences", verdict), total("predictions", &format!("sequences_{verdict}")), "{verdict}");
    }
    assert_eq!(summary["n_frames"], t.frames.rows.len());
    assert_eq!(summary["n_viral_windows"], t.sequences.sum("n_viral_windows"));
    assert_eq!(summary["n_viral_windows"], count(t.windows.column("verdict"), "virus"));
    windows_and_frames_name_each_other(&t);
}

fn windows_and_frames_name_each_other(t: &Tables) {
    let windows = t.windows.column("window_id").into_iter().zip(t.windows.column("frames"));
    let expected: Vec<String> = windows
        .flat_map(|(window, frames)| frames.split(',').filter(|f| !f.is_empty()).map(move |f| format!("{window}{f}")))
        .collect();
    assert_eq!(t.frames.column("frame_id"), expected);
    let called = t.windows.column("verdict").into_iter().map(|verdict| !verdict.is_empty());
    let framed = t.windows.column("status").into_iter().map(|status| status == "framed");
    assert!(called.eq(framed), "a window has a verdict where it has an open frame, and only there");
}

#[test]
fn real_contigs_give_the_same_tables_however_they_are_compressed() {
    let Some(path) = shared("genomes/demo/real_demo.fa.gz") else { return };
    let sandbox = Sandbox::new();
    let mut text = Vec::new();
    fs::copy(&path, sandbox.path("demo.fa.gz")).unwrap();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    let reference = tables(&sandbox, &["demo.fa.gz"], "gz");
    assert_eq!(reference.sequences.rows.len(), text.iter().filter(|byte| **byte == b'>').count());
    for (name, content) in [
        ("demo.fa", text.clone()),
        ("demo.fa.bz2", bzip2(&text)),
        ("demo.fa.xz", xz(&text)),
        ("demo.fa.zst", zst(&text)),
    ] {
        sandbox.write(name, content);
        assert_eq!(tables(&sandbox, &[name], &format!("out-{name}")), with_file(&reference, name), "{name}");
    }
    sandbox.run_with_stdin(&["run", "-", "-q", "--model", &mock(), "-o", "piped"], &members(&text, gzip)).ok();
    assert_eq!(Tables::read(&sandbox, "piped").without(&ORIGIN), reference.without(&ORIGIN));
}

/// The tables as they would be if the file were called `name`.
fn with_file(tables: &Tables, name: &str) -> Tables {
    let mut inputs = tables.inputs.clone();
    inputs.rows.iter_mut().for_each(|row| row[1] = name.to_owned());
    Tables { inputs, ..tables.clone() }
}

#[test]
fn counts_of_tables_manifests_and_summary_add_up() {
    let sandbox = Sandbox::new();
    let text = small();
    let records = text.matches('>').count();
    let bases: usize = text.lines().filter(|line| !line.starts_with('>')).map(str::len).sum();
    sandbox.write("x.fa", &text);
    for (window, shard_frames) in [("500", "10000"), ("300", "5"), ("3", "1000")] {
        let out = format!("out{window}");
        let cut = ["--window", window, "--shard-frames", shard_frames];
        sandbox.run(&[&["run", "x.fa", "-q", "--model", &mock(), "-o", &out], &cut[..]].concat()).ok();
        counts_add_up(&sandbox, &out, records, bases as u64);
    }
}

#[test]
fn line_ends_case_and_line_length_make_no_difference() {
    let sandbox = Sandbox::new();
    let text = small();
    sandbox.write("x.fa", &text);
    let reference = tables(&sandbox, &["x.fa"], "plain").without(&ORIGIN);
    for (name, changed) in [
        ("crlf.fa", text.replace('\n', "\r\n")),
        ("lower.fa", lower_case_sequences(&text)),
        ("open-end.fa", text.trim_end().to_owned()),
        ("blank-end.fa", format!("{text}\n\n")),
        ("blanks.fa", text.replace('\n', "  \n")),
    ] {
        sandbox.write(name, changed);
        assert_eq!(tables(&sandbox, &[name], &format!("out-{name}")).without(&ORIGIN), reference, "{name}");
    }
    // Wrapped lines move the headers down; nothing else changes.
    sandbox.write("wrapped.fa", wrapped(&text, 60));
    let moved = [&ORIGIN[..], &["line"]].concat();
    assert_eq!(tables(&sandbox, &["wrapped.fa"], "wrapped").without(&moved), reference.without(&moved));
}

fn lower_case_sequences(text: &str) -> String {
    let lower = |line: &str| if line.starts_with('>') { line.to_owned() } else { line.to_lowercase() };
    text.lines().map(|line| lower(line) + "\n").collect()
}

fn wrapped(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let width = if line.starts_with('>') { line.len() } else { columns };
        for piece in line.as_bytes().chunks(width.max(1)) {
            out.push_str(str::from_utf8(piece).unwrap());
            out.push('\n');
        }
    }
    out
}

#[test]
fn fastq_gives_the_tables_of_fasta() {
    let sandbox = Sandbox::new();
    let fasta = Random::new(2).fasta(12, 151);
    let fastq: String = fasta
        .split('>')
        .skip(1)
        .map(|record| {
            let (id, sequence) = record.trim_end().split_once('\n').unwrap();
            // '@' and '+' are qualities too.
            format!("@{id} 1:N:0\n{sequence}\n+\n@+{}\n", "F".repeat(sequence.len() - 2))
        })
        .collect();
    sandbox.write("reads.fa", &fasta);
    sandbox.write("reads.fq", &fastq);
    sandbox.write("reads.fastq.gz", gzip(fastq.as_bytes()));
    let moved = ["file", "line"];
    let reference = tables(&sandbox, &["reads.fa"], "fa").without(&moved);
    assert_eq!(tables(&sandbox, &["reads.fq"], "fq").without(&moved), reference);
    assert_eq!(tables(&sandbox, &["reads.fastq.gz"], "gz").without(&moved), reference);
}

#[test]
fn records_of_one_id_are_told_apart_and_counted() {
    let sandbox = Sandbox::new();
    let (a, b) = (Random::new(3).fasta(3, 600), Random::new(4).fasta(3, 700));
    sandbox.write("a.fa", format!("{a}>r1__2\nACGACG\n>r1 again\nACGACGACG\n"));
    sandbox.write("b.fa", &b);
    let both = tables(&sandbox, &["a.fa", "b.fa"], "both");
    let sequences = ["r1", "r2", "r3", "r1__2", "r1__3", "r1__4", "r2__2", "r3__2"];
    assert_eq!(both.sequences.column("sequence_id"), sequences);
    assert_eq!(both.inputs.column("original_id"), ["r1", "r2", "r3", "r1__2", "r1", "r1", "r2", "r3"]);
    assert_eq!(both.sequences.column("sample"), ["a", "a", "a", "a", "a", "b", "b", "b"]);
    assert_eq!(both.inputs.column("record"), ["1", "2", "3", "4", "5", "1", "2", "3"]);
    assert_eq!(sandbox.json("both/windows/manifest.json")["totals"]["renamed"], 4);
    // The second file's records score as they do alone, whatever they are called.
    let alone = tables(&sandbox, &["b.fa"], "alone");
    let scores = |table: &Table| table.column("best_score_virus").iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    assert_eq!(scores(&both.sequences)[5..], scores(&alone.sequences));

    let refused = sandbox.run(&["run", "a.fa", "b.fa", "--duplicates", "error", "--model", &mock(), "-o", "refused"]);
    let json = refused.fails(65, "VN-IN-DUPID");
    assert_eq!(
        (json["file"].as_str(), json["record"].as_str(), json["line"].as_u64()),
        (Some("a.fa"), Some("r1"), Some(9))
    );
}

#[test]
fn a_record_of_a_later_file_keeps_its_id_or_the_run_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("a.fa", ">x\nACGACG\n>x\nACGACG\n");
    sandbox.write("b.fa", ">y\nACGACG\n\n>x__2\nACGACG\n");
    let json = sandbox.run(&["run", "a.fa", "b.fa", "--model", &mock(), "-o", "out"]).fails(65, "VN-IN-DUPID");
    assert_eq!((json["file"].as_str(), json["line"].as_u64()), (Some("b.fa"), Some(4)));
    assert!(json["found"].as_str().unwrap().contains("a.fa, line 3"), "{json}");
    let other = tables(&sandbox, &["b.fa", "a.fa"], "other-order");
    assert_eq!(other.sequences.column("sequence_id"), ["y", "x__2", "x", "x__3"]);
    assert_eq!(other.inputs.column("original_id"), ["y", "x__2", "x", "x"]);
}

/// The same bases as RNA, soft-masked letters too.
fn rna(text: &str) -> String {
    let letters =
        |line: &str| if line.starts_with('>') { line.to_owned() } else { line.replace('T', "U").replace('t', "u") };
    text.lines().map(|line| letters(line) + "\n").collect()
}

#[test]
fn rna_gives_the_tables_of_dna_and_a_warning_per_input() {
    let sandbox = Sandbox::new();
    let mut text = Random::new(15).fasta(3, 700);
    text.push_str(">lower\natgccatgtatt\n");
    sandbox.write("dna.fa", &text);
    sandbox.write("rna.fa", rna(&text));
    let count = rna(&text).matches(['U', 'u']).count();
    let dna = tables(&sandbox, &["dna.fa"], "dna").without(&ORIGIN);
    let ran = sandbox.run(&["run", "rna.fa", "dna.fa", "--model", &mock(), "-o", "both"]).ok();
    ran.says(&[&format!("rna.fa: RNA: {count} U read as T")]);
    assert_eq!(ran.stderr.matches("RNA").count(), 1, "{}", ran.told());
    assert_eq!(tables(&sandbox, &["rna.fa"], "rna").without(&ORIGIN), dna);
    let shard = |out: &str| sandbox.text(&format!("{out}/windows/shard-00001.fna"));
    assert_eq!(shard("rna"), shard("dna"));
}

#[test]
fn rna_is_left_to_the_original_programs_way_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nAUGGCCGCAAUGGCCGCAggu\n");
    let chunk = |options: &[&str], out: &str| {
        let ran = sandbox.run(&[&["chunk", "x.fa", "-o", out], options].concat()).ok();
        ran.says(&["x.fa: RNA: 3 U kept as in the original program"]);
        assert_eq!(sandbox.table(&format!("{out}/inputs.tsv")).column("n_ambiguous"), ["3"]);
        let (nucleotides, proteins) = (format!("{out}/shard-00001.fna"), format!("{out}/shard-00001.faa"));
        (sandbox.text(&nucleotides), sandbox.text(&proteins))
    };
    let dropped = chunk(&["--uracil", "drop"], "drop");
    assert!(dropped.0.starts_with(">a_chunk_1F1\nAUGGCCGCAAUGG\n"), "{}", dropped.0);
    assert!(dropped.1.starts_with(">a_chunk_1F1\nAAAA\n"), "{}", dropped.1);
    assert_eq!(chunk(&["--legacy"], "legacy"), dropped);
    assert_eq!(chunk(&["--legacy", "--uracil", "drop"], "both"), dropped);
    assert_eq!(sandbox.text("legacy/chunked500.fa"), ">a_chunk_1\nAUGGCCGCAAUGGCCGCAggu\n");
    assert!(sandbox.text("drop/manifest.json").contains("\"uracil\": \"drop\""));

    let mut command = sandbox.command(&["chunk", "x.fa", "-o", "environment"]);
    command.env("VIRNUCPRO_URACIL", "drop");
    Ran::of(command).ok();
    assert_eq!(sandbox.text("environment/shard-00001.faa"), dropped.1);
    for command in ["chunk", "run"] {
        let ran = sandbox.run(&[command, "x.fa", "--legacy", "--uracil", "t", "-o", "refused"]);
        ran.fails(64, "VN-USAGE");
        ran.says(&["--uracil t and --legacy contradict each other"]);
    }
    assert!(!sandbox.path("refused").exists());
    sandbox.run(&["chunk", "x.fa", "-o", "drop"]).fails(3, "VN-CKPT-FOREIGN");
}

#[test]
fn masked_bases_are_read_as_unknown_ones() {
    let sandbox = Sandbox::new();
    let text = Random::new(16).fasta(2, 900);
    let vector = |letter: &str| text.replace("ACG", &letter.repeat(3));
    sandbox.write("n.fa", vector("N"));
    sandbox.write("x.fa", vector("X"));
    let (n, x) = (tables(&sandbox, &["n.fa"], "n"), tables(&sandbox, &["x.fa"], "x"));
    assert_eq!(n.inputs.without(&ORIGIN), x.inputs.without(&ORIGIN));
    // Scores of the mock encoder depend on every letter.
    let scored = ["sample", "verdict", "score_others", "score_virus"];
    assert_eq!(n.windows.without(&scored), x.windows.without(&scored));
    let shard = |name: &str| sandbox.text(&format!("{name}/windows/shard-00001.fna"));
    assert_eq!(shard("x").replace('X', "N"), shard("n"));
    assert!(shard("x").contains("XXX"));
}

#[test]
fn unknown_letters_are_masked_on_demand_and_reported() {
    let sandbox = Sandbox::new();
    let text = Random::new(17).fasta(2, 900);
    sandbox.write("n.fa", format!("{text}>odd\nACGNACGNNACG\n"));
    sandbox.write("odd.fa", format!("{text}>odd\nACGLACGI.ACG\n"));
    let json = sandbox.run(&["chunk", "odd.fa", "-o", "strict"]).fails(65, "VN-IN-CHAR");
    assert_eq!(json["line"], 6);
    let options = ["odd.fa", "--letters", "mask"];
    let masked = tables(&sandbox, &options, "masked");
    assert_eq!(masked.without(&ORIGIN), tables(&sandbox, &["n.fa"], "n").without(&ORIGIN));
    let ran = sandbox.run(&[&["chunk", "-o", "again"], &options[..]].concat()).ok();
    ran.says(&["odd.fa: 3 unknown letters read as N, the first on line 6"]);
    sandbox.run(&["chunk", "odd.fa", "--letters", "keep", "-o", "x"]).fails(64, "VN-USAGE");
}

#[test]
fn signs_of_damage_are_warnings_and_with_strict_input_errors() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCAATGGCCGCA");
    let model = mock();
    for (command, more) in [("chunk", &[][..]), ("run", &["--model", &model])] {
        let of = |args: &[&str]| sandbox.run(&[&[command, "x.fa"], more, args].concat());
        let ran = of(&["-o", &format!("warned-{command}")]).told();
        assert!(ran.contains("no line break"), "{ran}");
        let out = format!("strict-{command}");
        let ran = of(&["--strict-input", "-o", &out]);
        ran.says(&["VN-IN-TRUNC", "x.fa", "to do:"]);
        assert_eq!(ran.code, 65, "{}", ran.told());
    }
    let warned = sandbox.files("warned-chunk");
    // What was made without it does not pass for checked.
    sandbox.run(&["chunk", "x.fa", "--strict-input", "-o", "warned-chunk"]).fails(65, "VN-IN-TRUNC");
    assert_same_files(&warned, &sandbox.files("warned-chunk"), "refused");
}

#[test]
fn an_encoder_is_not_given_the_other_kind_of_sequences() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(18).fasta(4, 900));
    sandbox.run(&["chunk", "x.fa", "-o", "windows"]).ok();
    let embed =
        |command: &str, file: &str| sandbox.run(&[command, file, "--model", &mock(), "-o", &format!("o-{command}")]);
    for file in ["windows/shard-00001.fna", "x.fa"] {
        let json = embed("embed-esm", file).fails(65, "VN-IN-FORMAT");
        assert!(json["advice"].as_str().unwrap().contains("embed-esm takes proteins"), "{json}");
    }
    embed("embed-esm", "windows/shard-00001.fna").says(&["windows/shard-00001.faa beside it"]);
    embed("embed-dnabert", "windows/shard-00001.faa").fails(65, "VN-IN-PROTEIN");
    embed("embed-dnabert", "windows/shard-00001.faa").says(&["windows/shard-00001.fna beside it"]);
    // Residues that are nucleotide codes too: only the name tells.
    sandbox.write("few.faa", ">a\nMKVAAGGT\n");
    embed("embed-dnabert", "few.faa").fails(65, "VN-IN-PROTEIN");
    embed("embed-esm", "few.faa").ok();
}

#[test]
fn dna_under_the_name_of_proteins_is_refused_but_a_repeat_in_a_shard_is_believed() {
    let sandbox = Sandbox::new();
    let embed = |command: &str, file: &str, out: &str| sandbox.run(&[command, file, "--model", &mock(), "-o", out]);
    let dna = Random::new(19).fasta(1, 900);
    sandbox.write("dna.faa", &dna);
    sandbox.write("X.FAA", &dna);
    sandbox.write("dna_as.faa.gz", gzip(dna.as_bytes()));
    sandbox.write("mixed.faa", format!(">p\nMKVLAAGIVGLPNVGKSTLFNALTKAGAE\n{dna}"));
    for file in ["dna.faa", "X.FAA", "dna_as.faa.gz", "mixed.faa"] {
        let json = embed("embed-esm", file, "refused").fails(65, "VN-IN-FORMAT");
        assert!(json["advice"].as_str().unwrap().contains("embed-dnabert takes nucleotides"), "{json}");
    }
    // The codons of A, C, G and T over and over: proteins of these letters, in frames longer than any by default.
    let repeat = "GCATGCGGTACA".repeat(170);
    sandbox.write("repeat.fa", format!(">a\n{repeat}\n"));
    sandbox.run(&["chunk", "repeat.fa", "--window", "2000", "-o", "windows"]).ok();
    let shard = sandbox.text("windows/shard-00001.faa");
    assert!(shard.contains("ACGTACGTACGT"), "{shard}");
    for (input, out) in [("windows", "whole"), ("windows/shard-00001.faa", "one")] {
        let ran = embed("embed-esm", input, out).ok();
        assert!(!ran.stderr.contains("check that these are proteins"), "{}", ran.told());
    }
    embed("embed-dnabert", "windows/shard-00001.faa", "other").fails(65, "VN-IN-PROTEIN");
    // Without the manifest nobody knows.
    fs::create_dir(sandbox.path("moved")).unwrap();
    let only: String = shard.split('>').filter(|record| record.contains("ACGTACGT")).map(|r| format!(">{r}")).collect();
    sandbox.write("moved/long.faa", &only);
    let json = embed("embed-esm", "moved/long.faa", "refused").fails(65, "VN-IN-FORMAT");
    assert!(json["advice"].as_str().unwrap().contains("manifest.json"), "{json}");
    sandbox.write("moved/short.faa", format!(">a\n{}\n", "ACGT".repeat(41)));
    embed("embed-esm", "moved/short.faa", "short").ok().says(&["warn", "check that these are proteins"]);
    sandbox.write("moved/renamed.faa", sandbox.text("windows/shard-00001.fna"));
    embed("embed-esm", "moved/renamed.faa", "refused").fails(65, "VN-IN-FORMAT");
}

#[test]
fn short_proteins_among_nucleotides_are_warned_of_in_every_command() {
    let sandbox = Sandbox::new();
    sandbox.write("short.fa", ">sp|P1|X\nMKV\n>b\nMT\n");
    let model = mock();
    for (command, more) in [("chunk", &[][..]), ("run", &["--model", &model]), ("embed-dnabert", &["--model", &model])]
    {
        let out = format!("out-{command}");
        let ran = sandbox.run(&[&[command, "short.fa", "-o", &out], more].concat()).ok();
        ran.says(&["short.fa: this looks like protein: 4 of 5 letters are not A, C, G, T, U, N or X"]);
    }
    sandbox.write("odd.fa", ">a\nACGT.\n");
    let ran = sandbox.run(&["embed-dnabert", "odd.fa", "--model", &model, "-o", "refused"]);
    ran.fails(65, "VN-IN-CHAR");
    assert!(!ran.stderr.contains("--letters"), "{}", ran.told());
}

#[test]
fn u_in_a_file_for_the_encoder_is_reported_once() {
    let sandbox = Sandbox::new();
    sandbox.write("own.fa", ">a\nACGUACGUu\n>b\nACGU\n>c\nACG");
    let embed = |file: &str, out: &str| sandbox.run(&["embed-dnabert", file, "--model", &mock(), "-o", out]).ok();
    let ran = embed("own.fa", "own");
    ran.says(&["own.fa: RNA: 4 U left as U", "own.fa: the last line has no line break"]);
    assert_eq!(ran.stderr.matches("RNA").count(), 1, "{}", ran.told());
    // Windows that were made with it are what was asked for.
    sandbox.run(&["chunk", "own.fa", "--uracil", "drop", "-o", "windows"]).ok();
    assert!(!embed("windows", "vectors").stderr.contains("RNA"));
}

#[test]
fn a_sample_sheet_names_samples_and_files_beside_it() {
    let sandbox = Sandbox::new();
    sandbox.write("data/lane1.fa", Random::new(5).fasta(2, 600));
    sandbox.write("data/lane2.fa.gz", gzip(">x\nACGACGACGACGACGACG\n".as_bytes()));
    sandbox
        .write("data/samples.tsv", "sample\tfile\tnote\ngut\tlane1.fa\tfirst\ngut\tlane2.fa.gz\t\nsoil\tlane1.fa\t\n");
    let listed = tables(&sandbox, &["data/samples.tsv"], "listed");
    assert_eq!(listed.sequences.column("sample"), ["gut", "gut", "gut", "soil", "soil"]);
    assert_eq!(listed.sequences.column("sequence_id"), ["r1", "r2", "x", "r1__2", "r2__2"]);
    assert_eq!(listed.sequences.column("original_id"), ["r1", "r2", "x", "r1", "r2"]);
    assert_eq!(listed.inputs.column("file")[2], "data/lane2.fa.gz");
    // Every table can be grouped by sample and sequence as it is.
    let cut = sandbox.table("listed/windows/windows.tsv");
    for table in [&cut, &listed.windows, &listed.frames] {
        for (sample, sequence) in table.column("sample").into_iter().zip(table.column("sequence_id")) {
            assert_eq!(sample == "soil", sequence.ends_with("__2"), "{sequence} of {sample}");
        }
    }
    fs::copy(sandbox.path("data/lane1.fa"), sandbox.path("data/again.fa")).unwrap();
    let named = tables(&sandbox, &["data/lane1.fa", "data/lane2.fa.gz", "data/again.fa"], "named");
    assert_eq!(listed.without(&ORIGIN), named.without(&ORIGIN));
}

#[test]
fn a_sheet_of_pairs_as_workflows_write_it_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a_1.fa", Random::new(5).fasta(2, 600));
    sandbox.write("data/a_2.fa", ">x\nACGACGACGACGACGACG\n");
    sandbox.write("data/b.fa", ">y\nACGACGACGACGACGACG\n");
    sandbox.write("data/S.CSV", "\u{feff}sample,fastq_1,fastq_2\r\n\"gut, left\",a_1.fa,a_2.fa\r\nsoil,b.fa,\r\n");
    let listed = tables(&sandbox, &["data/S.CSV"], "listed");
    assert_eq!(listed.sequences.column("sample"), ["gut, left", "gut, left", "gut, left", "soil"]);
    assert_eq!(listed.inputs.column("file"), ["data/a_1.fa", "data/a_1.fa", "data/a_2.fa", "data/b.fa"]);
}

#[test]
fn a_fault_of_a_sheet_is_told_by_the_command_in_the_form_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.write("s.tsv", b"sample\tfile\nK\xF6ln\tx.fa\n");
    let ran = sandbox.run(&["chunk", "s.tsv", "-o", "out"]);
    assert_eq!(ran.fails(65, "VN-IN-SHEET")["line"], 2);
    ran.says(&["virnucpro chunk: ", "not UTF-8"]);
    let ran = sandbox.run(&["chunk", "s.tsv", "-o", "out", "--log-format", "json"]);
    assert!(ran.stderr.lines().all(|line| line.starts_with('{')), "{}", ran.told());
}

#[test]
fn files_of_one_name_are_samples_of_their_own() {
    let sandbox = Sandbox::new();
    for folder in ["s1", "s2"] {
        sandbox.write(&format!("{folder}/contigs.fasta"), Random::new(5).fasta(1, 600));
    }
    let both = tables(&sandbox, &["s1/contigs.fasta", "s2/contigs.fasta"], "both");
    assert_eq!(both.sequences.column("sample"), ["s1/contigs", "s2/contigs"]);
    let ran = sandbox.run(&["chunk", "s1/contigs.fasta", "s2/contigs.fasta", "-o", "told"]).ok();
    ran.says(&["info: the sample in s1/contigs.fasta is called s1/contigs"]);
    let ran = sandbox.run(&["chunk", "s1/contigs.fasta", "./s1/../s1/contigs.fasta", "-o", "twice"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["given twice"]);
    assert!(!sandbox.path("twice").exists());
}

#[test]
fn every_record_has_a_row_with_the_reason_where_it_has_no_score() {
    let sandbox = Sandbox::new();
    let stops = "TAACTAGCTAGTTAGTTAACTAA".repeat(5);
    sandbox.write(
        "x.fa",
        format!(">short\nAC\n>unknown\nNNNNNNNNN\n>stops\n{stops}\n>empty\n>good\nATGGCCGCA\n>gaps\n---\n"),
    );
    let t = tables(&sandbox, &["x.fa"], "out");
    assert_eq!(t.sequences.column("sequence_id"), ["short", "unknown", "stops", "empty", "good", "gaps"]);
    let verdicts = t.sequences.column("verdict");
    assert_eq!(verdicts[..4], ["no-call"; 4]);
    assert_eq!((verdicts[4] == "no-call", verdicts[5]), (false, "no-call"));
    assert_eq!(t.sequences.column("n_windows"), ["1", "1", "1", "0", "1", "1"]);
    assert_eq!(t.windows.column("status"), ["too_short", "ambiguous", "no_open_frame", "framed", "ambiguous"]);
    counts_add_up(&sandbox, "out", 6, (2 + 9 + stops.len() + 9 + 3) as u64);
}

#[test]
fn an_input_without_any_open_frame_is_a_complete_result() {
    let sandbox = Sandbox::new();
    let stops = "TAACTAGCTAGTTAGTTAACTAA".repeat(40);
    sandbox.write("stops.fa", format!(">a\n{stops}\n>b\n{stops}\n>c\nNNNNNN\n"));
    sandbox.run(&["run", "stops.fa", "--legacy", "--model", &mock(), "-o", "out"]).ok();
    counts_add_up(&sandbox, "out", 3, 2 * stops.len() as u64 + 6);
    let t = Tables::read(&sandbox, "out");
    assert_eq!(t.sequences.column("verdict"), ["no-call"; 3]);
    assert_eq!(sandbox.text("out/predictions/prediction_results.txt"), "Sequence_ID\tPrediction\tscore1\tscore2\n");
    let once = sandbox.files("out");
    sandbox.run(&["run", "stops.fa", "--legacy", "--model", &mock(), "-o", "out"]).ok();
    assert_same_files(&once, &sandbox.files("out"), "the second run");
}

#[test]
fn an_empty_input_is_an_error_unless_it_is_allowed() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.fa", "");
    sandbox.write("blank.fa", "\n\n");
    sandbox.write("x.fa", Random::new(6).fasta(2, 600));
    for name in ["empty.fa", "blank.fa"] {
        let json = sandbox.run(&["run", name, "x.fa", "--model", &mock(), "-o", "refused"]).fails(65, "VN-IN-EMPTY");
        assert_eq!(json["file"], name);
        let out = format!("out-{name}");
        tables(&sandbox, &[name, "--allow-empty"], &out);
        counts_add_up(&sandbox, &out, 0, 0);
        let with = tables(&sandbox, &[name, "x.fa", "--allow-empty"], &format!("with-{name}"));
        assert_eq!(with.sequences.column("sequence_id"), ["r1", "r2"]);
    }
}

#[test]
fn an_id_can_write_no_path_no_cell_and_no_formula_of_its_own() {
    let sandbox = Sandbox::new();
    let ids =
        ["../../escape", "/etc/passwd", "=1+1", "-x", "\"quoted\"", "'", "a,b", "<script>", "x_chunk_1F1", "ü", "%s"];
    let text: String = ids.iter().map(|id| format!(">{id} b\nATGGCCGCAATGGCCGCA\n")).collect();
    sandbox.write("x.fa", text);
    let before = sandbox.files("");
    let t = tables(&sandbox, &["x.fa"], "out");
    assert_eq!(t.sequences.column("sequence_id"), ids);
    assert_eq!(t.sequences.rows.len(), ids.len());
    let after: Vec<String> = sandbox.files("").into_keys().filter(|name| !name.starts_with("out/")).collect();
    assert_eq!(after, before.into_keys().collect::<Vec<_>>());
    counts_add_up(&sandbox, "out", ids.len(), 18 * ids.len() as u64);
}
