//! Peak memory of an import; in a process of its own, because the peak is that of the whole process.

use std::fs;

use crate::support::bundle_parts::{BundleParts, ESM};
use crate::support::torch_files::{archive, dict, pickle, storage, tensor};
use crate::support::{alone, peak_memory};
use safetensors::Dtype;
use virnucpro::bundle::import::{ImportRequest, import};
use virnucpro::units::{Precision, WeightFormat};

#[test]
fn a_model_is_imported_in_a_fraction_of_its_size_and_a_hostile_header_in_a_bounded_one() {
    alone(
        "import::memory::a_model_is_imported_in_a_fraction_of_its_size_and_a_hostile_header_in_a_bounded_one",
        measure,
    );
}

fn measure() {
    let parts = BundleParts::new();
    // A header of the largest size that is looked at.
    let entry = |n: usize| format!("\"t{n:06}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    let header = format!("{{{}}}", (0..250_000).map(entry).collect::<Vec<_>>().join(","));
    assert!(header.len() < 16 << 20);
    let head = parts.path("hostile");
    fs::write(&head, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    drop(header);
    let before = peak_memory();
    assert!(import(&ImportRequest { head, ..parts.request() }).is_err());
    let hostile = peak_memory() - before;
    assert!(hostile < 128 << 20, "{hostile} bytes for a hostile header");

    // Feed-forward layers of 64 MiB.
    const FFN: usize = 1 << 18;
    parts.change_tensors(ESM, |mut tensors| {
        for layer in 0..3 {
            let name = |module: &str| format!("encoder.layer.{layer}.{module}");
            tensors = tensors
                .with(&name("intermediate.dense.weight"), &[FFN, 64])
                .with(&name("intermediate.dense.bias"), &[FFN])
                .with(&name("output.dense.weight"), &[64, FFN]);
        }
        tensors
    });
    parts.change_json("esm/config.json", |json| json["intermediate_size"] = FFN.into());
    let size = fs::metadata(parts.path(ESM)).unwrap().len() as usize;
    assert!(size > 300 << 20);
    for (out, dtype) in [
        ("same", WeightFormat::Keep),
        ("half", WeightFormat::To(Precision::F16)),
        ("half-of-torch", WeightFormat::To(Precision::F16)),
        ("same-of-torch", WeightFormat::Keep),
    ] {
        if out == "half-of-torch" {
            save_with_torch(&parts);
        }
        // The peak so far is that of making the file.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak_memory();
        let report = import(&ImportRequest { dtype, out: parts.path(out), ..parts.request() }).unwrap();
        let taken = peak_memory() - before;
        println!("{out}: {taken} bytes for a weights file of {size}");
        assert!(taken < 128 << 20, "{taken} bytes for tensors of 64 MiB");
        assert!(report.spec.files[ESM].bytes as usize > size / 3);
    }
}

/// Puts the tensors of ESM-2 into a file as `torch.save` writes it.
fn save_with_torch(parts: &BundleParts) {
    let tensors = parts.tensors(ESM).0;
    let keys: Vec<_> = (0..tensors.len()).map(|key| key.to_string()).collect();
    let items: Vec<_> = tensors
        .iter()
        .zip(&keys)
        .map(|((name, (dtype, shape, bytes)), key)| {
            assert_eq!(*dtype, Dtype::F32);
            let shape: Vec<_> = shape.iter().map(|&size| size as i64).collect();
            let strides: Vec<_> = (1..=shape.len()).map(|inner| shape[inner..].iter().product()).collect();
            let storage = storage("torch.FloatStorage", key, bytes.len() as i64 / 4);
            (name.as_str(), tensor(storage, 0, &shape, &strides))
        })
        .collect();
    let storages: Vec<_> =
        tensors.values().zip(&keys).map(|((.., bytes), key)| (key.as_str(), bytes.clone())).collect();
    fs::write(parts.path("esm/pytorch_model.bin"), archive(&pickle(dict(&items)), &storages)).unwrap();
    fs::remove_file(parts.path(ESM)).unwrap();
}
