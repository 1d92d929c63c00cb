//! Opcodes and their arguments, decoded one by one; nothing is built here.

use std::borrow::Cow;

use super::{MAX_BYTES, MAX_INTEGER, MAX_NAME, MAX_OPCODES, Problem, text};

/// An opcode with its argument. The names are those of `pickletools`, opcodes that differ in size alone are one.
#[derive(Debug, PartialEq)]
pub(super) enum Op<'a> {
    /// Changes nothing that is built.
    Nothing,
    Mark,
    Stop,
    Pop,
    PopMark,
    Dup,
    None,
    Bool(bool),
    Int(i64),
    Long(Cow<'a, [u8]>),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    EmptyTuple,
    EmptyList,
    EmptyDict,
    EmptySet,
    /// Of the values down to the mark.
    Tuple,
    /// Of so many values.
    TupleOf(usize),
    List,
    Dict,
    FrozenSet,
    Append,
    Appends,
    SetItem,
    SetItems,
    AddItems,
    Global(&'a str, &'a str),
    StackGlobal,
    Inst(&'a str, &'a str),
    Obj,
    Reduce,
    NewObj,
    NewObjEx,
    Build,
    PersId(&'a str),
    BinPersId,
    Get(u32),
    Put(u32),
    Memoize,
}

/// The opcodes of a pickle.
pub(super) struct Opcodes<'a> {
    /// What may be read at most.
    bytes: &'a [u8],
    /// Whether more bytes follow.
    is_cut: bool,
    at: usize,
    /// Where the opcode stands that was read last.
    start: usize,
    count: usize,
    /// End of the frame that is open.
    frame: Option<usize>,
}

impl<'a> Opcodes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let (bytes, is_cut) =
            bytes.split_at_checked(MAX_BYTES).map_or((bytes, false), |(bytes, rest)| (bytes, !rest.is_empty()));
        Self { bytes, is_cut, at: 0, start: 0, count: 0, frame: None }
    }

    /// Where the next opcode stands.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// What is wrong at the opcode that was read last.
    pub(super) fn damaged(&self, found: impl Into<String>) -> Problem {
        Problem::Damaged(found.into(), self.start)
    }

    /// The same where the bytes end.
    fn end(&self, found: String) -> Problem {
        self.damaged(if self.is_cut { format!("more than {MAX_BYTES} bytes") } else { found })
    }

    /// A name that is refused, at the opcode that was read last.
    pub(super) fn hostile(&self, name: String) -> Problem {
        Problem::Hostile(name, self.start)
    }

    /// The next opcode.
    pub(super) fn next(&mut self) -> Result<Op<'a>, Problem> {
        self.start = self.at;
        self.count += 1;
        if self.count > MAX_OPCODES {
            return Err(self.damaged(format!("more than {MAX_OPCODES} opcodes")));
        }
        if self.frame == Some(self.at) {
            self.frame = None;
        }
        let op = self.decode()?;
        match self.frame {
            Some(end) if self.at > end => Err(self.damaged("an opcode that reaches over the end of its frame")),
            _ => Ok(op),
        }
    }

    fn decode(&mut self) -> Result<Op<'a>, Problem> {
        let [code] = self.array()?;
        Ok(match code {
            b'(' => Op::Mark,
            b'.' => Op::Stop,
            b'0' => Op::Pop,
            b'1' => Op::PopMark,
            b'2' => Op::Dup,
            b'N' => Op::None,
            0x88 => Op::Bool(true),
            0x89 => Op::Bool(false),
            b'J' => Op::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Op::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Op::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a | 0x8b => self.long(code)?,
            b'G' => Op::Float(f64::from_be_bytes(self.array()?)),
            b'I' | b'L' | b'F' => {
                let line = self.line()?;
                text::number(code, line).map_err(|found| self.damaged(found))?
            }
            b'X' | 0x8c | 0x8d => Op::Text(Cow::Borrowed(self.counted_text(code)?)),
            b'T' | b'U' => {
                // Text of Python 2: as PyTorch does, UTF-8 where it is.
                let bytes = self.counted(code)?;
                std::str::from_utf8(bytes).map_or(Op::Bytes(Cow::Borrowed(bytes)), |text| Op::Text(Cow::Borrowed(text)))
            }
            b'B' | b'C' | 0x8e | 0x96 => Op::Bytes(Cow::Borrowed(self.counted(code)?)),
            b'S' | b'V' => {
                let line = self.line()?;
                let text = if code == b'S' { text::quoted(line) } else { text::escaped(line) };
                Op::Text(text.ok_or_else(|| self.damaged("text with escapes that cannot be read"))?)
            }
            b')' => Op::EmptyTuple,
            b']' => Op::EmptyList,
            b'}' => Op::EmptyDict,
            0x8f => Op::EmptySet,
            b't' => Op::Tuple,
            0x85..=0x87 => Op::TupleOf(usize::from(code - 0x84)),
            b'l' => Op::List,
            b'd' => Op::Dict,
            0x91 => Op::FrozenSet,
            b'a' => Op::Append,
            b'e' => Op::Appends,
            b's' => Op::SetItem,
            b'u' => Op::SetItems,
            0x90 => Op::AddItems,
            b'c' => Op::Global(self.name()?, self.name()?),
            0x93 => Op::StackGlobal,
            b'i' => Op::Inst(self.name()?, self.name()?),
            b'o' => Op::Obj,
            b'R' => Op::Reduce,
            0x81 => Op::NewObj,
            0x92 => Op::NewObjEx,
            b'b' => Op::Build,
            b'P' => Op::PersId(self.name()?),
            b'Q' => Op::BinPersId,
            b'g' => Op::Get(self.decimal()?),
            b'h' => Op::Get(u8::from_le_bytes(self.array()?).into()),
            b'j' => Op::Get(u32::from_le_bytes(self.array()?)),
            b'p' => Op::Put(self.decimal()?),
            b'q' => Op::Put(u8::from_le_bytes(self.array()?).into()),
            b'r' => Op::Put(u32::from_le_bytes(self.array()?)),
            0x94 => Op::Memoize,
            0x80 => match self.array()? {
                [0..=5] => Op::Nothing,
                [version] => return Err(self.damaged(format!("protocol {version}"))),
            },
            0x95 => self.frame()?,
            0x82..=0x84 => return Err(self.damaged("an opcode EXT, which names a class by a number")),
            0x97 | 0x98 => return Err(self.damaged("a buffer outside of the pickle")),
            _ => return Err(self.damaged(format!("the byte {code:#04x}, which is no opcode"))),
        })
    }

    /// Frames are announced by their length and follow each other.
    fn frame(&mut self) -> Result<Op<'a>, Problem> {
        if self.frame.is_some() {
            return Err(self.damaged("a frame within a frame"));
        }
        let length = u64::from_le_bytes(self.array()?);
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        match end {
            Some(end) if end <= self.bytes.len() => {
                self.frame = Some(end);
                Ok(Op::Nothing)
            }
            _ => Err(self.end(format!("a frame of {length} bytes, cut"))),
        }
    }

    fn long(&mut self, code: u8) -> Result<Op<'a>, Problem> {
        let length = match code {
            0x8a => usize::from(u8::from_le_bytes(self.array()?)),
            _ => usize::try_from(i32::from_le_bytes(self.array()?))
                .map_err(|_| self.damaged("a number of length < 0"))?,
        };
        if length > MAX_INTEGER {
            return Err(self.damaged(format!("an integer of {length} bytes; at most {MAX_INTEGER} are read")));
        }
        let bytes = self.take(length)?;
        Ok(text::short_integer(bytes).map_or(Op::Long(Cow::Borrowed(bytes)), Op::Int))
    }

    /// An argument with its length before it.
    fn counted(&mut self, code: u8) -> Result<&'a [u8], Problem> {
        let length = match code {
            b'U' | b'C' | 0x8c => u64::from(u8::from_le_bytes(self.array()?)),
            b'X' | b'B' | b'T' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        let cut = || self.end(format!("text or bytes of length {length}, cut"));
        let length = usize::try_from(length).ok().filter(|&length| length <= self.bytes.len()).ok_or_else(cut)?;
        self.take(length)
    }

    fn counted_text(&mut self, code: u8) -> Result<&'a str, Problem> {
        let bytes = self.counted(code)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("text that is not UTF-8"))
    }

    /// A name on a line of its own.
    fn name(&mut self) -> Result<&'a str, Problem> {
        let line = self.line()?;
        if line.len() > MAX_NAME {
            return Err(self.damaged(format!("a name of {} bytes; at most {MAX_NAME} are read", line.len())));
        }
        std::str::from_utf8(line).map_err(|_| self.damaged("a name that is not UTF-8"))
    }

    fn decimal(&mut self) -> Result<u32, Problem> {
        let line = self.line()?;
        let number = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
        number.ok_or_else(|| self.damaged("a place in the memo that is no number"))
    }

    fn line(&mut self) -> Result<&'a [u8], Problem> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.end("a line, cut".to_owned()));
        };
        self.at += length + 1;
        Ok(rest.get(..length).unwrap_or_default())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(length);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(self.end("the end of the file".to_owned())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        match self.take(N)?.first_chunk() {
            Some(bytes) => Ok(*bytes),
            None => Err(self.end("the end of the file".to_owned())),
        }
    }
}
