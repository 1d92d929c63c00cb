//! Pickles that would run something are refused by name, whatever is around them.

use std::path::Path;

use virnucpro::error::Fault;

use super::{model, refusal, state, try_read};
use crate::support::Sandbox;
use crate::support::torch_files::*;

/// `os.system("touch PATH")` as a call.
fn attack(path: &Path) -> Expr {
    reduce(global("posix.system"), &[text(&format!("touch {}", path.display()))])
}

#[track_caller]
fn assert_hostile(file: &[u8], name: &str) {
    let error = refusal(file);
    let report = error.report("read");
    assert_eq!(error.fault(), Fault::ModelPickle, "{report}");
    assert!(report.contains("does not belong in a weights file") && report.contains(name), "{name}: {report}");
}

#[test]
fn m17_a_call_of_the_system_is_refused_wherever_it_is() {
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
        assert_hostile(&before_zip(&bare, &[]), "os.system");
    }
}

#[test]
fn m17_every_pickle_of_a_file_from_before_zip_archives_is_looked_at() {
    let hostile = pickle(reduce(global("os.system"), &[text("id")]));
    let model = pickle(state());
    let [magic, protocol] = [&before_zip_start()[..15], &before_zip_start()[15..21]];
    assert_eq!((magic.last(), protocol), (Some(&b'.'), &b"\x80\x02M\xe9\x03."[..]));
    for file in [
        hostile.clone(),
        [magic, &hostile].concat(),
        [magic, protocol, &hostile].concat(),
        [&before_zip_start()[..], &hostile].concat(),
        [&before_zip_start()[..], &model, &hostile].concat(),
    ] {
        assert_hostile(&file, "os.system");
    }
}

#[test]
fn m17_functions_that_do_not_belong_in_a_weights_file_are_refused_and_classes_are_not() {
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
    let sandbox = Sandbox::new();
    let trace = sandbox.path("executed");
    let hostile = sandbox.write("model.pth", model(dict(&[("model", state()), ("hook", attack(&trace))])));
    let hostile = hostile.to_str().unwrap();
    let ran = sandbox
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
    assert!(!trace.exists() && !sandbox.path("bundle").exists());
}
