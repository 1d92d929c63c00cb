//! What a pickle holds, in words for errors.

use super::rebuild;
use crate::weights::pickle::{Id, Pickle, Value};

/// How many keys are named.
const KEYS: usize = 5;

/// A value in words, as `a list of 3 dictionaries`.
pub(super) fn value(pickle: &Pickle<'_>, id: Id) -> String {
    if let Some(entries) = pickle.entries(id) {
        let keys = entries.iter().take(KEYS).map(|&(key, _)| match pickle.get(key) {
            Value::Text(text) => short(text),
            Value::Int(number) => number.to_string(),
            _ => kind(pickle, key).0.to_owned(),
        });
        let keys: Vec<_> = keys.collect();
        return match entries.len() {
            0 => "an empty dictionary".to_owned(),
            more if more > KEYS => format!("a dictionary with the keys {} and {} more", keys.join(", "), more - KEYS),
            _ => format!("a dictionary with the keys {}", keys.join(", ")),
        };
    }
    if let Some((module, name)) =
        pickle.record(id).filter(|_| !rebuild::is_tensor(pickle, id)).and_then(|record| pickle.maker(record))
    {
        return format!("an object of class {}", short(&format!("{module}.{name}")));
    }
    if let Some((module, name)) = pickle.global(id) {
        return format!("the class or function {}", short(&format!("{module}.{name}")));
    }
    match pickle.elements(id) {
        Some([]) => format!("{} without elements", kind(pickle, id).0),
        Some(elements @ [first, ..]) => {
            let (_, plural) = kind(pickle, *first);
            let same = elements.iter().all(|&element| kind(pickle, element).1 == plural);
            format!("{} of {} {}", kind(pickle, id).0, elements.len(), if same { plural } else { "values" })
        }
        None => kind(pickle, id).0.to_owned(),
    }
}

/// One and several of the kind of a value.
fn kind(pickle: &Pickle<'_>, id: Id) -> (&'static str, &'static str) {
    if pickle.is_dictionary(id) {
        return ("a dictionary", "dictionaries");
    }
    match pickle.get(id) {
        Value::None => ("None", "values None"),
        Value::Bool(_) => ("a truth value", "truth values"),
        Value::Int(_) | Value::Long(_) | Value::Float(_) => ("a number", "numbers"),
        Value::Text(_) => ("text", "texts"),
        Value::Bytes(_) => ("bytes", "values of bytes"),
        Value::Tuple(_) => ("a tuple", "tuples"),
        Value::List(_) => ("a list", "lists"),
        Value::Set(_) => ("a set", "sets"),
        Value::Dict(_) => ("a dictionary", "dictionaries"),
        Value::Global(..) => ("a class or function", "classes or functions"),
        Value::Persistent(_) => ("a storage", "storages"),
        Value::Record(_) if rebuild::is_tensor(pickle, id) => ("a tensor", "tensors"),
        Value::Record(_) => ("an object", "objects"),
    }
}

/// A name from the file, cut where it is long.
pub(super) fn short(text: &str) -> String {
    const LIMIT: usize = 60;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    text.chars().take(LIMIT).chain(['…']).collect()
}
