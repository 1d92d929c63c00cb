//! The whole pipeline against what the original program made of the same sequences with the same small models:
//! FASTA byte for byte, features and scores within float noise, labels and order exactly.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::{Sandbox, Table, assert_same_files, repository, shared, untrained_folder};
use safetensors::SafeTensors;
use virnucpro::store::VectorReader;

/// Between this program's features and the original's.
const FEATURE_TOLERANCE: f32 = 2e-5;
/// Between this program's scores and the original's.
const SCORE_TOLERANCE: f32 = 1e-4;
/// Between features of this program with different batches or threads.
const COMPOSITION_TOLERANCE: f32 = 2e-6;
/// Width of a DNABERT-S vector of the small models.
const DNABERT_DIM: usize = 48;

/// Folder of the case whose tokeniser is the embedded bundle's.
fn own() -> PathBuf {
    repository().join("tests/golden/e2e-own")
}

/// The input of the end-to-end cases in a new folder.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::copy(own().join("input.fasta"), sandbox.path("input.fasta")).unwrap();
    sandbox
}

/// Runs on the CPU, whose results the original's are compared with.
fn run(sandbox: &Sandbox, args: &[&str]) {
    sandbox.run(&[args, &["--device", "cpu"]].concat()).ok();
}

/// Ids and features of a run, in order.
struct Features {
    ids: Vec<String>,
    dim: usize,
    values: Vec<f32>,
}

impl Features {
    /// Of the merged shards in a folder, in the order of their numbers.
    fn read(folder: &Path) -> Self {
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        files.sort();
        let (mut ids, mut dim, mut values) = (Vec::new(), 0, Vec::new());
        for file in files {
            let reader = VectorReader::open(&file).unwrap();
            dim = reader.dim();
            for block in reader.into_blocks(1000) {
                let block = block.unwrap();
                ids.extend(block.ids);
                values.extend(block.values);
            }
        }
        Self { ids, dim, values }
    }

    /// Asserts the same ids in the same order, and values no further apart than `tolerance`.
    #[track_caller]
    fn assert_near(&self, other: &Self, tolerance: f32, what: &str) {
        assert_eq!(self.ids, other.ids, "{what}: ids");
        let apart = furthest(&self.values, &other.values);
        println!("{what}: features at most {apart:.1e} apart");
        assert!(apart <= tolerance, "{what}: features are {apart:e} apart");
    }
}

#[track_caller]
fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(!a.is_empty());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |most, apart| if apart.is_nan() { f32::NAN } else { most.max(apart) })
}

/// A row of the original's `prediction_results.txt`.
#[derive(Debug)]
struct Scored {
    id: String,
    label: String,
    scores: [f32; 2],
}

fn scored(path: &Path) -> Vec<Scored> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Sequence_ID\tPrediction\tscore1\tscore2"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [id, label, others, virus] = cells[..] else { panic!("{line}") };
        Scored { id: id.into(), label: label.into(), scores: [others.parse().unwrap(), virus.parse().unwrap()] }
    };
    lines.map(row).collect()
}

#[track_caller]
fn assert_same_scores(ours: &Path, theirs: &Path, tolerance: f32) {
    let (ours, theirs) = (scored(ours), scored(theirs));
    assert_eq!(ours.len(), theirs.len());
    let mut most: f32 = 0.0;
    for (a, b) in ours.iter().zip(&theirs) {
        assert_eq!((&a.id, &a.label), (&b.id, &b.label));
        let apart = furthest(&a.scores, &b.scores);
        assert!(apart <= tolerance, "{a:?} {b:?}");
        most = most.max(apart);
    }
    println!("{} scores at most {most:.1e} apart", ours.len());
}

/// Features of the original: its tensor `merged`, rows in the order of its results.
fn features_of_the_original(tensors: &Path, results: &Path) -> Features {
    let bytes = fs::read(tensors).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let merged = tensors.tensor("merged").unwrap();
    let values = merged.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let ids: Vec<String> = scored(results).into_iter().map(|row| row.id).collect();
    let [rows, dim] = merged.shape()[..] else { panic!("{:?}", merged.shape()) };
    assert_eq!(rows, ids.len());
    Features { ids, dim, values }
}

/// Runs everything and compares every file with the original's.
fn equals_the_original(original: &Path, tensors: &str, window: &str, bundle: &str) {
    let sandbox = sandbox();
    run(&sandbox, &["run", "input.fasta", "--legacy", "--window", window, "--model", bundle, "-o", "out"]);
    for (ours, theirs) in [
        (format!("windows/chunked{window}.fa"), format!("input_chunked{window}.fa")),
        ("windows/identified_nucleotide.fa".into(), "input_identified_nucleotide.fa".into()),
        ("windows/identified_protein.faa".into(), "input_identified_protein.faa".into()),
        ("predictions/prediction_results_highestscore.csv".into(), "prediction_results_highestscore.csv".into()),
    ] {
        let (a, b) = (fs::read(sandbox.path("out").join(&ours)).unwrap(), fs::read(original.join(&theirs)).unwrap());
        assert!(a == b, "{ours} differs from {theirs}");
    }
    let results = original.join("prediction_results.txt");
    let expected = features_of_the_original(&original.join(tensors), &results);
    let ours = Features::read(&sandbox.path("out/merged"));
    assert_eq!(ours.dim, expected.dim);
    ours.assert_near(&expected, FEATURE_TOLERANCE, "original");
    assert_same_scores(&sandbox.path("out/predictions/prediction_results.txt"), &results, SCORE_TOLERANCE);
    tables_say_the_same(&sandbox, &results);
}

/// The tables of the product against the original's results.
fn tables_say_the_same(sandbox: &Sandbox, results: &Path) {
    let frames = sandbox.table("out/predictions/frames.tsv");
    let expected = scored(results);
    assert_eq!(frames.column("frame_id"), expected.iter().map(|row| row.id.as_str()).collect::<Vec<_>>());
    assert_eq!(frames.column("verdict"), expected.iter().map(|row| row.label.as_str()).collect::<Vec<_>>());
    // Modified_ID, Is_Virus: only windows with an open frame, sorted as text.
    let text = fs::read_to_string(results.with_file_name("prediction_results_highestscore.csv")).unwrap();
    let theirs: BTreeMap<&str, &str> = text.lines().skip(1).map(|line| line.split_once('\t').unwrap()).collect();
    let windows = sandbox.table("out/predictions/windows.tsv");
    let ours: BTreeMap<&str, &str> = windows
        .column("window_id")
        .into_iter()
        .zip(windows.column("verdict"))
        .filter(|(_, verdict)| !verdict.is_empty())
        .map(|(window, verdict)| (window, if verdict == "virus" { "True" } else { "False" }))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn windows_of_500_give_the_results_of_the_original() {
    equals_the_original(
        &own().join("orig_500"),
        "merged.safetensors",
        "500",
        &untrained_folder().display().to_string(),
    );
}

#[test]
fn windows_of_300_give_the_results_of_the_original() {
    equals_the_original(
        &own().join("orig_300"),
        "merged.safetensors",
        "300",
        &untrained_folder().display().to_string(),
    );
}

/// A bundle of the golden models with the published tokeniser; nothing where that is absent.
fn published_tokeniser(sandbox: &Sandbox) -> Option<String> {
    let (tokenizer, models) = (shared("golden/dnabert_tokenizer.json")?, shared("golden")?);
    for (from, to) in [
        (models.join("dnabert/dnabert_tiny.safetensors"), "dnabert/model.safetensors"),
        (models.join("dnabert/config.json"), "dnabert/config.json"),
        (tokenizer, "dnabert/tokenizer.json"),
    ] {
        sandbox.write(to, fs::read(from).unwrap());
    }
    let path = |name: &str| models.join(name).display().to_string();
    let (esm, head) = (path("esm/esm2_tiny_hf"), path("mlp/tiny_model_state.safetensors"));
    let import = ["models", "import", "--name", "golden", "--untrained", "--dnabert", "dnabert", "--esm", &esm];
    sandbox.run(&[&import[..], &["--head", &head, "-o", "bundle"]].concat()).ok();
    Some(sandbox.path("bundle").display().to_string())
}

#[test]
fn an_imported_bundle_with_the_published_tokeniser_gives_the_results_of_the_original() {
    let sandbox = Sandbox::new();
    let (Some(golden), Some(bundle)) = (shared("golden/e2e"), published_tokeniser(&sandbox)) else { return };
    for window in ["500", "300"] {
        equals_the_original(&golden.join(format!("orig_{window}")), "embeddings.safetensors", window, &bundle);
    }
}

#[test]
fn the_stages_one_by_one_write_the_files_of_run() {
    for (window, shard_frames) in [("500", "100"), ("300", "10000")] {
        let whole = sandbox();
        let cut = ["--legacy", "--window", window, "--shard-frames", shard_frames];
        run(&whole, &[&["run", "input.fasta", "-o", "out"], &cut[..]].concat());
        let staged = sandbox();
        staged.run(&[&["chunk", "input.fasta", "-o", "out/windows"], &cut[..]].concat()).ok();
        run(&staged, &["embed-dnabert", "out/windows", "-o", "out/dnabert"]);
        run(&staged, &["embed-esm", "out/windows", "-o", "out/esm"]);
        staged.run(&["merge", "--dnabert", "out/dnabert", "--esm", "out/esm", "-o", "out/merged"]).ok();
        run(&staged, &["predict", "out/merged", "--legacy", "-o", "out/predictions"]);
        assert_same_files(&whole.files("out"), &staged.files("out"), &format!("windows of {window}"));
    }
}

/// What a run with some options leaves.
struct Outcome {
    files: BTreeMap<String, Vec<u8>>,
    features: Features,
    windows: Table,
    scored: Vec<Scored>,
}

fn outcome(options: &[&str]) -> Outcome {
    let sandbox = sandbox();
    run(&sandbox, &[&["run", "input.fasta", "--legacy", "-o", "out"], options].concat());
    Outcome {
        files: sandbox.files("out"),
        features: Features::read(&sandbox.path("out/merged")),
        windows: sandbox.table("out/predictions/windows.tsv"),
        scored: scored(&sandbox.path("out/predictions/prediction_results.txt")),
    }
}

/// A run with the default settings but for the number of threads, which machines differ in.
fn reference() -> &'static Outcome {
    static REFERENCE: OnceLock<Outcome> = OnceLock::new();
    REFERENCE.get_or_init(|| outcome(&["--threads", "2"]))
}

#[test]
fn batches_and_threads_do_not_change_features_beyond_float_noise() {
    for options in [["--batch-tokens", "200"], ["--batch-tokens", "5000"], ["--threads", "1"]] {
        outcome(&options).features.assert_near(&reference().features, COMPOSITION_TOLERANCE, &options.join(" "));
    }
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    assert_same_files(&reference().files, &outcome(&["--threads", "2"]).files, "two runs");
}

#[test]
fn shards_of_any_size_give_the_same_rows() {
    let cut = outcome(&["--shard-frames", "23"]);
    assert!(cut.files.contains_key("merged/shard-00012.parquet"), "{:?}", cut.files.keys());
    cut.features.assert_near(&reference().features, COMPOSITION_TOLERANCE, "shards of 23 frames");
    let rows = |outcome: &Outcome| outcome.windows.without(&["score_others", "score_virus"]);
    assert_eq!(rows(reference()), rows(&cut));
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn bf16_keeps_the_vectors_of_every_golden_set() {
    if !virnucpro::device::multiplies_bf16() {
        println!("skipped: this processor does not multiply bf16");
        return;
    }
    let sandbox = Sandbox::new();
    for bundle in [Some(untrained_folder().display().to_string()), published_tokeniser(&sandbox)].into_iter().flatten()
    {
        for window in ["500", "300"] {
            let run = |dtype: &str| outcome(&["--model", &bundle, "--window", window, "--dtype", dtype]);
            let (exact, rounded) = (run("f32"), run("bf16"));
            let (a, b) = (&exact.features, &rounded.features);
            assert_eq!(a.ids, b.ids);
            assert!(a.values != b.values, "bf16 changed nothing");
            let mut least: f64 = 1.0;
            for (a, b) in a.values.chunks_exact(a.dim).zip(b.values.chunks_exact(b.dim)) {
                for part in [0..DNABERT_DIM, DNABERT_DIM..a.len()] {
                    least = least.min(cosine(&a[part.clone()], &b[part]));
                }
            }
            let pairs = exact.scored.iter().zip(&rounded.scored);
            let mut apart: Vec<f32> = pairs.map(|(a, b)| (a.scores[1] - b.scores[1]).abs()).collect();
            apart.sort_by(f32::total_cmp);
            let (median, most) = (apart[apart.len() / 2], apart[apart.len() - 1]);
            println!("bf16, {window} bp: cosine {least:.6}; scores {median:.1e} (median), {most:.1e} (most) apart");
            assert!(least >= 0.999, "{least}");
        }
    }
}
