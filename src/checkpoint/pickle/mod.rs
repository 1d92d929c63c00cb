//! Pickles, the serialised objects of Python, read as data.
//!
//! A pickle is a program for a stack machine, and Python runs it: whoever loads one does what its author wants. Here
//! an abstract machine builds a tree of values and calls nothing. A class or function is two names; an object is a
//! record of the call that would make it. That is enough to find the tensors of a checkpoint, whichever class of model
//! they belong to.
//!
//! A pickle that names a function which starts programs, opens files or loads code is refused all the same. Nothing of
//! it would run here; the refusal is for the sake of the user, who may try Python next.
//!
//! Values lie in one arena and name each other by index. So a value that is used often is stored once, values that hold
//! themselves are harmless, nesting costs no stack, and memory stays in proportion to the input.
//!
//! Source of the opcodes: `pickletools` of CPython 3.13, protocols 0 to 5.

mod hostile;
mod machine;
mod opcodes;
mod text;

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Fault, Result};

/// The largest pickle that is read, in bytes. That of a model with 15 billion parameters is below 1 MiB: the numbers
/// lie outside.
pub const MAX_BYTES: usize = 64 << 20;
/// The most opcodes: 40 are needed for a tensor.
pub const MAX_OPCODES: usize = 1 << 22;
/// The most values, of 32 bytes each.
const MAX_VALUES: usize = 1 << 22;
/// The most values on the stack.
const MAX_STACK: usize = 1 << 20;
/// The most open marks.
const MAX_MARKS: usize = 10_000;
/// The most bytes of an integer.
const MAX_INTEGER: usize = 1024;
/// The most bytes of the name of a module, class or function.
const MAX_NAME: usize = 512;

/// A value in the arena of its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

/// What a pickle builds.
#[derive(Debug)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A longer integer: two's complement, little-endian.
    Long(Cow<'a, [u8]>),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A tuple.
    Tuple(Box<[Id]>),
    /// A list.
    List(Vec<Id>),
    /// A set.
    Set(Vec<Id>),
    /// A dictionary: keys and values as they were set, so that a key may stand twice.
    Dict(Vec<(Id, Id)>),
    /// A class or function, by the names of its module and its own.
    Global(Id, Id),
    /// Something outside of the pickle, by whatever names it.
    Persistent(Id),
    /// An object: the call that would make it.
    Record(Box<Record>),
}

/// A call that would make an object, and what would be done to the object then.
#[derive(Debug)]
pub struct Record {
    /// What would be called: mostly a [`Value::Global`].
    pub callable: Id,
    /// Its arguments: mostly a [`Value::Tuple`].
    pub args: Id,
    /// Its arguments by name.
    pub named: Option<Id>,
    /// State that the object would be given.
    pub state: Option<Id>,
    /// Values appended to it.
    pub appended: Vec<Id>,
    /// Keys set in it.
    pub items: Vec<(Id, Id)>,
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`; `path` is named in errors.
    ///
    /// # Errors
    /// [`Fault::ModelPickle`] for one that is damaged, larger than any checkpoint needs, or that names what has no
    /// place in a checkpoint.
    pub fn read(bytes: &'a [u8], path: &Path) -> Result<Self> {
        machine::run(bytes).map_err(|problem| problem.into_error(path))
    }

    /// The value that the pickle stands for.
    pub fn root(&self) -> Id {
        self.root
    }

    /// Bytes that the pickle takes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// All values, in the order in which they were made.
    pub fn values(&self) -> impl Iterator<Item = (Id, &Value<'a>)> {
        self.values.iter().enumerate().map(|(index, value)| (Id(index as u32), value))
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    /// The text of a value, if it is text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a value, if it is an integer of at most 64 bits.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of a tuple, list or set.
    pub fn elements(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(elements) => Some(elements),
            Value::List(elements) | Value::Set(elements) => Some(elements),
            _ => None,
        }
    }

    /// Module and name of a class or function.
    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global(module, name) => Some((self.text(*module)?, self.text(*name)?)),
            _ => None,
        }
    }

    /// The record of an object.
    pub fn record(&self, id: Id) -> Option<&Record> {
        match self.get(id) {
            Value::Record(record) => Some(record),
            _ => None,
        }
    }

    /// Module and name of what would make an object.
    ///
    /// The class of an object that PyTorch before 1.6 saved stands in a tuple with its source code.
    pub fn maker(&self, record: &Record) -> Option<(&str, &str)> {
        match self.get(record.callable) {
            Value::Persistent(tuple) => match self.elements(*tuple)? {
                [kind, class, ..] if self.text(*kind) == Some("module") => self.global(*class),
                _ => None,
            },
            _ => self.global(record.callable),
        }
    }

    /// Whether a value is a dictionary, also of one of the kinds that Python's library has besides its own.
    pub fn is_dictionary(&self, id: Id) -> bool {
        match self.get(id) {
            Value::Dict(_) => true,
            Value::Record(record) => matches!(
                self.maker(record),
                Some(("collections", "OrderedDict" | "defaultdict" | "Counter") | ("builtins" | "__builtin__", "dict"))
            ),
            _ => false,
        }
    }

    /// Keys and values of a dictionary. It may cost more than the dictionary has taken to write: the list of pairs that
    /// it is made of may be that of others as well.
    pub fn entries(&self, id: Id) -> Option<Vec<(Id, Id)>> {
        let record = match self.get(id) {
            Value::Dict(items) => return Some(items.clone()),
            Value::Record(record) if self.is_dictionary(id) => record,
            _ => return None,
        };
        let mut entries = Vec::new();
        let is_made_of_pairs = !matches!(self.maker(record), Some((_, "defaultdict")));
        match self.elements(record.args)? {
            [pairs, ..] if is_made_of_pairs => match self.get(*pairs) {
                Value::Dict(items) => entries.extend_from_slice(items),
                _ => {
                    for &pair in self.elements(*pairs)? {
                        let &[key, value] = self.elements(pair)? else { return None };
                        entries.push((key, value));
                    }
                }
            },
            _ => {}
        }
        entries.extend_from_slice(&record.items);
        Some(entries)
    }
}

/// Why a pickle is not read.
#[derive(Debug)]
enum Problem {
    /// It asks for something with no place in a checkpoint; the name of it, and the byte where it stands.
    Hostile(String, usize),
    /// It is damaged, or larger than it needs to be; what was found, and the byte where.
    Damaged(String, usize),
}

impl Problem {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Problem::Hostile(name, at) => Error::new(
                Fault::ModelPickle,
                format!("the file asks Python for {name}, which belongs in no checkpoint"),
            )
            .file(path)
            .expected("tensors and what describes them")
            .found(format!("{name} at byte {at} of the pickle"))
            .advice(
                "nothing was executed; do not load this file with Python, which would execute it: \
                         get the model from its authors again, best as safetensors",
            ),
            Problem::Damaged(found, at) => Error::new(Fault::ModelPickle, "the pickle in this file cannot be read")
                .file(path)
                .expected("a pickle of protocol 0 to 5, as torch.save writes it")
                .found(format!("{found}, at byte {at} of the pickle"))
                .advice("the file may be cut short or damaged: download it again and compare its size"),
        }
    }
}
