//! Weights files as they lie on users' disks: shards with their index, folders with one weights file or several.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::bundle_parts::{BundleParts, DNABERT, ESM, HEAD, Tensors, assert_same_as_untrained};
use serde_json::{Value, json};
use virnucpro::bundle::Component;
use virnucpro::bundle::import::{ImportRequest, import};
use virnucpro::error::Fault;
use virnucpro::fs::digest::Digest;

const INDEX: &str = "esm/model.safetensors.index.json";

fn shard(number: usize) -> String {
    format!("model-{number:05}-of-00003.safetensors")
}

/// Parts whose ESM-2 model is in three shards.
fn sharded() -> BundleParts {
    let parts = BundleParts::new();
    let tensors = parts.tensors(ESM).0;
    fs::remove_file(parts.path(ESM)).unwrap();
    let total: usize = tensors.values().map(|(_, _, bytes)| bytes.len()).sum();
    let (mut shards, mut map) = (vec![BTreeMap::new(); 3], BTreeMap::new());
    for (index, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(name.clone(), shard(index % 3 + 1));
        shards[index % 3].insert(name, tensor);
    }
    for (index, tensors) in shards.into_iter().enumerate() {
        Tensors(tensors).write(&parts.path("esm").join(shard(index + 1)));
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    fs::write(parts.path(INDEX), index.to_string()).unwrap();
    parts
}

#[test]
fn shards_give_the_same_bundle_from_their_folder_and_from_their_index() {
    let parts = sharded();
    let report = parts.import().unwrap();
    assert_same_as_untrained(&report);
    let esm = &report.models[1];
    assert_eq!((esm.format.as_str(), esm.sources.len()), ("safetensors, 3 shards", 3));
    for source in &esm.sources {
        let bytes = fs::read(&source.path).unwrap();
        assert_eq!((source.bytes, source.sha256), (bytes.len() as u64, Some(Digest::of(&bytes))));
    }
    let request = ImportRequest { esm: parts.path(INDEX), out: parts.path("again"), ..parts.request() };
    assert_same_as_untrained(&import(&request).unwrap());
    // An index of another name is found by its content.
    fs::rename(parts.path(INDEX), parts.path("esm/esm2.index.json")).unwrap();
    fs::remove_dir_all(parts.path("out")).unwrap();
    assert_same_as_untrained(&parts.import().unwrap());
}

#[test]
fn shards_that_are_not_those_of_their_index_are_refused() {
    type Change = fn(&BundleParts);
    fn index(parts: &BundleParts, change: impl FnOnce(&mut Value)) {
        parts.change_json(INDEX, change);
    }
    fn change(parts: &BundleParts, number: usize, change: impl FnOnce(Tensors) -> Tensors) {
        parts.change_tensors(&format!("esm/{}", shard(number)), change);
    }
    let cases: [(&str, Change, Fault, &[&str]); 10] = [
        (
            "missing",
            |w| [1, 3].iter().for_each(|n| fs::remove_file(w.path("esm").join(shard(*n))).unwrap()),
            Fault::ModelMissing,
            &["2 of 3 shards", "model-00001-of-00003", "model-00003-of-00003"],
        ),
        (
            "a broken link",
            |w| {
                fs::remove_file(w.path("esm").join(shard(2))).unwrap();
                symlink("../blobs/gone", w.path("esm").join(shard(2))).unwrap();
            },
            Fault::ModelMissing,
            &["1 of 3 shards", "model-00002-of-00003"],
        ),
        (
            "out of the folder",
            |w| index(w, |i| i["weight_map"]["encoder.layer.0.LayerNorm.bias"] = json!("../head.safetensors")),
            Fault::ModelFormat,
            &["encoder.layer.0.LayerNorm.bias", "../head.safetensors"],
        ),
        (
            "a tensor that no shard has",
            |w| index(w, |i| i["weight_map"]["extra"] = json!(shard(1))),
            Fault::ModelTensors,
            &["the shard lacks: 1", "extra"],
        ),
        (
            "a tensor that the index lacks",
            |w| change(w, 2, |t| t.with("extra", &[1])),
            Fault::ModelTensors,
            &["the shard holds", "extra", "model-00002-of-00003"],
        ),
        (
            "a tensor in two shards",
            |w| {
                let tensors = w.tensors(&format!("esm/{}", shard(1)));
                let (name, tensor) = tensors.0.into_iter().next().unwrap();
                change(w, 2, |mut t| {
                    t.0.insert(name, tensor);
                    t
                });
            },
            Fault::ModelTensors,
            &["the shard holds", "model-00002-of-00003"],
        ),
        (
            "shards in each other's place",
            |w| {
                let path = |n| w.path("esm").join(shard(n));
                fs::rename(path(1), w.path("x")).unwrap();
                fs::rename(path(2), path(1)).unwrap();
                fs::rename(w.path("x"), path(2)).unwrap();
            },
            Fault::ModelTensors,
            &["lacks", "model-00001-of-00003"],
        ),
        (
            "another size",
            |w| index(w, |i| i["metadata"]["total_size"] = json!(12)),
            Fault::ModelFormat,
            &["12 bytes of tensors"],
        ),
        (
            "a shard that is cut",
            |w| {
                let path = w.path("esm").join(shard(3));
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
            },
            Fault::ModelFormat,
            &["model-00003-of-00003"],
        ),
        ("no index", |w| fs::remove_file(w.path(INDEX)).unwrap(), Fault::ModelFormat, &["these look like shards"]),
    ];
    for (what, change, fault, words) in cases {
        let parts = sharded();
        change(&parts);
        let report = parts.refused(fault).report("import");
        assert!(words.iter().all(|word| report.contains(word)), "{what}: {report}");
    }
}

#[test]
fn an_index_without_a_size_or_with_one_as_a_decimal_is_read() {
    for metadata in [json!(null), json!({}), json!({"total_size": 608_056.0})] {
        let parts = sharded();
        parts.change_json(INDEX, |index| {
            if metadata.get("total_size").is_some() {
                index["metadata"]["total_size"] = json!(index["metadata"]["total_size"].as_u64().unwrap() as f64);
            } else {
                index["metadata"] = metadata.clone();
            }
        });
        assert_same_as_untrained(&parts.import().unwrap());
    }
}

#[test]
fn a_folder_gives_its_only_weights_file_whatever_the_name() {
    let parts = BundleParts::new();
    fs::rename(parts.path(ESM), parts.path("esm/esm2_t3.pt")).unwrap();
    let regression =
        Tensors::default().with("contact_head.regression.weight", &[1, 12]).with("contact_head.regression.bias", &[1]);
    regression.write(&parts.path("esm/esm2_t3-contact-regression.pt"));
    fs::create_dir(parts.path("heads")).unwrap();
    fs::rename(parts.path(HEAD), parts.path("heads/weights")).unwrap();
    let request = ImportRequest { head: parts.path("heads"), ..parts.request() };
    let report = import(&request).unwrap();
    assert_same_as_untrained(&report);
    assert_eq!(report.models[1].weights, parts.path("esm/esm2_t3.pt"));

    // Two of them are a choice, which is the user's.
    fs::copy(parts.path("heads/weights"), parts.path("heads/more.safetensors")).unwrap();
    let error = import(&ImportRequest { out: parts.path("other"), ..request }).unwrap_err();
    assert_eq!((error.fault(), error.path()), (Fault::ModelFormat, Some(&*parts.path("heads"))));
    let report = error.report("import");
    assert!(report.contains("more.safetensors, weights") && report.contains("name the file"), "{report}");
}

#[test]
fn what_a_part_is_instead_is_said() {
    let parts = BundleParts::new();
    let regression = parts.path("regression.pt");
    Tensors::default().with("contact_head.regression.weight", &[1, 12]).write(&regression);
    let (esm, dnabert, head) = (parts.path(ESM), parts.path(DNABERT), parts.path(HEAD));
    let request = parts.request();
    for (request, found) in [
        (ImportRequest { dnabert: esm.clone(), ..request.clone() }, "this is an ESM-2 weights file"),
        (ImportRequest { head: esm, ..request.clone() }, "this is an ESM-2 weights file"),
        (ImportRequest { esm: dnabert, ..request.clone() }, "this is a DNABERT-2 or DNABERT-S weights file"),
        (ImportRequest { esm: head, ..request.clone() }, "this is a VirNucPro classifier"),
        (ImportRequest { esm: regression, ..request.clone() }, "this is the contact regression of an ESM model"),
        (ImportRequest { esm: parts.path("esm/config.json"), ..request }, "JSON without a weight_map"),
    ] {
        let error = import(&request).unwrap_err();
        assert!(matches!(error.fault(), Fault::ModelTensors | Fault::ModelFormat));
        assert!(error.report("import").contains(found), "{}", error.report("import"));
    }
}

#[test]
fn every_model_tells_the_digest_of_what_was_read_and_of_what_was_written() {
    let parts = BundleParts::new();
    parts.change_tensors(HEAD, |tensors| tensors.with("bn1.num_batches_tracked", &[1]));
    let report = parts.import().unwrap();
    assert_eq!(report.models.iter().map(|model| model.component).collect::<Vec<_>>(), Component::ALL);
    for model in &report.models {
        let file = model.component.weights();
        let digest = |path: PathBuf| Digest::of(&fs::read(path).unwrap());
        let written = report.spec.files[&file].sha256;
        assert_eq!(model.sources[0].sha256, Some(digest(parts.path(&file))), "{file}");
        assert_eq!(written, digest(report.folder.join(&file)), "{file}");
        assert_eq!(model.sources[0].sha256 == Some(written), model.component != Component::Head);
    }
}
