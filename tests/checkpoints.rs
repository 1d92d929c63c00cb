//! PyTorch checkpoints are read to the bit: those of the reference programs against their safetensors twins, and small
//! ones made here, one for each thing the format can say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::{Dtype, SafeTensors};
use virnucpro::checkpoint::Checkpoint;

/// Tensors by name: number format, shape, values.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A file of the reference data, or a message and nothing.
fn golden(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VIRNUCPRO_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join("golden").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there; set VIRNUCPRO_SHARED", path.display());
    None
}

fn read(path: &Path) -> Tensors {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|error| panic!("{}", error.report("open")));
    let source = checkpoint.tensors();
    let mut tensors = Tensors::new();
    for (index, tensor) in source.tensors().iter().enumerate() {
        let bytes = source.bytes(index).unwrap().into_owned();
        source.release(index);
        assert_eq!(source.bytes(index).unwrap(), bytes, "{} after its memory was given back", tensor.name);
        tensors.insert(tensor.name.clone(), (tensor.dtype, tensor.shape.clone(), bytes));
    }
    let names: Vec<_> = source.tensors().iter().map(|tensor| &tensor.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    tensors
}

/// The same by the library alone.
fn twin(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let entry = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    tensors.iter().map(entry).collect()
}

fn renamed(tensors: Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect()
}

#[track_caller]
fn assert_same(found: &Tensors, expected: &Tensors) {
    assert!(!expected.is_empty());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, tensor) in expected {
        assert!(found[name] == *tensor, "{name}: {:?} {:?}", found[name].0, found[name].1);
    }
}

/// The names of fair-esm's checkpoints as its loader changes them.
fn fair_esm(name: &str) -> String {
    let name = name.strip_prefix("encoder.").unwrap_or(name);
    name.strip_prefix("sentence_encoder.").unwrap_or(name).to_owned()
}

#[test]
fn every_form_of_a_classifier_is_read_to_the_bit() {
    for (state, models) in [
        (
            "mlp/tiny_model_state.safetensors",
            &["tiny_model.pth", "tiny_model_cuda_tag.pth", "tiny_model_legacy.pth", "tiny_model_state_dict.pth"][..],
        ),
        ("mlp/500_model_state.safetensors", &["500_model.pth"]),
    ] {
        let Some(state) = golden(state) else { return };
        for model in models {
            println!("{model}");
            assert_same(&read(&state.with_file_name(model)), &twin(&state));
        }
    }
}

#[test]
fn the_published_layout_of_esm2_is_read_to_the_bit() {
    let Some(path) = golden("esm/esm2_tiny.pt") else { return };
    let mut tensors = renamed(read(&path), fair_esm);
    let contacts = read(&path.with_file_name("esm2_tiny-contact-regression.pt"));
    assert_eq!(contacts.len(), 2, "{:?}", contacts.keys());
    tensors.extend(contacts);
    assert_same(&tensors, &twin(&path.with_file_name("esm2_tiny.safetensors")));
}

#[test]
fn half_precision_is_the_rounding_of_single_precision() {
    let Some(path) = golden("esm/esm2_tiny_fp16.pt") else { return };
    let mut expected = twin(&path.with_file_name("esm2_tiny.safetensors"));
    expected.retain(|name, _| !name.starts_with("contact_head."));
    for (dtype, _, bytes) in expected.values_mut() {
        let (values, rest) = bytes.as_chunks::<4>();
        assert!(*dtype == Dtype::F32 && rest.is_empty());
        *bytes = values.iter().flat_map(|value| f16::from_f32(f32::from_le_bytes(*value)).to_le_bytes()).collect();
        *dtype = Dtype::F16;
    }
    assert_same(&renamed(read(&path), fair_esm), &expected);
}

#[test]
fn hugging_face_folders_of_pytorch_files_are_read_to_the_bit() {
    for (model, state) in [
        ("dnabert/pytorch_model.bin", "dnabert_tiny.safetensors"),
        ("esm/esm2_tiny_hf_bin/pytorch_model.bin", "../esm2_tiny_hf/model.safetensors"),
    ] {
        let Some(model) = golden(model) else { return };
        let expected = twin(&model.parent().unwrap().join(state));
        let mut found = read(&model);
        // Safetensors files leave out the second name of a tied tensor.
        let tied: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).cloned().collect();
        for name in &tied {
            let tensor = found.remove(name).unwrap();
            assert!(found.values().any(|other| *other == tensor), "{name} is in no twin");
        }
        println!("{}: tied {tied:?}", model.display());
        assert_same(&found, &expected);
    }
}
