//! Tensors from the calls that PyTorch would make to rebuild them.

use safetensors::Dtype;

use super::describe;
use super::refusal::Refusal;
use super::storages::{self, Storages};
use super::view::{Geometry, MAX_DIMENSIONS, View};
use crate::weights::pickle::{Id, Pickle, Record, Value};

/// How many calls may stand around that of the tensor: a parameter, a subclass.
const MAX_WRAPPERS: usize = 8;

/// A call as its function and arguments.
type Call<'p> = ((&'p str, &'p str), &'p [Id]);

/// Whether a value is a tensor or parameter, of whatever kind.
pub(super) fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    let maker = pickle.record(id).and_then(|record| pickle.maker(record));
    maker.is_some_and(|(module, name)| match module {
        "torch._utils" | "torch._tensor" | "torch.tensor" => name.starts_with("_rebuild_"),
        "torch.nn.parameter" => matches!(name, "Parameter" | "Buffer"),
        _ => false,
    })
}

/// The tensor that a value stands for.
pub(super) fn tensor(pickle: &Pickle<'_>, storages: &Storages, id: Id) -> Result<View, Refusal> {
    let mut call = call(pickle, id)?;
    for _ in 0..MAX_WRAPPERS {
        call = match (call.0.1, call.1) {
            ("_rebuild_parameter" | "_rebuild_parameter_with_state" | "Parameter" | "Buffer", [data, ..]) => {
                self::call(pickle, *data)?
            }
            ("_rebuild_from_type_v2", [function, _, args, _]) => {
                let function = pickle.global(*function).ok_or("a tensor made by what is no function")?;
                (function, pickle.elements(*args).unwrap_or_default())
            }
            ("_rebuild_tensor", [storage, offset, size, stride]) => {
                return view(pickle, storages, [*storage, *offset, *size, *stride], None);
            }
            ("_rebuild_tensor_v2", [storage, offset, size, stride, _, _, metadata @ ..]) => {
                refuse_metadata(pickle, metadata)?;
                return view(pickle, storages, [*storage, *offset, *size, *stride], None);
            }
            ("_rebuild_tensor_v3", [storage, offset, size, stride, _, _, dtype, metadata @ ..]) => {
                refuse_metadata(pickle, metadata)?;
                let dtype = pickle.global(*dtype).and_then(|(module, name)| storages::dtype(module, name));
                let dtype = dtype.ok_or_else(|| Refusal::not_read("a tensor of numbers that are not read"))?;
                return view(pickle, storages, [*storage, *offset, *size, *stride], Some(dtype));
            }
            (name, _) => {
                return Err(Refusal::not_read(format!(
                    "a tensor of a kind that is not read: {}",
                    describe::short(name)
                )));
            }
        };
    }
    Err(format!("a tensor within more than {MAX_WRAPPERS} others").into())
}

fn call<'p>(pickle: &'p Pickle<'_>, id: Id) -> Result<Call<'p>, Refusal> {
    let record = pickle.record(id).filter(|_| is_tensor(pickle, id)).ok_or("a parameter without a tensor")?;
    let Record { args, named: None, state: None, .. } = record else {
        return Err("a tensor with a state of its own".into());
    };
    let function = pickle.maker(record).ok_or("a tensor made by what is no function")?;
    Ok((function, pickle.elements(*args).unwrap_or_default()))
}

/// Metadata say that the numbers are not what they look: negated or conjugated.
fn refuse_metadata(pickle: &Pickle<'_>, metadata: &[Id]) -> Result<(), Refusal> {
    let is_empty = |id: &Id| match pickle.get(*id) {
        Value::None => true,
        Value::Dict(items) => items.is_empty(),
        Value::Record(record) => {
            pickle.is_dictionary(*id)
                && record.items.is_empty()
                && pickle.elements(record.args).is_some_and(<[Id]>::is_empty)
        }
        _ => false,
    };
    match metadata.iter().all(is_empty) {
        true => Ok(()),
        false => Err(Refusal::not_read("a tensor with metadata: negated or conjugated numbers")),
    }
}

fn view(pickle: &Pickle<'_>, storages: &Storages, args: [Id; 4], dtype: Option<Dtype>) -> Result<View, Refusal> {
    let [storage, offset, size, stride] = args;
    let (mut place, stored) = storages.get(storage).ok_or("a tensor without a storage")?;
    let dtype = match (stored, dtype) {
        (Some(stored), Some(dtype)) if stored != dtype => {
            return Err("a tensor and its storage of two types".into());
        }
        (Some(dtype), _) => dtype,
        (None, Some(_)) if place.first != 0 => return Err("a part of a storage without a type".into()),
        (None, Some(dtype)) => {
            // An untyped storage counts bytes.
            place.length /= dtype.bitsize() / 8;
            dtype
        }
        (None, None) => return Err("a tensor that does not say what its numbers are".into()),
    };
    let offset = pickle.int(offset).and_then(|offset| usize::try_from(offset).ok());
    let offset = offset.ok_or("a tensor whose offset is no number from 0")?;
    let shape = sizes(pickle, size).ok_or("a tensor whose sizes are not up to 64 numbers from 0")?;
    let strides = sizes(pickle, stride).ok_or("a tensor whose strides are not up to 64 numbers from 0")?;
    Ok(View::new(place, dtype, Geometry { offset, shape, strides })?)
}

/// A tuple of sizes, or `torch.Size` of one.
fn sizes(pickle: &Pickle<'_>, id: Id) -> Option<Vec<usize>> {
    let tuple = match pickle.record(id) {
        Some(record) if pickle.maker(record) == Some(("torch", "Size")) => *pickle.elements(record.args)?.first()?,
        _ => id,
    };
    let sizes = pickle.elements(tuple).filter(|sizes| sizes.len() <= MAX_DIMENSIONS)?;
    sizes.iter().map(|&size| usize::try_from(pickle.int(size)?).ok()).collect()
}
