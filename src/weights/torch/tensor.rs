//! Storages, and the tensors that lie in them: from the calls by which PyTorch would rebuild them.

use std::collections::HashMap;

use safetensors::Dtype;

use super::view::{Span, View};
use super::{describe, malformed, not_read};
use crate::error::Result;
use crate::weights::pickle::{Id, Pickle, Value};

/// How many calls may be around that of the tensor: a parameter, a subclass.
const MAX_WRAPPERS: usize = 8;
/// The most dimensions of a tensor in PyTorch.
const MAX_DIMENSIONS: usize = 64;
/// The most bytes in the key of a storage. PyTorch numbers them.
const MAX_KEY: usize = 128;

/// What PyTorch calls the number formats: the class of a storage, and the names in `torch`.
const DTYPES: [(Dtype, [&str; 3]); 10] = [
    (Dtype::F64, ["DoubleStorage", "float64", "double"]),
    (Dtype::F32, ["FloatStorage", "float32", "float"]),
    (Dtype::F16, ["HalfStorage", "float16", "half"]),
    (Dtype::BF16, ["BFloat16Storage", "bfloat16", "bfloat16"]),
    (Dtype::I64, ["LongStorage", "int64", "long"]),
    (Dtype::I32, ["IntStorage", "int32", "int"]),
    (Dtype::I16, ["ShortStorage", "int16", "short"]),
    (Dtype::I8, ["CharStorage", "int8", "int8"]),
    (Dtype::U8, ["ByteStorage", "uint8", "uint8"]),
    (Dtype::BOOL, ["BoolStorage", "bool", "bool"]),
];

fn dtype(called: &str) -> Option<Dtype> {
    DTYPES.iter().find(|(_, names)| names.contains(&called)).map(|(dtype, _)| *dtype)
}

/// A storage as the pickle announces it.
#[derive(PartialEq)]
pub(super) struct Declared {
    pub(super) key: String,
    /// The format of its numbers; none if only the tensors know.
    pub(super) dtype: Option<Dtype>,
    pub(super) numbers: usize,
    /// Size of all numbers.
    pub(super) bytes: usize,
}

/// The storages that a pickle names: `('storage', class, key, location, numbers)`, as something outside of the pickle.
/// The location, `cpu` or `cuda:0`, means nothing here.
pub(super) struct Storages {
    /// Each storage once, however often it is named.
    pub(super) list: Vec<Declared>,
    indices: HashMap<String, usize>,
    spans: HashMap<Id, Span>,
}

impl Storages {
    pub(super) fn of(pickle: &Pickle<'_>) -> Result<Self> {
        let mut storages = Self { list: Vec::new(), indices: HashMap::new(), spans: HashMap::new() };
        for (id, value) in pickle.values() {
            let Value::Persistent(name) = value else { continue };
            match pickle.elements(*name).unwrap_or_default() {
                [kind, class, key, _location, numbers, part @ ..] if pickle.text(*kind) == Some("storage") => {
                    let whole = storages.declare(pickle, [*class, *key, *numbers])?;
                    let span = part_of(whole, pickle, part);
                    let span = span.ok_or_else(|| malformed("a part of a storage that does not lie within it"))?;
                    storages.spans.insert(id, span);
                }
                // The class of a model.
                [kind, _, ..] if pickle.text(*kind) == Some("module") => {}
                _ => return Err(malformed("something outside of the pickle that is not a storage")),
            }
        }
        Ok(storages)
    }

    fn declare(&mut self, pickle: &Pickle<'_>, [class, key, numbers]: [Id; 3]) -> Result<Span> {
        let key = pickle.text(key).filter(|key| key.len() <= MAX_KEY);
        let key =
            key.ok_or_else(|| malformed(format!("a storage whose key is not text of at most {MAX_KEY} bytes")))?;
        let class = pickle.global(class);
        let is_known = |module| matches!(module, "torch" | "torch.cuda" | "torch.storage");
        let dtype = match class {
            Some((module, "UntypedStorage")) if is_known(module) => None,
            Some((module, name)) if is_known(module) && dtype(name).is_some() => dtype(name),
            _ => {
                let class = class.map(|(module, name)| format!(": {module}.{name}")).unwrap_or_default();
                return Err(not_read(format!("storage {key} of a type that is not read{class}")));
            }
        };
        // An untyped storage counts bytes.
        let width = dtype.map_or(1, |dtype| dtype.bitsize() / 8);
        let numbers = pickle.size(numbers);
        let Some((numbers, bytes)) = numbers.and_then(|numbers| Some((numbers, numbers.checked_mul(width)?))) else {
            return Err(malformed(format!("storage {key} of a size that is not a number")));
        };
        let declared = Declared { key: key.to_owned(), dtype, numbers, bytes };
        let storage = *self.indices.entry(key.to_owned()).or_insert(self.list.len());
        match self.list.get(storage) {
            None => self.list.push(declared),
            Some(first) if *first == declared => {}
            Some(_) => return Err(malformed(format!("storage {key} with two sizes or types"))),
        }
        Ok(Span { storage, start: 0, length: numbers })
    }
}

/// The part of a storage that files before zip archives may name: `(key, start, numbers)`.
fn part_of(whole: Span, pickle: &Pickle<'_>, part: &[Id]) -> Option<Span> {
    let &[part] = part else { return part.is_empty().then_some(whole) };
    if matches!(pickle.get(part), Value::None) {
        return Some(whole);
    }
    let &[_, start, length] = pickle.elements(part)? else { return None };
    let (start, length) = (pickle.size(start)?, pickle.size(length)?);
    (start.checked_add(length)? <= whole.length).then_some(Span { start, length, ..whole })
}

/// Whether a value is a tensor or parameter of any kind.
pub(super) fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    match pickle.maker(id) {
        Some(("torch._utils" | "torch._tensor" | "torch.tensor", name)) => name.starts_with("_rebuild_"),
        Some(("torch.nn.parameter", name)) => matches!(name, "Parameter" | "Buffer"),
        _ => false,
    }
}

/// The tensor that a value stands for.
pub(super) fn rebuild(pickle: &Pickle<'_>, storages: &Storages, id: Id) -> Result<View> {
    let (mut name, mut args) = call(pickle, id)?;
    for _ in 0..MAX_WRAPPERS {
        (name, args) = match (name, args) {
            ("_rebuild_parameter" | "_rebuild_parameter_with_state" | "Parameter" | "Buffer", [data, ..]) => {
                call(pickle, *data)?
            }
            ("_rebuild_from_type_v2", [function, _, args, _]) => {
                let function = pickle.global(*function);
                let (_, name) =
                    function.ok_or_else(|| malformed("a tensor made by something other than a function"))?;
                (name, pickle.elements(*args).unwrap_or_default())
            }
            ("_rebuild_tensor", &[storage, offset, shape, strides]) => {
                return view(pickle, storages, [storage, offset, shape, strides], None);
            }
            ("_rebuild_tensor_v2", &[storage, offset, shape, strides, _, _, ref metadata @ ..]) => {
                refuse_metadata(pickle, metadata)?;
                return view(pickle, storages, [storage, offset, shape, strides], None);
            }
            ("_rebuild_tensor_v3", &[storage, offset, shape, strides, _, _, called, ref metadata @ ..]) => {
                refuse_metadata(pickle, metadata)?;
                let called = pickle.global(called).filter(|(module, _)| *module == "torch");
                let dtype = called.and_then(|(_, name)| dtype(name));
                let dtype = dtype.ok_or_else(|| not_read("a tensor of numbers that are not read"))?;
                return view(pickle, storages, [storage, offset, shape, strides], Some(dtype));
            }
            (name, _) => {
                return Err(not_read(format!("a tensor of a kind that is not read: {}", describe::short(name))));
            }
        };
    }
    Err(malformed(format!("a tensor within more than {MAX_WRAPPERS} others")))
}

/// Function and arguments of the call that makes a tensor.
fn call<'p>(pickle: &'p Pickle<'_>, id: Id) -> Result<(&'p str, &'p [Id])> {
    let maker = pickle.maker(id).filter(|_| is_tensor(pickle, id));
    let (_, name) = maker.ok_or_else(|| malformed("a parameter without a tensor"))?;
    match pickle.state(id) {
        None => Ok((name, pickle.args(id))),
        Some(_) => Err(malformed("a tensor with a state of its own")),
    }
}

/// Metadata say that the numbers are not what they look like: negated or conjugated.
fn refuse_metadata(pickle: &Pickle<'_>, metadata: &[Id]) -> Result<()> {
    let is_empty = |id: &Id| match pickle.get(*id) {
        Value::None => true,
        Value::Dict(entries) => entries.is_empty(),
        _ => false,
    };
    match metadata.iter().all(is_empty) {
        true => Ok(()),
        false => Err(not_read("a tensor with metadata: negated or conjugated numbers")),
    }
}

fn view(pickle: &Pickle<'_>, storages: &Storages, args: [Id; 4], dtype: Option<Dtype>) -> Result<View> {
    let [storage, offset, shape, strides] = args;
    let span = storages.spans.get(&storage).and_then(|span| Some((*span, storages.list.get(span.storage)?.dtype)));
    let (mut span, stored) = span.ok_or_else(|| malformed("a tensor without a storage"))?;
    let dtype = match (stored, dtype) {
        (Some(stored), Some(dtype)) if stored != dtype => {
            return Err(malformed("a tensor and its storage of two types"));
        }
        (Some(dtype), _) => dtype,
        (None, Some(_)) if span.start != 0 => return Err(malformed("a part of a storage without a type")),
        (None, Some(dtype)) => {
            span.length /= dtype.bitsize() / 8;
            dtype
        }
        (None, None) => return Err(malformed("a tensor that does not say what its numbers are")),
    };
    let offset = pickle.size(offset).ok_or_else(|| malformed("a tensor whose offset is not a number from 0"))?;
    let sizes = |id| {
        let sizes = sizes(pickle, id);
        sizes.ok_or_else(|| malformed(format!("a tensor whose sizes are not up to {MAX_DIMENSIONS} numbers from 0")))
    };
    View::new(span, dtype, offset, sizes(shape)?, sizes(strides)?).map_err(malformed)
}

/// A tuple of sizes, or `torch.Size` of one.
fn sizes(pickle: &Pickle<'_>, id: Id) -> Option<Vec<usize>> {
    let is_size = pickle.maker(id) == Some(("torch", "Size"));
    let tuple = if is_size { *pickle.args(id).first()? } else { id };
    let sizes = pickle.elements(tuple).filter(|sizes| sizes.len() <= MAX_DIMENSIONS)?;
    sizes.iter().map(|&size| pickle.size(size)).collect()
}
