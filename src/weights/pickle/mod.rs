//! Pickles, the serialised objects of Python, read as data.
//!
//! A pickle is a program for a stack machine, and Python runs it: whoever loads one does what its author wants. Here
//! an abstract machine builds a tree of values and calls nothing. A class or function is two names; an object is a
//! record of the call that would make it. That is enough to find the tensors of a weights file, whichever class of model
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
    /// [`Fault::ModelPickle`] for one that is damaged, larger than any weights file needs, or that names what has no
    /// place in a weights file.
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

    /// How many entries [`Pickle::entries`] looks at, at most: told without a look at them.
    pub fn most_entries(&self, id: Id) -> usize {
        let record = match self.get(id) {
            Value::Dict(items) => return items.len(),
            Value::Record(record) if self.is_dictionary(id) => record,
            _ => return 0,
        };
        let pairs =
            self.elements(record.args).and_then(|args| args.first()).map_or(0, |pairs| match self.get(*pairs) {
                Value::Dict(items) => items.len(),
                _ => self.elements(*pairs).map_or(0, <[Id]>::len),
            });
        pairs + record.items.len()
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
    /// It asks for something with no place in a weights file; the name of it, and the byte where it stands.
    Hostile(String, usize),
    /// It is damaged, or larger than it needs to be; what was found, and the byte where.
    Damaged(String, usize),
}

impl Problem {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Problem::Hostile(name, at) => Error::new(
                Fault::ModelPickle,
                format!("the file asks Python for {name}, which belongs in no weights file"),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The value as Python would print it, more or less.
    fn show(pickle: &Pickle<'_>, id: Id) -> String {
        let all = |ids: &[Id]| ids.iter().map(|&id| show(pickle, id)).collect::<Vec<_>>().join(" ");
        let pairs = |items: &[(Id, Id)]| {
            let pair = |&(key, value): &(Id, Id)| format!("{}:{}", show(pickle, key), show(pickle, value));
            items.iter().map(pair).collect::<Vec<_>>().join(" ")
        };
        match pickle.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Long(bytes) => format!("{bytes:?}"),
            Value::Float(number) => format!("{number:?}"),
            Value::Text(text) => format!("{text:?}"),
            Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
            Value::Tuple(elements) => format!("({})", all(elements)),
            Value::List(elements) => format!("[{}]", all(elements)),
            Value::Set(elements) => format!("<{}>", all(elements)),
            Value::Dict(items) => format!("{{{}}}", pairs(items)),
            Value::Global(module, name) => {
                format!("{}.{}", show(pickle, *module), show(pickle, *name)).replace('"', "")
            }
            Value::Persistent(name) => format!("@{}", show(pickle, *name)),
            Value::Record(record) => {
                let mut text = format!("{}{}", show(pickle, record.callable), show(pickle, record.args));
                for (sign, id) in [("*", record.named), ("~", record.state)] {
                    text.extend(id.map(|id| format!("{sign}{}", show(pickle, id))));
                }
                text + &all(&record.appended) + &pairs(&record.items)
            }
        }
    }

    #[track_caller]
    fn assert_reads(ops: &[u8], shown: &str) {
        let bytes = [ops, b".rest"].concat();
        let pickle = Pickle::read(&bytes, Path::new("x")).unwrap_or_else(|error| panic!("{}", error.report("read")));
        assert_eq!(show(&pickle, pickle.root()), shown, "{}", String::from_utf8_lossy(ops));
        assert_eq!(pickle.length(), ops.len() + 1);
    }

    #[test]
    fn every_opcode_builds_its_value() {
        let cases: &[(&[u8], &str)] = &[
            (b"N", "None"),
            (b"\x88\x89\x86", "(true false)"),
            (b"I01\nI-7\nL8L\n\x87", "(true -7 8)"),
            (b"K\xffM\xff\xffJ\xff\xff\xff\xff\x87", "(255 65535 -1)"),
            (b"\x8a\x02\x00\x80", "-32768"),
            (b"\x8a\x00", "0"),
            (b"\x8b\x09\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x09", "[1, 2, 3, 4, 5, 6, 7, 8, 9]"),
            (b"G\x3f\xf8\0\0\0\0\0\0F-2.5\n\x86", "(1.5 -2.5)"),
            (b"X\x01\0\0\0a\x8c\x01b\x8d\x01\0\0\0\0\0\0\0c\x87", r#"("a" "b" "c")"#),
            (b"T\x01\0\0\0aU\x01bU\x01\xff\x87", "(\"a\" \"b\" b\"\u{fffd}\")"),
            (b"B\x01\0\0\0aC\x01b\x8e\x01\0\0\0\0\0\0\0c\x87", r#"(b"a" b"b" b"c")"#),
            (b"\x96\x01\0\0\0\0\0\0\0aS'b'\nVc\n\x87", r#"(b"a" "b" "c")"#),
            (b")]}\x87", "(() [] {})"),
            (b"(NNt(l(d\x87", "((None None) [] {})"),
            (b"(K\x01K\x02lK\x03a(K\x04e", "[1 2 3 4]"),
            (b"(K\x01K\x02dK\x03K\x04s(K\x05K\x06u", "{1:2 3:4 5:6}"),
            (b"\x8f(K\x01K\x02\x90(K\x03\x91\x86", "(<1 2> <3>)"),
            (b"K\x01\x85K\x022\x86\x86", "((1) (2 2))"),
            (b"K\x01K\x020", "1"),
            (b"K\x01(K\x02K\x031", "1"),
            (b"K\x01(0", "1"),
            (b"cmodule\nClass\n", "module.Class"),
            (b"\x8c\x01m\x8c\x03A.B\x93", "m.A.B"),
            (b"ca\nB\nK\x01\x85R", "a.B(1)"),
            (b"ca\nB\n)\x81K\x07b", "a.B()~7"),
            (b"ca\nB\n)}\x92", "a.B()*{}"),
            (b"(K\x01ia\nB\n", "a.B(1)"),
            (b"(ca\nB\nK\x01o", "a.B(1)"),
            (b"ca\nB\n)R(K\x01K\x02e(K\x03K\x04uK\x05a", "a.B()1 2 53:4"),
            (b"K\x01\x85Q", "@(1)"),
            (b"Pname\n", "@\"name\""),
            (b"K\x05p300\n0g300\nq\x02h\x02r\x09\0\0\0j\x09\0\0\0\x87", "(5 5 5)"),
            (b"K\x05\x94K\x06\x94h\x00\x87", "(5 6 5)"),
            (b"\x80\x04\x95\x02\0\0\0\0\0\0\0K\x01", "1"),
            (b"\x80\x05\x95\x02\0\0\0\0\0\0\0K\x01C\x01a\x86", "(1 b\"a\")"),
            (b"}K\x01b", "{}"),
        ];
        for (ops, shown) in cases {
            assert_reads(ops, shown);
        }
    }

    #[test]
    fn a_value_that_holds_itself_is_one_value() {
        let bytes = b"]q\x00h\x00a.";
        let pickle = Pickle::read(bytes, Path::new("x")).unwrap();
        assert_eq!(pickle.elements(pickle.root()), Some(&[pickle.root()][..]));
    }

    #[test]
    fn dictionaries_of_pythons_library_are_dictionaries() {
        for (ops, count) in [
            (&b"}(K\x01K\x02u"[..], 1),
            (b"ccollections\nOrderedDict\n)R(K\x01K\x02u", 1),
            (b"ccollections\nOrderedDict\n]](K\x01K\x02ea\x85RK\x03K\x04s", 2),
            (b"ccollections\nOrderedDict\n}(K\x01K\x02u\x85R", 1),
            (b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\x03K\x04s", 1),
        ] {
            let bytes = [ops, b"."].concat();
            let pickle = Pickle::read(&bytes, Path::new("x")).unwrap();
            assert!(pickle.is_dictionary(pickle.root()), "{}", String::from_utf8_lossy(ops));
            assert_eq!(pickle.entries(pickle.root()).map(|entries| entries.len()), Some(count));
            assert!((count..=count + 1).contains(&pickle.most_entries(pickle.root())));
        }
        let pickle = Pickle::read(b"ca\nDict\n)RK\x03K\x04s.", Path::new("x")).unwrap();
        assert!(!pickle.is_dictionary(pickle.root()) && pickle.entries(pickle.root()).is_none());
    }

    #[test]
    fn a_value_takes_no_more_memory_than_the_limits_say() {
        assert!(size_of::<Value<'_>>() <= 32, "{}", size_of::<Value<'_>>());
    }
}
