//! `train`: vectors and labels to a bundle, what it says of wrong ones, and going on after an end in the middle.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use virnucpro::composition::FEATURES;
use virnucpro::store::{VectorBlock, VectorReader, VectorWriter};

use crate::support::{Ran, Random, Sandbox, assert_same_files, repository, send};

/// A small recipe that learns the toy data at once.
const RECIPE: &str = "name: small\ninputs: {standardise: true, limit: 6.0, noise: 0.1, dropout: 0.1}\nhidden: [16]\n\
    dropout: 0.2\noutputs: 1\nlabel_smoothing: 0.05\noptimiser: {kind: adamw, weight_decay: 0.05}\n\
    rate: {start: 0.005, schedule: cosine}\nbatch: 32\nepochs: 3\npatience: null\nfolds: 4\nmembers: 4\n\
    balance: {classes: true, groups: 0.5}\ncalibration: equal\n";

/// Sequences of both classes, two windows each: viruses are rich in A and T, others in G and C.
const SEQUENCES: usize = 80;

fn is_viral(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn base() -> String {
    repository().join("training/composition").display().to_string()
}

/// Vectors of sequences s0, s1, ..., their labels in groups of two, and a recipe.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut random = Random::new(4);
    let mut sequence = |number: usize| {
        let letters: &[u8; 8] = if is_viral(number) { b"AAATTCGA" } else { b"GGCCCGAT" };
        let bases: String = (0..750).map(|_| char::from(letters[random.below(8)])).collect();
        format!(">s{number}\n{bases}\n")
    };
    sandbox.write("x.fa", (0..SEQUENCES).map(&mut sequence).collect::<String>());
    let label = |number| {
        let class = if is_viral(number) { "virus" } else { "others" };
        format!("s{number}\t{class}\tg{}{}\n", number % 2, number / 4)
    };
    let labels: String = (0..SEQUENCES).map(label).collect();
    sandbox.write("labels.tsv", format!("sequence\tlabel\tgroup\n{labels}"));
    sandbox.write("small.yaml", RECIPE);
    let base = base();
    for stage in [
        &["chunk", "x.fa", "--model", &base, "-o", "w/windows"][..],
        &["embed-dnabert", "w/windows", "--model", &base, "-o", "w/dnabert"],
        &["merge", "--dnabert", "w/dnabert", "-o", "w/merged"],
    ] {
        sandbox.run(stage).ok();
    }
    sandbox
}

/// Trains on what was prepared, with more arguments; the bundle goes to `output`.
fn train(sandbox: &Sandbox, output: &str, more: &[&str]) -> Ran {
    sandbox.run(&arguments(output, &base(), more))
}

fn arguments<'a>(output: &'a str, base: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "w/merged", "--model", base, "--name", "toy", "-o", output];
    for (option, value) in [("--labels", "labels.tsv"), ("--recipe", "small.yaml")] {
        if !more.contains(&option) {
            arguments.extend([option, value]);
        }
    }
    arguments.extend(more);
    arguments
}

#[test]
fn a_trained_bundle_knows_its_classes_and_says_what_it_was_made_of() {
    let sandbox = prepared();
    let ran = train(&sandbox, "toy", &[]).ok();
    ran.says(&[&format!("160 vectors of {FEATURES} numbers"), "member 4 of 4, epoch 3", "AUROC"]);
    assert_eq!(ran.stdout, "toy\n");
    let names: Vec<String> = sandbox.files("toy").into_keys().collect();
    assert_eq!(names, ["bundle.yaml", "card.json", "head.safetensors", "vectors.json"]);
    let verified = sandbox.run(&["models", "verify", "toy"]).ok().stdout;
    assert!(verified.contains("1 sequence on") && verified.contains("composition 0.0e0, scores"), "{verified}");
    let left: Vec<_> = fs::read_dir(sandbox.folder()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".training")), "{left:?}");

    let card = sandbox.json("toy/card.json");
    assert!(card["held_out"]["auroc"].as_f64().unwrap() > 0.99, "{card}");
    assert_eq!((&card["data"]["rows"]["virus"], &card["data"]["groups"]), (&80.into(), &40.into()));
    assert_eq!((&card["recipe"]["name"], &card["seed"]), (&"small".into(), &1.into()));
    assert_eq!(card["members"].as_array().unwrap().len(), 4);
    assert_eq!(card["data"]["sources"][0]["file"], "shard-00001.parquet");
    let yaml = sandbox.text("toy/bundle.yaml");
    assert!(yaml.contains("calibration:") && yaml.contains("frames: longest"), "{yaml}");

    sandbox.run(&["predict", "w/merged", "--model", "toy", "-o", "w/predictions"]).ok();
    let windows = sandbox.text("w/predictions/windows.tsv");
    for row in windows.lines().skip(1) {
        let number: usize = row.split('\t').nth(1).unwrap()[1..].parse().unwrap();
        assert_eq!(row.contains("\tvirus\t"), is_viral(number), "{row}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let sandbox = prepared();
    train(&sandbox, "one", &["--threads", "1"]).ok();
    train(&sandbox, "two", &["--threads", "3"]).ok();
    assert_same_files(&sandbox.files("one"), &sandbox.files("two"), "trained twice");
    train(&sandbox, "other", &["--seed", "2"]).ok();
    assert_ne!(sandbox.files("one")["head.safetensors"], sandbox.files("other")["head.safetensors"]);
}

fn wait_for(sandbox: &Sandbox, seen: &str, child: &mut Child) {
    let started = Instant::now();
    while !sandbox.path(seen).exists() {
        assert!(child.try_wait().unwrap().is_none(), "training ended before {seen} was there");
        assert!(started.elapsed() < Duration::from_secs(60), "{seen} never came");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_was_stopped_goes_on_and_ends_with_the_same_bytes() {
    let sandbox = prepared();
    sandbox.write("long.yaml", RECIPE.replace("epochs: 3", "epochs: 40"));
    let more = ["--recipe", "long.yaml", "--checkpoint-interval", "0", "--threads", "1"];
    train(&sandbox, "undisturbed", &more).ok();
    // Interrupted in the first member, then killed in the third.
    for (signal, seen) in [(libc::SIGINT, "member-0.state"), (libc::SIGKILL, "member-2.state")] {
        let (base, seen) = (base(), format!(".toy.training/{seen}"));
        let mut command = sandbox.command(&arguments("toy", &base, &more));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        wait_for(&sandbox, &seen, &mut child);
        send(&child, signal);
        let ran = Ran::from_output("train".to_owned(), child.wait_with_output().unwrap());
        match signal {
            libc::SIGINT => drop(ran.fails(130, "VN-INTERRUPTED")),
            _ => assert_eq!(ran.code, 128 + signal),
        }
        assert!(!sandbox.path("toy").exists());
    }
    let ran = train(&sandbox, "toy", &more).ok();
    ran.says(&["member 1: goes on after epoch 40"]);
    assert_same_files(&sandbox.files("undisturbed"), &sandbox.files("toy"), "after two ends in the middle");
    assert!(!sandbox.path(".toy.training").exists());
}

#[test]
fn unfinished_work_of_other_settings_or_that_is_damaged_is_not_taken_up() {
    let sandbox = prepared();
    train(&sandbox, "undisturbed", &[]).ok();
    for (content, said) in [("nonsense", "is damaged"), ("", "is damaged")] {
        sandbox.write("kept/toy.training/member-1.state", content);
        let ran = train(&sandbox, "toy", &["--checkpoint-dir", "kept"]).ok();
        ran.says(&[said]);
        assert_same_files(&sandbox.files("undisturbed"), &sandbox.files("toy"), said);
        fs::remove_dir_all(sandbox.path("toy")).unwrap();
    }
    assert!(!sandbox.path("kept/toy.training").exists());
}

#[test]
fn labels_that_do_not_serve_are_told_with_file_line_and_advice() {
    let sandbox = prepared();
    let labels = sandbox.text("labels.tsv");
    let wrong = |labels: &str, parts: &[&str]| {
        sandbox.write("wrong.tsv", labels);
        let ran = train(&sandbox, "toy", &["--labels", "wrong.tsv"]);
        let json = ran.fails(65, "VN-IN-LABELS");
        assert!(json["file"].as_str().unwrap().ends_with("wrong.tsv"), "{json}");
        ran.says(parts);
        assert!(!sandbox.path("toy").exists());
    };
    let without: String =
        labels.lines().filter(|line| !line.starts_with("s7\t")).map(|line| format!("{line}\n")).collect();
    wrong(&without, &["s7_chunk_1", "no label", "--ignore-unlabelled"]);
    wrong("sequence\tlabel\nelse\tvirus\nwhere\tothers\n", &["no vector has a label", "else", "windows.tsv"]);
    wrong(&labels.replace("\tvirus\t", "\tothers\t"), &["all labels are 'others'", "of the other class"]);
    wrong(&labels.replace("s7\tothers", "s7\tperhaps"), &["perhaps", "line 9"]);
    let few: String = (0..SEQUENCES)
        .map(|number| format!("s{number}\t{}\tg{}\n", if is_viral(number) { 1 } else { 0 }, number % 3))
        .collect();
    let few = format!("sequence\tlabel\tgroup\n{few}");
    sandbox.write("few.tsv", &few);
    let ran = train(&sandbox, "toy", &["--labels", "few.tsv"]);
    ran.fails(65, "VN-IN-LABELS");
    ran.says(&["fewer groups than folds", "found:    3", "few.tsv", "--folds"]);
}

#[test]
fn vectors_without_a_label_can_be_left_out() {
    let sandbox = prepared();
    let labels: Vec<String> = sandbox.text("labels.tsv").lines().map(str::to_owned).collect();
    sandbox.write("some.tsv", labels[..61].join("\n"));
    let more = ["--labels", "some.tsv", "--ignore-unlabelled"];
    train(&sandbox, "toy", &more).ok().says(&["40 vectors without a label are left out", "120 vectors"]);
    assert_eq!(sandbox.json("toy/card.json")["data"]["sequences"], 60);
}

#[test]
fn labels_of_windows_serve_too_and_a_label_for_nothing_is_a_warning() {
    let sandbox = prepared();
    let label = |number: usize| {
        let class = if is_viral(number) { "viral" } else { "non-viral" };
        format!("s{number}_chunk_1\t{class}\ns{number}_chunk_2\t{class}\n")
    };
    let labels: String = (0..SEQUENCES).map(label).collect();
    sandbox.write("windows.tsv", format!("id\tlabel\n{labels}nothing_chunk_1\tvirus\n"));
    let ran = train(&sandbox, "toy", &["--labels", "windows.tsv"]).ok();
    ran.says(&["1 labels name nothing", "nothing_chunk_1"]);
    assert_eq!(sandbox.json("toy/card.json")["data"]["groups"], SEQUENCES);
}

/// The merged vectors, changed, in a folder without a manifest.
fn changed(sandbox: &Sandbox, change: impl Fn(&mut VectorBlock)) {
    let reader = VectorReader::open(&sandbox.path("w/merged/shard-00001.parquet")).unwrap();
    let (metadata, dim) = (reader.metadata(), reader.dim());
    let mut block = VectorBlock::default();
    for part in reader.into_blocks(1024) {
        let part = part.unwrap();
        block.ids.extend(part.ids);
        block.values.extend(part.values);
        block.proteins.extend(part.proteins);
    }
    change(&mut block);
    fs::create_dir_all(sandbox.path("changed")).unwrap();
    let mut writer = VectorWriter::create(&sandbox.path("changed/shard-00001.parquet"), dim).unwrap();
    writer.push(block).unwrap();
    writer.commit(&metadata).unwrap();
}

#[test]
fn vectors_that_are_not_finite_or_do_not_match_the_windows_are_told_with_their_id() {
    let sandbox = prepared();
    let base = base();
    let run = || {
        let mut arguments = arguments("toy", &base, &["--windows", "w/windows"]);
        arguments[1] = "changed";
        sandbox.run(&arguments)
    };
    for value in [f32::NAN, f32::NEG_INFINITY] {
        changed(&sandbox, |block| block.values[FEATURES * 3 + 7] = value);
        let json = run().fails(65, "VN-IN-STAGE");
        assert!(json["record"].as_str().unwrap().starts_with("s1_chunk_2"), "{json}");
        assert!(json["file"].as_str().unwrap().ends_with("shard-00001.parquet"), "{json}");
    }
    changed(&sandbox, |block| block.ids[3] = "other_chunk_1F1".to_owned());
    let ran = run();
    ran.fails(3, "VN-MERGE-IDS");
    ran.says(&["in no window", "other_chunk_1F1"]);
    changed(&sandbox, |block| block.ids[3] = block.ids[2].clone());
    let ran = run();
    ran.fails(3, "VN-MERGE-IDS");
    ran.says(&["occurs twice"]);
    changed(&sandbox, |block| {
        block.ids.pop();
        block.proteins.pop();
        block.values.truncate(block.ids.len() * FEATURES);
    });
    let ran = run();
    ran.fails(3, "VN-MERGE-IDS");
    ran.says(&["none for this frame", "s79_chunk_2"]);
}

#[test]
fn windows_of_other_sequences_and_another_bases_vectors_are_refused() {
    let sandbox = prepared();
    let base = base();
    sandbox.write("y.fa", Random::new(8).fasta(3, 600));
    sandbox.run(&["chunk", "y.fa", "--model", &base, "-o", "other/windows"]).ok();
    train(&sandbox, "toy", &["--windows", "other/windows"]).fails(3, "VN-CKPT-INPUT");
    let mut arguments = arguments("toy", &base, &[]);
    let other = repository().join("bundles/untrained").display().to_string();
    arguments[3] = &other;
    sandbox.run(&arguments).fails(78, "VN-MODEL-FIT");
}

#[test]
fn a_folder_that_is_taken_and_a_recipe_that_cannot_be_followed_are_refused_before_any_work() {
    let sandbox = prepared();
    sandbox.write("taken/file", "x");
    train(&sandbox, "taken", &[]).fails(1, "VN-OUT-FOREIGN");
    train(&sandbox, "toy", &["--recipe", "blanced"]).fails(64, "VN-USAGE");
    sandbox.write("wrong.yaml", RECIPE.replace("batch: 32", "batch: 0"));
    let ran = train(&sandbox, "toy", &["--recipe", "wrong.yaml"]);
    ran.fails(78, "VN-CONFIG");
    ran.says(&["batch: from 2", "--print-recipe"]);
    train(&sandbox, "toy", &["--dtype", "bf16"]).fails(64, "VN-USAGE");
    sandbox.run(&["train", "w/merged"]).fails(64, "VN-USAGE").to_string().contains("--labels");
}

#[test]
fn encoders_with_weights_are_taken_into_the_bundle_and_trained_on_by_the_original_recipe() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(6).fasta(24, 300));
    let label = |number| format!("r{number}\t{}\n", number % 2);
    sandbox.write("labels.tsv", format!("sequence\tlabel\n{}", (1..=24).map(label).collect::<String>()));
    let base = repository().join("bundles/untrained").display().to_string();
    for stage in [
        &["chunk", "x.fa", "--model", &base, "-o", "w/windows"][..],
        &["embed-dnabert", "w/windows", "--model", &base, "-o", "w/dnabert"],
        &["embed-esm", "w/windows", "--model", &base, "-o", "w/esm"],
        &["merge", "--dnabert", "w/dnabert", "--esm", "w/esm", "-o", "w/merged"],
        &["train", "w/merged", "--labels", "labels.tsv", "--model", &base, "--name", "toy", "-o", "toy"],
        &["models", "verify", "toy"],
        &["predict", "w/merged", "--model", "toy", "-o", "w/predictions"],
    ] {
        sandbox.run(stage).ok();
    }
    let (own, published) = (sandbox.files("toy"), crate::support::files_of(base.as_ref()));
    for (name, content) in published.iter().filter(|(name, _)| name.contains('/')) {
        assert!(own[name] == *content, "{name}");
    }
    let card = sandbox.json("toy/card.json");
    assert_eq!((&card["recipe"]["name"], card["members"].as_array().unwrap().len()), (&"original".into(), 1));
    // Random encoders make no trained bundle.
    assert!(sandbox.text("toy/bundle.yaml").contains("trained: false"));
}

#[test]
fn a_diverging_training_says_so() {
    let sandbox = prepared();
    let recipe = RECIPE.replace("kind: adamw, weight_decay: 0.05", "kind: sgd, momentum: 0.9");
    sandbox.write("fast.yaml", recipe.replace("start: 0.005", "start: 1.0e+30"));
    let ran = train(&sandbox, "toy", &["--recipe", "fast.yaml"]);
    ran.fails(1, "VN-NONFINITE");
    ran.says(&["diverged", "smaller learning rate"]);
    assert!(!sandbox.path(".toy.training").exists(), "an empty folder is left");
}

#[test]
fn a_head_in_f16_takes_half_the_space_and_gives_the_same_verdicts() {
    let sandbox = prepared();
    train(&sandbox, "full", &["--folds", "2"]).ok();
    train(&sandbox, "half", &["--folds", "2", "--dtype", "f16"]).ok();
    let size = |name: &str| sandbox.files(name)["head.safetensors"].len() as f64;
    // What standardises the inputs stays in f32.
    assert!((0.5..0.65).contains(&(size("half") / size("full"))), "{} {}", size("half"), size("full"));
    let verdicts = |model: &str| {
        let output = format!("w/{model}");
        sandbox.run(&["predict", "w/merged", "--model", model, "-o", &output]).ok();
        let table = sandbox.text(&format!("{output}/sequences.tsv"));
        table.lines().map(|row| row.contains("\tviral\t")).collect::<Vec<_>>()
    };
    assert_eq!(verdicts("half"), verdicts("full"));
}

#[test]
fn the_folder_of_unfinished_work_has_one_writer() {
    let sandbox = prepared();
    fs::create_dir(sandbox.path(".toy.training")).unwrap();
    let lock = virnucpro::fs::FolderLock::take(&sandbox.path(".toy.training")).unwrap();
    train(&sandbox, "toy", &[]).fails(3, "VN-CKPT-LOCKED");
    drop(lock);
    train(&sandbox, "toy", &[]).ok();
}
