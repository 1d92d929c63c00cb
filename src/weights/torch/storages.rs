//! The storages that a pickle names: `('storage', type, key, location, numbers)`, by BINPERSID.

use std::collections::HashMap;

use safetensors::Dtype;

use super::refusal::Refusal;
use super::view::Place;
use crate::weights::pickle::{Id, Pickle, Value};

/// The most bytes of a storage's key: PyTorch numbers them.
const MAX_KEY: usize = 128;

/// A storage as the pickle announces it.
pub(super) struct Declared {
    /// Its name.
    pub(super) key: String,
    /// What its numbers are; none where only the tensors know.
    pub(super) dtype: Option<Dtype>,
    /// Its size.
    pub(super) bytes: usize,
}

/// The storages of a pickle.
pub(super) struct Storages {
    pub(super) list: Vec<Declared>,
    places: HashMap<Id, (Place, Option<Dtype>)>,
}

impl Storages {
    /// The storage that a value stands for, and what its numbers are.
    pub(super) fn get(&self, id: Id) -> Option<(Place, Option<Dtype>)> {
        self.places.get(&id).copied()
    }
}

/// The storages of a pickle; one that is named often is listed once. The location, `cpu` or `cuda:0`, means nothing
/// here.
pub(super) fn declared(pickle: &Pickle<'_>) -> Result<Storages, Refusal> {
    let mut storages = Storages { list: Vec::new(), places: HashMap::new() };
    let mut keys: HashMap<&str, usize> = HashMap::new();
    for (id, value) in pickle.values() {
        let Value::Persistent(name) = value else { continue };
        let elements = pickle.elements(*name).unwrap_or_default();
        let (class, key, numbers, view) = match elements {
            [kind, class, key, _, numbers, view @ ..] if pickle.text(*kind) == Some("storage") => {
                (*class, *key, *numbers, view)
            }
            [kind, _, ..] if pickle.text(*kind) == Some("module") => continue,
            _ => return Err("something outside of the pickle that is no storage".into()),
        };
        let key = pickle.text(key).filter(|key| key.len() <= MAX_KEY);
        let key = key.ok_or_else(|| format!("a storage whose key is no text of at most {MAX_KEY} bytes"))?;
        let dtype = pickle.global(class).and_then(|(module, name)| dtype_of_storage(module, name));
        let dtype = dtype.ok_or_else(|| {
            Refusal::not_read(format!("storage {key} of a type that is not read{}", named(pickle, class)))
        })?;
        let size = dtype.map_or(1, |dtype| dtype.bitsize() / 8);
        let numbers = pickle.int(numbers).and_then(|numbers| usize::try_from(numbers).ok());
        let bytes = numbers.and_then(|numbers| numbers.checked_mul(size));
        let (Some(numbers), Some(bytes)) = (numbers, bytes) else {
            return Err(format!("storage {key} of a size that is no number").into());
        };
        let storage = match keys.get(key) {
            Some(&storage) => storage,
            None => {
                keys.insert(key, storages.list.len());
                storages.list.push(Declared { key: key.to_owned(), dtype, bytes });
                storages.list.len() - 1
            }
        };
        if storages.list.get(storage).is_none_or(|first| first.bytes != bytes || first.dtype != dtype) {
            return Err(format!("storage {key} with two sizes or types").into());
        }
        let place = part(pickle, view, Place { storage, first: 0, length: numbers })
            .ok_or_else(|| format!("a view that is not within storage {key}"))?;
        storages.places.insert(id, (place, dtype));
    }
    Ok(storages)
}

/// The part of a storage that files before zip archives may name: `(key, offset, numbers)`.
fn part(pickle: &Pickle<'_>, view: &[Id], whole: Place) -> Option<Place> {
    let &[view] = view else { return view.is_empty().then_some(whole) };
    if matches!(pickle.get(view), Value::None) {
        return Some(whole);
    }
    let &[_, first, length] = pickle.elements(view)? else { return None };
    let number = |id| usize::try_from(pickle.int(id)?).ok();
    let (first, length) = (number(first)?, number(length)?);
    (first.checked_add(length)? <= whole.length).then_some(Place { first, length, ..whole })
}

fn named(pickle: &Pickle<'_>, class: Id) -> String {
    pickle.global(class).map(|(module, name)| format!(": {module}.{name}")).unwrap_or_default()
}

/// What the numbers of a class of storages are: none for one that does not say, no answer for one that is not read.
fn dtype_of_storage(module: &str, name: &str) -> Option<Option<Dtype>> {
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    Some(Some(match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        "UntypedStorage" => return Some(None),
        _ => return None,
    }))
}

/// What `torch.float32` and its like mean.
pub(super) fn dtype(module: &str, name: &str) -> Option<Dtype> {
    if module != "torch" {
        return None;
    }
    Some(match name {
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "bool" => Dtype::BOOL,
        _ => return None,
    })
}
