//! Every published form of the reference models gives one and the same bundle, and one and the same prediction.

use std::fs;
use std::path::PathBuf;

use crate::support::bundle_parts::{BundleParts, assert_same_as_untrained, shared};
use virnucpro::bundle::Bundle;
use virnucpro::bundle::import::{ImportRequest, import};
use virnucpro::error::Fault;

/// The embedded bundle's ESM-2 model: path, format told.
const ESM: [(&str, &str); 8] = [
    ("esm2_tiny.safetensors", "safetensors"),
    ("esm2_tiny_hf", "safetensors"),
    ("esm2_tiny_hf_bare", "safetensors"),
    ("esm2_tiny_hf_sharded", "safetensors, 6 shards"),
    ("esm2_tiny_hf_sharded/model.safetensors.index.json", "safetensors, 6 shards"),
    ("esm2_tiny.pt", "PyTorch"),
    ("esm2_tiny_hf_bin", "PyTorch"),
    ("esm2_tiny_hf_bin/pytorch_model.bin", "PyTorch"),
];

/// Its DNABERT-S model: path, name in the folder that the tokeniser is laid beside it in.
const DNABERT: [(&str, &str); 3] = [
    ("dnabert_tiny.safetensors", "model.safetensors"),
    ("dnabert_tiny_bertprefix.safetensors", "weights"),
    ("pytorch_model.bin", "pytorch_model.bin"),
];

/// Its head.
const HEAD: [&str; 5] = [
    "tiny_model_state.safetensors",
    "tiny_model.pth",
    "tiny_model_cuda_tag.pth",
    "tiny_model_legacy.pth",
    "tiny_model_state_dict.pth",
];

/// A folder with the weights file, its configuration and the tokeniser of this project.
fn dnabert(parts: &BundleParts, (file, name): (&str, &str)) -> Option<PathBuf> {
    let folder = parts.path("reference");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::copy(shared(&format!("golden/dnabert/{file}"))?, folder.join(name)).unwrap();
    fs::copy(shared("golden/dnabert/config.json")?, folder.join("config.json")).unwrap();
    fs::copy(shared("golden/e2e-own/tokenizer.json")?, folder.join("tokenizer.json")).unwrap();
    Some(folder)
}

#[test]
fn every_published_form_gives_the_embedded_bundle_to_the_byte() {
    let forms = ESM.len().max(DNABERT.len()).max(HEAD.len());
    for form in 0..forms {
        let parts = BundleParts::new();
        let (esm, format) = ESM[form % ESM.len()];
        let Some(esm) = shared(&format!("golden/esm/{esm}")) else { return };
        let Some(dnabert) = dnabert(&parts, DNABERT[form % DNABERT.len()]) else { return };
        let Some(head) = shared(&format!("golden/mlp/{}", HEAD[form % HEAD.len()])) else { return };
        println!("{} {} {}", esm.display(), dnabert.display(), head.display());
        let report = import(&ImportRequest { dnabert, esm, head, ..parts.request() }).unwrap();
        assert_same_as_untrained(&report);
        assert!(report.models[1].format.starts_with(format), "{}", report.models[1].format);
    }
}

#[test]
fn a_folder_with_a_model_and_its_contact_regression_is_one_model() {
    let parts = BundleParts::new();
    let Some(model) = shared("golden/esm/esm2_tiny.pt") else { return };
    let folder = parts.path("weights files");
    fs::create_dir(&folder).unwrap();
    for name in ["esm2_tiny.pt", "esm2_tiny-contact-regression.pt"] {
        fs::copy(model.with_file_name(name), folder.join(name)).unwrap();
    }
    let report = import(&ImportRequest { esm: folder.clone(), ..parts.request() }).unwrap();
    assert_same_as_untrained(&report);
    assert_eq!(report.models[1].weights, folder.join("esm2_tiny.pt"));

    let esm = folder.join("esm2_tiny-contact-regression.pt");
    let error = import(&ImportRequest { esm, out: parts.path("other"), ..parts.request() }).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelTensors);
    assert!(error.report("import").contains("contact regression"), "{}", error.report("import"));
}

#[test]
fn a_model_published_in_half_precision_stays_so() {
    let parts = BundleParts::new();
    let Some(esm) = shared("golden/esm/esm2_tiny_fp16.pt") else { return };
    let report = import(&ImportRequest { esm, ..parts.request() }).unwrap();
    assert_eq!((report.models[1].stored.as_str(), report.models[1].dtype.as_str()), ("f16", "f16"));
    Bundle::open_folder(&report.folder).unwrap().verify(&|| Ok(())).unwrap();
}

#[test]
fn a_head_for_larger_encoders_is_refused() {
    for head in ["500_model.pth", "500_model_state.safetensors"] {
        let parts = BundleParts::new();
        let Some(head) = shared(&format!("golden/mlp/{head}")) else { return };
        let error = import(&ImportRequest { head, ..parts.request() }).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelMismatch);
        let report = error.report("import");
        assert!(report.contains("48 + 64") && report.contains("3328"), "{report}");
    }
}

#[cfg(feature = "torch")]
#[test]
fn the_program_predicts_with_an_imported_bundle_as_with_the_one_of_this_repository() {
    let sandbox = crate::support::Sandbox::new();
    let parts = BundleParts::new();
    let Some(esm) = shared("golden/esm/esm2_tiny.pt") else { return };
    let Some(dnabert) = dnabert(&parts, DNABERT[2]) else { return };
    let Some(head) = shared("golden/mlp/tiny_model_legacy.pth") else { return };
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    sandbox
        .run(&[
            "models",
            "import",
            "--name",
            "untrained",
            "--untrained",
            "--licence",
            "MIT",
            "--source",
            "random weights, for tests and demonstrations",
            "--dnabert",
            &path(&dnabert),
            "--esm",
            &path(&esm),
            "--head",
            &path(&head),
            "-o",
            "made",
        ])
        .ok();
    sandbox.run(&["models", "verify", "./made", "--device", "cpu"]).ok();
    fs::copy(crate::support::repository().join("tests/golden/e2e-own/input.fasta"), sandbox.path("in.fa")).unwrap();
    let untrained = path(&crate::support::untrained_folder());
    for (model, out) in [("./made", "a"), (&untrained, "b")] {
        sandbox.run(&["run", "in.fa", "--device", "cpu", "--model", model, "--legacy", "-o", out]).ok();
    }
    for file in ["frames.tsv", "windows.tsv", "sequences.tsv", "prediction_results.txt"] {
        let read = |out: &str| fs::read(sandbox.path(out).join("predictions").join(file)).unwrap();
        assert!(read("a").len() > 1000, "{file}");
        assert!(read("a") == read("b"), "{file} differs");
    }
}
