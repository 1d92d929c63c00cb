//! The abstract machine: a stack, a memo and an arena of values.

use std::borrow::Cow;
use std::collections::HashMap;

use super::opcodes::{Op, Opcodes};
use super::{Id, MAX_MARKS, MAX_NAME, MAX_STACK, MAX_VALUES, Pickle, Problem, Record, Value, hostile};

/// Reads the pickle at the start of `bytes`.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>, Problem> {
    let mut machine = Machine {
        opcodes: Opcodes::new(bytes),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    // Values that pickles name often and that cannot change are stored once.
    for value in [Value::None, Value::Bool(false), Value::Bool(true), Value::Tuple(Box::default())] {
        machine.store(value)?;
    }
    loop {
        match machine.opcodes.next()? {
            Op::Stop => break,
            op => machine.execute(op)?,
        }
    }
    let root = machine.pop()?;
    if !machine.stack.is_empty() || !machine.marks.is_empty() {
        return Err(machine.opcodes.damaged(format!("{} values too many at the end", machine.stack.len())));
    }
    Ok(Pickle { values: machine.values, root, length: machine.opcodes.position() })
}

const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);
const EMPTY_TUPLE: Id = Id(3);

struct Machine<'a> {
    opcodes: Opcodes<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn execute(&mut self, op: Op<'a>) -> Result<(), Problem> {
        match op {
            Op::Nothing | Op::Stop => Ok(()),
            Op::Mark => {
                if self.marks.len() >= MAX_MARKS {
                    return Err(self.opcodes.damaged(format!("more than {MAX_MARKS} marks")));
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            // As in Python: takes the mark where nothing lies above it.
            Op::Pop if self.marks.last() == Some(&self.stack.len()) => self.pop_mark().map(drop),
            Op::Pop => self.pop().map(drop),
            Op::PopMark => self.pop_mark().map(drop),
            Op::Dup => {
                let top = self.top()?;
                self.push(top)
            }
            Op::None => self.push(NONE),
            Op::Bool(value) => self.push(if value { TRUE } else { FALSE }),
            Op::Int(number) => self.make(Value::Int(number)),
            Op::Long(bytes) => self.make(Value::Long(bytes)),
            Op::Float(number) => self.make(Value::Float(number)),
            Op::Text(text) => self.make(Value::Text(text)),
            Op::Bytes(bytes) => self.make(Value::Bytes(bytes)),
            Op::EmptyTuple => self.push(EMPTY_TUPLE),
            Op::EmptyList => self.make(Value::List(Vec::new())),
            Op::EmptyDict => self.make(Value::Dict(Vec::new())),
            Op::EmptySet => self.make(Value::Set(Vec::new())),
            Op::Tuple => {
                let elements = self.pop_mark()?;
                self.make(Value::Tuple(elements.into()))
            }
            Op::TupleOf(count) => {
                let mut elements = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                elements.reverse();
                self.make(Value::Tuple(elements.into()))
            }
            Op::List => {
                let elements = self.pop_mark()?;
                self.make(Value::List(elements))
            }
            Op::FrozenSet => {
                let elements = self.pop_mark()?;
                self.make(Value::Set(elements))
            }
            Op::Dict => {
                let elements = self.pop_mark()?;
                let pairs = self.pairs(&elements)?;
                self.make(Value::Dict(pairs))
            }
            Op::Append => {
                let element = self.pop()?;
                self.append(vec![element])
            }
            Op::Appends | Op::AddItems => {
                let elements = self.pop_mark()?;
                self.append(elements)
            }
            Op::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![(key, value)])
            }
            Op::SetItems => {
                let elements = self.pop_mark()?;
                let pairs = self.pairs(&elements)?;
                self.set_items(pairs)
            }
            Op::Global(module, name) => {
                let global = self.global(module, name)?;
                self.push(global)
            }
            Op::StackGlobal => self.stack_global(),
            Op::Inst(module, name) => {
                let elements = self.pop_mark()?;
                let class = self.global(module, name)?;
                let args = self.store(Value::Tuple(elements.into()))?;
                self.call(class, args, None)
            }
            Op::Obj => {
                let mut elements = self.pop_mark()?;
                if elements.is_empty() {
                    return Err(self.opcodes.damaged("an object without a class"));
                }
                let class = elements.remove(0);
                let args = self.store(Value::Tuple(elements.into()))?;
                self.call(class, args, None)
            }
            Op::Reduce | Op::NewObj => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.call(callable, args, None)
            }
            Op::NewObjEx => {
                let (named, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, args, Some(named))
            }
            Op::Build => self.build(),
            Op::PersId(name) => {
                let name = self.store(Value::Text(Cow::Borrowed(name)))?;
                self.make(Value::Persistent(name))
            }
            Op::BinPersId => {
                let name = self.pop()?;
                self.make(Value::Persistent(name))
            }
            Op::Get(place) => match self.memo.get(&place) {
                Some(&value) => self.push(value),
                None => Err(self.opcodes.damaged(format!("place {place} of the memo, which is empty"))),
            },
            Op::Put(place) => {
                let top = self.top()?;
                self.memo.insert(place, top);
                Ok(())
            }
            Op::Memoize => {
                let (place, top) = (self.memo.len() as u32, self.top()?);
                self.memo.insert(place, top);
                Ok(())
            }
        }
    }

    fn store(&mut self, value: Value<'a>) -> Result<Id, Problem> {
        if self.values.len() >= MAX_VALUES {
            return Err(self.opcodes.damaged(format!("more than {MAX_VALUES} values")));
        }
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        Ok(id)
    }

    fn make(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let id = self.store(value)?;
        self.push(id)
    }

    fn push(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() >= MAX_STACK {
            return Err(self.opcodes.damaged(format!("more than {MAX_STACK} values on the stack")));
        }
        self.stack.push(id);
        Ok(())
    }

    /// The height of the stack below which nothing may be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or_default()
    }

    fn top(&self) -> Result<Id, Problem> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err(self.opcodes.damaged("an opcode that needs more values than there are")),
        }
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.drain(height.min(self.stack.len())..).collect()),
            None => Err(self.opcodes.damaged("an opcode that needs a mark, where there is none")),
        }
    }

    fn pairs(&self, elements: &[Id]) -> Result<Vec<(Id, Id)>, Problem> {
        let (pairs, rest) = elements.as_chunks::<2>();
        match rest {
            [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
            _ => Err(self.opcodes.damaged("a key without a value")),
        }
    }

    fn top_value(&mut self) -> Result<&mut Value<'a>, Problem> {
        let top = self.top()?;
        match self.values.get_mut(top.0 as usize) {
            Some(value) => Ok(value),
            None => Err(self.opcodes.damaged("a value that is not there")),
        }
    }

    fn append(&mut self, elements: Vec<Id>) -> Result<(), Problem> {
        match self.top_value()? {
            Value::List(list) | Value::Set(list) => list.extend(elements),
            Value::Record(record) => record.appended.extend(elements),
            _ => return Err(self.opcodes.damaged("values appended to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: Vec<(Id, Id)>) -> Result<(), Problem> {
        match self.top_value()? {
            Value::Dict(items) => items.extend(pairs),
            Value::Record(record) => record.items.extend(pairs),
            _ => return Err(self.opcodes.damaged("keys set in what is no dictionary")),
        }
        Ok(())
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<Id, Problem> {
        self.check_name(module, name)?;
        let module = self.store(Value::Text(Cow::Borrowed(module)))?;
        let name = self.store(Value::Text(Cow::Borrowed(name)))?;
        self.store(Value::Global(module, name))
    }

    fn stack_global(&mut self) -> Result<(), Problem> {
        let (name, module) = (self.pop()?, self.pop()?);
        let text = |id: Id| match self.values.get(id.0 as usize) {
            Some(Value::Text(text)) if text.len() <= MAX_NAME => Ok(&**text),
            _ => Err(self.opcodes.damaged(format!("a class whose name is no text of at most {MAX_NAME} bytes"))),
        };
        self.check_name(text(module)?, text(name)?)?;
        self.make(Value::Global(module, name))
    }

    fn check_name(&self, module: &str, name: &str) -> Result<(), Problem> {
        if hostile::is_hostile(module, name) {
            return Err(self.opcodes.hostile(format!("{module}.{name}")));
        }
        Ok(())
    }

    fn call(&mut self, callable: Id, args: Id, named: Option<Id>) -> Result<(), Problem> {
        let value = |id: Id| self.values.get(id.0 as usize);
        if !matches!(value(callable), Some(Value::Global(..) | Value::Persistent(_) | Value::Record(_))) {
            return Err(self.opcodes.damaged("a call of what is no class or function"));
        }
        if !matches!(value(args), Some(Value::Tuple(_))) {
            return Err(self.opcodes.damaged("a call with arguments that are no tuple"));
        }
        let record = Record { callable, args, named, state: None, appended: Vec::new(), items: Vec::new() };
        self.make(Value::Record(Box::new(record)))
    }

    /// Gives state to an object. That of a dictionary, which PyTorch gives its state dictionaries, is no tensor.
    fn build(&mut self) -> Result<(), Problem> {
        let state = self.pop()?;
        let previous = match self.top_value()? {
            Value::Record(record) => record.state.replace(state),
            Value::Dict(_) => None,
            _ => return Err(self.opcodes.damaged("a state given to what is no object")),
        };
        match previous {
            None => Ok(()),
            Some(_) => Err(self.opcodes.damaged("a state given to an object twice")),
        }
    }
}
