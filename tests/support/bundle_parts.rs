//! What the tests of `models import` share: the parts of the embedded bundle, taken apart to be changed.

#![allow(dead_code, unused_imports)] // each test file uses a part

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use tempfile::TempDir;
use virnucpro::bundle::import::{ImportReport, ImportRequest, Training, import};
use virnucpro::bundle::{BUNDLE_YAML, Bundle};
use virnucpro::error::{Error, Fault, Result};
use virnucpro::units::WeightFormat;

pub use crate::support::{repository, shared};

pub const ESM: &str = "esm/model.safetensors";
pub const DNABERT: &str = "dnabert/model.safetensors";
pub const HEAD: &str = "head.safetensors";

/// Tensors that can be renamed, changed and written.
#[derive(Clone, Default)]
pub struct Tensors(pub BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        Self(
            tensors
                .iter()
                .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
                .collect(),
        )
    }

    pub fn renamed(&self, rename: impl Fn(&str) -> String) -> Self {
        Self(self.0.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect())
    }

    pub fn with(mut self, name: &str, shape: &[usize]) -> Self {
        let bytes = vec![0; 4 * shape.iter().product::<usize>()];
        self.0.insert(name.to_owned(), (Dtype::F32, shape.to_vec(), bytes));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        assert!(self.0.remove(name).is_some(), "{name}");
        self
    }

    pub fn value(mut self, name: &str, index: usize, value: f32) -> Self {
        self.0.get_mut(name).unwrap().2[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    pub fn write(&self, path: &Path) {
        let views = self
            .0
            .iter()
            .map(|(name, (dtype, shape, data))| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }
}

/// The parts of the embedded bundle as folders that can be changed, and the request that makes it anew.
pub struct BundleParts {
    pub folder: TempDir,
}

impl BundleParts {
    pub fn new() -> Self {
        let parts = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["dnabert", "esm"] {
            fs::create_dir(parts.path(name)).unwrap();
        }
        for file in crate::support::untrained().spec().files.keys() {
            fs::copy(repository().join("bundles/untrained").join(file), parts.path(file)).unwrap();
        }
        parts
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn request(&self) -> ImportRequest {
        ImportRequest {
            name: "untrained".to_owned(),
            version: "1".to_owned(),
            training: Training::Untrained,
            licence: Some("MIT".to_owned()),
            source: Some("random weights, for tests and demonstrations".to_owned()),
            window: Some(500),
            dtype: WeightFormat::Keep,
            dnabert: self.path("dnabert"),
            esm: self.path("esm"),
            head: self.path("head.safetensors"),
            out: self.path("out"),
        }
    }

    pub fn tensors(&self, file: &str) -> Tensors {
        Tensors::read(&self.path(file))
    }

    pub fn change_tensors(&self, file: &str, change: impl FnOnce(Tensors) -> Tensors) {
        change(self.tensors(file)).write(&self.path(file));
    }

    pub fn change_json(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        change(&mut json);
        fs::write(self.path(file), json.to_string()).unwrap();
    }

    pub fn import(&self) -> Result<ImportReport> {
        import(&self.request())
    }

    /// The import is refused, for the right reason, and leaves nothing behind.
    #[track_caller]
    pub fn refused(&self, fault: Fault) -> Error {
        let before = self.folder.path().read_dir().unwrap().count();
        let error = self.import().expect_err("the import is refused");
        assert_eq!((error.fault(), error.fault().exit_code()), (fault, 78), "{}", error.report("import"));
        assert!(error.path().is_some(), "{}", error.report("import"));
        assert_eq!(self.folder.path().read_dir().unwrap().count(), before, "something is left behind");
        error
    }
}

#[track_caller]
pub fn assert_same_as_untrained(report: &ImportReport) {
    let mini = crate::support::untrained();
    for file in mini.spec().files.keys().map(String::as_str).chain([BUNDLE_YAML]) {
        let (made, embedded) = (
            fs::read(report.folder.join(file)).unwrap(),
            fs::read(repository().join("bundles/untrained").join(file)).unwrap(),
        );
        assert!(made == embedded, "{file} differs");
    }
    assert_eq!(report.digest, mini.digest());
}

/// A name of a bundle's ESM-2 tensor as fair-esm writes it.
pub fn fair_esm(name: &str) -> String {
    let pairs = [
        ("encoder.layer.", "layers."),
        ("attention.self.rotary_embeddings.inv_freq", "self_attn.rot_emb.inv_freq"),
        ("attention.self.query", "self_attn.q_proj"),
        ("attention.self.key", "self_attn.k_proj"),
        ("attention.self.value", "self_attn.v_proj"),
        ("attention.output.dense", "self_attn.out_proj"),
        ("attention.LayerNorm", "self_attn_layer_norm"),
        ("LayerNorm", "final_layer_norm"),
        ("intermediate.dense", "fc1"),
        ("output.dense", "fc2"),
        ("encoder.emb_layer_norm_after", "emb_layer_norm_after"),
        ("embeddings.word_embeddings", "embed_tokens"),
    ];
    pairs.iter().fold(name.to_owned(), |name, (own, fair)| name.replace(own, fair))
}
