//! Good files that were cut or changed: refused, or read as what they say.

use std::fs;
use std::path::PathBuf;

use super::{state, try_read};
use crate::support::shared;
use crate::support::torch_files::*;

/// A small file of each format, with everything that is read in it.
fn small_files() -> [(&'static str, Vec<u8>); 4] {
    let net = module("a.Net", &[("weight", floats("0", 12)), ("bias", none())], &[("mean", floats("1", 3))], &[]);
    let storages = || [("0", numbers(12)), ("1", numbers(3))];
    let header = r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#;
    let safetensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers(3)].concat();
    [
        ("archive", archive(&pickle(net.clone()), &storages())),
        (
            "archive, longer end",
            Zip { entries: entries(&pickle(state()), &storages()), announced: None, longer: true }.bytes(),
        ),
        ("before zip archives", before_zip(&pickle(net), &[("0", 12, numbers(12)), ("1", 3, numbers(3))])),
        ("safetensors", safetensors),
    ]
}

#[test]
fn m01_a_small_file_cut_anywhere_is_refused() {
    for (format, file) in small_files() {
        try_read(&file).unwrap_or_else(|error| panic!("{format}: {}", error.report("read")));
        for length in 0..file.len() {
            assert!(try_read(&file[..length]).is_err(), "{format} is read when cut after {length} bytes");
        }
    }
}

#[test]
fn a_small_file_with_one_byte_changed_is_refused_or_read_as_what_it_says() {
    for (format, file) in small_files() {
        let whole = try_read(&file).unwrap();
        let (mut refused, mut same, mut other) = (0, 0, 0);
        for index in 0..file.len() {
            for change in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[index] ^= change;
                match try_read(&damaged) {
                    Err(_) => refused += 1,
                    Ok(content) if content == whole => same += 1,
                    Ok(_) => other += 1,
                }
            }
        }
        println!("{format}, {} bytes: {refused} refused, {same} the same, {other} other tensors", file.len());
        assert!(refused > file.len());
        // What archives hold has a checksum; the other formats have none.
        assert!(other == 0 || !format.starts_with("archive"), "{format}: damage passes in {other} places");
    }
}

#[test]
fn m01_golden_files_cut_at_every_256_bytes_are_refused() {
    let files = [
        "mlp/tiny_model.pth",
        "mlp/tiny_model_legacy.pth",
        "mlp/tiny_model_state_dict.pth",
        "mlp/tiny_model_state.safetensors",
        "esm/esm2_tiny.pt",
        "esm/esm2_tiny_fp16.pt",
        "dnabert/pytorch_model.bin",
    ];
    let files: Vec<PathBuf> = files.iter().filter_map(|file| shared(&format!("golden/{file}"))).collect();
    for path in files {
        let file = fs::read(&path).unwrap();
        let cuts: Vec<_> = (0..file.len()).step_by(256).chain([file.len() - 1]).collect();
        for &length in &cuts {
            assert!(try_read(&file[..length]).is_err(), "{} is read when cut after {length} bytes", path.display());
        }
        println!("{}: {} cuts", path.display(), cuts.len());
    }
}

#[test]
fn golden_files_with_a_byte_changed_are_refused_or_read_as_what_they_say() {
    for name in ["mlp/tiny_model.pth", "mlp/tiny_model_state_dict.pth", "mlp/tiny_model_legacy.pth"] {
        let Some(path) = shared(&format!("golden/{name}")) else { return };
        let file = fs::read(path).unwrap();
        let whole = try_read(&file).unwrap();
        let (mut refused, mut same, mut other) = (0, 0, 0);
        for index in 0..file.len() {
            let mut damaged = file.clone();
            damaged[index] ^= 0xff;
            match try_read(&damaged) {
                Err(_) => refused += 1,
                Ok(content) if content == whole => same += 1,
                Ok(_) => other += 1,
            }
        }
        println!("{name}: {refused} refused, {same} the same, {other} other tensors");
        assert!(refused > 1000 && (other == 0 || name.contains("legacy")), "{name}");
    }
}
