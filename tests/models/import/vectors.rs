//! What was imported computes what the reference programs computed: vectors of ESM-2 and scores of the head, of every
//! published form.

use std::fs;
use std::path::Path;

use crate::support::{Sandbox, repository, shared};
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use virnucpro::model::Head;
use virnucpro::model::classifier::Classifier;
use virnucpro::store::VectorReader;
use virnucpro::weights::{ModelBytes, Safetensors, Weights};

/// Between pooled vectors of this program and of fair-esm.
const VECTOR_TOLERANCE: f32 = 2e-5;
/// Between scores of this program and of torch.nn.
const SCORE_TOLERANCE: f32 = 5e-6;

/// ESM-2 in every form that was published, and the tensors that hold its vectors.
const ESM: [(&str, &str); 7] = [
    ("esm2_tiny.safetensors", "pooled_alone"),
    ("esm2_tiny_hf", "pooled_alone"),
    ("esm2_tiny_hf_bare", "pooled_alone"),
    ("esm2_tiny_hf_sharded", "pooled_alone"),
    ("esm2_tiny_hf_bin", "pooled_alone"),
    ("esm2_tiny.pt", "pooled_alone"),
    ("esm2_tiny_fp16.pt", "pooled_alone_fp16ckpt"),
];

/// Heads as the original program and `torch.save` wrote them, and the name of their scores.
const HEADS: [(&str, &str); 5] = [
    ("tiny_model.pth", "tiny"),
    ("tiny_model_cuda_tag.pth", "tiny"),
    ("tiny_model_legacy.pth", "tiny"),
    ("tiny_model_state_dict.pth", "tiny"),
    ("500_model.pth", "500"),
];

/// Stored f32 numbers.
fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = file.tensor(name).unwrap_or_else(|_| panic!("{name} is not stored"));
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[track_caller]
fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|value| value.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |most, apart| if apart > most { apart } else { most })
}

/// The reference sequences of the twenty letters, as FASTA; their ids.
fn proteins(sandbox: &Sandbox) -> Vec<String> {
    let manifest = fs::read(repository().join("tests/golden/esm/manifest_esm.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let (mut fasta, mut ids) = (String::new(), Vec::new());
    for record in manifest["records"].as_array().unwrap() {
        let (id, sequence) = (record["id"].as_str().unwrap(), record["sequence"].as_str().unwrap_or_default());
        if !sequence.is_empty() && sequence.bytes().all(|letter| b"ACDEFGHIKLMNPQRSTVWY".contains(&letter)) {
            fasta.push_str(&format!(">{id}\n{sequence}\n"));
            ids.push(id.to_owned());
        }
    }
    sandbox.write("proteins.faa", fasta);
    ids
}

#[test]
fn an_imported_model_gives_the_vectors_of_the_reference_program() {
    let stored = fs::read(repository().join("tests/golden/esm/esm2_golden.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let mini = |part: &str| repository().join("bundles/untrained").join(part).display().to_string();
    for (form, vectors) in ESM {
        let Some(weights) = shared(&format!("golden/esm/{form}")) else { return };
        let (sandbox, weights) = (Sandbox::new(), weights.display().to_string());
        let ids = proteins(&sandbox);
        assert!(ids.len() >= 10, "{} sequences", ids.len());
        let (dnabert, head) = (mini("dnabert"), mini("head.safetensors"));
        let parts = ["--dnabert", &dnabert, "--esm", &weights, "--head", &head];
        sandbox.run(&[&["models", "import", "--name", "form", "--untrained", "-o", "form"], &parts[..]].concat()).ok();
        let cpu = ["--device", "cpu", "--dtype", "f32"];
        sandbox.run(&[&["embed-esm", "proteins.faa", "--model", "./form", "-o", "esm"], &cpu[..]].concat()).ok();
        let file = fs::read_dir(sandbox.path("esm")).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "parquet")).unwrap();
        let reader = VectorReader::open(&file).unwrap();
        let (dim, mut compared, mut largest) = (reader.dim(), 0, 0f32);
        for block in reader.into_blocks(1000) {
            let block = block.unwrap();
            for (id, vector) in block.ids.iter().zip(block.values.chunks_exact(dim)) {
                let apart = furthest(vector, &floats(&stored, &format!("{vectors}/{id}")));
                assert!(apart <= VECTOR_TOLERANCE, "{form}: {id} is {apart:e} apart");
                (compared, largest) = (compared + 1, largest.max(apart));
            }
        }
        assert_eq!(compared, ids.len(), "{form}");
        println!("{form}: {compared} vectors, at most {largest:.1e} apart");
    }
}

/// The tensors of a weights file as a bundle holds them.
fn as_safetensors(weights: &Weights) -> Safetensors {
    let source = weights.tensors();
    let tensors: Vec<_> = source.tensors().iter().enumerate().filter(|(_, t)| t.dtype == Dtype::F32).collect();
    let bytes: Vec<_> = tensors.iter().map(|(index, _)| source.bytes(*index).unwrap()).collect();
    let views = tensors.iter().zip(&bytes).map(|((_, tensor), bytes)| {
        (tensor.name.clone(), TensorView::new(tensor.dtype, tensor.shape.clone(), bytes).unwrap())
    });
    Safetensors::read(ModelBytes::from(serialize(views, None).unwrap()), weights.path()).unwrap()
}

#[test]
fn a_head_of_every_form_gives_the_scores_of_torch() {
    let stored = fs::read(repository().join("tests/golden/mlp/mlp_golden.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&stored).unwrap();
    for (form, model) in HEADS {
        let Some(path) = shared(&format!("golden/mlp/{form}")) else { return };
        let file = as_safetensors(&Weights::open(Path::new(&path)).unwrap());
        let head = Classifier::load(&file).unwrap();
        let scores = head.score(&floats(&stored, &format!("{model}/x"))).unwrap();
        let scores: Vec<f32> = scores.iter().flat_map(|score| [score.others, score.virus]).collect();
        let apart = furthest(&scores, &floats(&stored, &format!("{model}/probs")));
        assert!(apart <= SCORE_TOLERANCE, "{form}: {apart:e} apart");
    }
}
