//! Pickles, the serialised objects of Python, read as data.
//!
//! A pickle is a program for a stack machine, and loading one in Python runs it. The machine here builds a tree of
//! values and calls nothing: a class or function is two names, and an object is a record of the call that would make
//! it. That is enough to find the tensors in a weights file, whatever the class of the model.
//!
//! A pickle that names a function which starts programs, opens files or loads code is refused all the same. Nothing in
//! it would run here, but the user may try Python next.
//!
//! Values lie in one arena and refer to each other by index. A value that is used often is stored once, values that
//! hold themselves are harmless, nesting costs no stack, and memory stays in proportion to the input.
//!
//! Source of the opcodes: `pickletools` of CPython 3.13. Those of protocol 0, which write numbers and text as lines, are
//! not read: `torch.save` uses protocol 2, and PyTorch's own reader of mere weights does not know them either. Nor are
//! those for classes by number and for buffers outside of the pickle.

mod hostile;
mod machine;

use crate::error::Result;

/// The largest pickle that is read, in bytes. That of a model with 15 billion parameters is below 1 MiB, because the
/// numbers lie outside of it.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// A value in the arena of its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(u32);

/// What a pickle builds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A longer integer: two's complement, little-endian.
    Long(&'a [u8]),
    Float,
    Text(&'a str),
    Bytes,
    Tuple(Box<[Id]>),
    /// A list or set.
    List(Vec<Id>),
    /// A dictionary, also one of the other kinds in Python's library: keys and values in the order in which they were
    /// set, so that a key may occur twice.
    Dict(Vec<(Id, Id)>),
    /// A class or function: the names of its module and its own.
    Global(Box<(&'a str, &'a str)>),
    /// Something outside of the pickle, by the value that names it.
    Persistent(Id),
    /// An object of any other class.
    Call(Box<Call>),
}

/// A call that would make an object. What would be appended to the object or set in it is not kept.
#[derive(Debug)]
pub(super) struct Call {
    /// The class or function, mostly a [`Value::Global`].
    callable: Id,
    /// The arguments, a tuple.
    args: Id,
    /// The state that the object would be given.
    state: Option<Id>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The value that the pickle stands for.
    pub(super) root: Id,
    /// Bytes that the pickle takes.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// [`Fault::ModelPickle`](crate::error::Fault::ModelPickle) for one that is damaged, larger than a weights file
    /// needs, or that names what does not belong in one. The error does not name the file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        machine::run(bytes)
    }

    /// All values, in the order in which they were made.
    pub(super) fn values(&self) -> impl Iterator<Item = (Id, &Value<'a>)> {
        self.values.iter().enumerate().map(|(index, value)| (Id(index as u32), value))
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    /// The text of a value, if it is text.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a value, if it is an integer from 0 on.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The elements of a tuple, list or set.
    pub(super) fn elements(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(elements) => Some(elements),
            Value::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Keys and values of a dictionary.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// Module and name of a class or function. In files from before zip archives, the class of a model lies outside of
    /// the pickle, in a tuple with its source code.
    pub(super) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        let id = match self.get(id) {
            Value::Persistent(name) => match self.elements(*name)? {
                [kind, class, ..] if self.text(*kind) == Some("module") => *class,
                _ => return None,
            },
            _ => id,
        };
        match self.get(id) {
            Value::Global(names) => Some(**names),
            _ => None,
        }
    }

    /// Module and name of the class or function that would make an object.
    pub(super) fn maker(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Value::Call(record) => self.global(record.callable),
            _ => None,
        }
    }

    /// The state that an object would be given.
    pub(super) fn state(&self, id: Id) -> Option<Id> {
        match self.get(id) {
            Value::Call(record) => record.state,
            _ => None,
        }
    }

    /// The arguments of the call that would make an object.
    pub(super) fn args(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::Call(record) => self.elements(record.args).unwrap_or_default(),
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value as Python would print it, more or less.
    fn show(pickle: &Pickle<'_>, id: Id) -> String {
        let all = |ids: &[Id]| ids.iter().map(|&id| show(pickle, id)).collect::<Vec<_>>().join(" ");
        match pickle.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Long(bytes) => format!("{bytes:?}"),
            Value::Float => "float".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::Bytes => "bytes".to_owned(),
            Value::Tuple(elements) => format!("({})", all(elements)),
            Value::List(elements) => format!("[{}]", all(elements)),
            Value::Dict(entries) => {
                let pair = |&(key, value): &(Id, Id)| format!("{}:{}", show(pickle, key), show(pickle, value));
                format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(" "))
            }
            Value::Global(names) => format!("{}.{}", names.0, names.1),
            Value::Persistent(name) => format!("@{}", show(pickle, *name)),
            Value::Call(record) => {
                let state = record.state.map(|id| format!("~{}", show(pickle, id))).unwrap_or_default();
                format!("{}{}{state}", show(pickle, record.callable), show(pickle, record.args))
            }
        }
    }

    #[track_caller]
    fn assert_reads(ops: &[u8], shown: &str) {
        let bytes = [ops, b".rest"].concat();
        let pickle = Pickle::read(&bytes).unwrap_or_else(|error| panic!("{}", error.report("read")));
        assert_eq!(show(&pickle, pickle.root), shown, "{}", String::from_utf8_lossy(ops));
        assert_eq!(pickle.length, ops.len() + 1);
    }

    #[test]
    fn every_opcode_builds_its_value() {
        let cases: &[(&[u8], &str)] = &[
            (b"N", "None"),
            (b"\x88\x89\x86", "(true false)"),
            (b"K\xffM\xff\xffJ\xff\xff\xff\xff\x87", "(255 65535 -1)"),
            (b"\x8b\x09\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x09", "[1, 2, 3, 4, 5, 6, 7, 8, 9]"),
            (b"G\x3f\xf8\0\0\0\0\0\0\x85", "(float)"),
            (b"X\x01\0\0\0a\x8c\x01b\x8d\x01\0\0\0\0\0\0\0c\x87", r#"("a" "b" "c")"#),
            (b"T\x01\0\0\0aU\x01bU\x01\xff\x87", r#"("a" "b" bytes)"#),
            (b"B\x01\0\0\0aC\x01b\x8e\x01\0\0\0\0\0\0\0c\x87", "(bytes bytes bytes)"),
            (b"\x96\x01\0\0\0\0\0\0\0aN\x86", "(bytes None)"),
            (b")]}\x87", "(() [] {})"),
            (b"(NNt(l(d\x87", "((None None) [] {})"),
            (b"(K\x01K\x02lK\x03a(K\x04e", "[1 2 3 4]"),
            (b"(K\x01K\x02dK\x03K\x04s(K\x05K\x06u", "{1:2 3:4 5:6}"),
            (b"\x8f(K\x01K\x02\x90(K\x03\x91\x86", "([1 2] [3])"),
            (b"K\x01\x85K\x022\x86\x86", "((1) (2 2))"),
            (b"K\x01K\x020", "1"),
            (b"K\x01(K\x02K\x031", "1"),
            (b"K\x01(0", "1"),
            (b"cmodule\nClass\n", "module.Class"),
            (b"\x8c\x01m\x8c\x03A.B\x93", "m.A.B"),
            (b"ca\nB\nK\x01\x85R", "a.B(1)"),
            (b"ca\nB\n)\x81K\x07b", "a.B()~7"),
            (b"ca\nB\nK\x01\x85}\x92", "a.B(1)"),
            (b"(K\x01ia\nB\n", "a.B(1)"),
            (b"(ca\nB\nK\x01o", "a.B(1)"),
            (b"ca\nB\n)R(K\x01K\x02e(K\x03K\x04uK\x05a", "a.B()"),
            (b"K\x01\x85Q", "@(1)"),
            (b"K\x05q\x02h\x02r\x09\0\0\0j\x09\0\0\0\x87", "(5 5 5)"),
            (b"K\x05\x94K\x06\x94h\x00\x87", "(5 6 5)"),
            (b"\x80\x04\x95\x02\0\0\0\0\0\0\0K\x01", "1"),
            (b"\x80\x05\x95\x02\0\0\0\0\0\0\0K\x01C\x01a\x86", "(1 bytes)"),
            (b"}K\x01b", "{}"),
        ];
        for (ops, shown) in cases {
            assert_reads(ops, shown);
        }
    }

    #[test]
    fn short_integers_have_a_sign() {
        let cases: [(&[u8], i64); 6] = [
            (&[], 0),
            (&[0xff, 0], 255),
            (&[0xff], -1),
            (&[0, 0x80], -32768),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], i64::MAX),
            (&[0, 0, 0, 0, 0, 0, 0, 0x80], i64::MIN),
        ];
        for (bytes, number) in cases {
            assert_reads(&[&[0x8a, bytes.len() as u8], bytes].concat(), &number.to_string());
        }
    }

    #[test]
    fn a_value_that_holds_itself_is_one_value() {
        let pickle = Pickle::read(b"]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.elements(pickle.root), Some(&[pickle.root][..]));
    }

    #[test]
    fn dictionaries_and_sets_of_pythons_library_are_read_as_such() {
        for (ops, shown) in [
            (&b"ccollections\nOrderedDict\n)R(K\x01K\x02u"[..], "{1:2}"),
            (b"ccollections\nOrderedDict\n]](K\x01K\x02ea\x85RK\x03K\x04s", "{1:2 3:4}"),
            (b"ccollections\nOrderedDict\n}(K\x01K\x02u\x85R", "{1:2}"),
            (b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\x03K\x04s", "{3:4}"),
            (b"c__builtin__\nset\n](K\x01K\x02e\x85R", "[1 2]"),
            (b"cbuiltins\nfrozenset\n)R", "[]"),
            (b"ca\nDict\n)RK\x03K\x04s", "a.Dict()"),
        ] {
            assert_reads(ops, shown);
        }
    }

    #[test]
    fn a_value_takes_no_more_memory_than_the_limits_say() {
        assert!(size_of::<Value<'_>>() <= 32, "{}", size_of::<Value<'_>>());
    }
}
