//! Models taken from where other programs, or this one, have put them: a hub's cache, and bundles.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::bundle_parts::{BundleParts, DNABERT, ESM, HEAD, assert_same_as_untrained, repository};
use virnucpro::bundle::BUNDLE_YAML;
use virnucpro::bundle::import::{ImportRequest, Training, import};
use virnucpro::error::{Error, Fault};
use virnucpro::fs::digest::{Digest, git_blob};

/// A model of the parts as an entry of a hub's cache.
struct Cache {
    entry: PathBuf,
}

const COMMIT: &str = "08e4846e537177426273712802403f7ba8261b6c";

impl Cache {
    fn of(parts: &BundleParts, part: &str, repository: &str) -> Self {
        let cache = Self { entry: parts.path(&format!("models--{}", repository.replace('/', "--"))) };
        for folder in ["blobs", "refs", &format!("snapshots/{COMMIT}")] {
            fs::create_dir_all(cache.entry.join(folder)).unwrap();
        }
        fs::write(cache.entry.join("refs/main"), COMMIT).unwrap();
        for entry in parts.path(part).read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            cache.add(&name, &fs::read(&path).unwrap());
        }
        cache
    }

    /// A file; the blobs of large ones are named by their SHA-256, of others by their id in Git.
    fn add(&self, name: &str, content: &[u8]) {
        let blob = if name.ends_with(".safetensors") { Digest::of(content).to_string() } else { git_blob(content) };
        fs::write(self.entry.join("blobs").join(&blob), content).unwrap();
        symlink(format!("../../blobs/{blob}"), self.snapshot().join(name)).unwrap();
    }

    fn snapshot(&self) -> PathBuf {
        self.entry.join("snapshots").join(COMMIT)
    }

    fn blob(&self, name: &str) -> PathBuf {
        self.snapshot().join(name).canonicalize().unwrap()
    }

    /// Takes the right to write from everything.
    fn read_only(&self, read_only: bool) {
        fn walk(path: &Path, mode: [u32; 2]) {
            let folder = path.is_dir() && !path.is_symlink();
            let set = || fs::set_permissions(path, fs::Permissions::from_mode(mode[usize::from(folder)])).unwrap();
            if folder {
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
                path.read_dir().unwrap().for_each(|entry| walk(&entry.unwrap().path(), mode));
                set();
            } else if !path.is_symlink() {
                set();
            }
        }
        walk(&self.entry, if read_only { [0o444, 0o555] } else { [0o644, 0o755] });
    }
}

#[test]
fn an_entry_of_a_hubs_cache_is_read_and_named_as_the_source() {
    let parts = BundleParts::new();
    fs::write(parts.path("dnabert/README.md"), "---\nlicense: apache-2.0\n---\n# DNABERT-S\n").unwrap();
    let cache = Cache::of(&parts, "dnabert", "zhihan1996/DNABERT-S");
    cache.read_only(true);
    let places = [cache.entry.clone(), cache.snapshot(), cache.snapshot().join("model.safetensors")];
    for (number, dnabert) in places.into_iter().enumerate() {
        let out = parts.path(&format!("out-{number}"));
        let request = ImportRequest { dnabert, licence: None, source: None, out, ..parts.request() };
        let report = import(&request).unwrap();
        let (licence, source) = (report.spec.licence.as_str(), report.spec.source.as_str());
        assert_eq!(licence, "dnabert: apache-2.0; esm: not stated; head: not stated");
        let expected = format!("dnabert: zhihan1996/DNABERT-S@{COMMIT}; esm: not stated; head: not stated");
        assert_eq!(source, expected);
        let same = crate::support::untrained();
        assert_eq!(report.spec.files[DNABERT].sha256, same.spec().files[DNABERT].sha256);
    }
    cache.read_only(false);
}

#[test]
fn the_snapshot_of_a_cache_is_that_of_main_or_must_be_named() {
    let parts = BundleParts::new();
    let cache = Cache::of(&parts, "esm", "facebook/esm2_t3");
    let request = ImportRequest { esm: cache.entry.clone(), ..parts.request() };
    fs::create_dir(cache.entry.join("snapshots/older")).unwrap();
    assert_same_as_untrained(&import(&request).unwrap());

    fs::remove_file(cache.entry.join("refs/main")).unwrap();
    let error = import(&ImportRequest { out: parts.path("other"), ..request.clone() }).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelMissing);
    let report = error.report("import");
    assert!(report.contains(COMMIT) && report.contains("older") && report.contains("several"), "{report}");

    fs::remove_dir(cache.entry.join("snapshots/older")).unwrap();
    assert_same_as_untrained(&import(&ImportRequest { out: parts.path("other"), ..request }).unwrap());
}

#[test]
fn a_cache_with_a_broken_link_or_a_damaged_blob_is_refused() {
    type Break = fn(&Cache);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let cases: [(Break, Fault, &str); 5] = [
        (|c| fs::remove_file(c.blob("model.safetensors")).unwrap(), Fault::ModelMissing, "a link to ../../blobs/"),
        (|c| fs::remove_file(c.blob("config.json")).unwrap(), Fault::ModelMissing, "config.json"),
        (|c| fs::write(c.blob("config.json"), "{}").unwrap(), Fault::ModelDigest, "does not match its name"),
        (|c| fs::remove_dir_all(c.entry.join("blobs")).unwrap(), Fault::ModelMissing, "'blobs'"),
        (|_| (), Fault::ModelDigest, "sha256"),
    ];
    for (number, (damage, fault, part)) in cases.into_iter().enumerate() {
        let parts = BundleParts::new();
        let cache = Cache::of(&parts, "esm", "facebook/esm2_t3");
        damage(&cache);
        if number == 4 {
            flip(&cache.blob("model.safetensors"));
        }
        fs::remove_dir_all(parts.path("esm")).unwrap();
        symlink(&cache.entry, parts.path("esm")).unwrap();
        let report = parts.refused(fault).report("import");
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn parts_of_bundles_go_into_bundles() {
    let mini = repository().join("bundles/untrained");
    let parts = BundleParts::new();
    let esm = mini.join("esm");
    for (dnabert, esm, head) in [
        (mini.clone(), mini.clone(), mini.clone()),
        (mini.join("dnabert"), mini.join(ESM), mini.join(HEAD)),
        (mini.join(DNABERT), esm, parts.path(HEAD)),
    ] {
        let all = head.starts_with(&mini);
        // Nothing is said that the bundle does not say itself.
        let request = ImportRequest {
            training: Training::Trained,
            licence: None,
            source: None,
            window: None,
            out: parts.path("out"),
            ..parts.request()
        };
        let report = import(&ImportRequest { dnabert, esm, head, ..request }).unwrap();
        assert!(!report.spec.trained, "random weights make a bundle of random weights");
        if all {
            assert_same_as_untrained(&report);
        } else {
            let licences = "dnabert: MIT; esm: MIT; head: not stated";
            assert_eq!((report.spec.licence.as_str(), report.spec.window), (licences, 500));
            // A bundle made of such a bundle repeats what was said of each part.
            let made = report.folder.clone();
            let request =
                ImportRequest { esm: made.clone(), licence: None, out: parts.path("next"), ..parts.request() };
            let report = import(&ImportRequest { dnabert: made.clone(), head: made, ..request }).unwrap();
            assert_eq!(report.spec.licence, licences);
        }
        fs::remove_dir_all(parts.path("out")).unwrap();
    }
}

/// Copies the embedded bundle and changes its `bundle.yaml`.
fn bundle(parts: &BundleParts, change: impl Fn(&str) -> String) -> PathBuf {
    let folder = parts.path("bundle");
    for file in crate::support::untrained().spec().files.keys().map(String::as_str).chain([BUNDLE_YAML]) {
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::copy(repository().join("bundles/untrained").join(file), folder.join(file)).unwrap();
    }
    let yaml = fs::read_to_string(folder.join(BUNDLE_YAML)).unwrap();
    fs::write(folder.join(BUNDLE_YAML), change(&yaml)).unwrap();
    folder
}

#[test]
fn the_window_of_a_bundle_is_that_of_its_head() {
    let parts = BundleParts::new();
    let made = bundle(&parts, |yaml| yaml.replace("window: 500", "window: 300"));
    let request = ImportRequest { head: made.clone(), window: None, ..parts.request() };
    assert_eq!(import(&request).unwrap().spec.window, 300);
    // An encoder has no window.
    let out = parts.path("other");
    assert_eq!(import(&ImportRequest { esm: made, window: None, out, ..parts.request() }).unwrap().spec.window, 500);
    let error = import(&ImportRequest { window: Some(500), out: parts.path("third"), ..request }).unwrap_err();
    assert_eq!(error.fault(), Fault::ModelMismatch);
    assert!(error.report("import").contains("--window 300"), "{}", error.report("import"));
}

#[test]
fn a_bundle_without_the_part_or_with_a_damaged_one_is_refused() {
    let refused = |parts: &BundleParts, bundle: PathBuf| -> Error {
        let error = import(&ImportRequest { esm: bundle, ..parts.request() }).unwrap_err();
        assert!(!parts.path("out").exists());
        error
    };
    let parts = BundleParts::new();
    let error = refused(&parts, repository().join("bundles/mock"));
    assert_eq!(error.fault(), Fault::ModelMismatch);
    assert!(error.report("import").contains("family mock"), "{}", error.report("import"));

    for file in [ESM, "esm/config.json"] {
        let parts = BundleParts::new();
        let made = bundle(&parts, str::to_owned);
        let mut bytes = fs::read(made.join(file)).unwrap();
        // A digit or a weight: still a model, and not the one that was recorded.
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        fs::write(made.join(file), bytes).unwrap();
        let error = refused(&parts, made);
        assert_eq!((error.fault(), error.path().unwrap().ends_with(file)), (Fault::ModelDigest, true), "{file}");
    }
}
