//! Checkpoints made to harm: nothing is executed, nothing loops, nothing takes memory out of proportion. Each is
//! refused with a fault of bad models, or read as what it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use virnucpro::checkpoint::{Checkpoint, ModelBytes, TensorInfo, TensorSource, read};
use virnucpro::error::{Error, Fault, Result};

mod harness;
mod torch_files;

use harness::{Place, shared};
use torch_files::*;

/// Name, format and values of every tensor.
type Content = Vec<(TensorInfo, Vec<u8>)>;

fn content(source: &dyn TensorSource) -> Result<Content> {
    let tensors = source.tensors().iter().enumerate();
    tensors.map(|(index, tensor)| Ok((tensor.clone(), source.bytes(index)?.into_owned()))).collect()
}

/// What a file holds. Whatever it is, an error has the exit code of bad models, and values have the size of their shape.
#[track_caller]
fn try_read(file: &[u8]) -> Result<Content> {
    let content = read(ModelBytes::from(file.to_vec()), Path::new("model.pt")).and_then(|source| content(&*source));
    match &content {
        Err(error) => assert_eq!(error.fault().exit_code(), 78, "{}", error.report("read")),
        Ok(content) => {
            for (tensor, bytes) in content {
                let numbers: usize = tensor.shape.iter().product();
                assert_eq!(bytes.len(), numbers * tensor.dtype.bitsize() / 8, "{tensor:?}");
            }
        }
    }
    content
}

#[track_caller]
fn refusal(file: &[u8]) -> Error {
    match try_read(file) {
        Err(error) => error,
        Ok(content) => panic!("{} tensors are read", content.len()),
    }
}

/// A value as the model of an archive.
fn model(value: Expr) -> Vec<u8> {
    archive(&pickle(value), &[("0", numbers(12))])
}

fn state() -> Expr {
    dict(&[("x", floats("0", 12))])
}

/// `os.system("touch PATH")` as a call.
fn attack(path: &Path) -> Expr {
    reduce(global("posix.system"), &[text(&format!("touch {}", path.display()))])
}

#[track_caller]
fn assert_hostile(file: &[u8], name: &str) {
    let error = refusal(file);
    let report = error.report("read");
    assert_eq!(error.fault(), Fault::ModelPickle, "{report}");
    assert!(report.contains("belongs in no checkpoint") && report.contains(name), "{name}: {report}");
}

#[test]
fn m17_a_call_of_the_system_is_refused_wherever_it_stands() {
    let call = || reduce(global("os.system"), &[text("id")]);
    let mark = |inner: &[Expr], end: &str| [b"(".to_vec(), inner.concat(), end.as_bytes().to_vec()].concat();
    let places = [
        ("the model", call()),
        ("a value", dict(&[("x", floats("0", 12)), ("y", call())])),
        ("a key", [b"}".to_vec(), call(), text("x"), b"s".to_vec()].concat()),
        ("a list", list(&[state(), call()])),
        ("a tuple", tuple(&[state(), call()])),
        ("arguments", reduce(global("a.B"), &[call()])),
        ("a state", new_object("a.B", call())),
        ("a state of a module", module("a.B", &[("weight", call())], &[], &[])),
        ("the class of a state", [call(), dict(&[]), b"b".to_vec()].concat()),
        ("a set", [&[0x8f, b'('][..], &call(), &[0x90]].concat()),
        ("a frozen set", [&b"("[..], &call(), &[0x91]].concat()),
        ("what names a storage", [tuple(&[text("storage"), call()]), b"Q".to_vec()].concat()),
        (
            "a storage's class",
            tensor([tuple(&[text("storage"), global("os.system")]), b"Q".to_vec()].concat(), 0, &[1], &[1]),
        ),
        (
            "a hook",
            reduce(global("torch._utils._rebuild_tensor_v2"), &[int(0), int(0), int(0), int(0), int(0), call()]),
        ),
        ("what is thrown away", [call(), b"0".to_vec(), state()].concat()),
        ("above a mark that is thrown away", [b"(".to_vec(), call(), b"1".to_vec(), state()].concat()),
        ("the memo alone", [global("os.system"), b"q\x050".to_vec(), state()].concat()),
        ("a name that is never called", dict(&[("x", floats("0", 12)), ("f", global("os.system"))])),
        ("STACK_GLOBAL", [stack_global("os", "system"), tuple(&[text("id")]), b"R".to_vec()].concat()),
        ("STACK_GLOBAL of the memo", {
            let names = [text("os"), b"q\x010".to_vec(), text("system"), b"q\x020h\x01h\x02\x93".to_vec()].concat();
            [names, tuple(&[text("id")]), b"R".to_vec()].concat()
        }),
        ("INST", mark(&[text("id")], "ios\nsystem\n")),
        ("OBJ", mark(&[global("os.system"), text("id")], "o")),
        ("NEWOBJ", [global("os.system"), tuple(&[text("id")]), vec![0x81]].concat()),
        ("NEWOBJ_EX", [global("os.system"), tuple(&[text("id")]), dict(&[]), vec![0x92]].concat()),
        ("text opcodes", b"cos\nsystem\n(S'id'\ntR".to_vec()),
    ];
    for (place, value) in places {
        println!("{place}");
        assert_hostile(&model(value.clone()), "os.system");
        let bare = pickle(value.clone());
        assert_hostile(&bare, "os.system");
        let framed = [&b"\x80\x04\x95"[..], &(value.len() as u64 + 1).to_le_bytes(), &value, b"."].concat();
        assert_hostile(&archive(&framed, &[]), "os.system");
        assert_hostile(&legacy(&bare, &[]), "os.system");
    }
}

#[test]
fn m17_every_pickle_of_the_older_format_is_looked_at() {
    let hostile = pickle(reduce(global("os.system"), &[text("id")]));
    let model = pickle(state());
    let [magic, protocol] = [&legacy_start()[..15], &legacy_start()[15..21]];
    assert_eq!((magic.last(), protocol), (Some(&b'.'), &b"\x80\x02M\xe9\x03."[..]));
    for file in [
        hostile.clone(),
        [magic, &hostile].concat(),
        [magic, protocol, &hostile].concat(),
        [&legacy_start()[..], &hostile].concat(),
        [&legacy_start()[..], &model, &hostile].concat(),
    ] {
        assert_hostile(&file, "os.system");
    }
}

#[test]
fn m17_functions_that_belong_in_no_checkpoint_are_refused_and_classes_are_not() {
    for name in [
        "posix.system",
        "nt.system",
        "os.popen",
        "os.path.join",
        "subprocess.Popen",
        "subprocess.check_output",
        "sys.exit",
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "builtins.__import__",
        "builtins.compile",
        "builtins.open",
        "builtins.map",
        "__builtin__.eval",
        "__builtin__.apply",
        "__builtin__.execfile",
        "importlib.import_module",
        "importlib.util.spec_from_file_location",
        "runpy.run_path",
        "shutil.rmtree",
        "socket.create_connection",
        "ctypes.CDLL",
        "pickle.loads",
        "_pickle.loads",
        "cPickle.loads",
        "dill.loads",
        "code.InteractiveInterpreter",
        "pty.spawn",
        "webbrowser.open",
        "operator.attrgetter",
        "operator.methodcaller",
        "functools.partial",
        "functools.reduce",
        "types.CodeType",
        "types.FunctionType",
        "marshal.loads",
        "timeit.timeit",
        "cProfile.run",
        "pdb.run",
        "asyncio.create_subprocess_shell",
        "multiprocessing.Process",
        "urllib.request.urlopen",
        "requests.get",
        "http.client.HTTPConnection",
        "pip.main",
        "io.open",
        "_io.FileIO",
        "codecs.open",
        "torch.load",
        "torch.jit.load",
        "torch.hub.load",
        "torch.serialization.load",
        "torch.storage._load_from_bytes",
        "torch.serialization.os.system",
        "torch.fx.graph_module.reduce_graph_module",
        "torch.utils.cpp_extension.load",
        "torch.package.PackageImporter",
        "numpy.load",
        "numpy.testing._private.utils.runstring",
        "numpy.f2py.compile",
        "harmless.os.system",
        "harmless.module.sys.modules",
        "harmless.__globals__.get",
        "harmless.Class.__reduce__",
        "harmless.subprocess.run",
        "harmless.eval",
        "harmless.system",
    ] {
        assert_hostile(&model(dict(&[("x", floats("0", 12)), ("y", reduce(global(name), &[]))])), name);
        let (module, last) = name.split_once('.').unwrap();
        let called = [stack_global(module, last), b")R".to_vec()].concat();
        assert_hostile(&model(dict(&[("x", floats("0", 12)), ("y", called)])), name);
    }
    for name in [
        "__main__.MLPClassifier",
        "collections.OrderedDict",
        "collections.defaultdict",
        "builtins.set",
        "__builtin__.long",
        "builtins.complex",
        "argparse.Namespace",
        "types.SimpleNamespace",
        "pathlib.PosixPath",
        "datetime.datetime",
        "numpy.core.multiarray._reconstruct",
        "numpy.dtype",
        "_codecs.encode",
        "codecs.encode",
        "copyreg._reconstructor",
        "torch._C._nn.gelu",
        "torch.nn.functional.relu",
        "torch.float16",
        "torch.Size",
        "torch.device",
        "uuid.UUID",
        "omegaconf.dictconfig.DictConfig",
        "osmium.Os",
        "system.Model",
        "codebook.Codebook",
        "ioutils.Reader",
        "models.evaluate.Evaluator",
        "io.BytesIO",
        "transformers.models.esm.configuration_esm.EsmConfig",
    ] {
        let file = model(dict(&[("x", floats("0", 12)), ("y", reduce(global(name), &[text("a")]))]));
        assert_eq!(try_read(&file).unwrap_or_else(|error| panic!("{}", error.report(name))).len(), 1, "{name}");
    }
}

#[test]
fn m17_the_program_refuses_an_attack_and_does_not_run_it() {
    let place = Place::new();
    let trace = place.path("executed");
    let hostile = place.write("model.pth", model(dict(&[("model", state()), ("hook", attack(&trace))])));
    let hostile = hostile.to_str().unwrap();
    let ran = place
        .command(&[
            "models",
            "import",
            "--name",
            "x",
            "--dnabert",
            hostile,
            "--esm",
            hostile,
            "--head",
            hostile,
            "-o",
            "bundle",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(78), "{errors}");
    let last: serde_json::Value = serde_json::from_str(errors.lines().last().unwrap()).unwrap();
    assert_eq!((last["code"].as_str(), last["file"].as_str()), (Some("VN-MODEL-PICKLE"), Some(hostile)), "{errors}");
    assert!(errors.contains("posix.system"), "{errors}");
    assert!(!trace.exists() && !place.path("bundle").exists());
}

#[test]
fn damaged_pickles_are_refused() {
    let long = |length: u32| [&[0x8b][..], &length.to_le_bytes()].concat();
    let frame = |length: u64, rest: &[u8]| [&[0x95][..], &length.to_le_bytes(), rest].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "the end of the file"),
        (b"K".to_vec(), "the end of the file"),
        (b".".to_vec(), "more values than there are"),
        (b"0.".to_vec(), "more values than there are"),
        (b"NN.".to_vec(), "1 values too many"),
        (b"(N.".to_vec(), "values too many"),
        (b"N(.".to_vec(), "more values than there are"),
        (b"t.".to_vec(), "a mark"),
        (b"N(a.".to_vec(), "more values than there are"),
        (b"h\x07.".to_vec(), "place 7 of the memo"),
        (b"q\x07.".to_vec(), "more values than there are"),
        (b"\xff".to_vec(), "no opcode"),
        (b"\x80\x06N.".to_vec(), "protocol 6"),
        (b"\x82\x01.".to_vec(), "EXT"),
        (b"\x83\x01\0.".to_vec(), "EXT"),
        (b"\x84\x01\0\0\0.".to_vec(), "EXT"),
        (b"\x97.".to_vec(), "a buffer outside"),
        (b"\x98.".to_vec(), "a buffer outside"),
        (b"NNR.".to_vec(), "a call of what is no class"),
        (b"ca\nb\nNR.".to_vec(), "arguments that are no tuple"),
        (b"NN\x93.".to_vec(), "a class whose name is no text"),
        (b"ca\n".to_vec(), "a line, cut"),
        (b"c\xff\nb\n.".to_vec(), "not UTF-8"),
        (b"X\x02\0\0\0\xff\xfe.".to_vec(), "not UTF-8"),
        (b"Na.".to_vec(), "more values than there are"),
        (b"NNa.".to_vec(), "appended to what is no list"),
        (b"NNNs.".to_vec(), "no dictionary"),
        (b"}(Nu.".to_vec(), "a key without a value"),
        (b"(Nd.".to_vec(), "a key without a value"),
        (b"]}b.".to_vec(), "what is no object"),
        (b"ca\nb\n)R}b}b.".to_vec(), "twice"),
        (b"(o.".to_vec(), "an object without a class"),
        (b"I12x\n.".to_vec(), "a number that cannot be read"),
        (b"F1,5\n.".to_vec(), "a number that cannot be read"),
        (b"Sabc\n.".to_vec(), "escapes"),
        (b"V\\ud800\n.".to_vec(), "escapes"),
        (b"gx\n.".to_vec(), "no number"),
        ([long(u32::MAX), b".".to_vec()].concat(), "length < 0"),
        ([long(i32::MAX as u32), b".".to_vec()].concat(), "an integer of 2147483647 bytes; at most 1024"),
        ([b"L".to_vec(), b"9".repeat(5000), b"\n.".to_vec()].concat(), "a number of 5000 digits; at most 1024"),
        ([b"c".to_vec(), b"a".repeat(600), b"\nb\n.".to_vec()].concat(), "a name of 600 bytes; at most 512"),
        (b"X\xff\xff\xff\xffabc.".to_vec(), "length 4294967295, cut"),
        (b"T\xff\xff\xff\xffabc.".to_vec(), "length 4294967295, cut"),
        (b"B\xff\xff\xff\xffabc.".to_vec(), "length 4294967295, cut"),
        ([b"\x8d", &u64::MAX.to_le_bytes()[..]].concat(), "cut"),
        ([b"\x8e", &(1u64 << 63).to_le_bytes()[..]].concat(), "cut"),
        ([b"\x96", &(1u64 << 40).to_le_bytes()[..]].concat(), "cut"),
        (frame(u64::MAX, b"N."), "a frame of 18446744073709551615 bytes, cut"),
        (frame(3, b"N."), "a frame of 3 bytes, cut"),
        (frame(1, b"K\x01."), "over the end of its frame"),
        (frame(11, &frame(1, b"N.")), "a frame within a frame"),
    ];
    for (ops, found) in cases {
        let error = refusal(&archive(&[b"\x80\x04", &*ops].concat(), &[]));
        let report = error.report("read");
        assert_eq!(error.fault(), Fault::ModelPickle, "{report}");
        assert!(report.contains(found), "{found}: {report}");
    }
}

#[test]
fn tensors_outside_of_their_storage_are_refused() {
    let huge = i64::MAX;
    let of = |offset: i64, shape: &[i64], strides: &[i64]| {
        tensor(storage("torch.FloatStorage", "0", 12), offset, shape, strides)
    };
    let cases = [
        of(1, &[12], &[1]),
        of(12, &[1], &[1]),
        of(0, &[13], &[1]),
        of(0, &[3, 4], &[5, 1]),
        of(0, &[2], &[12]),
        of(-1, &[12], &[1]),
        of(0, &[-1], &[1]),
        of(3, &[2], &[-1]),
        of(huge, &[1], &[1]),
        of(huge, &[2], &[huge]),
        of(0, &[2, 2], &[huge, huge]),
        of(0, &[huge, huge], &[1, 1]),
        of(0, &[1 << 32, 1 << 32], &[0, 0]),
        of(0, &[1 << 40], &[0]),
        of(0, &[1 << 23], &[0]),
        of(0, &[huge, huge, 0, 2], &[1, 1, 1, 1]),
        of(0, &[12], &[1, 1]),
        of(0, &[12; 65], &[0; 65]),
        tensor(storage("torch.FloatStorage", "0", -1), 0, &[1], &[1]),
        tensor(storage("torch.FloatStorage", "0", huge), 0, &[1], &[1]),
        tensor(storage("torch.DoubleStorage", "0", huge / 8), 0, &[1], &[1]),
        tensor(int(0), 0, &[1], &[1]),
        tensor(tuple(&[]), 0, &[1], &[1]),
        tensor([tuple(&[]), b"Q".to_vec()].concat(), 0, &[1], &[1]),
        tensor(b"P0\n".to_vec(), 0, &[1], &[1]),
        tuple(&[floats("0", 12), tensor(storage("torch.HalfStorage", "0", 24), 0, &[1], &[1])]),
    ];
    for (index, value) in cases.into_iter().enumerate() {
        let error = refusal(&model(dict(&[("x", value)])));
        assert!(matches!(error.fault(), Fault::ModelPickle | Fault::ModelFormat), "{index}: {}", error.report("read"));
        println!("{index}: {}", error.report("read").replace('\n', ";"));
    }
    // As large as a small tensor of its own may be, and no more of them than is in proportion.
    let expanded = |names: usize| {
        let names: Vec<_> = (0..names).map(|name| format!("x{name}")).collect();
        let items: Vec<_> = names.iter().map(|name| (name.as_str(), of(0, &[1 << 20, 4], &[0, 1]))).collect();
        model(dict(&items))
    };
    assert_eq!(try_read(&expanded(1)).unwrap()[0].1.len(), 1 << 24);
    assert!(refusal(&expanded(2)).report("read").contains("33554432 bytes in a file of"));
}

#[test]
fn m18_archives_that_contradict_themselves_are_refused() {
    let plain = || entries(&pickle(state()), &[("0", numbers(12))]);
    let changed = |change: &dyn Fn(&mut Entry)| {
        let mut entries = plain();
        assert_eq!(entries[2].name, b"model/data/0");
        change(&mut entries[2]);
        Zip::new(entries).bytes()
    };
    assert_eq!(try_read(&changed(&|_| {})).unwrap()[0].1, numbers(12));
    let named = |name: &'static [u8]| changed(&move |entry: &mut Entry| entry.name = name.to_vec());
    let good = Zip::new(plain()).bytes();
    let at = |offset: usize, bytes: &[u8]| {
        let mut file = good.clone();
        let start = file.len() - 22 + offset;
        file[start..start + bytes.len()].copy_from_slice(bytes);
        file
    };
    let longer = |announced: u64| Zip { entries: plain(), announced: Some(announced), longer: true }.bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (changed(&|entry| entry.crc32 = Some(1)), "another CRC-32"),
        (changed(&|entry| entry.method = 8), "compressed"),
        (changed(&|entry| entry.flags = 1), "encrypted"),
        (changed(&|entry| entry.flags = 1 << 6 | 1), "encrypted"),
        (changed(&|entry| entry.size = Some(47)), "47 bytes in storage 0 of 48"),
        (changed(&|entry| entry.size = Some(4000)), "cut within data/0"),
        (changed(&|entry| entry.size = Some(u32::MAX)), ""),
        (changed(&|entry| entry.size = Some(60)), "over each other"),
        (changed(&|entry| entry.at = Some(0)), "not what the directory says"),
        (changed(&|entry| entry.at = Some(7)), "cannot be read"),
        (changed(&|entry| entry.at = Some(u32::MAX - 1)), "cannot be read"),
        (changed(&|entry| entry.local_name = Some(b"model/data/1".to_vec())), "not what the directory says"),
        (named(b"model/../data/0"), "no path within one folder"),
        (named(b"../model/data/0"), "no path within one folder"),
        (named(b"/model/data/0"), "no path within one folder"),
        (named(b"model//data/0"), "no path within one folder"),
        (named(b"model\\data\\0"), "no path within one folder"),
        (named(b"c:/data/0"), "no path within one folder"),
        (named(b"data"), "no path within one folder"),
        (named(b"model/data/\xff"), "not UTF-8"),
        (named(b"other/data/0"), "more than one folder"),
        (named(b"model/data.pkl"), "two entries of one name"),
        (named(b"model/data/1"), "storage 0 is missing"),
        (Zip { entries: plain(), announced: Some(3), longer: false }.bytes(), "more than the entries announced"),
        (Zip { entries: plain(), announced: Some(5), longer: false }.bytes(), "fewer entries than announced"),
        (Zip { entries: plain(), announced: Some(0), longer: false }.bytes(), "more than the entries announced"),
        (longer(1 << 40), "a zip directory of 1099511627776 entries"),
        (longer(u64::MAX), "a zip directory of"),
        (longer(100_000), "fewer entries than announced"),
        (at(4, &[1, 0]), "several parts"),
        (at(8, &[9, 0]), "several parts"),
        (at(12, &[0; 4]), "not at its end"),
        (at(12, &[255; 4]), "without the end"),
        (at(16, &[255; 4]), "without the end"),
        (at(16, &[1, 0, 0, 0]), "not at its end"),
        (at(20, &[1, 0]), "without the end"),
        ([&good[..], b"comment"].concat(), "without the end"),
        ([&good[..], &good[..]].concat(), "not at its end"),
        ([&b"PK\x03\x04junk"[..], &good[..]].concat(), "not at its end"),
        (b"PK\x05\x06".iter().copied().chain([0; 18]).collect(), "without data.pkl"),
    ];
    for (index, (file, found)) in cases.into_iter().enumerate() {
        let Err(error) = try_read(&file) else { panic!("{index}: {found}: it is read") };
        let report = error.report("read");
        if found.is_empty() {
            println!("{index}: {report}");
            continue;
        }
        assert_eq!(error.fault(), Fault::ModelFormat, "{index}: {report}");
        assert!(report.contains(found), "{index}: {found}: {report}");
    }
}

#[test]
fn the_older_format_is_refused_where_its_parts_do_not_fit() {
    let whole = || pickle(state());
    let good = legacy(&whole(), &[("0", 12, numbers(12))]);
    assert_eq!(try_read(&good).unwrap()[0].1, numbers(12));
    let cases = [
        (legacy(&whole(), &[("0", 11, numbers(12))]), "11 numbers in a storage of 48 bytes"),
        (legacy(&whole(), &[("0", u64::MAX, numbers(12))]), "numbers in a storage of 48 bytes"),
        (legacy(&whole(), &[("0", 12, numbers(11))]), "cut within a storage"),
        (legacy(&whole(), &[("0", 12, numbers(13))]), "4 bytes after the last storage"),
        (legacy(&whole(), &[("1", 12, numbers(12))]), "a storage that no tensor uses: 1"),
        (legacy(&whole(), &[]), "storage 0 is missing"),
        (legacy(&whole(), &[("0", 12, numbers(12)), ("0", 12, numbers(12))]), "stands twice"),
        ([&legacy_start()[..], &whole(), &pickle(int(1))].concat(), "no list of storages"),
        ([&legacy_start()[..15], &pickle(int(1002))].concat(), "another version"),
        ([&legacy_start()[..21], &pickle(dict(&[("little_endian", truth(false))]))].concat(), "not little-endian"),
    ];
    for (file, found) in cases {
        let error = refusal(&file);
        assert_eq!(error.fault(), Fault::ModelFormat, "{found}: {}", error.report("read"));
        assert!(error.report("read").contains(found), "{found}: {}", error.report("read"));
    }
}

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
        ("older format", legacy(&pickle(net), &[("0", 12, numbers(12)), ("1", 3, numbers(3))])),
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
        for place in 0..file.len() {
            for change in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[place] ^= change;
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
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 0xff;
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

/// Files that would fill the memory or never end, with what is found in them.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let repeat = |start: &[u8], ops: &[u8], times: usize, end: &[u8]| {
        let ops = [b"\x80\x04", start, &ops.repeat(times), end, b"."].concat();
        archive(&ops, &[("0", numbers(12))])
    };
    let places =
        |times: u32| -> Vec<u8> { (0..times).flat_map(|place| [&b"r"[..], &place.to_le_bytes()].concat()).collect() };
    let pairs = list(&vec![list(&[text("k"), int(1)]); 100_000]);
    let shared_pairs = [pairs, b"q\x00".to_vec(), b"0}(".to_vec()].concat();
    let dictionaries: Vec<u8> = (0..100_000)
        .flat_map(|key| [text(&format!("{key}")), global("collections.OrderedDict"), b"h\x00\x85R".to_vec()].concat())
        .collect();
    let shared_dictionaries = [shared_pairs, dictionaries.clone(), b"u".to_vec()].concat();
    let bad_pair = [vec![list(&[text("k"), int(1)]); 300_000], vec![none()]].concat();
    let bad_pairs = [list(&bad_pair), b"q\x00".to_vec(), b"0}(".to_vec(), dictionaries, b"u".to_vec()].concat();
    let shared_state: Vec<u8> =
        (0..100_000).flat_map(|key| [text(&format!("{key}")), b"ca\nb\n)\x81h\x01b".to_vec()].concat()).collect();
    let wide = [b"}q\x01(".to_vec(), [text("k"), int(1)].concat().repeat(100_000), b"u0}(".to_vec()].concat();
    let shared_states = [wide, shared_state, b"u".to_vec()].concat();
    let long_key =
        [text(&"k".repeat(1 << 20)), b"q\x000}(".to_vec(), b"h\x00N".repeat(500_000), b"u".to_vec()].concat();
    // 64 modules, each holding the next one twice.
    let mut twins = module("a.Leaf", &[("w", floats("0", 12))], &[], &[]);
    for place in 0..64u8 {
        let twice = [twins, vec![b'q', place, b'0']].concat();
        let get = || vec![b'h', place];
        twins = [twice, module("a.Node", &[], &[], &[("l", get()), ("r", get())])].concat();
    }
    let circle = [
        global("a.B"),
        b")\x81q\x09".to_vec(),
        dict(&[("_parameters", dict(&[])), ("_modules", dict(&[("again", b"h\x09".to_vec())]))]),
        b"b".to_vec(),
    ]
    .concat();
    let many = |count: usize| {
        let entries: Vec<_> = (0..count).map(|key| entry(&format!("m/{key}"), b"")).collect();
        Zip { entries, announced: None, longer: true }.bytes()
    };
    let deep_json = |count: usize| {
        let header = format!("{{\"a\":{}", "[".repeat(count));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    let names: Vec<u8> = (0..150_000).flat_map(|key| [text(&format!("{key}")), b"h\x00".to_vec()].concat()).collect();
    let many_tensors = [floats("0", 12), b"q\x000}(".to_vec(), names, b"u".to_vec()].concat();
    vec![
        ("doubling tuples", repeat(b"]q\x00", b"0h\x00h\x00\x86q\x00", 800_000, b""), "a tuple of 2 tuples"),
        ("doubling lists", repeat(b"]q\x00", b"0](h\x00h\x00eq\x00", 590_000, b""), "a list of 2 lists"),
        ("nested tuples", repeat(b")", b"\x85", 1_000_000, b""), "a tuple"),
        ("nested lists", repeat(b"", b"](", 1_000_000, b""), "more than 10000 marks"),
        ("nested lists that end", repeat(b"]", b"q\x000]h\x00a", 600_000, b""), "a list of 1 lists"),
        ("nested dictionaries", repeat(b"}", b"q\x000}X\x05\0\0\0modelh\x00s", 400_000, b""), "a dictionary"),
        ("nested calls", repeat(b"N", b"q\x000ca\nb\nh\x00\x85R", 500_000, b""), "a.b"),
        ("nested states", repeat(b"N", b"q\x000ca\nb\n)\x81h\x00b", 500_000, b""), "a.b"),
        ("marks", repeat(b"", b"(", 5_000_000, b""), "more than 10000 marks"),
        ("a full stack", repeat(b"", b"N", 5_000_000, b""), "more than 1048576 values on the stack"),
        ("opcodes", repeat(b"", b"N0", 5_000_000, b"N"), "more than 4194304 opcodes"),
        ("values", repeat(b"N", b"0K\x07", 4_000_000, b""), "more than 4194304 opcodes"),
        ("classes", repeat(b"", b"ca\nb\n0", 1_500_000, b"N"), "more than 4194304 values"),
        ("lists", repeat(b"", b"]0", 2_000_000, b"N"), "None"),
        ("records", repeat(b"ca\nb\nq\x000N", b"0h\x00)R", 1_000_000, b""), "a.b"),
        ("instances", repeat(b"", b"(ia\nb\n0", 900_000, b"N"), "more than 4194304 values"),
        ("memo", repeat(b"N", &places(3_000_000), 1, b""), "None"),
        ("text of 40 MB", repeat(b"", &text(&"x".repeat(40 << 20)), 1, b""), "text"),
        ("text of 70 MB", repeat(b"", &text(&"x".repeat(70 << 20)), 1, b""), "data.pkl of 734003"),
        ("escapes", repeat(b"V", b"\\u0041", 3_000_000, b"\n"), "text"),
        ("long integers", repeat(b"", &[&[0x8b, 0, 4, 0, 0][..], &[1; 1024], b"0"].concat(), 30_000, b"N"), "None"),
        ("dictionaries of shared pairs", archive(&pickle(shared_dictionaries), &[]), "more than 10000000 entries"),
        (
            "dictionaries of shared pairs, the last one bad",
            archive(&pickle(bad_pairs), &[]),
            "more than 10000000 entries",
        ),
        ("modules of a shared state", archive(&pickle(shared_states), &[]), "more than 10000000 entries"),
        ("one long key", archive(&pickle(long_key), &[]), "a dictionary"),
        ("a dictionary in itself", repeat(b"}q\x00", b"X\x05\0\0\0modelh\x00s", 1, b""), "a dictionary"),
        ("a list in itself", repeat(b"]q\x00", b"h\x00a", 1000, b""), "a list of 1000 lists"),
        ("a module in itself", archive(&pickle(circle), &[]), "modules"),
        ("modules that double", archive(&pickle(twins), &[("0", numbers(12))]), "modules"),
        (
            "150,000 names of a tensor",
            archive(&pickle(many_tensors), &[("0", numbers(12))]),
            "more than 100000 tensors",
        ),
        ("90,000 entries", many(90_000), "without data.pkl"),
        ("120,000 entries", many(120_000), "a zip directory of 120000 entries"),
        ("brackets", deep_json(10_000_000), "a header"),
    ]
}

const BOMB: &str = "VIRNUCPRO_TEST_BOMB";

/// Run by the next test in a process of its own: reads the file and says how it went.
#[test]
fn one_bomb() {
    let Some(path) = std::env::var_os(BOMB) else { return };
    let outcome = Checkpoint::open(Path::new(&path)).and_then(|checkpoint| content(checkpoint.tensors()));
    // Of the processor, in hundredths: the clock would tell how busy the machine is.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let times = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    let hundredths: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let error = outcome.expect_err("a bomb is read");
    println!("\n{peak}\nhundredths: {hundredths}\nexit: {}\n{}", error.fault().exit_code(), error.report("read"));
}

#[test]
fn m18_bombs_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file, found) in bombs() {
        let path = folder.path().join("bomb.pt");
        fs::write(&path, &file).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ran = command.args(["one_bomb", "--exact", "--nocapture"]).env(BOMB, &path).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&ran.stderr));
        let peak = said.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
        let time = said.lines().find_map(|line| line.strip_prefix("hundredths: ")).unwrap();
        let time: u64 = time.parse().unwrap();
        println!("{name}: {} KB of file, {} MB at most, {time} hundredths of a second", file.len() >> 10, peak >> 10);
        assert!(said.contains("exit: 78") && said.contains(found), "{name}: {said}");
        assert!(peak < 400 << 10, "{name}: {peak} kB");
        assert!(time < 1000, "{name}: {time} hundredths of a second");
    }
}
