//! Weights files and stored vectors, which a test can alter before a model loads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};
use virnucpro::weights::{ModelBytes, Safetensors};

/// A file of `tests/golden`.
pub fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

pub fn text(path: &str) -> String {
    std::fs::read_to_string(golden(path)).unwrap()
}

/// Tensors of a safetensors file by name.
#[derive(Clone)]
pub struct Stored(BTreeMap<String, Entry>);

#[derive(Clone)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Stored {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let entry = |view: TensorView<'_>| Entry {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        };
        Self(file.iter().map(|(name, view)| (name.to_owned(), entry(view))).collect())
    }

    /// The file as a model loads it.
    pub fn file(&self) -> Safetensors {
        Safetensors::read(ModelBytes::from(self.bytes()), Path::new("model.safetensors")).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self
            .0
            .iter()
            .map(|(name, entry)| (name, TensorView::new(entry.dtype, entry.shape.clone(), &entry.data).unwrap()));
        serialize(views, None).unwrap()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        let entry = &self.0[name];
        assert_eq!(entry.dtype, Dtype::F32, "{name}");
        entry.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    pub fn integers(&self, name: &str) -> Vec<i64> {
        let entry = &self.0[name];
        assert_eq!(entry.dtype, Dtype::I64, "{name}");
        entry.data.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.integers(name).into_iter().map(|id| u32::try_from(id).unwrap()).collect()
    }

    /// What follows `folder/` in the names that begin so.
    pub fn records(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        self.0.keys().filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())).collect()
    }

    /// Takes names to other names; `None` leaves a tensor out.
    pub fn rename(self, name: impl Fn(&str) -> Option<String>) -> Self {
        Self(self.0.into_iter().filter_map(|(old, entry)| Some((name(&old)?, entry))).collect())
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name).unwrap();
        self
    }

    /// Changes the values of one tensor.
    pub fn alter(mut self, name: &str, change: impl FnOnce(&mut Vec<f32>)) -> Self {
        let mut values = self.floats(name);
        change(&mut values);
        self.0.get_mut(name).unwrap().data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self
    }

    /// All tensors rounded to f16 and stored so.
    pub fn in_f16(mut self) -> Self {
        for entry in self.0.values_mut().filter(|entry| entry.dtype == Dtype::F32) {
            let size: Vec<i64> = entry.shape.iter().map(|&length| length as i64).collect();
            let half = Tensor::from_data_size(&entry.data, &size, Kind::Float).to_kind(Kind::Half);
            let mut data = vec![0; entry.data.len() / 2];
            half.copy_data_u8(&mut data, half.numel());
            (entry.dtype, entry.data) = (Dtype::F16, data);
        }
        self
    }
}
