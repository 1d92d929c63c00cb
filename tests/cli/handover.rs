//! Hand-overs between stages are proved by content: the same ids are not enough.

use std::fs;
use std::process::Command;

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock};

/// Two inputs of the same ids and lengths, and other codons for the same kind of protein.
fn two_inputs() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("v1.fa", ">c1\nATGGCCGCCGCCGCCGCCGCC\n");
    sandbox.write("v2.fa", ">c1\nATGGGCGGCGGCGGCGGCGGC\n");
    for (input, output) in [("v1.fa", "o1"), ("v2.fa", "o2")] {
        sandbox.run(&["run", input, "-q", "--model", &mock(), "-o", output]).ok();
    }
    let cut = |output: &str| sandbox.table(&format!("{output}/windows/windows.tsv")).without(&["sample"]);
    assert_eq!(cut("o1"), cut("o2"), "the same ids");
    sandbox
}

#[test]
fn vectors_and_windows_of_two_inputs_are_not_put_together() {
    let sandbox = two_inputs();
    let model = mock();
    let predict = |merged: &str, windows: &str| {
        sandbox.run(&["predict", merged, "--windows", windows, "-q", "--model", &model, "-o", "p"])
    };
    let ran = predict("o1/merged", "o2/windows");
    ran.fails(3, "VN-CKPT-INPUT");
    ran.says(&["v1.fa", "v2.fa", "o1/merged", "o2/windows"]);
    predict("o1/merged/shard-00001.parquet", "o2/windows").fails(3, "VN-CKPT-INPUT");
    // A workflow hands files over without the manifest that lay beside them: the file itself names its shards.
    fs::create_dir(sandbox.path("staged")).unwrap();
    fs::copy(sandbox.path("o1/merged/shard-00001.parquet"), sandbox.path("staged/shard-00001.parquet")).unwrap();
    let ran = predict("staged/shard-00001.parquet", "o2/windows");
    ran.fails(3, "VN-CKPT-INPUT");
    ran.says(&["was not made from these windows"]);
    assert!(!sandbox.path("p").exists(), "nothing is written before the refusal");
    predict("staged/shard-00001.parquet", "o1/windows").ok();
}

#[test]
fn two_sides_of_two_inputs_are_not_merged() {
    let sandbox = two_inputs();
    for [dnabert, esm] in [["o1", "o2"], ["o2", "o1"]].map(|[d, e]| [format!("{d}/dnabert"), format!("{e}/esm")]) {
        let ran = sandbox.run(&["merge", "--dnabert", &dnabert, "--esm", &esm, "-q", "-o", "m"]);
        ran.fails(3, "VN-CKPT-INPUT");
        ran.says(&["v1.fa", "v2.fa"]);
    }
    assert!(!sandbox.path("m").exists());
}

#[test]
fn stages_run_again_for_an_edited_input_do_not_mix_with_those_that_were_not() {
    let sandbox = two_inputs();
    fs::copy(sandbox.path("v2.fa"), sandbox.path("v1.fa")).unwrap();
    let model = mock();
    sandbox.run(&["chunk", "v1.fa", "-q", "-o", "o1/windows"]).fails(3, "VN-CKPT-INPUT");
    sandbox.run(&["chunk", "v1.fa", "-q", "-f", "-o", "o1/windows"]).ok();
    let embed = ["embed-esm", "o1/windows", "-q", "--model", &model, "-o", "o1/esm"];
    sandbox.run(&embed).fails(3, "VN-CKPT-INPUT");
    sandbox.run(&[&embed[..], &["-f"]].concat()).ok();
    let merge = ["merge", "--dnabert", "o1/dnabert", "--esm", "o1/esm", "-q", "-o", "o1/merged"];
    sandbox.run(&[&merge[..], &["-f"]].concat()).fails(3, "VN-CKPT-INPUT");
    let predict = ["predict", "o1/merged", "-q", "--model", &model, "-o", "o1/predictions"];
    sandbox.run(&[&predict[..], &["-f"]].concat()).fails(3, "VN-CKPT-INPUT");
    sandbox.run(&["embed-dnabert", "o1/windows", "-q", "-f", "--model", &model, "-o", "o1/dnabert"]).ok();
    sandbox.run(&[&merge[..], &["-f"]].concat()).ok();
    sandbox.run(&[&predict[..], &["-f"]].concat()).ok();
    for stage in ["dnabert", "esm", "merged"] {
        let vectors = |root: &str| sandbox.files(&format!("{root}/{stage}"));
        let without_manifest = |mut files: std::collections::BTreeMap<String, Vec<u8>>| {
            files.remove("manifest.json");
            files
        };
        assert_same_files(&without_manifest(vectors("o1")), &without_manifest(vectors("o2")), stage);
    }
}

#[test]
fn fasta_files_of_one_name_do_not_replace_each_others_vectors() {
    let sandbox = Sandbox::new();
    sandbox.write("a/p.faa", ">p\nMKVL\n");
    sandbox.write("b/p.faa", ">p\nMKVI\n");
    let model = mock();
    let embed = |file: &str, more: &[&str]| {
        sandbox.run(&[&["embed-esm", file, "-q", "--model", &model, "-o", "esm"], more].concat())
    };
    embed("a/p.faa", &[]).ok();
    let before = sandbox.files("esm");
    let ran = embed("b/p.faa", &[]);
    ran.fails(3, "VN-CKPT-INPUT");
    ran.says(&["esm/p.parquet", "made from p.faa (", "--overwrite"]);
    assert_same_files(&before, &sandbox.files("esm"), "refused");
    embed("b/p.faa", &["-f"]).ok();
    assert!(before != sandbox.files("esm"));
}

#[test]
fn merged_files_say_of_themselves_what_their_own_sides_say_however_they_were_merged() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(21).fasta(7, 1400));
    let model = mock();
    sandbox.run(&["run", "x.fa", "-q", "--shard-frames", "10", "--model", &model, "-o", "out"]).ok();
    let shards = sandbox.files("out/merged").into_keys().filter(|name| name.ends_with(".parquet")).collect::<Vec<_>>();
    assert!(shards.len() >= 3);
    for name in &shards {
        let [dnabert, esm] = ["dnabert", "esm"].map(|side| format!("out/{side}/{name}"));
        sandbox.run(&["merge", "--dnabert", &dnabert, "--esm", &esm, "-q", "-o", "one"]).ok();
        let reader = virnucpro::store::VectorReader::open(&sandbox.path("out/merged").join(name)).unwrap();
        let windows = sandbox.json("out/windows/manifest.json");
        let stem = name.strip_suffix(".parquet").unwrap();
        for (side, extension) in [("dnabert", "fna"), ("esm", "faa")] {
            let shard = &windows["shards"][format!("{stem}.{extension}")]["blake3"];
            assert_eq!(reader.metadata()[&format!("{side}.input_blake3")], shard.as_str().unwrap(), "{name}");
        }
    }
    assert_same_files(&sandbox.files("out/merged"), &sandbox.files("one"), "all together and one by one");
    // Other names on the other side make it look for ids; what comes out is the same.
    fs::create_dir(sandbox.path("renamed")).unwrap();
    for (number, name) in shards.iter().rev().enumerate() {
        fs::copy(sandbox.path("out/esm").join(name), sandbox.path(&format!("renamed/shard-{number}.parquet"))).unwrap();
    }
    sandbox.run(&["merge", "--dnabert", "out/dnabert", "--esm", "renamed", "-q", "-o", "by-id"]).ok();
    for name in &shards {
        let [a, b] = ["out/merged", "by-id"].map(|folder| fs::read(sandbox.path(folder).join(name)).unwrap());
        assert!(a == b, "{name}");
    }
}

#[test]
fn an_input_in_the_output_folder_is_not_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(22).fasta(3, 700));
    sandbox.run(&["chunk", "x.fa", "-q", "-o", "windows"]).ok();
    let before = sandbox.files("windows");
    for more in [&[][..], &["-f"], &["--no-resume"]] {
        let ran = sandbox.run(&[&["chunk", "windows/shard-00001.fna", "-o", "windows", "-q"], more].concat());
        ran.fails(64, "VN-USAGE");
        ran.says(&["lies in the output folder"]);
        assert_same_files(&before, &sandbox.files("windows"), "refused");
    }
}

#[test]
fn shards_of_the_wrong_side_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(23).fasta(3, 700));
    sandbox.run(&["chunk", "x.fa", "-q", "-o", "windows"]).ok();
    for (command, shard, fault, meant) in [
        ("embed-esm", "windows/shard-00001.fna", "VN-IN-FORMAT", "shard-00001.faa"),
        ("embed-dnabert", "windows/shard-00001.faa", "VN-IN-PROTEIN", "shard-00001.fna"),
    ] {
        let ran = sandbox.run(&[command, shard, "-q", "--model", &mock(), "-o", command]);
        ran.fails(65, fault);
        ran.says(&[meant]);
    }
}

#[test]
fn vectors_of_one_side_only_are_no_merged_vectors() {
    let sandbox = two_inputs();
    let file = "o1/esm/shard-00001.parquet";
    let ran = sandbox.run(&["predict", file, "--windows", "o1/windows", "-q", "--model", &mock(), "-o", "p"]);
    ran.fails(65, "VN-IN-STAGE");
}

/// Runs a shell script in the sandbox, with the program as `$VIRNUCPRO` and the mock bundle as `$MOCK`.
fn shell(sandbox: &Sandbox, script: &str) -> Ran {
    let mut command = Command::new("timeout");
    command.args(["60", "bash", "-c", script]).current_dir(sandbox.folder());
    command.env("VIRNUCPRO", env!("CARGO_BIN_EXE_virnucpro")).env("MOCK", mock());
    Ran::of(command)
}

#[test]
fn a_pipe_is_read_once() {
    let sandbox = Sandbox::new();
    sandbox.write("s.faa", ">a\nMKVL\n>b\nMAAE\n");
    sandbox.run(&["embed-esm", "s.faa", "-q", "--model", &mock(), "-o", "plain"]).ok();
    let expected = fs::read(sandbox.path("plain/s.parquet")).unwrap();
    for (script, name) in [
        ("mkfifo f; (cat s.faa > f &); $VIRNUCPRO embed-esm f -q -m $MOCK -o o1", "o1/f.parquet"),
        ("$VIRNUCPRO embed-esm /dev/stdin -q -m $MOCK -o o2 < <(cat s.faa)", "o2/stdin.parquet"),
        ("cat s.faa | $VIRNUCPRO embed-esm - -q -m $MOCK -o o3", "o3/stdin.parquet"),
        ("ln -sf /dev/fd fds; $VIRNUCPRO embed-esm <(cat s.faa) -q -m $MOCK -o o4; mv o4/*.parquet o4/x", "o4/x"),
    ] {
        shell(&sandbox, script).ok();
        assert!(fs::read(sandbox.path(name)).unwrap() == expected, "{script}");
    }
    // Again: the same sequences are kept, others are refused.
    shell(&sandbox, "cat s.faa | $VIRNUCPRO embed-esm - -q -m $MOCK -o o3").ok();
    let ran = shell(&sandbox, "sed s/MKVL/MKVI/ s.faa | $VIRNUCPRO embed-esm - -q -m $MOCK -o o3");
    ran.fails(3, "VN-CKPT-INPUT");
    assert!(fs::read(sandbox.path("o3/stdin.parquet")).unwrap() == expected);
    for script in [
        "$VIRNUCPRO merge --dnabert <(cat plain/s.parquet) --esm plain/s.parquet -q -o m",
        "$VIRNUCPRO predict <(cat plain/s.parquet) --windows plain -q -m $MOCK -o m",
    ] {
        let ran = shell(&sandbox, script);
        ran.fails(65, "VN-IN-STAGE");
        ran.says(&["pipe"]);
    }
}

#[test]
fn sides_without_manifests_are_told_apart_by_the_proteins_of_their_rows() {
    let sandbox = two_inputs();
    let shard = |from: &str, to: &str| {
        fs::create_dir_all(sandbox.path(to).parent().unwrap()).unwrap();
        fs::copy(sandbox.path(from), sandbox.path(to)).unwrap();
    };
    for (input, name) in [("o1", "1"), ("o2", "2")] {
        shard(&format!("{input}/dnabert/shard-00001.parquet"), &format!("d{name}/shard-00001.parquet"));
        shard(&format!("{input}/esm/shard-00001.parquet"), &format!("e{name}/shard-00001.parquet"));
    }
    let merge = |dnabert: &str, esm: &str, output: &str| {
        sandbox.run(&["merge", "--dnabert", dnabert, "--esm", esm, "-q", "-o", output])
    };
    for (dnabert, esm) in [("d1", "e2"), ("d2", "e1")] {
        let ran = merge(dnabert, esm, "m");
        ran.fails(3, "VN-CKPT-INPUT");
        ran.says(&["c1_chunk_1", "different sequences of one id", dnabert, esm]);
    }
    // Also where files bear other names, so that partners are looked for by id.
    shard("o2/esm/shard-00001.parquet", "renamed/part.parquet");
    merge("d1", "renamed/part.parquet", "m").fails(3, "VN-CKPT-INPUT");
    merge("d1", "e1", "m").ok();
    let row = virnucpro::store::VectorReader::open(&sandbox.path("m/shard-00001.parquet")).unwrap();
    assert!(row.into_blocks(10).all(|block| block.unwrap().proteins.iter().all(Option::is_some)));
}

#[test]
fn windows_without_their_manifest_prove_nothing_and_are_refused() {
    let sandbox = two_inputs();
    fs::remove_file(sandbox.path("o1/windows/manifest.json")).unwrap();
    let ran = sandbox.run(&["predict", "o1/merged", "-q", "--model", &mock(), "-o", "p"]);
    ran.fails(3, "VN-CKPT-INCOMPLETE");
    ran.says(&["o1/windows has no manifest"]);
    fs::remove_file(sandbox.path("o2/windows/windows.tsv")).unwrap();
    sandbox.run(&["predict", "o2/merged", "-q", "--model", &mock(), "-o", "p"]).fails(3, "VN-CKPT-HASH");
    assert!(!sandbox.path("p").exists());
}

#[test]
fn a_manifest_cannot_name_files_of_another_folder() {
    let sandbox = two_inputs();
    sandbox.write("precious.txt", "kept");
    for name in ["../../precious.txt", "/etc/hostname", "..", "", "a/b"] {
        let manifest = sandbox.text("o1/esm/manifest.json");
        sandbox.write("o1/esm/manifest.json", manifest.replace("shard-00001.parquet", name));
        for more in [&[][..], &["--no-resume"]] {
            let ran = sandbox.run(&[&["run", "v1.fa", "-q", "--model", &mock(), "-o", "o1"], more].concat());
            ran.fails(3, "VN-CKPT-HASH");
        }
        sandbox.run(&["merge", "--dnabert", "o1/dnabert", "--esm", "o1/esm", "-q", "-o", "m"]).fails(3, "VN-CKPT-HASH");
        sandbox.write("o1/esm/manifest.json", manifest);
    }
    assert_eq!(sandbox.text("precious.txt"), "kept");
}

#[test]
fn windows_that_were_cut_differently_are_not_called_another_input() {
    let sandbox = Sandbox::new();
    let model = mock();
    sandbox.write("x.fa", Random::new(24).fasta(3, 900));
    for (window, output) in [("500", "a"), ("300", "b")] {
        sandbox.run(&["run", "x.fa", "-q", "--window", window, "--model", &model, "-o", output]).ok();
    }
    let ran = sandbox.run(&["merge", "--dnabert", "a/dnabert", "--esm", "b/esm", "-q", "-o", "m"]);
    ran.fails(3, "VN-CKPT-FOREIGN");
    ran.says(&["windows with window 500", "windows with window 300"]);
    let ran = sandbox.run(&["predict", "a/merged", "--windows", "b/windows", "-q", "--model", &model, "-o", "p"]);
    ran.fails(3, "VN-CKPT-FOREIGN");
    assert!(!ran.stderr.contains("another input"), "{}", ran.told());
}

#[test]
fn merged_files_may_have_any_names_and_come_in_any_order() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(25).fasta(7, 1400));
    let model = mock();
    sandbox.run(&["run", "x.fa", "-q", "--shard-frames", "10", "--model", &model, "-o", "out"]).ok();
    let names = ["zebra", "b", "a long name", "c.d"];
    let shards = sandbox.files("out/merged").into_keys().filter(|name| name.ends_with(".parquet"));
    let mut paths: Vec<String> = Vec::new();
    for (shard, name) in shards.zip(names) {
        let path = format!("{name}.parquet");
        fs::copy(sandbox.path("out/merged").join(shard), sandbox.path(&path)).unwrap();
        paths.insert(0, path);
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let more = ["--windows", "out/windows", "-q", "--model", &model, "-o", "p"];
    sandbox.run(&[&["predict"], &paths[..], &more].concat()).ok();
    assert_eq!(sandbox.text("p/frames.tsv"), sandbox.text("out/predictions/frames.tsv"));
    // One too few is told.
    let ran = sandbox.run(&[&["predict"], &paths[1..], &more[..6], &["p2"]].concat());
    ran.fails(3, "VN-MERGE-IDS");
}

#[test]
fn a_folder_is_named_for_what_it_is_before_anything_is_replaced() {
    let sandbox = two_inputs();
    sandbox.run(&["chunk", "v1.fa", "-q", "-o", "o1"]).fails(1, "VN-OUT-FOREIGN");
    sandbox.run(&["chunk", "v1.fa", "-q", "-o", "o1"]).says(&["DIR/windows"]);
    // A file of the user's own that happens to be named like a shard.
    sandbox.write("project/shard-00001.fna", ">mine\nACGT\n");
    sandbox.write("vectors/shard-00001.parquet", "mine");
    for more in [&[][..], &["-f"]] {
        sandbox.run(&[&["chunk", "v1.fa", "-q", "-o", "project"], more].concat()).fails(1, "VN-OUT-FOREIGN");
        let embed = ["embed-esm", "o1/windows", "-q", "--model", &mock(), "-o", "vectors"];
        sandbox.run(&[&embed, more].concat()).fails(1, "VN-OUT-FOREIGN");
    }
    assert_eq!(sandbox.text("project/shard-00001.fna"), ">mine\nACGT\n");
    let ran = sandbox.run(&["embed-esm", "o1/windows", "o1/windows/", "-q", "--model", &mock(), "-o", "v"]);
    ran.fails(64, "VN-USAGE");
    ran.says(&["is given twice"]);
}

#[test]
fn damage_is_noticed_in_files_that_no_manifest_vouches_for() {
    let sandbox = two_inputs();
    let damaged = |from: &str, to: &str| {
        let mut bytes = fs::read(sandbox.path(from)).unwrap();
        let place = bytes.len() / 5;
        bytes[place] ^= 1;
        sandbox.write(to, bytes);
    };
    damaged("o1/merged/shard-00001.parquet", "m.parquet");
    damaged("o1/dnabert/shard-00001.parquet", "d.parquet");
    damaged("o1/esm/shard-00001.parquet", "e/other.parquet");
    fs::copy(sandbox.path("o1/esm/shard-00001.parquet"), sandbox.path("e/whole.parquet")).unwrap();
    fs::copy(sandbox.path("o1/dnabert/shard-00001.parquet"), sandbox.path("whole.parquet")).unwrap();
    let model = mock();
    let predict = ["predict", "m.parquet", "--windows", "o1/windows", "-q", "--model", &model, "-o", "p"];
    sandbox.run(&predict).fails(3, "VN-CKPT-HASH");
    for (dnabert, esm) in [("d.parquet", "e/whole.parquet"), ("whole.parquet", "e/other.parquet")] {
        let ran = sandbox.run(&["merge", "--dnabert", dnabert, "--esm", esm, "-q", "-o", "m"]);
        ran.fails(3, "VN-CKPT-HASH");
    }
    assert!(!sandbox.path("p").exists() && !sandbox.path("m").exists(), "what was refused leaves nothing");
    sandbox.run(&["merge", "--dnabert", "whole.parquet", "--esm", "e/whole.parquet", "-q", "-o", "m"]).ok();
}

#[test]
fn a_refused_input_leaves_finished_folders_and_new_ones_as_they_were() {
    let sandbox = two_inputs();
    let model = mock();
    sandbox.write("dna.fa", Random::new(26).fasta(3, 900));
    sandbox.write("empty.faa", "");
    sandbox.write("other.faa", ">p\nMKVLEEFQILPWERTYIPASDF\n");
    let before = sandbox.files("o1");
    for (file, more, output, code) in [
        ("dna.fa", &[][..], "o1/esm", 3),
        ("other.faa", &[], "o1/esm", 3),
        ("dna.fa", &["-f"], "o1/esm", 65),
        ("empty.faa", &["-f"], "o1/esm", 65),
        ("gone.faa", &["-f"], "o1/esm", 66),
        ("dna.fa", &[], "new", 65),
        ("empty.faa", &[], "new", 65),
    ] {
        let ran = sandbox.run(&[&["embed-esm", file, "-q", "--model", &model, "-o", output], more].concat());
        assert_eq!(ran.code, code, "{}", ran.told());
        assert_same_files(&before, &sandbox.files("o1"), file);
        assert!(!sandbox.path("new").exists(), "{file}");
    }
    // Work of unknown origin takes the place of other work only where that is allowed.
    sandbox.run(&["embed-esm", "other.faa", "-q", "--model", &model, "-f", "-o", "o1/esm"]).ok();
    assert_eq!(sandbox.files("o1/esm").into_keys().collect::<Vec<_>>(), ["manifest.json", "other.parquet"]);
}

#[test]
fn how_u_is_read_tells_windows_of_rna_apart_and_those_of_dna_not() {
    let sandbox = Sandbox::new();
    sandbox.write("rna.fa", ">r\nAUGGCCGCCGCUGCCGCCGCC\n");
    sandbox.write("dna.fa", ">r\nATGGCCGCCGCTGCCGCCGCC\n");
    let model = mock();
    let run = |input: &str, output: &str, more: &[&str]| {
        sandbox.run(&[&["run", input, "-q", "--model", &model, "-o", output], more].concat())
    };
    for (first, second) in [(&[][..], &["--legacy"][..]), (&["--legacy"], &[])] {
        let output = format!("o{}", first.len());
        run("rna.fa", &output, first).ok();
        let ran = run("rna.fa", &output, second);
        ran.fails(3, "VN-CKPT-FOREIGN");
        ran.says(&["uracil t", "uracil drop"]);
    }
    let predict = ["predict", "o1/merged", "--windows", "o0/windows", "-q", "--model", &model, "-o", "p"];
    sandbox.run(&predict).fails(3, "VN-CKPT-FOREIGN");
    assert_eq!(sandbox.json("o1/windows/manifest.json")["origin"]["cut"]["uracil"], "drop");
    // --legacy and --uracil drop are one way.
    run("rna.fa", "o1", &["--legacy"]).ok();
    run("rna.fa", "o1", &["--uracil", "drop"]).ok();
    run("dna.fa", "d", &[]).ok();
    run("dna.fa", "d", &["--legacy"]).ok();
    run("dna.fa", "d", &["--uracil", "drop"]).ok();
    std::fs::remove_file(sandbox.path("d/windows/manifest.json")).unwrap();
    sandbox.run(&["embed-esm", "d/windows", "-q", "--model", &model, "-o", "e"]).fails(3, "VN-CKPT-INCOMPLETE");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_noticed_before_another_is_touched() {
    let sandbox = two_inputs();
    let model = mock();
    let elsewhere = |folder: &str| {
        fs::rename(sandbox.path(&format!("o1/{folder}")), sandbox.path("aside")).unwrap();
        std::os::unix::fs::symlink("nowhere", sandbox.path(&format!("o1/{folder}"))).unwrap();
    };
    elsewhere("merged");
    let stages = ["windows", "dnabert", "esm", "predictions"].map(|stage| format!("o1/{stage}"));
    let before: Vec<_> = stages.iter().map(|stage| sandbox.files(stage)).collect();
    let ran = sandbox.run(&["run", "v2.fa", "-q", "-f", "--model", &model, "-o", "o1"]);
    ran.fails(1, "VN-IO-WRITE");
    for (stage, before) in stages.iter().zip(before) {
        assert_same_files(&before, &sandbox.files(stage), stage);
    }
}

#[test]
fn a_stage_that_failed_half_way_does_not_lend_its_new_origin_to_old_files() {
    let sandbox = Sandbox::new();
    let model = mock();
    sandbox.write("a.fa", Random::new(27).fasta(14, 1400));
    sandbox.write("d.fa", Random::new(28).fasta(14, 1400));
    for (input, output) in [("a.fa", "a"), ("d.fa", "d")] {
        sandbox.run(&["run", input, "-q", "--shard-frames", "10", "--model", &model, "-o", output]).ok();
    }
    // The second file of the other side is damaged: one merged file is replaced, and then the stage ends.
    for (name, content) in sandbox.files("d/esm") {
        sandbox.write(&format!("x/{name}"), content);
    }
    let mut bytes = fs::read(sandbox.path("x/shard-00002.parquet")).unwrap();
    bytes[400] ^= 1;
    sandbox.write("x/shard-00002.parquet", bytes);
    sandbox
        .run(&["merge", "--dnabert", "d/dnabert", "--esm", "x", "-q", "-f", "-o", "a/merged"])
        .fails(3, "VN-CKPT-HASH");
    let [dnabert, esm] = ["d/dnabert/shard-00002.parquet", "d/esm/shard-00002.parquet"];
    sandbox.run(&["merge", "--dnabert", dnabert, "--esm", esm, "-q", "-o", "a/merged"]).ok();
    // What is there now is of one input; the rest of it is still to come, and nobody takes it for whole.
    let predict = ["predict", "a/merged", "--windows", "d/windows", "-q", "--model", &model, "-o", "p"];
    sandbox.run(&predict).fails(3, "VN-MERGE-IDS");
    sandbox.run(&["merge", "--dnabert", "d/dnabert", "--esm", "d/esm", "-q", "-o", "a/merged"]).ok();
    assert_same_files(&sandbox.files("d/merged"), &sandbox.files("a/merged"), "made whole");
}

#[test]
fn a_shard_beside_a_manifest_that_does_not_list_it_is_not_taken() {
    let sandbox = two_inputs();
    let embed = |shard: &str| sandbox.run(&["embed-dnabert", shard, "-q", "--model", &mock(), "-o", "v"]);
    let manifest = sandbox.text("o1/windows/manifest.json");
    sandbox.write("o1/windows/shard-00009.fna", ">c1_chunk_1F1\nATGGCC\n");
    embed("o1/windows/shard-00009.fna").fails(3, "VN-CKPT-INCOMPLETE");
    // As a killed run leaves it: the manifest of a new input, beside shards of the old one.
    let mut begun: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    begun["shards"] = serde_json::json!({});
    begun["complete"] = false.into();
    sandbox.write("o1/windows/manifest.json", begun.to_string());
    embed("o1/windows/shard-00001.fna").fails(3, "VN-CKPT-INCOMPLETE");
    assert!(!sandbox.path("v").exists());
}

#[test]
fn an_empty_input_that_is_allowed_is_the_same_input_the_next_time() {
    let sandbox = Sandbox::new();
    let model = mock();
    sandbox.write("blank.fa", "\n\n");
    sandbox.write("x.fa", Random::new(29).fasta(2, 700));
    for inputs in [&["blank.fa"][..], &["blank.fa", "x.fa"]] {
        let output = format!("o{}", inputs.len());
        let args = [&["run", "--allow-empty", "-q", "--model", &model, "-o", &output], inputs].concat();
        sandbox.run(&args).ok();
        let before = sandbox.files(&output);
        sandbox.run(&args).ok();
        assert_same_files(&before, &sandbox.files(&output), "again");
    }
}

#[test]
fn windows_that_the_bundle_is_not_for_are_told_before_they_are_embedded_and_once() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(70).fasta(3, 700));
    let model = mock();
    let told = |arguments: &[&str]| sandbox.run(&[arguments, &["--model", &model]].concat()).ok().stderr;
    told(&["chunk", "x.fa", "--frames", "longest", "--window", "400", "-o", "w"]);
    for shards in ["w", "w/shard-00001.fna"] {
        let stderr = told(&["embed-dnabert", shards, "-o", "d", "-f"]);
        assert!(stderr.contains("400 bp long") && stderr.contains("by the rule 'longest'"), "{stderr}");
    }
    let whole = told(&["run", "x.fa", "--frames", "longest", "-o", "out"]);
    assert_eq!(whole.matches("by the rule 'longest'").count(), 1, "{whole}");
    told(&["chunk", "x.fa", "-o", "own"]);
    let stderr = told(&["embed-dnabert", "own", "-o", "e"]);
    assert!(!stderr.contains("by the rule") && !stderr.contains("bp long"), "{stderr}");
}

#[test]
fn a_side_that_was_not_cut_is_told_with_the_bundle_to_cut_for() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(71).fasta(3, 700));
    sandbox.run(&["chunk", "x.fa", "-o", "w", "--model", "mini"]).ok();
    let ran = sandbox.run(&["embed-esm", "w", "--model", &mock(), "-o", "e"]);
    ran.fails(66, "VN-IN-MISSING");
    ran.says(&["no shards of the protein side", "shard-*.faa", "`virnucpro chunk` with the --model"]);
    sandbox.run(&["run", "x.fa", "-o", "out", "--model", "mini"]).ok();
    let ran = sandbox.run(&["embed-esm", "out/windows", "--model", &mock(), "-o", "e"]);
    ran.fails(66, "VN-IN-MISSING");
    ran.says(&["windows without shards", "--keep-intermediate"]);
}
