//! Every file that the fuzzers start from or ever fell over is read or refused, as they demand it of any bytes.
//!
//! `VIRNUCPRO_WRITE_SEEDS=1 cargo test --test models fuzz_corpus` writes the files made here again.

use std::fs;
use std::path::{Path, PathBuf};

use virnucpro::bundle::{BUNDLE_YAML, Spec};
use virnucpro::weights::{ModelBytes, read};

use crate::support::torch_files::*;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "{target}: {} files", paths.len());
    let size: u64 = paths.iter().map(|path| path.metadata().unwrap().len()).sum();
    println!("{target}: {} files, {size} bytes", paths.len());
    assert!(size < 512 << 10, "{target}: a corpus of {size} bytes is too large for a repository");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Files as the targets take them, by target and name.
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let state = || {
        ordered_dict(&[
            ("a.weight", floats("0", 12)),
            ("a.bias", tensor(storage("torch.HalfStorage", "1", 8), 2, &[2, 3], &[1, 2])),
        ])
    };
    let net = module(
        "__main__.Net",
        &[("weight", floats("0", 12)), ("bias", none())],
        &[("mean", floats("0", 12))],
        &[("inner", module("torch.nn.modules.linear.Linear", &[("weight", floats("0", 12))], &[], &[]))],
    );
    let untyped = reduce(
        global("torch._utils._rebuild_tensor_v3"),
        &[
            storage("torch.storage.UntypedStorage", "0", 48),
            int(0),
            sizes(&[12]),
            sizes(&[1]),
            truth(true),
            none(),
            global("torch.float32"),
        ],
    );
    let wrapped = dict(&[
        ("cfg", dict(&[("model", new_object("argparse.Namespace", dict(&[("arch", text("esm2"))])))])),
        ("model", state()),
        ("step", int(-70_000)),
    ]);
    let parameter =
        reduce(global("torch._utils._rebuild_parameter"), &[floats("0", 12), truth(true), ordered_dict(&[])]);
    let subclass = reduce(
        global("torch._tensor._rebuild_from_type_v2"),
        &[
            global("torch._utils._rebuild_tensor_v2"),
            global("a.B"),
            tuple(&[storage("torch.FloatStorage", "0", 12), int(0), sizes(&[12]), sizes(&[0]), truth(false), none()]),
            none(),
        ],
    );
    let pairs = reduce(global("collections.OrderedDict"), &[list(&[list(&[text("module.x"), parameter])])]);
    let values: Vec<Vec<u8>> = vec![
        state(),
        net,
        wrapped,
        pairs,
        dict(&[("x", untyped), ("y", subclass)]),
        [text("a"), vec![0x94], stack_global("a.b", "C"), vec![0x94], b"h\x00\x85}\x92".to_vec()].concat(),
        b"(I01\nL12345678901234567890L\nF1.5\nS'a\\x41'\nVb\\u00e9\nP7\np1\ng1\nt".to_vec(),
        b"(dp0\nS'k'\n(lp1\nI1\nas(ia\nB\noscollections\nOrderedDict\n)Rb".to_vec(),
        [&[0x8f, b'('][..], &int(1), &int(300), &[0x90, b'(', 0x91, 0x86]].concat(),
        [&[0x8a, 10][..], &[7; 10], &[0x8b, 9, 0, 0, 0], &[1; 9], b"G", &1.5f64.to_be_bytes(), b"\x87"].concat(),
        [
            &b"C\x02abB\x01\0\0\0c\x8c\x01d"[..],
            &[0x8d, 1, 0, 0, 0, 0, 0, 0, 0, b'e'],
            &[0x96, 1, 0, 0, 0, 0, 0, 0, 0, b'f'],
            b"U\x01gT\x01\0\0\0h",
        ]
        .concat(),
        b"cposix\nsystem\n(X\x02\0\0\0idtR".to_vec(),
        [dict(&[]), b"q\x00X\x05\0\0\0modelh\x00s".to_vec()].concat(),
    ];
    let mut seeds = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let plain = pickle(value.clone());
        let framed = [&b"\x80\x04\x95"[..], &(value.len() as u64 + 1).to_le_bytes(), value, b"."].concat();
        seeds.push(("weights", format!("archive-{index}"), [b"Z", &*plain].concat()));
        seeds.push(("weights", format!("frame-{index}"), [b"Z", &*framed].concat()));
    }
    let storages = || vec![("0", numbers(12)), ("1", vec![7; 16])];
    let model = pickle(state());
    let header = r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"__metadata__":{"format":"pt"}}"#;
    seeds.extend([
        ("weights", "zip".to_owned(), archive(&model, &storages())),
        (
            "weights",
            "zip-longer-end".to_owned(),
            Zip { entries: entries(&model, &storages()), announced: None, longer: true }.bytes(),
        ),
        ("weights", "before-zip".to_owned(), before_zip(&model, &[("0", 12, numbers(12)), ("1", 8, vec![7; 16])])),
        (
            "weights",
            "safetensors".to_owned(),
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers(3)].concat(),
        ),
    ]);
    for bundle in ["mock", "untrained"] {
        let yaml = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles").join(bundle).join(BUNDLE_YAML);
        seeds.push(("bundle", bundle.to_owned(), fs::read(yaml).unwrap()));
    }
    seeds.push(("bundle", "newer".to_owned(), b"format: 3\nname: \"x\"\n".to_vec()));
    seeds.push(("bundle", "alias".to_owned(), b"a: &a [*a, {b: !c 1}]\nformat: 1\n".to_vec()));
    seeds
}

#[test]
fn the_seeds_are_those_made_here() {
    for (target, name, content) in seeds() {
        let path = corpus(target).join(format!("seed-{name}"));
        if std::env::var_os("VIRNUCPRO_WRITE_SEEDS").is_some() {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(&path, &content).unwrap();
        }
        assert!(fs::read(&path).is_ok_and(|file| file == content), "{} is another file", path.display());
    }
}

#[test]
fn every_weights_file_is_read_or_refused() {
    let mut tensors = 0;
    for (path, bytes) in files("weights") {
        let file = match &*bytes {
            [b'Z', pickle @ ..] => archive(pickle, &[("0", numbers(12)), ("1", vec![7; 16])]),
            _ => bytes,
        };
        let source = match read(ModelBytes::from(file), &path) {
            Ok(source) => source,
            Err(error) => {
                assert_eq!(error.fault().exit_code(), 78, "{}: {error}", path.display());
                continue;
            }
        };
        for (index, tensor) in source.tensors().iter().enumerate() {
            match source.bytes(index) {
                Ok(bytes) => {
                    let numbers: usize = tensor.shape.iter().product();
                    assert_eq!(bytes.len() * 8, numbers * tensor.dtype.bitsize(), "{}", path.display());
                    tensors += 1;
                }
                Err(error) => assert_eq!(error.fault().exit_code(), 78, "{}: {error}", path.display()),
            }
        }
    }
    assert!(tensors > 10, "{tensors} tensors are read");
}

#[test]
fn every_bundle_is_read_or_refused() {
    for (path, bytes) in files("bundle") {
        match Spec::parse(&bytes, &path) {
            Ok(spec) => assert_eq!(Spec::parse(spec.to_yaml().unwrap().as_bytes(), &path).unwrap(), spec),
            Err(error) => assert_eq!(error.fault().exit_code(), 78, "{}: {error}", path.display()),
        }
    }
}
