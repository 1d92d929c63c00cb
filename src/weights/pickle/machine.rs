//! The abstract machine: opcodes that work on a stack, a memo and an arena of values.

use std::collections::HashMap;

use super::{Call, Id, MAX_BYTES, Pickle, Value, hostile};
use crate::error::{Error, Fault, Result};

/// The most opcodes: 40 are needed for a tensor.
const MAX_OPCODES: usize = 1 << 22;
/// The most values, of 32 bytes each.
const MAX_VALUES: usize = 1 << 22;
/// The most elements of sets and entries of dictionaries that are copied from other values.
const MAX_COPIES: usize = 1 << 22;
/// The most bytes of an integer.
const MAX_INTEGER: usize = 1024;
/// The most bytes in the name of a module, class or function.
const MAX_NAME: usize = 512;

/// Reads the pickle at the start of `bytes`.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>> {
    let mut machine = Machine {
        bytes: bytes.get(..MAX_BYTES).unwrap_or(bytes),
        start: 0,
        frame: None,
        pickle: Pickle { values: Vec::new(), root: Id(0), length: 0 },
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copies: 0,
    };
    for _ in 0..MAX_OPCODES {
        machine.start = machine.pickle.length;
        machine.frame = machine.frame.filter(|&end| end != machine.start);
        let code = machine.number(1)? as u8;
        machine.execute(code)?;
        if machine.frame.is_some_and(|end| machine.pickle.length > end) {
            return Err(machine.damaged("an opcode that reaches over the end of its frame"));
        }
        if code == b'.' {
            return Ok(machine.pickle);
        }
    }
    Err(machine.damaged(format!("more than {MAX_OPCODES} opcodes")))
}

struct Machine<'a> {
    /// What may be read at most.
    bytes: &'a [u8],
    /// Where the opcode begins that was read last.
    start: usize,
    /// End of the open frame.
    frame: Option<usize>,
    /// What was built so far; its length is how far the bytes were read.
    pickle: Pickle<'a>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Elements and entries copied so far.
    copies: usize,
}

impl<'a> Machine<'a> {
    fn execute(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'N' => Value::None,                                         // NONE
            0x88 | 0x89 => Value::Bool(code == 0x88),                    // NEWTRUE, NEWFALSE
            b'J' => Value::Int((self.number(4)? as i32).into()),         // BININT
            b'K' => Value::Int(self.number(1)? as i64),                  // BININT1
            b'M' => Value::Int(self.number(2)? as i64),                  // BININT2
            0x8a | 0x8b => self.long(if code == 0x8a { 1 } else { 4 })?, // LONG1, LONG4
            b'G' => self.take(8).map(|_| Value::Float)?,                 // BINFLOAT
            b'X' | 0x8c | 0x8d => {
                // BINUNICODE and its like
                let text = self.counted(code)?;
                Value::Text(self.utf8(text)?)
            }
            // BINSTRING, SHORT_BINSTRING of Python 2. PyTorch decodes them as UTF-8.
            b'T' | b'U' => std::str::from_utf8(self.counted(code)?).map_or(Value::Bytes, Value::Text),
            b'B' | b'C' | 0x8e | 0x96 => self.counted(code).map(|_| Value::Bytes)?, // BINBYTES and its like
            b')' => Value::Tuple(Box::default()),                                   // EMPTY_TUPLE
            b']' | 0x8f => Value::List(Vec::new()),                                 // EMPTY_LIST, EMPTY_SET
            b'}' => Value::Dict(Vec::new()),                                        // EMPTY_DICT
            b't' => Value::Tuple(self.pop_mark()?.into()),                          // TUPLE
            0x85..=0x87 => {
                // TUPLE1 to TUPLE3
                let mut elements = (0x84..code).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                elements.reverse();
                Value::Tuple(elements.into())
            }
            b'l' | 0x91 => Value::List(self.pop_mark()?), // LIST, FROZENSET
            b'd' => Value::Dict(self.pop_pairs()?),       // DICT
            b'c' => self.global_of_lines()?,              // GLOBAL
            0x93 => {
                // STACK_GLOBAL
                let (name, module) = (self.pop()?, self.pop()?);
                let names = self.pickle.text(module).zip(self.pickle.text(name));
                let (module, name) = names.ok_or_else(|| self.damaged("a class whose name is not text"))?;
                self.global(module, name)?
            }
            b'Q' => Value::Persistent(self.pop()?), // BINPERSID
            b'i' => {
                // INST
                let class = self.global_of_lines()?;
                let class = self.store(class)?;
                let args = Value::Tuple(self.pop_mark()?.into());
                let args = self.store(args)?;
                self.call(class, args)?
            }
            b'o' => {
                // OBJ
                let elements = self.pop_mark()?;
                let (class, args) = elements.split_first().ok_or_else(|| self.damaged("an object without a class"))?;
                let args = self.store(Value::Tuple(args.into()))?;
                self.call(*class, args)?
            }
            b'R' | 0x81 => {
                // REDUCE, NEWOBJ
                let (args, callable) = (self.pop()?, self.pop()?);
                self.call(callable, args)?
            }
            // NEWOBJ_EX. Arguments by name belong to classes that mean nothing here.
            0x92 => {
                let (_named, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, args)?
            }
            _ => return self.arrange(code),
        };
        let id = self.store(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// Executes the opcodes that make no value.
    fn arrange(&mut self, code: u8) -> Result<()> {
        match code {
            b'.' => {
                // STOP
                self.pickle.root = self.pop()?;
                if !self.stack.is_empty() || !self.marks.is_empty() {
                    return Err(self.damaged(format!("{} values too many at the end", self.stack.len())));
                }
            }
            b'(' => self.marks.push(self.stack.len()), // MARK
            // As in Python, this takes the mark if nothing lies above it.
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.pop_mark()?),
            b'0' => drop(self.pop()?),            // POP
            b'1' => drop(self.pop_mark()?),       // POP_MARK
            b'2' => self.stack.push(self.top()?), // DUP
            b'a' => {
                // APPEND
                let element = self.pop()?;
                self.append(&[element])?;
            }
            b'e' | 0x90 => {
                // APPENDS, ADDITEMS
                let elements = self.pop_mark()?;
                self.append(&elements)?;
            }
            b's' => {
                // SETITEM
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[(key, value)])?;
            }
            b'u' => {
                // SETITEMS
                let pairs = self.pop_pairs()?;
                self.set_items(&pairs)?;
            }
            b'b' => self.build()?, // BUILD
            b'h' | b'j' => {
                // BINGET, LONG_BINGET
                let slot = self.number(if code == b'h' { 1 } else { 4 })? as u32;
                let value = self.memo.get(&slot).copied();
                self.stack.push(value.ok_or_else(|| self.damaged(format!("slot {slot} of the memo, which is empty")))?);
            }
            b'q' | b'r' | 0x94 => {
                // BINPUT, LONG_BINPUT, MEMOIZE
                let slot = match code {
                    b'q' => self.number(1)? as u32,
                    b'r' => self.number(4)? as u32,
                    _ => self.memo.len() as u32,
                };
                self.memo.insert(slot, self.top()?);
            }
            0x80 => match self.number(1)? {
                // PROTO
                0..=5 => {}
                version => return Err(self.damaged(format!("protocol {version}"))),
            },
            0x95 => self.open_frame()?, // FRAME
            _ => return Err(self.damaged(format!("the byte {code:#04x}, which is not an opcode that is read"))),
        }
        Ok(())
    }

    fn store(&mut self, value: Value<'a>) -> Result<Id> {
        if self.pickle.values.len() >= MAX_VALUES {
            return Err(self.damaged(format!("more than {MAX_VALUES} values")));
        }
        self.pickle.values.push(value);
        Ok(Id(self.pickle.values.len() as u32 - 1))
    }

    fn top(&self) -> Result<Id> {
        // Nothing below the last mark may be taken.
        let floor = self.marks.last().copied().unwrap_or_default();
        let top = self.stack.get(floor..).and_then(<[Id]>::last).copied();
        top.ok_or_else(|| self.damaged("an opcode that needs more values than there are"))
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let height = self.marks.pop().ok_or_else(|| self.damaged("an opcode that needs a mark, without one"))?;
        Ok(self.stack.drain(height.min(self.stack.len())..).collect())
    }

    /// The same as keys and values.
    fn pop_pairs(&mut self) -> Result<Vec<(Id, Id)>> {
        match self.pop_mark()?.as_chunks::<2>() {
            (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
            _ => Err(self.damaged("a key without a value")),
        }
    }

    fn top_value(&mut self) -> Result<&mut Value<'a>> {
        let top = self.top()?;
        self.pickle.values.get_mut(top.0 as usize).ok_or_else(|| Error::new(Fault::Bug, "a value that is not there"))
    }

    fn append(&mut self, elements: &[Id]) -> Result<()> {
        match self.top_value()? {
            Value::List(list) => list.extend(elements),
            Value::Call(_) => {}
            _ => return Err(self.damaged("values appended to something other than a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: &[(Id, Id)]) -> Result<()> {
        match self.top_value()? {
            Value::Dict(entries) => entries.extend(pairs),
            Value::Call(_) => {}
            _ => return Err(self.damaged("keys set in something other than a dictionary")),
        }
        Ok(())
    }

    /// Gives state to an object. That of a dictionary, as PyTorch's state dictionaries have, is not kept.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let previous = match self.top_value()? {
            Value::Call(record) => record.state.replace(state),
            Value::Dict(_) => None,
            _ => return Err(self.damaged("a state given to something other than an object")),
        };
        previous.map_or(Ok(()), |_| Err(self.damaged("a state given to an object twice")))
    }

    /// A class or function by two lines.
    fn global_of_lines(&mut self) -> Result<Value<'a>> {
        let mut line = || {
            let rest = self.bytes.get(self.pickle.length..).unwrap_or_default();
            let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| self.end("a line, cut"))?;
            let line = self.take(length + 1)?;
            self.utf8(line.get(..length).unwrap_or_default())
        };
        let (module, name) = (line()?, line()?);
        self.global(module, name)
    }

    fn global(&self, module: &'a str, name: &'a str) -> Result<Value<'a>> {
        let length = module.len().max(name.len());
        if length > MAX_NAME {
            return Err(self.damaged(format!("a name of {length} bytes; at most {MAX_NAME} are read")));
        }
        if !hostile::is_hostile(module, name) {
            return Ok(Value::Global(Box::new((module, name))));
        }
        let message = format!("the file asks Python for {module}.{name}, which does not belong in a weights file");
        Err(Error::new(Fault::ModelPickle, message)
            .expected("tensors and what describes them")
            .found(format!("{module}.{name} at byte {} of the pickle", self.start))
            .advice(
                "nothing was executed; do not load this file with Python, which would execute it: get the model from \
                 its authors again, best as safetensors",
            ))
    }

    fn call(&mut self, callable: Id, args: Id) -> Result<Value<'a>> {
        if !matches!(self.pickle.get(callable), Value::Global(_) | Value::Persistent(_) | Value::Call(_)) {
            return Err(self.damaged("a call of something other than a class or function"));
        }
        let Value::Tuple(arguments) = self.pickle.get(args) else {
            return Err(self.damaged("a call with arguments that are not a tuple"));
        };
        let first = arguments.first().copied();
        let made = match self.pickle.global(callable) {
            Some(("collections", "OrderedDict" | "Counter") | ("builtins" | "__builtin__", "dict")) => {
                self.copy_entries(first)?.map(Value::Dict)
            }
            // Its argument is what makes a missing value.
            Some(("collections", "defaultdict")) => Some(Value::Dict(Vec::new())),
            Some(("builtins" | "__builtin__", "set" | "frozenset")) => {
                let elements = first.and_then(|first| self.pickle.elements(first)).unwrap_or_default().to_vec();
                self.count_copies(elements.len())?;
                Some(Value::List(elements))
            }
            _ => None,
        };
        Ok(made.unwrap_or_else(|| Value::Call(Box::new(Call { callable, args, state: None }))))
    }

    /// The entries that a dictionary is made of: those of another one, or a list of pairs.
    fn copy_entries(&mut self, from: Option<Id>) -> Result<Option<Vec<(Id, Id)>>> {
        let Some(from) = from else { return Ok(Some(Vec::new())) };
        if let Some(entries) = self.pickle.entries(from) {
            let entries = entries.to_vec();
            self.count_copies(entries.len())?;
            return Ok(Some(entries));
        }
        self.count_copies(self.pickle.elements(from).map_or(0, <[Id]>::len))?;
        let pair = |&id: &Id| match self.pickle.elements(id) {
            Some(&[key, value]) => Some((key, value)),
            _ => None,
        };
        Ok(self.pickle.elements(from).and_then(|pairs| pairs.iter().map(pair).collect()))
    }

    fn count_copies(&mut self, count: usize) -> Result<()> {
        self.copies += count;
        match self.copies {
            ..=MAX_COPIES => Ok(()),
            _ => Err(self.damaged(format!("dictionaries with more than {MAX_COPIES} entries"))),
        }
    }

    /// Frames are announced by their length and follow each other.
    fn open_frame(&mut self) -> Result<()> {
        if self.frame.is_some() {
            return Err(self.damaged("a frame within a frame"));
        }
        let length = self.number(8)?;
        let end = length.checked_add(self.pickle.length as u64).filter(|&end| end <= self.bytes.len() as u64);
        self.frame = Some(end.ok_or_else(|| self.end(format!("a frame of {length} bytes, cut")))? as usize);
        Ok(())
    }

    /// An integer after its length, which is a number of `width` bytes.
    fn long(&mut self, width: usize) -> Result<Value<'a>> {
        let length = self.number(width)? as usize;
        if length > MAX_INTEGER {
            return Err(self.damaged(format!("an integer of {length} bytes; at most {MAX_INTEGER} are read")));
        }
        let bytes = self.take(length)?;
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut full = [fill; 8];
        Ok(match full.get_mut(..length) {
            Some(start) => {
                start.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(full))
            }
            None => Value::Long(bytes),
        })
    }

    /// Text or bytes after their length.
    fn counted(&mut self, code: u8) -> Result<&'a [u8]> {
        let width = match code {
            b'U' | b'C' | 0x8c => 1,
            b'X' | b'B' | b'T' => 4,
            _ => 8,
        };
        let length = self.number(width)?;
        let bytes = usize::try_from(length).ok().and_then(|length| self.take(length).ok());
        bytes.ok_or_else(|| self.end(format!("text or bytes of length {length}, cut")))
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes).map_err(|_| self.damaged("text that is not UTF-8"))
    }

    /// A little-endian number of `width` bytes, at most 8.
    fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.pickle.length..).unwrap_or_default();
        let bytes = rest.get(..length).ok_or_else(|| self.end("the end of the file"))?;
        self.pickle.length += length;
        Ok(bytes)
    }

    /// The bytes end too early: those of the file, or those that are read.
    fn end(&self, found: impl Into<String>) -> Error {
        match self.bytes.len() {
            MAX_BYTES => self.damaged(format!("more than {MAX_BYTES} bytes")),
            _ => self.damaged(found),
        }
    }

    /// What is wrong at the opcode that was read last.
    fn damaged(&self, found: impl Into<String>) -> Error {
        Error::new(Fault::ModelPickle, "the pickle in this file cannot be read")
            .expected("a pickle as torch.save writes it")
            .found(format!("{}, at byte {} of the pickle", found.into(), self.start))
            .advice("the file may be cut short or damaged: download it again and compare its size")
    }
}
