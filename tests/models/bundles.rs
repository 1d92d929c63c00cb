//! Bundles made, opened and damaged. The weights files are taken apart from the embedded bundle.

use std::fs;
use std::path::PathBuf;

use crate::support::bundle_parts::{
    BundleParts, DNABERT, ESM, HEAD, Tensors, assert_same_as_untrained, fair_esm, repository,
};
use safetensors::Dtype;
use serde_json::{Value, json};
use virnucpro::bundle::import::{ImportRequest, import};
use virnucpro::bundle::{BUNDLE_YAML, Bundle, SearchPath};
use virnucpro::error::Fault;

#[test]
fn every_naming_of_one_model_gives_the_same_bundle_to_the_byte() {
    type Rename = fn(&str) -> String;
    let forms: [(&str, Rename, &str); 6] = [
        (ESM, |name| name.to_owned(), "lm_head.bias"),
        (ESM, |name| format!("esm.{name}"), "esm.contact_head.regression.weight"),
        (ESM, fair_esm, "lm_head.weight"),
        (ESM, |name| format!("encoder.sentence_encoder.{}", fair_esm(name)), "encoder.lm_head.weight"),
        (DNABERT, |name| format!("bert.{name}"), "cls.predictions.decoder.bias"),
        (HEAD, |name| name.to_owned(), "bn1.num_batches_tracked"),
    ];
    for (file, rename, unneeded) in forms {
        let parts = BundleParts::new();
        parts.change_tensors(file, |tensors| tensors.renamed(rename).with(unneeded, &[3]));
        let report = parts.import().unwrap();
        assert_same_as_untrained(&report);
        let dropped: Vec<_> = report.models.iter().flat_map(|model| &model.dropped).collect();
        assert_eq!(dropped, [unneeded]);
    }
}

#[test]
fn without_a_configuration_that_of_esm_is_derived_from_the_tensors() {
    let parts = BundleParts::new();
    fs::remove_file(parts.path("esm/config.json")).unwrap();
    let report = parts.import().unwrap();
    assert_same_as_untrained(&report);
    let esm = &report.models[1];
    assert_eq!(esm.size, "3 layers, width 64, 4 heads, vocabulary 33");
    assert_eq!((esm.kept, esm.dtype.as_str()), (54, "f32"));
}

#[test]
fn an_imported_bundle_opens_verifies_and_gives_the_tensors_back() {
    let parts = BundleParts::new();
    let report = parts.import().unwrap();
    let bundle = Bundle::open_folder(&report.folder).unwrap();
    bundle.verify(&|| Ok(())).unwrap();
    assert_eq!((bundle.digest(), bundle.spec()), (report.digest, &report.spec));
    let mini = crate::support::untrained();
    mini.verify(&|| Ok(())).unwrap();
    assert!(!mini.spec().trained);
    for file in mini.spec().files.keys() {
        assert_eq!(&*bundle.file(file).unwrap(), &*mini.file(file).unwrap(), "{file}");
    }
}

#[test]
fn half_precision_tensors_stay_as_they_are() {
    let parts = BundleParts::new();
    parts.change_tensors(ESM, |mut tensors| {
        for (dtype, _, bytes) in tensors.0.values_mut() {
            // The upper half of an f32 is a bf16.
            *bytes = bytes.chunks_exact(4).flat_map(|value| [value[2], value[3]]).collect();
            *dtype = Dtype::BF16;
        }
        tensors
    });
    let before = parts.tensors(ESM);
    let report = parts.import().unwrap();
    assert_eq!(report.models[1].dtype, "bf16");
    let after = Tensors::read(&report.folder.join(ESM));
    assert_eq!(after.0, before.0);
}

#[test]
fn tensors_that_are_not_those_of_the_model_are_refused() {
    const INV_FREQ: &str = "encoder.layer.1.attention.self.rotary_embeddings.inv_freq";
    type Change = fn(Tensors) -> Tensors;
    let cases: [(&str, Change, Fault, &str); 16] = [
        (
            ESM,
            |t| t.without("encoder.layer.2.output.dense.bias"),
            Fault::ModelTensors,
            "encoder.layer.2.output.dense.bias",
        ),
        (ESM, |t| t.without(INV_FREQ), Fault::ModelTensors, "must come from the weights file"),
        (
            ESM,
            |t| t.with("encoder.layer.1.adapter.weight", &[1]),
            Fault::ModelTensors,
            "encoder.layer.1.adapter.weight",
        ),
        (ESM, |t| t.with("layers.1.fc1.bias", &[256]), Fault::ModelTensors, "two names"),
        (ESM, |t| t.with("encoder.layer.7.LayerNorm.bias", &[64]), Fault::ModelTensors, "encoder.layer.3"),
        (ESM, |t| t.with("encoder.layer.0.LayerNorm.bias", &[1]), Fault::ModelShape, "[64]"),
        (ESM, |t| t.with("encoder.layer.0.attention.self.key.weight", &[64]), Fault::ModelShape, "[64, 64]"),
        (
            ESM,
            |t| t.with("encoder.layer.0.attention.self.rotary_embeddings.inv_freq", &[7]),
            Fault::ModelShape,
            "7 frequencies",
        ),
        (ESM, |t| t.value("encoder.layer.2.LayerNorm.weight", 5, f32::NAN), Fault::ModelNonFinite, "value 5"),
        (DNABERT, |t| t.value("embeddings.LayerNorm.bias", 0, f32::INFINITY), Fault::ModelNonFinite, "value 0"),
        (DNABERT, |t| t.without("encoder.layer.0.attention.self.Wqkv.bias"), Fault::ModelTensors, "Wqkv.bias"),
        (
            DNABERT,
            |t| t.with("encoder.layer.0.mlp.gated_layers.bias", &[192]),
            Fault::ModelTensors,
            "gated_layers.bias",
        ),
        (DNABERT, |t| t.with("encoder.layer.0.mlp.gated_layers.weight", &[96, 48]), Fault::ModelShape, "[192, 48]"),
        (HEAD, |t| t.with("output_layer.weight", &[3, 16]), Fault::ModelShape, "[2, 16]"),
        (
            HEAD,
            |t| t.value("bn1.running_var", 3, -0.5),
            Fault::ModelNonFinite,
            "bn1.running_var, value 3 of shape [16]",
        ),
        (HEAD, |t| t.without("bn1.running_mean"), Fault::ModelTensors, "bn1.running_mean"),
    ];
    for (file, change, fault, named) in cases {
        let parts = BundleParts::new();
        parts.change_tensors(file, change);
        let report = parts.refused(fault).report("import");
        assert!(report.contains(named) && report.contains(file), "{named} in {report}");
    }
}

#[test]
fn integer_tensors_are_refused() {
    let parts = BundleParts::new();
    parts.change_tensors(ESM, |mut tensors| {
        tensors.0.get_mut("encoder.layer.0.LayerNorm.bias").unwrap().0 = Dtype::I32;
        tensors
    });
    parts.refused(Fault::ModelTensors);
}

#[test]
fn a_head_of_another_width_is_refused() {
    let parts = BundleParts::new();
    parts.change_tensors(HEAD, |tensors| tensors.with("hidden_layer.weight", &[16, 3328]));
    let report = parts.refused(Fault::ModelMismatch).report("import");
    assert!(report.contains("48 + 64") && report.contains("3328"), "{report}");
}

#[test]
fn encoders_given_for_each_other_are_refused() {
    let parts = BundleParts::new();
    let request = parts.request();
    let swapped = ImportRequest { dnabert: request.esm.clone(), esm: request.dnabert.clone(), ..request };
    let error = import(&swapped).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelTensors);
    assert!(error.report("import").contains("this is an ESM-2 weights file"), "{}", error.report("import"));
}

#[test]
fn a_configuration_that_contradicts_the_tensors_is_refused() {
    let cases: [(&str, &str, Value); 21] = [
        ("esm", "num_hidden_layers", json!(4)),
        ("esm", "hidden_size", json!(128)),
        ("esm", "num_attention_heads", json!(8)),
        ("esm", "intermediate_size", json!(255)),
        ("esm", "vocab_size", json!(34)),
        ("esm", "layer_norm_eps", json!(null)),
        ("esm", "layer_norm_eps", json!(0)),
        ("esm", "position_embedding_type", json!("absolute")),
        ("esm", "emb_layer_norm_before", json!(true)),
        ("esm", "token_dropout", json!(false)),
        ("esm", "hidden_act", json!("relu")),
        ("esm", "mask_token_id", json!(31)),
        ("esm", "layer_norm_eps", json!(0.1)),
        ("dnabert", "layer_norm_eps", json!(null)),
        ("esm", "hidden_size", json!("64")),
        ("dnabert", "num_hidden_layers", json!(12)),
        ("dnabert", "hidden_act", json!("relu")),
        ("dnabert", "num_attention_heads", json!(0)),
        ("dnabert", "num_attention_heads", json!(7)),
        ("dnabert", "intermediate_size", json!(-1)),
        ("dnabert", "vocab_size", json!(null)),
    ];
    for (part, key, value) in cases {
        let parts = BundleParts::new();
        parts.change_json(&format!("{part}/config.json"), |json| json[key] = value.clone());
        let error = parts.refused(Fault::ModelConfig);
        assert_eq!(error.path(), Some(&*parts.path(&format!("{part}/config.json"))), "{key} {value}");
    }
}

#[test]
fn a_tokeniser_or_alphabet_of_another_model_is_refused() {
    let parts = BundleParts::new();
    parts.change_json("dnabert/tokenizer.json", |json| json["model"]["vocab"]["ACGTACGTACGTA"] = json!(4096));
    let report = parts.refused(Fault::ModelTokenizer).report("import");
    assert!(report.contains("4096 tokens") && report.contains("4097"), "{report}");

    let parts = BundleParts::new();
    parts.change_json("dnabert/tokenizer.json", |json| json["post_processor"] = Value::Null);
    parts.refused(Fault::ModelTokenizer);

    let parts = BundleParts::new();
    parts.change_tensors(ESM, |tensors| tensors.with("embeddings.word_embeddings.weight", &[64, 64]));
    parts.refused(Fault::ModelTokenizer);

    let parts = BundleParts::new();
    fs::write(parts.path("esm/vocab.txt"), "<cls>\n<pad>\n<eos>\n<unk>\nA\n").unwrap();
    let report = parts.refused(Fault::ModelTokenizer).report("import");
    assert!(report.contains("line 5"), "{report}");
}

#[test]
fn files_that_are_missing_or_are_something_else_are_refused() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    let html = "<!DOCTYPE html><title>404</title>";
    for file in [DNABERT, ESM, HEAD, "dnabert/config.json", "dnabert/tokenizer.json", "esm/config.json"] {
        for content in [lfs, html] {
            let parts = BundleParts::new();
            fs::write(parts.path(file), content).unwrap();
            assert_eq!(parts.refused(Fault::ModelPointer).path(), Some(&*parts.path(file)));
        }
        if file != "esm/config.json" {
            let parts = BundleParts::new();
            fs::remove_file(parts.path(file)).unwrap();
            parts.refused(Fault::ModelMissing);
        }
    }
}

#[test]
fn a_weights_file_cut_anywhere_is_refused() {
    for (file, step) in [(HEAD, 256), (ESM, 4096)] {
        let parts = BundleParts::new();
        let whole = fs::read(parts.path(file)).unwrap();
        for length in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            fs::write(parts.path(file), &whole[..length]).unwrap();
            parts.refused(Fault::ModelFormat);
        }
        fs::write(parts.path(file), [&whole[..], b"\0"].concat()).unwrap();
        parts.refused(Fault::ModelFormat);
    }
}

#[test]
fn a_header_of_absurd_length_is_refused() {
    for length in [100 << 20, 1 << 40, 1 << 63, u64::MAX] {
        let parts = BundleParts::new();
        let mut bytes = fs::read(parts.path(HEAD)).unwrap();
        bytes[..8].copy_from_slice(&u64::to_le_bytes(length));
        fs::write(parts.path(HEAD), bytes).unwrap();
        parts.refused(Fault::ModelFormat);
    }
}

#[test]
fn a_folder_with_something_in_it_is_never_written_to() {
    let parts = BundleParts::new();
    fs::create_dir(parts.path("out")).unwrap();
    fs::write(parts.path("out/thesis.tex"), "mine").unwrap();
    assert_eq!(parts.import().unwrap_err().fault(), Fault::OutputForeign);
    assert_eq!(parts.path("out").read_dir().unwrap().count(), 1);
}

#[test]
fn a_name_that_is_a_path_or_a_window_of_nothing_is_refused() {
    let parts = BundleParts::new();
    for request in [
        ImportRequest { name: "../mini".to_owned(), ..parts.request() },
        ImportRequest { window: Some(0), ..parts.request() },
        ImportRequest { source: Some("a\nb".to_owned()), ..parts.request() },
    ] {
        assert_eq!(import(&request).unwrap_err().fault(), Fault::ModelFormat);
    }
}

#[test]
fn a_damaged_bundle_is_refused_when_it_is_opened_or_verified() {
    let files = [DNABERT, ESM, HEAD, "dnabert/config.json", "dnabert/tokenizer.json", "esm/config.json"];
    for file in files {
        let parts = BundleParts::new();
        let folder = parts.import().unwrap().folder;
        let (path, open) = (folder.join(file), || Bundle::open_folder(&folder));
        let whole = fs::read(&path).unwrap();

        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, &flipped).unwrap();
        let error = open().unwrap().verify(&|| Ok(())).unwrap_err();
        assert_eq!((error.fault(), error.path()), (Fault::ModelDigest, Some(&*path)));

        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(open().unwrap_err().fault(), Fault::ModelDigest);
        fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
        assert_eq!(open().unwrap_err().fault(), Fault::ModelPointer);
        fs::remove_file(&path).unwrap();
        assert_eq!(open().unwrap_err().fault(), Fault::ModelMissing);
        fs::create_dir(&path).unwrap();
        assert_eq!(open().unwrap_err().fault(), Fault::ModelMissing);
    }
}

#[test]
fn a_bundle_yaml_cut_anywhere_is_refused_or_is_another_bundle() {
    let parts = BundleParts::new();
    let report = parts.import().unwrap();
    let path = report.folder.join(BUNDLE_YAML);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Bundle::open_folder(&report.folder).err().unwrap_or_else(|| panic!("{length} bytes are accepted"));
        // A number that lost digits is still a number: then the size of a file differs, or the head does not fit.
        let faults = [Fault::ModelFormat, Fault::ModelMismatch, Fault::ModelDigest];
        assert!(faults.contains(&error.fault()), "{length}: {}", error.fault());
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(Bundle::open_folder(&report.folder).unwrap_err().fault(), Fault::ModelMissing);
}

#[test]
fn a_bundle_is_found_by_folder_by_name_and_as_the_embedded_one() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    for (folder, name) in [(&second, "mock"), (&second, "mini"), (&second, "broken"), (&first, "empty")] {
        fs::create_dir_all(folder.join(name)).unwrap();
        if name != "empty" {
            fs::copy(repository().join("bundles/mock/bundle.yaml"), folder.join(name).join(BUNDLE_YAML)).unwrap();
        }
    }
    fs::write(second.join("broken").join(BUNDLE_YAML), "format: 99\n").unwrap();
    let search = SearchPath::of([first, root.path().join("absent"), second.clone()]);

    let mock = Bundle::open("mock", &search).unwrap();
    assert_eq!((mock.path(), mock.spec().esm.unwrap().dim), (Some(&*second.join("mock")), 64));
    mock.verify(&|| Ok(())).unwrap();
    assert_eq!(mock.file(ESM).err().map(|error| error.fault()), Some(Fault::ModelMissing));
    let path = second.join("mock");
    assert_eq!(Bundle::open(path.to_str().unwrap(), &SearchPath::default()).unwrap().digest(), mock.digest());
    let mini = Bundle::open("mini", &search).unwrap();
    assert_eq!((mini.path(), mini.spec().head.unwrap().dim), (None, 1210));
    for (name, fault) in [
        ("nowhere", Fault::ModelMissing),
        ("empty", Fault::ModelMissing),
        ("./nowhere", Fault::ModelMissing),
        ("", Fault::ModelMissing),
        ("..", Fault::ModelMissing),
        ("broken", Fault::ModelFormat),
    ] {
        assert_eq!(Bundle::open(name, &search).unwrap_err().fault(), fault, "{name}");
    }

    let listed = search.list().bundles;
    let found: Vec<_> = listed.iter().map(|bundle| (bundle.name.as_str(), bundle.bundle.is_ok())).collect();
    assert_eq!(found, [("broken", false), ("mini", true), ("mock", true)]);
    assert_eq!(listed[1].path, None);
}

#[test]
fn folders_given_by_the_user_come_before_the_standard_ones() {
    let search = SearchPath::standard([PathBuf::from("/a"), PathBuf::from("/b"), PathBuf::from("/a")]);
    assert_eq!(search.folders()[..2], [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert!(search.folders().contains(&PathBuf::from("/usr/share/virnucpro/models")));
}
