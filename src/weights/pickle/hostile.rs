//! Classes and functions that belong in no weights file.
//!
//! The list is no wall, because nothing is called that it lets pass. It tells an attack, or a program that was saved
//! as a model, from a model whose classes are merely unknown.

/// Modules and functions of which nothing belongs in a weights file, with all they contain.
const NAMES: &[&str] = &[
    // Processes, files, the interpreter.
    "os",
    "posix",
    "posixpath",
    "nt",
    "ntpath",
    "subprocess",
    "_posixsubprocess",
    "popen2",
    "commands",
    "sys",
    "shutil",
    "tempfile",
    "glob",
    "fileinput",
    "fcntl",
    "mmap",
    "resource",
    "signal",
    "pty",
    "tty",
    "platform",
    "getpass",
    "gc",
    "atexit",
    "faulthandler",
    "winreg",
    "_winreg",
    "msvcrt",
    "_winapi",
    "io",
    "_io",
    "codecs",
    // Code that is made, loaded or run.
    "importlib",
    "imp",
    "_imp",
    "runpy",
    "pkgutil",
    "zipimport",
    "zipapp",
    "code",
    "codeop",
    "compileall",
    "py_compile",
    "ast",
    "dis",
    "inspect",
    "symtable",
    "types",
    "marshal",
    "ctypes",
    "_ctypes",
    "cffi",
    "_cffi_backend",
    "pip",
    "setuptools",
    "distutils",
    "ensurepip",
    "venv",
    "site",
    "lib2to3",
    "pydoc",
    "idlelib",
    "antigravity",
    "jinja2",
    "mako",
    // Functions that call functions.
    "operator",
    "_operator",
    "functools",
    "_functools",
    "timeit",
    "trace",
    "profile",
    "cProfile",
    "pdb",
    "bdb",
    "doctest",
    "unittest",
    "threading",
    "_thread",
    "thread",
    "multiprocessing",
    "concurrent",
    "asyncio",
    // Networks.
    "socket",
    "_socket",
    "socketserver",
    "SocketServer",
    "ssl",
    "_ssl",
    "http",
    "httplib",
    "urllib",
    "urllib2",
    "urllib3",
    "requests",
    "aiohttp",
    "httpx",
    "ftplib",
    "telnetlib",
    "smtplib",
    "poplib",
    "imaplib",
    "nntplib",
    "xmlrpc",
    "xmlrpclib",
    "webbrowser",
    "cgi",
    "wsgiref",
    "paramiko",
    // What unpickles.
    "pickle",
    "_pickle",
    "cPickle",
    "pickletools",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "dbm",
    "sqlite3",
    "logging.config",
    "pandas.read_pickle",
    "pandas.eval",
    "pandas.io",
    "torch.load",
    "torch.save",
    "torch.serialization",
    "torch.storage._load_from_bytes",
    "torch.jit",
    "torch.hub",
    "torch.package",
    "torch.fx",
    "torch.ops",
    "torch._ops",
    "torch.classes",
    "torch._dynamo",
    "torch._inductor",
    "torch.compile",
    "torch.compiler",
    "torch.export",
    "torch.library",
    "torch.multiprocessing",
    "torch.distributed.rpc",
    "torch.distributed.launch",
    "torch.distributed.run",
    "torch.distributed.elastic",
    "torch.testing",
    "torch.utils.bottleneck",
    "torch.utils.collect_env",
    "torch.utils.cpp_extension",
    "torch.utils.hipify",
    "torch.utils.model_zoo",
    "torch.utils._config_module",
    "numpy.load",
    "numpy.loadtxt",
    "numpy.genfromtxt",
    "numpy.fromfile",
    "numpy.fromregex",
    "numpy.save",
    "numpy.savez",
    "numpy.savetxt",
    "numpy.memmap",
    "numpy.DataSource",
    "numpy.lib",
    "numpy.testing",
    "numpy.f2py",
    "numpy.distutils",
    "numpy.ctypeslib",
    "numpy.compat",
];

/// Of these, modules of one file whose names people give to their own packages: what lies deeper is not Python's.
const WORDS: &[&str] = &[
    "code", "commands", "dis", "glob", "inspect", "platform", "profile", "resource", "signal", "site", "thread",
    "timeit", "trace", "types",
];

/// Of these, what is data all the same.
const DATA: &[&str] =
    &["types.SimpleNamespace", "io.BytesIO", "_io.BytesIO", "codecs.encode", "torch.serialization._get_layout"];

/// Of Python's own functions and classes, those that are data.
const BUILTINS: &[&str] = &[
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "int",
    "long",
    "float",
    "complex",
    "bool",
    "str",
    "unicode",
    "bytes",
    "bytearray",
    "object",
    "slice",
    "range",
    "xrange",
    "Ellipsis",
    "NotImplemented",
];

/// Parts of a name that lead from a harmless module to another one.
const DETOURS: &[&str] = &["os", "sys", "subprocess", "posix", "nt", "builtins", "importlib"];

/// Names that do the same in whatever module.
const CALLS: &[&str] = &["eval", "exec", "system", "popen"];

/// Whether a class or function belongs in no weights file, whatever is done with it.
pub(super) fn is_hostile(module: &str, name: &str) -> bool {
    if matches!(module, "builtins" | "__builtin__") {
        return !BUILTINS.contains(&name);
    }
    let path = format!("{module}.{name}");
    if DATA.contains(&path.as_str()) {
        return false;
    }
    let is_under =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let leads_away = |part: &str| {
        // `__main__` is the script that saved the model; all other names of this form are Python's machinery.
        let is_machinery = part.starts_with("__") && part.ends_with("__") && part != "__main__";
        is_machinery || DETOURS.contains(&part)
    };
    let is_own = module.split_once('.').is_some_and(|(package, _)| WORDS.contains(&package));
    (!is_own && NAMES.iter().any(|prefix| is_under(prefix)))
        || path.split('.').any(leads_away)
        || path.rsplit('.').next().is_some_and(|last| CALLS.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_the_users_own_is_no_attack() {
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
