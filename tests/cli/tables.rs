//! The tables as Parquet beside the text: the same cells, typed; there when asked for and gone when not. And folders whose
//! tables are those of another version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use virnucpro::store::{MANIFEST_FORMAT, float32_text};

use crate::support::{Ran, Random, Sandbox, Table, assert_same_files, mock};

const BOTH: [&str; 2] = ["--tables", "tsv,parquet"];
const TABLES: [&str; 5] =
    ["windows/inputs", "windows/windows", "predictions/frames", "predictions/windows", "predictions/sequences"];

/// Ids that a reader takes for something else, and records without a score.
fn input() -> String {
    let mut random = Random::new(21);
    let mut text = String::new();
    for id in ["007", "1e5", "NA", "null", "True", "\"x", "a,b"] {
        text.push_str(&format!(">{id}\n{}\n", random.dna(700)));
    }
    text + ">stops\nTAATAATAATAA\n>unknown\nNNNNNN\n>empty\n>007\nACGACGACG\n"
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", input());
    sandbox
}

fn run(sandbox: &Sandbox, more: &[&str]) -> Ran {
    sandbox.run(&[&["run", "x.fa", "-q", "--model", &mock(), "-o", "out"], more].concat())
}

/// A table of the folder as Parquet, its cells as they stand in the text.
fn parquet(path: &Path) -> Table {
    let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let columns = file.metadata().file_metadata().schema_descr().columns().to_vec();
    let header = columns.iter().map(|column| column.name().to_owned()).collect();
    let cells = |row: Row| row.get_column_iter().map(|(name, field)| cell(name, field)).collect();
    let rows = file.get_row_iter(None).unwrap().map(|row| cells(row.unwrap())).collect();
    Table { header, rows }
}

fn cell(name: &str, field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Long(count) => count.to_string(),
        Field::Float(score) => float32_text(*score),
        Field::Double(share) => format!("{share:.4}"),
        other => panic!("{name} is {other}"),
    }
}

#[test]
fn every_table_has_the_same_cells_as_parquet_as_in_its_text() {
    let sandbox = sandbox();
    run(&sandbox, &BOTH).ok();
    for table in TABLES {
        let text = sandbox.table(&format!("out/{table}.tsv"));
        assert!(text.rows.len() > 8, "{table}");
        assert_eq!(parquet(&sandbox.path(&format!("out/{table}.parquet"))), text, "{table}");
    }
    let ids = sandbox.table("out/predictions/sequences.tsv");
    assert_eq!(ids.column("sequence_id")[..4], ["007", "1e5", "NA", "null"]);
    assert_eq!((ids.column("sequence_id")[10], ids.column("original_id")[10]), ("007__2", "007"));
}

#[test]
fn a_table_without_rows_has_its_columns_in_both_formats() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", "");
    run(&sandbox, &[&BOTH[..], &["--allow-empty"]].concat()).ok();
    for table in TABLES {
        let text = sandbox.table(&format!("out/{table}.tsv"));
        assert!(text.rows.is_empty() && text.header.len() > 6, "{table}");
        assert_eq!(parquet(&sandbox.path(&format!("out/{table}.parquet"))), text, "{table}");
    }
}

fn names(sandbox: &Sandbox) -> BTreeSet<String> {
    sandbox.files("out").into_keys().collect()
}

#[test]
fn parquet_tables_come_and_go_with_the_option_and_cost_no_vectors() {
    let sandbox = sandbox();
    run(&sandbox, &[]).ok();
    let plain = sandbox.files("out");
    let with: BTreeSet<String> = plain.keys().cloned().chain(TABLES.map(|table| format!("{table}.parquet"))).collect();
    assert!(with.len() == plain.len() + TABLES.len());
    let vectors = || fs::metadata(sandbox.path("out/esm/shard-00001.parquet")).unwrap().modified().unwrap();
    let before = vectors();
    run(&sandbox, &BOTH).ok();
    assert_eq!((names(&sandbox), vectors()), (with, before));
    for (stage, table) in TABLES.map(|table| table.split_once('/').unwrap()) {
        let listed = &sandbox.json(&format!("out/{stage}/manifest.json"))["shards"];
        assert_eq!(listed[format!("{table}.parquet")]["rows"], listed[format!("{table}.tsv")]["rows"]);
    }
    let both = sandbox.files("out");
    run(&sandbox, &BOTH).ok();
    assert_same_files(&both, &sandbox.files("out"), "the second run");
    // One that is damaged is made again.
    fs::write(sandbox.path("out/predictions/sequences.parquet"), "PAR1").unwrap();
    run(&sandbox, &BOTH).ok();
    assert_same_files(&both, &sandbox.files("out"), "after damage");
    // One that a killed run could not record goes as well.
    run(&sandbox, &[]).ok();
    fs::copy(sandbox.path("x.fa"), sandbox.path("out/windows/windows.parquet")).unwrap();
    fs::copy(sandbox.path("x.fa"), sandbox.path("out/predictions/frames.parquet")).unwrap();
    run(&sandbox, &["--no-resume"]).ok();
    assert_same_files(&plain, &sandbox.files("out"), "without the option");
}

#[test]
fn the_stages_one_by_one_write_the_same_parquet_tables() {
    let (whole, staged, model) = (sandbox(), sandbox(), mock());
    run(&whole, &BOTH).ok();
    let stage = |args: &[&str]| drop(staged.run(args).ok());
    stage(&[&["chunk", "x.fa", "-o", "out/windows"], &BOTH[..]].concat());
    stage(&["embed-dnabert", "out/windows", "-m", &model, "-o", "out/dnabert"]);
    stage(&["embed-esm", "out/windows", "-m", &model, "-o", "out/esm"]);
    stage(&["merge", "--dnabert", "out/dnabert", "--esm", "out/esm", "-o", "out/merged"]);
    stage(&[&["predict", "out/merged", "-m", &model, "-o", "out/predictions"], &BOTH[..]].concat());
    assert_same_files(&whole.files("out"), &staged.files("out"), "stage by stage");
}

#[test]
fn tables_are_not_taken_for_vectors() {
    let (sandbox, model) = (sandbox(), mock());
    run(&sandbox, &BOTH).ok();
    let json = sandbox
        .run(&["predict", "out/predictions/frames.parquet", "--windows", "out/windows", "-m", &model, "-o", "p"])
        .fails(65, "VN-IN-STAGE");
    assert!(json["message"].as_str().unwrap().contains("contains no vectors"), "{json}");
    // A folder without a manifest: only shards count.
    fs::create_dir(sandbox.path("loose")).unwrap();
    fs::copy(sandbox.path("out/merged/shard-00001.parquet"), sandbox.path("loose/shard-00001.parquet")).unwrap();
    fs::copy(sandbox.path("out/predictions/frames.parquet"), sandbox.path("loose/frames.parquet")).unwrap();
    let predict = ["predict", "loose", "--windows", "out/windows", "-m", &model, "-o", "p"];
    sandbox.run(&[&predict[..], &BOTH].concat()).ok();
    assert_same_files(&sandbox.files("out/predictions"), &sandbox.files("p"), "from a folder without a manifest");
}

#[test]
fn formats_are_named_in_every_place_and_text_is_always_among_them() {
    let sandbox = sandbox();
    let (from_file, from_environment) =
        (["chunk", "x.fa", "-o", "a", "--config", "c.yaml"], ["chunk", "x.fa", "-m", "mini", "-o", "b"]);
    sandbox.write("c.yaml", "tables: parquet,tsv\n");
    sandbox.run(&from_file).ok();
    let mut command = sandbox.command(&from_environment);
    command.env("VIRNUCPRO_TABLES", "tsv,parquet");
    Ran::of(command).ok();
    assert!(sandbox.path("a/windows.parquet").exists());
    assert_same_files(&sandbox.files("a"), &sandbox.files("b"), "the file and the environment");
    for (formats, says) in [("parquet", "use tsv,parquet"), ("csv", "use tsv or tsv,parquet")] {
        let refused = sandbox.run(&["chunk", "x.fa", "-o", "c", "--tables", formats]);
        refused.fails(64, "VN-USAGE");
        refused.says(&[says]);
        let mut command = sandbox.command(&["chunk", "x.fa", "-o", "c"]);
        command.env("VIRNUCPRO_TABLES", formats);
        Ran::of(command).fails(78, "VN-CONFIG");
    }
}

#[test]
fn the_metadata_of_parquet_tables_and_vectors_says_where_they_come_from() {
    let sandbox = sandbox();
    run(&sandbox, &BOTH).ok();
    let stages = ["windows/inputs", "predictions/sequences", "dnabert/shard-00001", "merged/shard-00001"];
    for (name, stage) in stages.into_iter().zip(["chunk", "predict", "embed-dnabert", "merge"]) {
        let file = File::open(sandbox.path(&format!("out/{name}.parquet"))).unwrap();
        let file = SerializedFileReader::new(file).unwrap();
        let file = file.metadata().file_metadata().clone();
        let pairs = file.key_value_metadata().unwrap();
        let of_file: BTreeMap<&str, &str> =
            pairs.iter().map(|pair| (&*pair.key, pair.value.as_deref().unwrap())).collect();
        assert_eq!(of_file["virnucpro.stage"], stage, "{name}");
        // Readers of Arrow look into the schema that is part of it.
        let of_schema = pairs.iter().filter(|pair| pair.key == "ARROW:schema").cloned().collect();
        let schema = parquet::arrow::parquet_to_arrow_schema(file.schema_descr(), Some(&of_schema)).unwrap();
        let told = of_file.iter().filter(|(key, _)| key.starts_with("virnucpro."));
        assert!(told.clone().all(|(key, value)| schema.metadata()[*key] == *value), "{name}");
        assert_eq!(told.count(), schema.metadata().len(), "{name}");
    }
}

#[test]
fn a_folder_of_another_version_is_told_as_such_and_can_be_made_again() {
    let sandbox = sandbox();
    run(&sandbox, &["--shard-frames", "10"]).ok();
    let current = sandbox.files("out");
    let age = |stage: &str| {
        let name = format!("out/{stage}/manifest.json");
        let format = format!("\"format\": {MANIFEST_FORMAT}");
        let text = sandbox.text(&name).replace(&format, "\"format\": 2").replace("virnucpro 0", "virnucpro 00");
        sandbox.write(&name, text);
    };
    age("windows");
    let refused = run(&sandbox, &["--shard-frames", "10"]);
    let json = refused.fails(3, "VN-CKPT-FOREIGN");
    refused.says(&["out/windows has the tables and manifest of another version", "virnucpro 00.", "--overwrite"]);
    assert_eq!(json["file"], "out/windows/manifest.json");
    let embed = ["embed-esm", "out/windows", "-m", &mock(), "-o", "esm"];
    let upstream = sandbox.run(&embed);
    upstream.fails(3, "VN-CKPT-FOREIGN");
    upstream.says(&["run the stage that wrote this folder again, with --overwrite"]);
    // A layout that this version cannot read is no damage either.
    sandbox.write("newer/manifest.json", r#"{"format": 9, "tool": "virnucpro 9.0.0", "files": []}"#);
    sandbox.run(&["embed-esm", "newer", "-m", &mock(), "-o", "esm"]).fails(3, "VN-CKPT-FOREIGN");
    // Another stage's folder is not replaced, however old it is.
    let into_windows = ["embed-esm", "x.fa", "-m", &mock(), "-o", "out/windows", "--overwrite"];
    sandbox.run(&into_windows).fails(1, "VN-OUT-FOREIGN");
    for stage in ["dnabert", "esm", "merged", "predictions"] {
        age(stage);
    }
    run(&sandbox, &["--shard-frames", "10", "--overwrite"]).ok();
    assert_same_files(&current, &sandbox.files("out"), "made again");
    // What the old folder held and the new one does not is gone.
    age("windows");
    run(&sandbox, &["--overwrite"]).ok();
    assert!(!sandbox.path("out/windows/shard-00002.fna").exists());
}

#[test]
fn the_table_at_the_terminal_follows_the_bundle_also_where_nothing_has_a_score() {
    let sandbox = Sandbox::new();
    sandbox.write("n.fa", ">a\nNNNN\n");
    let shown = |options: &[&str]| sandbox.run(&[&["run", "n.fa"], options].concat()).ok().stdout;
    let calibrated = shown(&["-o", "calibrated", "--model", "mini"]);
    assert!(calibrated.contains("tier") && !calibrated.contains("mixed"), "{calibrated}");
    let raw = shown(&["-o", "raw", "--model", &mock()]);
    assert!(raw.contains("  best   mean") && raw.contains("0 mixed"), "{raw}");
}

#[test]
fn cut_offs_that_change_nothing_with_a_bundle_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(7).fasta(2, 400));
    let told = |options: &[&str]| sandbox.run(&[&["run", "x.fa", "-o", "out", "-f"], options].concat()).ok().stderr;
    let calibrated = told(&["--viral-share", "0.3", "--mixed-share", "0.2", "--model", "mini"]);
    assert!(calibrated.contains("without effect: --viral-share and --mixed-share; mini is calibrated"), "{calibrated}");
    let raw = told(&["--min-p", "0.9", "--prior", "0.1", "--model", &mock()]);
    assert!(raw.contains("without effect: --min-p and --prior; mock is not calibrated"), "{raw}");
    let fits: [&[&str]; 2] =
        [&["--min-p", "0.9", "--prior", "0.1", "--model", "mini"], &["--viral-share", "0.05", "--model", &mock()]];
    for fitting in fits {
        assert!(!told(fitting).contains("without effect"), "{fitting:?}");
    }
}
