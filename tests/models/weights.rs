//! PyTorch weights files are read to the bit: those of the reference programs against their safetensors twins, and small
//! ones made here, one for each thing the format can say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::{Dtype, SafeTensors};
use virnucpro::error::{Error, Fault};
use virnucpro::weights::{ModelBytes, TensorSource, Weights, read as read_bytes};

use crate::support::torch_files::*;

/// A file of the golden data, or a message and nothing.
fn golden(name: &str) -> Option<PathBuf> {
    crate::support::shared(&format!("golden/{name}"))
}

/// Tensors by name: number format, shape, values.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> Tensors {
    let weights = Weights::open(path).unwrap_or_else(|error| panic!("{}", error.report("open")));
    all(weights.tensors())
}

fn all(source: &dyn TensorSource) -> Tensors {
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

/// The names of fair-esm's weights files as its loader changes them.
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

fn made(file: Vec<u8>) -> Tensors {
    let source = read_bytes(ModelBytes::from(file), Path::new("made.pt"));
    all(&*source.unwrap_or_else(|error| panic!("{}", error.report("read"))))
}

fn refused(file: Vec<u8>) -> Error {
    read_bytes(ModelBytes::from(file), Path::new("made.pt")).err().expect("it is read")
}

/// A model whose storages 0 and 1 hold the numbers 0 to 11.
fn model(value: Expr) -> Vec<u8> {
    archive(&pickle(value), &[("0", numbers(12)), ("1", numbers(12))])
}

fn twelve(key: &str) -> Expr {
    storage("torch.FloatStorage", key, 12)
}

/// Shape and numbers of tensors of f32.
fn values(tensors: &Tensors) -> Vec<(&str, &[usize], Vec<f32>)> {
    let numbers = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    assert!(tensors.values().all(|(dtype, ..)| *dtype == Dtype::F32));
    tensors.iter().map(|(name, (_, shape, bytes))| (name.as_str(), &**shape, numbers(bytes))).collect()
}

#[test]
fn a_view_is_its_numbers_row_by_row() {
    let tensors = made(model(ordered_dict(&[
        ("whole", tensor(twelve("0"), 0, &[3, 4], &[4, 1])),
        ("transposed", tensor(twelve("0"), 0, &[4, 3], &[1, 4])),
        ("rows", tensor(twelve("0"), 4, &[2, 4], &[4, 1])),
        ("column", tensor(twelve("1"), 1, &[3], &[4])),
        ("corner", tensor(twelve("1"), 5, &[2, 2], &[4, 1])),
        ("expanded", tensor(twelve("1"), 2, &[2, 3], &[0, 1])),
        ("repeated", tensor(twelve("1"), 7, &[3], &[0])),
        ("scalar", tensor(twelve("1"), 11, &[], &[])),
        ("one", tensor(twelve("1"), 3, &[1, 1], &[99, 7])),
        ("empty", tensor(twelve("1"), 12, &[0, 4], &[4, 1])),
        ("steps", tensor(twelve("1"), 0, &[2, 2, 2], &[6, 3, 1])),
    ])));
    let expected: &[(&str, &[usize], &[u8])] = &[
        ("column", &[3], &[1, 5, 9]),
        ("corner", &[2, 2], &[5, 6, 9, 10]),
        ("empty", &[0, 4], &[]),
        ("expanded", &[2, 3], &[2, 3, 4, 2, 3, 4]),
        ("one", &[1, 1], &[3]),
        ("repeated", &[3], &[7, 7, 7]),
        ("rows", &[2, 4], &[4, 5, 6, 7, 8, 9, 10, 11]),
        ("scalar", &[], &[11]),
        ("steps", &[2, 2, 2], &[0, 1, 3, 4, 6, 7, 9, 10]),
        ("transposed", &[4, 3], &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]),
        ("whole", &[3, 4], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, shape, numbers)| (*name, *shape, numbers.iter().map(|&n| f32::from(n)).collect()))
        .collect();
    assert_eq!(values(&tensors), expected);
}

#[test]
fn nothing_is_copied_where_the_numbers_lie_in_a_row() {
    let file = model(dict(&[
        ("a", tensor(twelve("0"), 4, &[2, 4], &[4, 1])),
        ("b", tensor(twelve("0"), 0, &[4, 3], &[1, 4])),
    ]));
    let source = read_bytes(ModelBytes::from(file), Path::new("made.pt")).unwrap();
    assert!(matches!(source.bytes(0).unwrap(), std::borrow::Cow::Borrowed(_)));
    assert!(matches!(source.bytes(1).unwrap(), std::borrow::Cow::Owned(_)));
    assert!(source.bytes(2).unwrap().is_empty());
}

#[test]
fn every_number_format_is_told_by_its_storage() {
    let formats = [
        ("Double", Dtype::F64, 8),
        ("Float", Dtype::F32, 4),
        ("Half", Dtype::F16, 2),
        ("BFloat16", Dtype::BF16, 2),
        ("Long", Dtype::I64, 8),
        ("Int", Dtype::I32, 4),
        ("Short", Dtype::I16, 2),
        ("Char", Dtype::I8, 1),
        ("Byte", Dtype::U8, 1),
        ("Bool", Dtype::BOOL, 1),
    ];
    for (name, dtype, size) in formats {
        for package in ["torch", "torch.cuda"] {
            let class = format!("{package}.{name}Storage");
            let state = dict(&[("x", tensor(storage(&class, "7", 3), 1, &[2], &[1]))]);
            let bytes: Vec<u8> = (0..3 * size as u8).collect();
            let expected = Tensors::from([("x".to_owned(), (dtype, vec![2], bytes[size..].to_vec()))]);
            assert_same(&made(archive(&pickle(state.clone()), &[("7", bytes.clone())])), &expected);
            assert_same(&made(before_zip(&pickle(state), &[("7", 3, bytes)])), &expected);
        }
    }
}

#[test]
fn tensors_are_found_however_they_are_wrapped() {
    let plain = || floats("0", 12);
    let call = |function: &str, args: &[Expr]| reduce(global(function), args);
    let (hooks, none, yes) = (|| ordered_dict(&[]), none, || truth(true));
    let parameter = || call("torch._utils._rebuild_parameter", &[plain(), yes(), hooks()]);
    let untyped = call(
        "torch._utils._rebuild_tensor_v3",
        &[
            storage("torch.storage.UntypedStorage", "0", 48),
            int(0),
            sizes(&[12]),
            sizes(&[1]),
            yes(),
            hooks(),
            global("torch.float32"),
        ],
    );
    let typed = [
        plain(),
        parameter(),
        call("torch._utils._rebuild_parameter_with_state", &[plain(), yes(), hooks(), dict(&[("tag", int(1))])]),
        call("torch._utils._rebuild_tensor", &[twelve("0"), int(0), sizes(&[12]), sizes(&[1])]),
        untyped,
        call(
            "torch._tensor._rebuild_from_type_v2",
            &[
                global("torch._utils._rebuild_tensor_v2"),
                global("torch.nn.parameter.Parameter"),
                tuple(&[twelve("0"), int(0), sizes(&[12]), sizes(&[1]), yes(), hooks()]),
                dict(&[("tag", int(1))]),
            ],
        ),
        tensor(twelve("0"), 0, &[12], &[1]),
        reduce(
            global("torch._utils._rebuild_tensor_v2"),
            &[
                twelve("0"),
                int(0),
                reduce(global("torch.Size"), &[sizes(&[12])]),
                sizes(&[1]),
                yes(),
                hooks(),
                dict(&[]),
            ],
        ),
    ];
    let expected = made(model(dict(&[("x", plain())])));
    for tensor in typed {
        assert_same(&made(model(dict(&[("x", tensor), ("none", none())]))), &expected);
    }

    let state = || ordered_dict(&[("x", plain())]);
    let versions = new_object("collections.OrderedDict", dict(&[("version", int(1))]));
    let with_metadata = [state(), dict(&[("_metadata", versions)]), b"b".to_vec()].concat();
    let pairs = reduce(global("collections.OrderedDict"), &[list(&[list(&[text("x"), plain()])])]);
    let prefixed = dict(&[("module.x", plain())]);
    let settings = new_object("argparse.Namespace", dict(&[("arch", text("esm2"))]));
    let optimiser = dict(&[("state", dict(&[("exp_avg", dict(&[("step", plain())]))])), ("param_groups", list(&[]))]);
    let namespace =
        |key| dict(&[("cfg", dict(&[("model", settings.clone())])), ("args", settings.clone()), (key, state())]);
    let containers = [
        state(),
        with_metadata,
        pairs,
        prefixed,
        namespace("model"),
        namespace("state_dict"),
        namespace("model_state_dict"),
        namespace("generator"),
        dict(&[("epoch", int(3)), ("loss", plain()), ("optimizer", optimiser), ("state_dict", state())]),
        dict(&[("model", dict(&[("state_dict", state())]))]),
        dict(&[("model", [state(), b"q\x09".to_vec()].concat()), ("module", b"h\x09".to_vec())]),
        dict(&[("x", plain()), ("step", int(7)), ("name", text("tiny"))]),
        module("__main__.Net", &[("x", plain()), ("bias", none())], &[], &[("dropout", none())]),
        dict(&[("model", module("net.Net", &[("x", plain())], &[("scratch", plain())], &[]))]),
        module("torch.nn.parallel.DataParallel", &[], &[], &[("module", module("a.B", &[("x", plain())], &[], &[]))]),
    ];
    for (index, value) in containers.into_iter().enumerate() {
        println!("container {index}");
        assert_same(&made(model(value)), &expected);
    }
}

#[test]
fn a_module_names_its_tensors_as_its_state_dictionary_does() {
    let activation = || new_object("torch.nn.modules.activation.GELU", dict(&[("approximate", text("none"))]));
    let normalisation = module(
        "torch.nn.modules.batchnorm.BatchNorm1d",
        &[("weight", floats("0", 12)), ("bias", parameter_of(floats("1", 12)))],
        &[("running_mean", floats("0", 12)), ("scratch", floats("0", 12)), ("nothing", none())],
        &[],
    );
    let linear = module("torch.nn.modules.linear.Linear", &[("weight", floats("1", 12)), ("bias", none())], &[], &[]);
    let shared = [linear, b"q\x63".to_vec()].concat();
    let inner = module("nets.Block", &[], &[], &[("0", shared), ("again", b"h\x63".to_vec()), ("norm", normalisation)]);
    let net = module("__main__.Net", &[("scale", floats("0", 12))], &[], &[("block", inner)]);
    let net = [net, dict(&[("ignored", activation())]), b"0".to_vec()].concat();
    let tensors = made(model(net));
    let names: Vec<_> = tensors.keys().map(String::as_str).collect();
    let expected = [
        "block.0.weight",
        "block.again.weight",
        "block.norm.bias",
        "block.norm.running_mean",
        "block.norm.weight",
        "scale",
    ];
    assert_eq!(names, expected);
}

fn parameter_of(tensor: Expr) -> Expr {
    reduce(global("torch._utils._rebuild_parameter"), &[tensor, truth(true), ordered_dict(&[])])
}

#[test]
fn a_storage_from_before_zip_archives_may_be_a_part_of_another() {
    let view = |key: &str, offset: i64, length: i64| {
        let part = tuple(&[text(key), int(offset), int(length)]);
        let name = tuple(&[text("storage"), global("torch.FloatStorage"), text("9"), text("cpu"), int(12), part]);
        [name, b"Q".to_vec()].concat()
    };
    let state = dict(&[("x", tensor(view("a", 4, 6), 1, &[2, 2], &[2, 1]))]);
    let tensors = made(before_zip(&pickle(state), &[("9", 12, numbers(12))]));
    assert_eq!(values(&tensors), [("x", &[2, 2][..], vec![5.0, 6.0, 7.0, 8.0])]);
    let beyond = dict(&[("x", tensor(view("a", 8, 6), 0, &[6], &[1]))]);
    assert_eq!(refused(before_zip(&pickle(beyond), &[("9", 12, numbers(12))])).fault(), Fault::ModelPickle);
    let beyond = dict(&[("x", tensor(view("a", 4, 6), 3, &[4], &[1]))]);
    assert_eq!(refused(before_zip(&pickle(beyond), &[("9", 12, numbers(12))])).fault(), Fault::ModelPickle);
}

#[test]
fn what_holds_no_single_model_says_what_it_holds() {
    let state = || dict(&[("x", floats("0", 12))]);
    let cases = [
        (list(&[dict(&[]), dict(&[]), dict(&[])]), "a list of 3 dictionaries"),
        (list(&[floats("0", 12), int(1)]), "a list of 2 values"),
        (floats("0", 12), "a tensor"),
        (int(5), "a number"),
        (text("weights"), "text"),
        (dict(&[]), "an empty dictionary"),
        (new_object("a.b.Scaler", dict(&[("mean", int(1))])), "an object of class a.b.Scaler"),
        (module("a.b.Net", &[], &[], &[]), "an object of class a.b.Net without tensors"),
        (global("__main__.Net"), "the class or function __main__.Net"),
        (dict(&[("epoch", int(1)), ("lr", int(2))]), "a dictionary with the keys epoch, lr"),
        (dict(&[("model", state()), ("state_dict", state())]), "2 models, under the keys"),
        (dict(&[("a", state()), ("b", state())]), "2 models, under the keys a, b"),
        (dict(&[("x", floats("0", 12)), ("more", state())]), "tensors beside more tensors under the key more"),
        (dict(&[("model", dict(&[("epoch", int(1))]))]), "a dictionary with the keys epoch, within"),
    ];
    for (value, found) in cases {
        let error = refused(model(value));
        assert_eq!(error.fault(), Fault::ModelFormat, "{found}");
        assert!(error.report("read").contains(found), "{}", error.report("read"));
    }
}

#[test]
fn tensors_that_are_not_their_numbers_are_refused_by_name() {
    let args =
        |metadata: Expr| [twelve("0"), int(0), sizes(&[12]), sizes(&[1]), truth(false), ordered_dict(&[]), metadata];
    let rebuild = |name: &str, args: &[Expr]| reduce(global(&format!("torch._utils.{name}")), args);
    let not_read = [
        (rebuild("_rebuild_tensor_v2", &args(dict(&[("neg", truth(true))]))), "metadata"),
        (rebuild("_rebuild_qtensor", &args(none())), "_rebuild_qtensor"),
        (rebuild("_rebuild_sparse_tensor", &[global("torch.serialization._get_layout")]), "_rebuild_sparse_tensor"),
        (rebuild("_rebuild_tensor_v3", &args(global("torch.float8_e5m2"))), "numbers that are not read"),
        (tensor(storage("torch.QInt8Storage", "0", 48), 0, &[12], &[1]), "torch.QInt8Storage"),
        (rebuild("_rebuild_tensor_v2", &[twelve("0")]), "_rebuild_tensor_v2"),
    ];
    let malformed = [
        (rebuild("_rebuild_tensor_v3", &args(global("torch.int64"))), "two types"),
        ([floats("0", 12), dict(&[]), b"b".to_vec()].concat(), "a state of its own"),
        (parameter_of(int(3)), "a parameter without a tensor"),
    ];
    let not_read = not_read.map(|(value, found)| (Fault::ModelFormat, value, found));
    for (fault, value, found) in
        not_read.into_iter().chain(malformed.map(|(value, found)| (Fault::ModelPickle, value, found)))
    {
        let error = refused(model(dict(&[("layer.weight", value)])));
        assert_eq!(error.fault(), fault, "{found}");
        assert!(error.report("read").contains(found), "{}", error.report("read"));
    }
    let twice = [dict(&[("x", floats("0", 12))]), set_items(&[("x", floats("1", 12))])].concat();
    assert!(refused(model(twice)).report("read").contains("two tensors of the name x"));
}

#[test]
fn archives_without_weights_are_refused_by_name() {
    let plain = || entries(&pickle(dict(&[("x", floats("0", 12))])), &[("0", numbers(12))]);
    let with = |entry: Entry| Zip::new([plain(), vec![entry]].concat()).bytes();
    let replaced = |name: &str, content: &[u8]| {
        let mut entries = plain();
        entries
            .iter_mut()
            .filter(|entry| entry.name == name.as_bytes())
            .for_each(|entry| entry.content = content.to_vec());
        Zip::new(entries).bytes()
    };
    let cases = [
        (with(entry("model/constants.pkl", b"")), "TorchScript"),
        (with(entry("model/code/__torch__.py", b"")), "TorchScript"),
        (with(Entry { method: 8, ..entry("model/code/__torch__.py", b"\x03\0") }), "TorchScript"),
        (replaced("model/byteorder", b"big"), "not little-endian"),
        (replaced("model/version", b"11\n"), "version 11"),
        (Zip::new(vec![entry("model/notes.txt", b"x")]).bytes(), "without data.pkl"),
    ];
    for (file, found) in cases {
        let error = refused(file);
        assert_eq!(error.fault(), Fault::ModelFormat, "{found}");
        assert!(error.report("read").contains(found), "{}", error.report("read"));
    }
    // Archives of PyTorch before 2.0 do not say their byte order.
    let older: Vec<_> = plain().into_iter().filter(|entry| entry.name != b"model/byteorder").collect();
    assert_eq!(made(Zip::new(older).bytes()).len(), 1);
    assert_eq!(made(Zip { entries: plain(), announced: None, longer: true }.bytes()).len(), 1);
}

#[test]
fn archives_beyond_4_gib_are_read() {
    use std::io::{Seek as _, SeekFrom, Write as _};

    const LARGE: u64 = (4 << 30) + 4096;
    let large = tensor(storage("torch.ByteStorage", "0", LARGE as i64), (4 << 30) + 4000, &[2], &[1]);
    let pickle = pickle(dict(&[("large", large), ("small", floats("1", 12))]));
    let contents = [("model/data.pkl", pickle), ("model/data/0", Vec::new()), ("model/data/1", numbers(12))];
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("large.pt");
    let mut file = fs::File::create(&path).unwrap();
    let (mut directory, mut at) = (Vec::new(), 0u64);
    for (name, content) in &contents {
        // Nothing is written of the large storage: the file has a hole there, which is read as zeros.
        let size = if content.is_empty() { LARGE } else { content.len() as u64 };
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let extra = |numbers: &[u64]| -> Vec<u8> {
            let long: Vec<_> = numbers.iter().filter(|&&number| number > u64::from(u32::MAX)).collect();
            let field = [&1u16.to_le_bytes()[..], &(8 * long.len() as u16).to_le_bytes()].concat();
            let numbers = long.iter().flat_map(|number| number.to_le_bytes());
            if long.is_empty() { Vec::new() } else { field.into_iter().chain(numbers).collect() }
        };
        let fields = |extra: &[u8]| {
            let lengths = [(name.len() as u16).to_le_bytes(), (extra.len() as u16).to_le_bytes()].concat();
            [&[45, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc.sum().to_le_bytes(), &short(size), &short(size), &lengths]
                .concat()
        };
        let (local, central) = (extra(&[size, size]), extra(&[size, size, at]));
        let header = [&b"PK\x03\x04"[..], &fields(&local), name.as_bytes(), &local].concat();
        let rest = [&[0; 10][..], &short(at), name.as_bytes(), &central].concat();
        directory.extend([&b"PK\x01\x02-\0"[..], &fields(&central), &rest].concat());
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[&header[..], content].concat()).unwrap();
        at += header.len() as u64 + size;
    }
    let count = contents.len() as u64;
    let long: Vec<u8> =
        [count, count, directory.len() as u64, at].iter().flat_map(|number| number.to_le_bytes()).collect();
    let end = [&b"PK\x06\x06"[..], &44u64.to_le_bytes(), &[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0], &long].concat();
    let locator = [&b"PK\x06\x07\0\0\0\0"[..], &(at + directory.len() as u64).to_le_bytes(), &[1, 0, 0, 0]].concat();
    let counts = [(count as u16).to_le_bytes(), (count as u16).to_le_bytes()].concat();
    let short =
        [&b"PK\x05\x06\0\0\0\0"[..], &counts, &(directory.len() as u32).to_le_bytes(), &[255; 4], &[0, 0]].concat();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[directory, end, locator, short].concat()).unwrap();
    drop(file);

    let weights = Weights::open(&path).unwrap_or_else(|error| panic!("{}", error.report("open")));
    let source = weights.tensors();
    assert_eq!(source.tensors().iter().map(|tensor| &*tensor.name).collect::<Vec<_>>(), ["large", "small"]);
    assert_eq!(source.bytes(1).unwrap(), numbers(12));
    // Not the large one: comparing its checksum would read 4 GiB.
}
