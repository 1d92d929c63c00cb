//! Classes and functions that do not belong in a weights file.
//!
//! The list protects nothing, because nothing is called in any case. It tells an attack, or a program saved as a
//! model, from a model whose classes are merely unknown.

/// Modules and functions that start programs, open files or connections, load code, or call other functions: none of
/// what they contain belongs in a weights file.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    // Processes, files, the interpreter.
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "popen2", "commands", "sys", "shutil", "tempfile", "glob",
    "fcntl", "mmap", "resource", "signal", "pty", "platform", "gc", "atexit", "io", "_io", "codecs", "winreg",
    "msvcrt", "_winapi",
    // Code that is made, loaded, run or called.
    "importlib", "imp", "_imp", "runpy", "pkgutil", "zipimport", "code", "codeop", "ast", "dis", "inspect", "types",
    "marshal", "ctypes", "_ctypes", "cffi", "pip", "setuptools", "distutils", "site", "pydoc", "operator",
    "_operator", "functools", "_functools", "timeit", "trace", "profile", "cProfile", "pdb", "bdb", "doctest",
    "unittest", "threading", "_thread", "thread", "multiprocessing", "concurrent", "asyncio",
    // Networks.
    "socket", "_socket", "socketserver", "ssl", "http", "httplib", "urllib", "urllib2", "urllib3", "requests",
    "aiohttp", "httpx", "ftplib", "telnetlib", "smtplib", "imaplib", "xmlrpc", "xmlrpclib", "webbrowser", "paramiko",
    // What unpickles.
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "dbm", "sqlite3", "logging.config",
    "pandas.read_pickle", "pandas.eval", "numpy.load", "numpy.loadtxt", "numpy.genfromtxt", "numpy.fromfile",
    "numpy.save", "numpy.savez", "numpy.savetxt", "numpy.memmap", "numpy.lib", "numpy.testing", "numpy.f2py",
    "numpy.distutils", "numpy.ctypeslib", "torch.load", "torch.save", "torch.serialization",
    "torch.storage._load_from_bytes", "torch.jit", "torch.hub", "torch.package", "torch.fx", "torch.ops",
    "torch._ops", "torch.classes", "torch._dynamo", "torch._inductor", "torch.compile", "torch.compiler",
    "torch.export", "torch.library", "torch.multiprocessing", "torch.distributed.rpc", "torch.distributed.launch",
    "torch.distributed.run", "torch.testing", "torch.utils.collect_env", "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
];

/// Modules of one file among them whose names people also give to their own packages: what lies deeper is not Python's.
const WORDS: &[&str] = &[
    "code", "commands", "dis", "glob", "inspect", "platform", "profile", "resource", "signal", "site", "thread",
    "timeit", "trace", "types",
];

/// Names among them that are data all the same.
const DATA: &[&str] =
    &["types.SimpleNamespace", "io.BytesIO", "_io.BytesIO", "codecs.encode", "torch.serialization._get_layout"];

/// Python's own functions and classes that are data.
#[rustfmt::skip]
const BUILTINS: &[&str] = &[
    "set", "frozenset", "dict", "list", "tuple", "int", "long", "float", "complex", "bool", "str", "unicode", "bytes",
    "bytearray", "object", "slice", "range", "xrange", "Ellipsis", "NotImplemented",
];

/// Parts of a name that lead from a harmless module to another one.
const DETOURS: &[&str] = &["os", "sys", "subprocess", "posix", "nt", "builtins", "importlib"];

/// Names of functions that run something, in any module.
const CALLS: &[&str] = &["eval", "exec", "system", "popen"];

/// Whether a class or function does not belong in a weights file, whatever is done with it.
pub(super) fn is_hostile(module: &str, name: &str) -> bool {
    if matches!(module, "builtins" | "__builtin__") {
        return !BUILTINS.contains(&name);
    }
    let path = format!("{module}.{name}");
    if DATA.contains(&path.as_str()) {
        return false;
    }
    let is_under =
        |prefix: &&str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let leads_away = |part: &str| {
        // `__main__` is the script that saved the model; all other names of this form are Python's machinery.
        let is_machinery = part.starts_with("__") && part.ends_with("__") && part != "__main__";
        is_machinery || DETOURS.contains(&part)
    };
    let is_own = module.split_once('.').is_some_and(|(package, _)| WORDS.contains(&package));
    (!is_own && NAMES.iter().any(is_under))
        || path.split('.').any(leads_away)
        || path.rsplit('.').next().is_some_and(|last| CALLS.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_the_users_own_is_not_an_attack() {
        for (module, name) in [("code.models.mlp", "MLPClassifier"), ("site.nets", "Head"), ("types.model", "Net")] {
            assert!(!is_hostile(module, name), "{module}.{name}");
        }
        for (module, name) in [
            ("code", "interact"),
            ("os.path", "join"),
            ("types", "FunctionType"),
            ("code.os", "system"),
            ("trace.x", "__import__"),
            ("site.nets", "eval"),
        ] {
            assert!(is_hostile(module, name), "{module}.{name}");
        }
    }
}
