//! Failures of the contract, case by case.

use std::ffi::OsString;
use std::fs;
use std::io::Write;

use virnucpro::cli::{self, Asked};
use virnucpro::store::MANIFEST_FORMAT;

#[cfg(feature = "torch")]
use crate::support::files_of;
use crate::support::{Random, Sandbox, mock, repository};

/// A command that must fail in one way.
struct Case {
    args: &'static [&'static str],
    code: i32,
    fault: &'static str,
    /// What the message for a person must name.
    says: &'static [&'static str],
}

const fn case(args: &'static [&'static str], code: i32, fault: &'static str, says: &'static [&'static str]) -> Case {
    Case { args, code, fault, says }
}

#[track_caller]
fn check(sandbox: &Sandbox, case: &Case) {
    let ran = sandbox.run(case.args);
    ran.fails(case.code, case.fault);
    ran.says(case.says);
    ran.says(&["to do:", &format!("exit:     {}", case.code)]);
    assert!(ran.stdout.is_empty(), "{}", ran.told());
}

/// A finished run of the mock bundle in `out`, of `x.fa`, in two shards.
fn finished() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(7).fasta(6, 900));
    sandbox.run(&["run", "x.fa", "-q", "--shard-frames", "10", "--model", &mock(), "-o", "out"]).ok();
    sandbox
}

/// Flips one bit in the middle of a file.
fn damage(sandbox: &Sandbox, name: &str) {
    let mut bytes = fs::read(sandbox.path(name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(sandbox.path(name), bytes).unwrap();
}

#[test]
fn arguments_that_contradict_the_contract_are_64() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nACGTACGT\n");
    for case in [
        case(&["run", "x.fa", "-o", "out", "--no-such-flag"], 64, "VN-USAGE", &["--no-such-flag"]),
        case(&["run", "x.fa", "-o", "out", "--shard-frame", "5"], 64, "VN-USAGE", &["--shard-frames"]),
        case(&["run", "x.fa"], 64, "VN-USAGE", &["--output"]),
        case(&["run", "-o", "out"], 64, "VN-USAGE", &["IN"]),
        case(&["rum"], 64, "VN-USAGE", &["rum"]),
        case(
            &["run", "x.fa", "-o", "o", "--viral-share", "0.2", "--mixed-share", "0.3"],
            64,
            "VN-USAGE",
            &["0.2", "0.3"],
        ),
        case(&["run", "x.fa", "-o", "o", "--viral-share", "1.2"], 64, "VN-USAGE", &["1.2", "0 to 1"]),
        case(&["run", "x.fa", "-o", "o", "--viral-share", "NaN"], 64, "VN-USAGE", &["NaN"]),
        case(&["run", "x.fa", "-o", "out", "--device", "gpu"], 64, "VN-USAGE", &["gpu", "cuda:0,2"]),
        case(&["run", "x.fa", "-o", "out", "--dtype", "int8"], 64, "VN-USAGE", &["int8", "bf16"]),
        case(&["run", "x.fa", "-o", "out", "--batch-tokens", "0"], 64, "VN-USAGE", &["from 1 to 1024M"]),
        case(&["run", "x.fa", "-o", "out", "--threads", "0"], 64, "VN-USAGE", &["--threads"]),
        case(&["run", "x.fa", "-o", "out", "--attempt", "0"], 64, "VN-USAGE", &["--attempt"]),
        case(&["chunk", "x.fa", "-o", "out", "--window", "2"], 64, "VN-USAGE", &["from 3"]),
        case(&["chunk", "x.fa", "-o", "out", "--duplicates", "drop"], 64, "VN-USAGE", &["drop", "rename"]),
        case(&["chunk", "-", "-", "-o", "out"], 64, "VN-USAGE", &["standard input"]),
        case(&["models"], 64, "VN-USAGE", &[]),
    ] {
        // Arguments are refused before anything is opened: no process is needed to see it.
        let words = ["virnucpro"].iter().chain(case.args).map(OsString::from).collect();
        let settled = cli::parse(words).and_then(|asked| match asked {
            Asked::Work { command, .. } => command.task().map(drop),
            Asked::Text(_) => Ok(()),
        });
        let error = settled.expect_err(case.args[0]);
        let report = error.report("virnucpro");
        assert_eq!((error.fault().id(), error.fault().exit_code()), (case.fault, case.code as u8), "{report}");
        for part in case.says.iter().chain(&["to do:"]) {
            assert!(report.contains(part), "'{part}' is missing: {report}");
        }
    }
    check(&sandbox, &case(&["run", "x.fa", "-o", "out", "--no-such-flag"], 64, "VN-USAGE", &["--no-such-flag"]));
    assert!(!sandbox.path("out").exists(), "a refused command made its output folder");
}

#[test]
fn no_arguments_at_all_are_answered_with_the_help_or_64() {
    let ran = Sandbox::new().run(&[]);
    ran.fails(64, "VN-USAGE");
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

#[test]
fn bad_sequences_are_65_and_named_by_file_record_and_line() {
    let sandbox = Sandbox::new();
    let fasta = Random::new(8).fasta(50, 700);
    let whole = gzip(fasta.as_bytes());
    let (mut flipped, utf16) = (whole.clone(), "\u{feff}>a\nACGT\n".encode_utf16());
    flipped[whole.len() / 2] ^= 0x10;
    let utf16: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
    type Row<'a> = (&'a str, &'a [u8], &'a str, Option<&'a str>, Option<u64>);
    let long_id = format!(">{}\nACGT\n", "x".repeat(70_000));
    let rows: [Row; 18] = [
        ("empty.fa", b"", "VN-IN-EMPTY", None, None),
        ("no-header.fa", b"ACGT\n>a\nACGT\n", "VN-IN-NOHEADER", None, Some(1)),
        ("no-id.fa", b">a\nACGT\n>\nACGT\n", "VN-IN-NOID", None, Some(3)),
        ("long-id.fa", long_id.as_bytes(), "VN-IN-IDLONG", None, Some(1)),
        ("cut.fa", b">a\nACGT\n>b", "VN-IN-TRUNC", Some("b"), Some(3)),
        ("letter.fa", b">a\nACGT\nACGT\n>b\nACGT\nAC!T\n", "VN-IN-CHAR", Some("b"), Some(6)),
        ("binary.fa", b"\x7fELF\x02\x01\x01\x00\x00", "VN-IN-BINARY", None, Some(1)),
        ("mac.fa", b">a\rACGT\r>b\rACGT\r", "VN-IN-CRONLY", None, None),
        ("wide.fa", &utf16, "VN-IN-ENCODING", None, None),
        ("protein.fa", b">a\nMKVLEEFQILPWERTYIPASDF\n", "VN-IN-PROTEIN", None, Some(2)),
        ("genbank.gb", b"LOCUS       NC_001422  5386 bp  DNA\nORIGIN\n", "VN-IN-FORMAT", None, None),
        ("x.zip", b"PK\x03\x04\x14\x00\x00\x00", "VN-IN-COMPRESSION", None, None),
        ("cut.fa.gz", &whole[..whole.len() - 100], "VN-IN-ZTRUNC", None, None),
        ("flipped.fa.gz", &flipped, "VN-IN-ZCORRUPT", None, None),
        ("short.fq", b"@a\nACGT\n+\nFFF\n", "VN-IN-FASTQ", Some("a"), None),
        ("cut.fq", b"@a\nACGT\n+\nFFFF\n@b\nACGT\n", "VN-IN-TRUNC", Some("b"), Some(7)),
        ("commas.tsv", b"sample,file\na,x.fa\n", "VN-IN-SHEET", None, Some(1)),
        ("short.tsv", b"sample\tfile\na\tx.fa\nb\n", "VN-IN-SHEET", None, Some(3)),
    ];
    for (name, content, fault, record, line) in rows {
        sandbox.write(name, content);
        let ran = sandbox.run(&["chunk", name, "-o", &format!("out-{name}")]);
        let json = ran.fails(65, fault);
        assert_eq!(json["file"], name, "{}", ran.told());
        if record.is_some() {
            assert_eq!(json["record"].as_str(), record, "{}", ran.told());
        }
        if let Some(line) = line {
            assert_eq!(json["line"], line, "{}", ran.told());
            ran.says(&[&format!("{name}, line {line}")]);
        }
        ran.says(&["to do:"]);
        // Finished tables of a damaged input would look like results.
        assert!(!sandbox.path(&format!("out-{name}/inputs.tsv")).exists());
        assert!(
            !fs::read_to_string(sandbox.path(&format!("out-{name}/manifest.json")))
                .is_ok_and(|manifest| manifest.contains("\"complete\": true"))
        );
    }
}

#[test]
fn a_table_or_shard_of_another_kind_is_65() {
    let sandbox = finished();
    // Tables of another program, with a manifest that calls them ours.
    let mut manifest = sandbox.json("out/windows/manifest.json");
    let other = "a\tb\n1\t2\n";
    for name in ["windows.tsv", "inputs.tsv"] {
        sandbox.write(&format!("table/{name}"), other);
        manifest["shards"][name]["bytes"] = other.len().into();
        manifest["shards"][name]["blake3"] = blake3::hash(other.as_bytes()).to_hex().as_str().into();
    }
    sandbox.write("table/manifest.json", manifest.to_string());
    sandbox.write("protein.fna", ">a\nMKVLEEFQILPWERTYIPASDF\n");
    let model = mock();
    let run = |args: &[&str], says: &[&str]| {
        let ran = sandbox.run(args);
        assert_eq!(ran.code, 65, "{}", ran.told());
        ran.says(says);
    };
    run(&["predict", "out/merged", "--windows", "table", "-m", &model, "-o", "p"], &["VN-IN-STAGE", "table/"]);
    run(&["embed-dnabert", "protein.fna", "-m", &model, "-o", "d"], &["VN-IN-PROTEIN", "protein.fna"]);
}

#[test]
fn what_is_not_there_is_66() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nACGTACGT\n");
    sandbox.write("samples.tsv", "sample\tfile\na\tgone.fa\n");
    sandbox.write("folder/readme.txt", "");
    for case in [
        case(&["run", "gone.fa", "-o", "out"], 66, "VN-IN-MISSING", &["gone.fa"]),
        case(&["chunk", "x.fa", "gone.fa", "-o", "late"], 66, "VN-IN-MISSING", &["gone.fa"]),
        case(&["chunk", "folder", "-o", "out"], 66, "VN-IN-MISSING", &["folder"]),
        case(&["chunk", "gone.tsv", "-o", "out"], 66, "VN-IN-MISSING", &["gone.tsv"]),
        case(&["chunk", "samples.tsv", "-o", "out"], 66, "VN-IN-MISSING", &["gone.fa"]),
        case(&["run", "x.fa", "-o", "out", "--config", "gone.yaml"], 66, "VN-IN-MISSING", &["gone.yaml"]),
        case(&["merge", "--dnabert", "gone", "--esm", "gone", "-o", "out"], 66, "VN-IN-MISSING", &["gone"]),
        case(&["merge", "--dnabert", "folder", "--esm", "folder", "-o", "out"], 66, "VN-IN-MISSING", &["shard-*"]),
        case(&["embed-esm", "folder", "-o", "out"], 66, "VN-IN-MISSING", &["shard-*.faa"]),
        case(&["predict", "gone", "-o", "out"], 66, "VN-IN-MISSING", &["gone"]),
    ] {
        check(&sandbox, &case);
    }
    assert!(!sandbox.path("late").exists(), "the first input was read although the second is not there");
}

#[cfg(feature = "torch")]
#[test]
fn a_device_that_is_not_there_is_69() {
    if fs::exists("/dev/nvidiactl").unwrap() {
        println!("skipped: this machine has an NVIDIA device");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nACGTACGT\n");
    for device in ["cuda", "cuda:1", "cuda:0,1"] {
        let ran = sandbox.run(&["run", "x.fa", "--device", device, "-o", "out"]);
        ran.fails(69, "VN-DEVICE-NONE");
        ran.says(&["to do:", "--device cpu"]);
    }
}

#[test]
fn bundles_and_configurations_that_cannot_be_followed_are_78() {
    let sandbox = finished();
    sandbox.write("x.fa", Random::new(7).fasta(6, 900));
    let yaml = fs::read_to_string(repository().join("bundles/mock/bundle.yaml")).unwrap();
    sandbox.write("other/bundle.yaml", yaml.replace("name: mock", "name: other"));
    let narrow = yaml.replace("dim: 48", "dim: 40").replace("dim: 64", "dim: 72");
    sandbox.write("narrow/bundle.yaml", narrow.replace("name: mock", "name: narrow"));
    sandbox.write("wide/bundle.yaml", yaml.replace("dim: 112", "dim: 113"));
    sandbox.write("torn/bundle.yaml", &yaml[..yaml.len() / 2]);
    sandbox.write("pointer/bundle.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    sandbox.write("none/readme.txt", "");
    sandbox.write("unknown.yaml", "shard_frames: 7\n");
    sandbox.write("list.yaml", "- window\n- 300\n");
    sandbox.write("broken.yaml", "window: 300\n  model: [x\n");
    sandbox.write("nested.yaml", "window:\n  size: 300\n");
    for case in [
        case(&["run", "x.fa", "-m", "no-such-bundle", "-o", "o"], 78, "VN-MODEL-MISSING", &["no-such-bundle"]),
        case(&["run", "x.fa", "-m", "./none", "-o", "o"], 78, "VN-MODEL-MISSING", &["none"]),
        case(&["run", "x.fa", "-m", "./torn", "-o", "o"], 78, "VN-MODEL-FORMAT", &["torn/bundle.yaml"]),
        case(&["run", "x.fa", "-m", "./pointer", "-o", "o"], 78, "VN-MODEL-LFS", &["pointer/bundle.yaml"]),
        case(&["run", "x.fa", "-m", "./wide", "-o", "o"], 78, "VN-MODEL-FIT", &["48 + 64", "113"]),
        case(&["models", "verify", "no-such-bundle"], 78, "VN-MODEL-MISSING", &["no-such-bundle"]),
        case(&["predict", "out/merged", "-m", "./narrow", "-o", "p"], 78, "VN-MODEL-FIT", &["narrow@", "mock@"]),
        case(
            &["run", "x.fa", "-o", "o", "--config", "unknown.yaml"],
            78,
            "VN-CONFIG",
            &["shard_frames", "shard-frames"],
        ),
        case(&["run", "x.fa", "-o", "o", "--config", "list.yaml"], 78, "VN-CONFIG", &["list.yaml"]),
        case(&["run", "x.fa", "-o", "o", "--config", "broken.yaml"], 78, "VN-CONFIG", &["broken.yaml, line "]),
        case(&["run", "x.fa", "-o", "o", "--config", "nested.yaml"], 78, "VN-CONFIG", &["window"]),
    ] {
        check(&sandbox, &case);
    }
    // Vectors of two bundles are not joined.
    sandbox.run(&["embed-esm", "out/windows", "-q", "-m", "./other", "-o", "esm-other"]).ok();
    let mixed =
        case(&["merge", "--dnabert", "out/dnabert", "--esm", "esm-other", "-o", "m"], 78, "VN-MODEL-FIT", &["other@"]);
    check(&sandbox, &mixed);
}

/// A copy of the embedded bundle, as files.
#[cfg(feature = "torch")]
fn mini(sandbox: &Sandbox) {
    for (name, bytes) in files_of(&repository().join("bundles/untrained")) {
        sandbox.write(&format!("mini/{name}"), bytes);
    }
}

#[cfg(feature = "torch")]
#[test]
fn damaged_weights_are_78_and_never_a_score() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", ">a\nATGGCCGCAATGGCC\n");
    mini(&sandbox);
    let run = ["run", "x.fa", "-q", "--device", "cpu", "-m", "./mini", "--no-resume", "-o", "out"];
    for (name, fault) in [
        ("dnabert/model.safetensors", "VN-MODEL-HASH"),
        ("dnabert/tokenizer.json", "VN-MODEL-HASH"),
        ("esm/model.safetensors", "VN-MODEL-HASH"),
        ("esm/config.json", "VN-MODEL-HASH"),
        ("head.safetensors", "VN-MODEL-HASH"),
        ("esm/model.safetensors", "VN-MODEL-MISSING"),
    ] {
        let name = format!("mini/{name}");
        let whole = fs::read(sandbox.path(&name)).unwrap();
        match fault {
            "VN-MODEL-HASH" => damage(&sandbox, &name),
            _ => fs::remove_file(sandbox.path(&name)).unwrap(),
        }
        let ran = sandbox.run(&run);
        let json = ran.fails(78, fault);
        assert!(json["file"].as_str().unwrap().ends_with(&name), "{}", ran.told());
        fs::write(sandbox.path(&name), whole).unwrap();
        assert!(!sandbox.path("out/predictions/sequences.tsv").exists());
    }
    sandbox.run(&run).ok();
}

#[test]
fn work_that_cannot_be_trusted_is_3() {
    let sandbox = finished();
    let model = mock();
    let fails = |args: &[&str], fault: &str, says: &[&str]| {
        let ran = sandbox.run(args);
        ran.fails(3, fault);
        ran.says(says);
        ran.says(&["to do:"]);
    };
    // Another setting, in the same folder: both are named.
    let again = ["run", "x.fa", "--shard-frames", "10", "--model", &model, "-o", "out"];
    fails(
        &["run", "x.fa", "--shard-frames", "11", "-m", &model, "-o", "out"],
        "VN-CKPT-FOREIGN",
        &["shard-frames 10", "shard-frames 11"],
    );
    fails(
        &["run", "x.fa", "--shard-frames", "10", "--window", "300", "-m", &model, "-o", "out"],
        "VN-CKPT-FOREIGN",
        &["window 500", "window 300"],
    );
    // Another stage's folder.
    fails(&["chunk", "x.fa", "-o", "out/esm"], "VN-CKPT-FOREIGN", &["embed-esm", "chunk"]);
    // A shard that is gone.
    fs::rename(sandbox.path("out/windows/shard-00002.fna"), sandbox.path("kept")).unwrap();
    fails(&["embed-dnabert", "out/windows", "-m", &model, "-o", "d"], "VN-CKPT-HASH", &["shard-00002.fna is missing"]);
    fs::rename(sandbox.path("kept"), sandbox.path("out/windows/shard-00002.fna")).unwrap();
    // A shard that is not what its manifest records, handed on.
    damage(&sandbox, "out/windows/shard-00001.fna");
    fails(&["embed-dnabert", "out/windows", "-m", &model, "-o", "d"], "VN-CKPT-HASH", &["shard-00001.fna"]);
    fails(
        &["embed-dnabert", "out/windows/shard-00001.fna", "-m", &model, "-o", "d"],
        "VN-CKPT-HASH",
        &["shard-00001.fna"],
    );
    damage(&sandbox, "out/esm/shard-00002.parquet");
    fails(
        &["merge", "--dnabert", "out/dnabert", "--esm", "out/esm", "-o", "m"],
        "VN-CKPT-HASH",
        &["shard-00002.parquet"],
    );
    damage(&sandbox, "out/windows/windows.tsv");
    fails(&["predict", "out/merged", "-m", &model, "-o", "p"], "VN-CKPT-HASH", &["windows.tsv"]);
    sandbox.run(&again).ok();
    // Damage that looks like other ids or counts.
    for (name, from, to) in [
        ("out/windows/windows.tsv", "r1_chunk_1\t", "r1_chunk_7\t"),
        ("out/windows/windows.tsv", "\tr2\t", "\trr\t"),
        ("out/windows/windows.tsv", "F1,", "R9,"),
        ("out/windows/inputs.tsv", "\tr2\tr2\t", "\trr\tr2\t"),
        ("out/merged/shard-00001.parquet", "r2_chunk_", "rr_chunk_"),
    ] {
        let whole = fs::read(sandbox.path(name)).unwrap();
        let place = whole
            .windows(from.len())
            .position(|bytes| bytes == from.as_bytes())
            .unwrap_or_else(|| panic!("{name}: {from}"));
        let mut changed = whole.clone();
        changed[place..place + to.len()].copy_from_slice(to.as_bytes());
        sandbox.write(name, changed);
        fails(&["predict", "out/merged", "-m", &model, "-o", "p"], "VN-CKPT-HASH", &[name]);
        sandbox.write(name, whole);
    }
    sandbox.write("text.parquet", "no vectors here, only a text that is long enough to hold a footer");
    fails(&["merge", "--dnabert", "text.parquet", "--esm", "out/esm", "-o", "m"], "VN-CKPT-HASH", &["text.parquet"]);
    // Ids that differ: one shard missing, on either side.
    let d = "out/dnabert/shard-00001.parquet";
    fails(&["merge", "--dnabert", d, "--esm", "out/esm", "-o", "m"], "VN-MERGE-IDS", &["only on the ESM-2 side", "r"]);
    let e = "out/esm/shard-00001.parquet";
    fails(
        &["merge", "--dnabert", "out/dnabert", "--esm", e, "-o", "m2"],
        "VN-MERGE-IDS",
        &["only on the DNABERT-S side"],
    );
    let merged = "out/merged/shard-00002.parquet";
    fails(&["predict", merged, "--windows", "out/windows", "-m", &model, "-o", "p"], "VN-MERGE-IDS", &["_chunk_1"]);
    let merged = "out/merged/shard-00001.parquet";
    fails(
        &["predict", merged, "--windows", "out/windows", "-m", &model, "-o", "p2"],
        "VN-MERGE-IDS",
        &["no more vectors"],
    );
    // A manifest that is torn, of another layout, or of work that is not finished.
    let manifest = sandbox.text("out/windows/manifest.json");
    sandbox.write("out/windows/manifest.json", &manifest[..manifest.len() / 2]);
    fails(&again, "VN-CKPT-HASH", &["out/windows/manifest.json", "--overwrite"]);
    let own = format!("\"format\": {MANIFEST_FORMAT}");
    sandbox.write("out/windows/manifest.json", manifest.replace(&own, "\"format\": 1"));
    fails(&again, "VN-CKPT-FOREIGN", &["format 1", &format!("format {MANIFEST_FORMAT}"), "--overwrite"]);
    sandbox.write("out/windows/manifest.json", manifest.replace("\"complete\": true", "\"complete\": false"));
    fails(&["embed-dnabert", "out/windows", "-m", &model, "-o", "d"], "VN-CKPT-INCOMPLETE", &["chunk"]);
    sandbox.run(&again).ok();
}

#[test]
fn one_side_without_any_frame_does_not_merge_with_one_that_has_some() {
    let sandbox = finished();
    sandbox.write("stops.fa", ">a\nNNNNNN\n");
    sandbox.run(&["chunk", "stops.fa", "-q", "-o", "none"]).ok();
    for stage in ["embed-dnabert", "embed-esm"] {
        sandbox.run(&[stage, "none", "-q", "-m", &mock(), "-o", &format!("none-{stage}")]).ok();
    }
    for sides in [["none-embed-dnabert", "out/esm"], ["out/dnabert", "none-embed-esm"]] {
        let ran = sandbox.run(&["merge", "--dnabert", sides[0], "--esm", sides[1], "-o", "m"]);
        ran.fails(3, "VN-CKPT-INPUT");
    }
}

#[test]
fn output_that_cannot_be_written_is_1() {
    let sandbox = finished();
    sandbox.write("file", "mine");
    sandbox.write("thesis/chapter.tex", "mine");
    sandbox.write("half/windows", "a file where a folder must be");
    let model = mock();
    for (out, fault) in
        [("file", "VN-IO-WRITE"), ("file/below", "VN-IO-WRITE"), ("half", "VN-IO-WRITE"), ("/proc/no", "VN-IO-WRITE")]
    {
        let ran = sandbox.run(&["run", "x.fa", "-m", &model, "-o", out]);
        let json = ran.fails(1, fault);
        assert!(json["file"].as_str().unwrap().starts_with(out), "{}", ran.told());
    }
    let ran = sandbox.run(&["chunk", "x.fa", "-o", "thesis"]);
    ran.fails(1, "VN-OUT-FOREIGN");
    ran.says(&["chapter.tex"]);
    assert_eq!((sandbox.text("file"), sandbox.text("thesis/chapter.tex")), ("mine".to_owned(), "mine".to_owned()));
}
