//! Which module may use which, and which may touch which library: the import rule, checked on the sources.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scan;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scan::{Source, Token};

/// Module, and the modules it may use. `main` may use all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("nearest", &[]),
    ("units", &["error"]),
    ("fs", &["error", "units"]),
    ("seq", &["error", "units"]),
    ("tokenize", &["error", "units", "seq"]),
    ("pack", &["units"]),
    ("runtime", &["error", "units"]),
    ("device", &["error", "units", "runtime"]),
    ("weights", &["error", "fs"]),
    ("composition", &["seq"]),
    ("calibration", &["error"]),
    ("model", &["error", "units", "pack", "device", "weights", "composition"]),
    ("store", &["error", "units", "fs"]),
    ("train", &["error", "units", "fs", "runtime", "device"]),
    ("labels", &["error", "units", "fs"]),
    ("metrics", &[]),
    ("plot", &[]),
    ("regions", &[]),
    (
        "hub",
        &[
            "error",
            "units",
            "fs",
            "weights::candidates",
            "weights::catalogue",
            "weights::hub_cache",
            "weights::index",
            "weights::placeholder",
            "runtime",
        ],
    ),
    ("bundle", &["error", "nearest", "units", "fs", "weights", "tokenize", "model::schema", "calibration"]),
    ("config", &["error", "units", "fs::text"]),
    (
        "embed",
        &["error", "units", "config", "tokenize", "pack", "weights", "bundle", "model", "store", "runtime", "device"],
    ),
    (
        "stages",
        &[
            "error",
            "units",
            "config",
            "fs",
            "seq",
            "model",
            "bundle",
            "calibration",
            "store",
            "runtime",
            "embed",
            "labels",
            "metrics",
            "plot",
            "regions",
            "train",
        ],
    ),
    (
        "commands",
        &[
            "error",
            "nearest",
            "units",
            "config",
            "fs",
            "weights::catalogue",
            "hub",
            "bundle",
            "store",
            "runtime",
            "embed",
        ],
    ),
    ("cli", &["error", "nearest", "units", "config"]),
];

/// Library, and the files or folders of `src` that may name it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("tch", &["model/", "device/", "train/"]),
    ("needletail", &["seq/fastx.rs"]),
    ("tokenizers", &["tokenize/bpe.rs"]),
    ("serde_yaml", &["config/file.rs", "bundle/", "weights/catalogue.rs", "train/recipe.rs"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/pages.rs"]),
    ("clap_mangen", &["cli/pages.rs"]),
    ("ureq", &["hub/"]),
    ("httpdate", &["hub/http/"]),
    ("rustix", &["fs/", "runtime/memory.rs"]),
    ("sha1", &["fs/digest.rs"]),
    ("ring", &["fs/digest.rs"]),
    ("memmap2", &["weights/bytes.rs"]),
    ("flate2", &["seq/decompress.rs", "seq/fasta_writer.rs", "weights/torch/zip.rs"]),
    (
        "safetensors",
        &[
            "weights/",
            "model/classifier.rs",
            "model/parameters.rs",
            "model/random.rs",
            "model/schema/",
            "bundle/import/",
            "train/head_file.rs",
        ],
    ),
    ("half", &["bundle/import/convert.rs", "model/classifier.rs", "model/kernels/", "train/head_file.rs"]),
    ("parquet", &["store/"]),
    ("arrow_array", &["store/"]),
    ("arrow_schema", &["store/"]),
    ("indicatif", &["runtime/"]),
    ("sysinfo", &["runtime/"]),
    ("signal_hook", &["runtime/"]),
];

/// Macros that the program never uses: output goes through one place each, and failures are errors.
const MACROS: &[&str] = &["println", "eprintln", "print", "eprint", "dbg", "panic", "todo", "unimplemented"];

/// Methods of a tensor that panic where libtorch refuses; each has a twin `f_*` that gives an error. Besides these,
/// no method whose twin the models use.
const PANICKING: &[&str] = &[
    "matmul",
    "softmax",
    "log_softmax",
    "to_device",
    "to_kind",
    "to_dtype",
    "view",
    "view_",
    "reshape",
    "permute",
    "transpose",
    "transpose_",
    "narrow",
    "select",
    "slice",
    "unsqueeze",
    "squeeze",
    "squeeze_dim",
    "contiguous",
    "gelu",
    "relu",
    "layer_norm",
    "linear",
    "embedding",
    "index_select",
    "index_put_",
    "gather",
    "masked_fill",
    "mean",
    "mean_dim",
    "sum_dim_intlist",
    "argmax",
    "chunk",
    "split",
    "expand",
    "repeat",
    "copy_",
    "double_value",
    "int64_value",
    "copy_data",
    "bmm",
    "addmm",
    "tril",
    "triu",
    "eq_tensor",
    "where_self",
];
/// Folders whose tensor calls are looked at.
const COMPUTES: [&str; 2] = ["model/", "train/"];
/// Names that also belong to numbers and iterators.
const NOT_ONLY_TENSORS: &[&str] =
    &["add", "sub", "mul", "div", "neg", "min", "max", "abs", "sin", "cos", "exp", "sqrt", "kind", "sum"];

fn sources() -> Vec<Source> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 50, "{} sources", files.len());
    let source = |path: &PathBuf| {
        Source::parse(path.strip_prefix(&root).unwrap().to_str().unwrap(), &fs::read_to_string(path).unwrap())
    };
    files.iter().map(source).collect()
}

/// Uses of modules that the table does not allow.
fn wrong_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    if ["main", "lib"].contains(&module) {
        return Vec::new();
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
        return vec![format!("src/{}: module {module} is not in the table", source.path)];
    };
    let may = |path: &str| {
        path.split("::").next() == Some(module)
            || allowed.iter().any(|known| path == *known || path.starts_with(&format!("{known}::")))
    };
    let wrong = source.crate_paths().into_iter().filter(|(_, path)| !may(path));
    wrong.map(|(line, path)| format!("src/{}:{line}: {module} uses {path}", source.path)).collect()
}

/// Uses of libraries outside their files.
fn wrong_libraries(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (library, places) in LIBRARIES {
        if !places.iter().any(|place| source.path.starts_with(place)) {
            let uses = source.uses_of(library).into_iter();
            wrong.extend(uses.map(|line| format!("src/{}:{line}: {library} belongs to {places:?}", source.path)));
        }
    }
    wrong
}

/// Output, exits and failures that pass by the places meant for them.
fn wrong_calls(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for [first, second, third, fourth] in source.windows() {
        let say = |what: String| format!("src/{}:{}: {what}", source.path, first.line);
        if MACROS.contains(&first.text) && second.text == "!" {
            wrong.push(say(format!("{}!", first.text)));
        }
        if first.text == "process" && second.text == "::" && ["exit", "abort"].contains(&third.text) {
            wrong.push(say(format!("process::{}", third.text)));
        }
        if first.text == "." && ["unwrap", "expect"].contains(&second.text) && third.text == "(" && fourth.text == ")" {
            wrong.push(say(format!(".{}()", second.text)));
        }
    }
    wrong
}

/// Panicking tensor calls in the models.
fn wrong_tensor_calls(source: &Source, fallible: &BTreeSet<String>) -> Vec<String> {
    if !COMPUTES.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for [first, second, third, _] in source.windows() {
        let name = second.text;
        let panics = PANICKING.contains(&name) || (fallible.contains(name) && !NOT_ONLY_TENSORS.contains(&name));
        if first.text == "." && third.text == "(" && panics {
            wrong.push(format!("src/{}:{}: .{name}( panics; use .f_{name}(", source.path, second.line));
        }
        let constructor = first.text == "Tensor" && second.text == "::" && !third.text.starts_with("f_");
        if constructor && third.text.starts_with(|c: char| c.is_ascii_lowercase()) {
            wrong.push(format!("src/{}:{}: Tensor::{} panics; use its f_ twin", source.path, first.line, third.text));
        }
    }
    wrong
}

/// Names of the fallible calls in use, without `f_`.
fn fallible<'a>(sources: impl IntoIterator<Item = &'a Source>) -> BTreeSet<String> {
    let computes = |source: &&Source| COMPUTES.iter().any(|folder| source.path.starts_with(folder));
    let tokens = sources.into_iter().filter(computes).flat_map(Source::tokens);
    tokens.filter_map(|token: &Token| token.text.strip_prefix("f_").map(str::to_owned)).collect()
}

#[track_caller]
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} violations:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn modules_use_only_the_modules_below_them() {
    assert_none(sources().iter().flat_map(wrong_imports).collect());
}

#[test]
fn the_table_has_no_cycle() {
    for (module, allowed) in ALLOWED {
        for other in *allowed {
            let other = other.split("::").next().unwrap();
            let (_, back) = ALLOWED.iter().find(|(name, _)| *name == other).expect(other);
            assert!(!back.contains(module), "{module} and {other} may use each other");
        }
    }
}

#[test]
fn fetching_and_import_use_one_catalogue() {
    let uses = |source: &Source| source.crate_paths().iter().any(|(_, path)| path.starts_with("weights::catalogue"));
    let sources = sources();
    let users: BTreeSet<&str> = sources.iter().filter(|source| uses(source)).map(Source::module).collect();
    assert!(["hub", "bundle"].iter().all(|module| users.contains(module)), "{users:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let catalogue = fs::read_to_string(root.join("weights/catalogue.yaml")).unwrap();
    let ids: Vec<&str> = catalogue.lines().filter_map(|line| line.trim().strip_prefix("git: ")).collect();
    assert_eq!(ids.len(), 2);
    for source in &sources {
        let text = fs::read_to_string(root.join(&source.path)).unwrap();
        assert!(!ids.iter().any(|id| text.contains(id)), "src/{} holds the id of a published head too", source.path);
    }
}

#[test]
fn libraries_stay_in_their_files() {
    assert_none(sources().iter().flat_map(wrong_libraries).collect());
}

#[test]
fn output_exits_and_failures_go_through_their_places() {
    assert_none(sources().iter().flat_map(wrong_calls).collect());
}

#[test]
fn models_make_fallible_tensor_calls_only() {
    let sources = sources();
    let fallible = fallible(&sources);
    assert!(fallible.len() > 20, "{fallible:?}");
    assert_none(sources.iter().flat_map(|source| wrong_tensor_calls(source, &fallible)).collect());
}

mod planted {
    //! Every check finds what it is for, and passes what only looks like it.

    use super::*;

    #[track_caller]
    fn finds(path: &str, text: &str, check: fn(&Source) -> Vec<String>, count: usize) {
        let wrong = check(&Source::parse(path, text));
        assert_eq!(wrong.len(), count, "{text}\n{wrong:?}");
    }

    #[test]
    fn a_use_of_a_module_above_in_any_form() {
        for text in [
            "use crate::stages::chunk;",
            "use crate::{error::Error, stages};",
            "use crate::{error::{Error, Result}, stages::{run::run}};",
            "fn f() { let x: crate::cli::Cli = y; }",
            "pub use crate :: embed :: Session as S;",
            "use super::super::cli::Cli;",
            "mod inner { use super::super::super::cli::Cli; }",
            "fn f() -> Result<crate::config::Run> {}",
        ] {
            finds("seq/fastx.rs", text, wrong_imports, 1);
        }
        finds("seq/mod.rs", "use super::cli;", wrong_imports, 1);
        finds("seq/mod.rs", "use crate::{cli, embed, units};", wrong_imports, 2);
        finds("error.rs", "use crate::units::Tokens;", wrong_imports, 1);
        finds("model/esm2.rs", "use crate::runtime::logging;", wrong_imports, 1);
        finds("tokens/mod.rs", "", wrong_imports, 1);
    }

    #[test]
    fn what_only_looks_like_a_use() {
        for text in [
            "// use crate::cli::Cli;",
            "/* use crate::cli; /* nested */ use crate::stages; */",
            "//! [`crate::cli`]",
            r#"const A: &str = "use crate::cli;";"#,
            r##"const A: &str = r#"" crate::cli"#;"##,
            "const A: char = '\"'; // \" crate::cli",
            "use crate::error::Error; use crate::seq::cli; use super::cli; use crate::units::cli;",
            "use other::crate_::cli; use std::cli;",
            "#[cfg(test)] mod tests { use crate::cli; fn f() { if a { } } }",
            "#[cfg(test)]\nuse crate::cli::Cli;\nuse crate::error::Error;",
            "mod inner { use super::super::fastx; }",
        ] {
            finds("seq/fastx.rs", text, wrong_imports, 0);
        }
        finds("model/esm2.rs", "use crate::device::Placement;", wrong_imports, 0);
        finds("main.rs", "use virnucpro::cli;", wrong_imports, 0);
    }

    #[test]
    fn what_follows_a_test_module_counts_again() {
        finds("seq/a.rs", "#[cfg(test)] mod tests { } use crate::cli;", wrong_imports, 1);
        finds("seq/a.rs", "#[cfg(not(test))] use crate::cli;", wrong_imports, 1);
        finds("seq/a.rs", "const LIFETIME: &'static str = X; use crate::cli; fn f<'a>() {}", wrong_imports, 1);
    }

    #[test]
    fn a_library_out_of_its_place() {
        for text in ["use tch::Tensor;", "fn f() { tch::no_grad() }", "use tch as t;", "use {tch, log};"] {
            finds("embed/session.rs", text, wrong_libraries, 1);
        }
        finds("cli/layers.rs", "use serde_yaml::Value;", wrong_libraries, 1);
        finds("runtime/logging.rs", "use tch::Device;", wrong_libraries, 1);
        finds("model/esm2.rs", "use tch::Tensor;", wrong_libraries, 0);
        finds("embed/session.rs", "let tch = crate::model::tch::x(); batch::y();", wrong_libraries, 0);
    }

    #[test]
    fn output_and_exits() {
        for text in [
            "println!(\"x\")",
            "std::process::exit(1)",
            "use std::process; process::abort()",
            "panic!()",
            "x.unwrap()",
            "x.expect(\"y\")",
        ] {
            finds("stages/run.rs", text, wrong_calls, 1);
        }
        finds(
            "stages/run.rs",
            "writeln!(out, \"println!\"); x.unwrap_or(1); self.expect(&id); std::panic::catch(y)",
            wrong_calls,
            0,
        );
    }

    #[test]
    fn a_panicking_tensor_call() {
        let check = |path: &str, text: &str| {
            let source = Source::parse(path, text);
            wrong_tensor_calls(&source, &BTreeSet::from(["outer".to_owned(), "min".to_owned()])).len()
        };
        for text in
            ["q.matmul(&k)", "x.softmax(-1, Kind::Float)", "x\n  .to_device(d)", "a.outer(&b)", "Tensor::zeros(n)"]
        {
            assert_eq!(check("model/nn.rs", text), 1, "{text}");
            assert_eq!(check("device/placement.rs", text), 0, "{text}");
        }
        for text in ["q.f_matmul(&k)?", "a.min(b)", "matmul(x)", "Tensor::f_zeros(n)?", "-> Tensor {}", "Tensor::new"] {
            assert_eq!(check("model/nn.rs", text), usize::from(text == "Tensor::new"), "{text}");
        }
    }
}
