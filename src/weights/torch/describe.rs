//! What a pickle holds, in words for errors.

use super::tensor::is_tensor;
use crate::weights::pickle::{Id, Pickle, Value};

/// How many keys are named.
const KEYS: usize = 5;

/// A value in words, as `a list of 3 dictionaries`.
pub(super) fn value(pickle: &Pickle<'_>, id: Id) -> String {
    let path = |(module, name): (&str, &str)| short(&format!("{module}.{name}"));
    let (kind, _) = kinds(pickle, id);
    match pickle.get(id) {
        Value::Dict(entries) if entries.is_empty() => "an empty dictionary".to_owned(),
        Value::Dict(entries) => {
            let keys = entries.iter().take(KEYS).map(|&(key, _)| match pickle.get(key) {
                Value::Text(text) => short(text),
                Value::Int(number) => number.to_string(),
                _ => kinds(pickle, key).0.to_owned(),
            });
            let more = entries.len().checked_sub(KEYS).filter(|&more| more > 0);
            let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
            format!("a dictionary with the keys {}{more}", keys.collect::<Vec<_>>().join(", "))
        }
        Value::Call(_) if !is_tensor(pickle, id) => {
            pickle.maker(id).map_or(kind.to_owned(), |class| format!("an object of class {}", path(class)))
        }
        Value::Global(..) => pickle.global(id).map_or(kind.to_owned(), |global| format!("{kind} {}", path(global))),
        _ => match pickle.elements(id) {
            Some([]) => format!("{kind} without elements"),
            Some(elements @ [first, ..]) => {
                let (_, plural) = kinds(pickle, *first);
                let is_same = elements.iter().all(|&element| kinds(pickle, element).1 == plural);
                format!("{kind} of {} {}", elements.len(), if is_same { plural } else { "values" })
            }
            None => kind.to_owned(),
        },
    }
}

/// One and several of the kind of a value.
fn kinds(pickle: &Pickle<'_>, id: Id) -> (&'static str, &'static str) {
    match pickle.get(id) {
        Value::None => ("None", "values None"),
        Value::Bool(_) => ("a truth value", "truth values"),
        Value::Int(_) | Value::Long(_) | Value::Float => ("a number", "numbers"),
        Value::Text(_) => ("text", "texts"),
        Value::Bytes => ("bytes", "values of bytes"),
        Value::Tuple(_) => ("a tuple", "tuples"),
        Value::List(_) => ("a list", "lists"),
        Value::Dict(_) => ("a dictionary", "dictionaries"),
        Value::Global(..) => ("the class or function", "classes or functions"),
        Value::Persistent(_) => ("a storage", "storages"),
        Value::Call(_) if is_tensor(pickle, id) => ("a tensor", "tensors"),
        Value::Call(_) => ("an object", "objects"),
    }
}

/// A name from the file, cut if it is long.
pub(super) fn short(text: &str) -> String {
    const LIMIT: usize = 60;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
