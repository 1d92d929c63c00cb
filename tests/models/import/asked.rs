//! What `models` answers to names and places that lead nowhere, and when it says nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::bundle_parts::{BundleParts, ESM};
use crate::support::{Ran, Sandbox};
use virnucpro::error::Fault;

/// `models import` of the parts, some of them given in another way.
fn import(sandbox: &Sandbox, parts: &BundleParts, args: &[&str]) -> Ran {
    let paths = ["dnabert", "esm", "head.safetensors"].map(|part| parts.path(part).to_str().unwrap().to_owned());
    let mut all = vec!["models", "import"];
    for (option, part) in ["--dnabert", "--esm", "--head"].iter().zip(&paths) {
        if !args.contains(option) {
            all.extend([*option, part]);
        }
    }
    if !args.contains(&"--name") {
        all.extend(["--name", "tiny"]);
    }
    all.extend(args);
    let mut command = sandbox.command(&all);
    command.env("XDG_DATA_HOME", sandbox.path("data")).env("XDG_CACHE_HOME", sandbox.path("cache"));
    Ran::of(command)
}

#[test]
fn an_invalid_name_is_a_wrong_argument_before_anything_is_read() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    for name in ["../x", ".x", "", "/etc", "a b", &"x".repeat(65)] {
        let ran = import(&sandbox, &parts, &["--name", name, "--esm", "none"]);
        assert_eq!(ran.code, 64, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("VN-USAGE") && ran.stderr.contains("letter or digit"), "{}", ran.stderr);
    }
}

#[test]
fn an_unknown_name_of_a_model_is_reported_as_such() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    let ran = import(&sandbox, &parts, &["--esm", "esm2-3bb", "-o", "out"]);
    assert_eq!(ran.code, 78, "{}", ran.stderr);
    assert!(ran.stderr.contains("no file, bundle or fetched model is named 'esm2-3bb'"), "{}", ran.stderr);
    assert!(ran.stderr.contains("models list") && ran.stderr.contains("models fetch"), "{}", ran.stderr);
    let ran = import(&sandbox, &parts, &["--dnabert", "mini", "-o", "out"]);
    assert_eq!(ran.code, 78, "{}", ran.stderr);
    assert!(ran.stderr.contains("has no files"), "{}", ran.stderr);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn anything_but_a_regular_file_is_reported_as_such() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    for part in ["--dnabert", "--esm", "--head"] {
        let ran = import(&sandbox, &parts, &[part, "/dev/zero", "-o", "out"]);
        assert_eq!(ran.code, 78, "{}", ran.stderr);
        assert!(ran.stderr.contains("not a regular file") && !ran.stderr.contains("irectory"), "{}", ran.stderr);
    }
}

#[test]
fn quiet_prints_nothing_of_a_success() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    let ran = import(&sandbox, &parts, &["-q", "-o", "out"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let ran = sandbox.run(&["models", "verify", "-q", "./out", "--digests-only"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(sandbox.run(&["models", "path", "-q", "./out"]).ok().stdout.contains("out"));
}

#[test]
fn an_empty_folder_is_filled_whichever_way_it_is_named() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    for name in ["here", "behind", "in words"] {
        fs::create_dir(sandbox.path(name)).unwrap();
    }
    symlink("behind", sandbox.path("link")).unwrap();
    let paths = ["dnabert", "esm", "head.safetensors"].map(|part| parts.path(part).to_str().unwrap().to_owned());
    let [dnabert, esm, head] = paths.each_ref();
    let args = ["models", "import", "--name", "t", "--dnabert", dnabert, "--esm", esm, "--head", head, "-o", "."];
    let mut command = sandbox.command(&args);
    command.current_dir(sandbox.path("here"));
    Ran::of(command).ok();
    import(&sandbox, &parts, &["-o", "link"]).ok();
    let told = import(&sandbox, &parts, &["-o", "in words"]).ok().stdout;
    for name in ["here", "behind", "in words"] {
        assert!(sandbox.path(name).join("bundle.yaml").is_file(), "{name}");
    }
    assert!(told.contains("/in words' -o OUT"), "{told}");
    assert!(sandbox.path("link").is_symlink());
}

#[test]
fn what_is_mounted_is_refused_before_the_work() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let is_empty = |path: &&str| Path::new(path).read_dir().is_ok_and(|mut entries| entries.next().is_none());
    let Some(mounted) = points.find(is_empty) else {
        println!("skipped: no empty folder is mounted here");
        return;
    };
    let ran = import(&sandbox, &parts, &["-o", mounted, "--esm", "none/none/none"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("root of a file system") && ran.stderr.contains(mounted), "{}", ran.stderr);
}

#[test]
fn a_folder_that_cannot_be_read_hides_no_other() {
    let sandbox = Sandbox::new();
    // A file in the place of a folder cannot be read by anybody.
    sandbox.write("file", "");
    let told = sandbox.run(&["models", "list", "--models", "file"]).ok().stdout;
    assert!(told.contains("\nmini "), "{told}");
    assert!(told.lines().any(|line| line.starts_with("  file (cannot be read: ")), "{told}");
    fs::create_dir(sandbox.path("shut")).unwrap();
    fs::set_permissions(sandbox.path("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    sandbox.run(&["models", "list", "--models", "shut"]).ok();
}

#[test]
fn a_wrong_shape_is_reported_under_the_name_in_the_weights_file() {
    let parts = BundleParts::new();
    let own = "encoder.layer.0.output.dense.bias";
    parts.change_tensors(ESM, |tensors| tensors.without(own).with(own, &[3]).renamed(|name| format!("esm.{name}")));
    let report = parts.refused(Fault::ModelShape).report("import");
    assert!(report.contains(&format!("esm.{own}")) && report.contains("[64]") && report.contains("[3]"), "{report}");
}
