//! Which of the values in a pickle are the tensors of the model.
//!
//! People save a state dictionary, a dictionary that holds one beside settings and optimisers, or the model object.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::rebuild;
use super::refusal::Refusal;
use super::storages::Storages;
use super::{MAX_TENSORS, Tensors, describe};
use crate::weights::pickle::{Id, Pickle, Value};

/// Keys under which training programs put the model.
const MODEL_KEYS: &[&str] =
    &["model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights", "params"];
/// How deep a model may lie in dictionaries.
const MAX_WRAPPING: usize = 8;
/// How deep modules may lie in each other.
const MAX_DEPTH: usize = 64;
/// The most modules: shared ones count as often as they have names.
const MAX_MODULES: usize = 100_000;
/// The most entries of dictionaries that are looked at, for the same reason.
const MAX_ENTRIES: usize = 10_000_000;
/// The most bytes of a tensor's name.
const MAX_NAME: usize = 512;

/// The tensors of the model in order of their names.
pub(super) fn tensors(pickle: &Pickle<'_>, storages: &Storages) -> Result<Tensors, Refusal> {
    let mut search = Search { pickle, kinds: HashMap::new(), looked_at: 0 };
    let mut found = search.model()?;
    strip_module(&mut found);
    found.sort();
    let twice = found.windows(2).find(|pair| matches!(pair, [first, second] if first.0 == second.0));
    if let Some([(name, _), ..]) = twice {
        return Err(Refusal::malformed(format!("two tensors of the name {name}")));
    }
    let rebuild = |(name, id): (String, Id)| match rebuild::tensor(pickle, storages, id) {
        Ok(view) => Ok((name, view)),
        Err(refusal) => Err(refusal.of(name)),
    };
    found.into_iter().map(rebuild).collect()
}

/// `torch.nn.DataParallel` puts `module.` before every name.
fn strip_module(tensors: &mut [(String, Id)]) {
    const PREFIX: &str = "module.";
    if tensors.iter().all(|(name, _)| name.len() > PREFIX.len() && name.starts_with(PREFIX)) {
        tensors.iter_mut().for_each(|(name, _)| drop(name.drain(..PREFIX.len())));
    }
}

/// What a value is to the search.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A dictionary with tensors in it.
    StateDict,
    /// A `torch.nn.Module`.
    Module,
    /// Another dictionary.
    Dict,
    Other,
}

struct Search<'p> {
    pickle: &'p Pickle<'p>,
    kinds: HashMap<Id, Kind>,
    looked_at: usize,
}

impl<'p> Search<'p> {
    /// Names and values of the tensors of the one model there is.
    fn model(&mut self) -> Result<Vec<(String, Id)>, Refusal> {
        let root = self.pickle.root();
        let mut value = root;
        for _ in 0..MAX_WRAPPING {
            let kind = self.kind(value)?;
            if kind == Kind::Module {
                return self.module(value);
            }
            let Some(entries) = self.entries(value)? else { break };
            let models = self.models(&entries, kind)?;
            value = match models.as_slice() {
                [] if kind == Kind::StateDict => return self.state_dict(&entries),
                [(_, model)] => *model,
                [] => break,
                several => {
                    let keys: Vec<_> = several.iter().take(5).map(|(key, _)| describe::short(key)).collect();
                    let found = format!("{} models, under the keys {}", several.len(), keys.join(", "));
                    return Err(Refusal::not_read(found));
                }
            };
        }
        let mut found = describe::value(self.pickle, value);
        if value != root {
            found = format!("{found}, within {}", describe::value(self.pickle, root));
        }
        Err(Refusal::not_read(found))
    }

    /// The entries that lead to a model: those under a usual key, or else all that hold one.
    fn models(&mut self, entries: &[(Id, Id)], kind: Kind) -> Result<Vec<(&'p str, Id)>, Refusal> {
        let pickle = self.pickle;
        let named = entries.iter().filter_map(|&(key, value)| Some((pickle.text(key)?, value)));
        // The last entry of a key counts.
        let named: BTreeMap<&str, Id> = named.filter(|(key, _)| key.len() <= MAX_NAME).collect();
        let mut choose = |usual: bool, kinds: &[Kind]| {
            let mut models: BTreeMap<Id, &str> = BTreeMap::new();
            for (&key, &value) in &named {
                if (!usual || MODEL_KEYS.contains(&key)) && kinds.contains(&self.kind(value)?) {
                    // One model under two keys is one.
                    models.entry(value).or_insert(key);
                }
            }
            Ok(models.into_iter().map(|(value, key)| (key, value)).collect::<Vec<_>>())
        };
        let models = choose(true, &[Kind::StateDict, Kind::Module])?;
        if !models.is_empty() || kind != Kind::Dict {
            return Ok(models);
        }
        let models = choose(false, &[Kind::StateDict, Kind::Module])?;
        if !models.is_empty() { Ok(models) } else { choose(true, &[Kind::Dict]) }
    }

    fn kind(&mut self, id: Id) -> Result<Kind, Refusal> {
        if let Some(&kind) = self.kinds.get(&id) {
            return Ok(kind);
        }
        let pickle = self.pickle;
        let kind = if let Some(entries) = self.entries(id)? {
            let is_tensor = |&(key, value): &(Id, Id)| pickle.text(key).is_some() && rebuild::is_tensor(pickle, value);
            if entries.iter().any(is_tensor) { Kind::StateDict } else { Kind::Dict }
        } else if self.parts(id)?.is_some() {
            Kind::Module
        } else {
            Kind::Other
        };
        self.kinds.insert(id, kind);
        Ok(kind)
    }

    /// The tensors of a state dictionary. Settings that stand between them are passed over.
    fn state_dict(&mut self, entries: &[(Id, Id)]) -> Result<Vec<(String, Id)>, Refusal> {
        let mut tensors = Vec::new();
        for &(key, value) in entries {
            let is_tensor = rebuild::is_tensor(self.pickle, value);
            match self.pickle.text(key) {
                Some(name) if is_tensor => add(&mut tensors, "", name, value)?,
                None if is_tensor => return Err(Refusal::malformed("a tensor whose name is no text")),
                name if matches!(self.kind(value)?, Kind::StateDict | Kind::Module) => {
                    let name = describe::short(name.unwrap_or("that is no text"));
                    return Err(Refusal::not_read(format!("tensors beside more tensors under the key {name}")));
                }
                _ => {}
            }
        }
        Ok(tensors)
    }

    /// The parts of a module; none of what is no module.
    fn parts(&mut self, id: Id) -> Result<Option<Parts>, Refusal> {
        let pickle = self.pickle;
        let Some(state) = pickle.record(id).and_then(|record| record.state) else { return Ok(None) };
        let Some(state) = self.entries(state)? else { return Ok(None) };
        let part = |name: &str| {
            let entry = state.iter().rev().find(|(key, _)| pickle.text(*key) == Some(name));
            entry.map(|(_, value)| *value)
        };
        let (Some(parameters), Some(modules)) = (part("_parameters"), part("_modules")) else { return Ok(None) };
        let (buffers, volatile) = (part("_buffers"), part("_non_persistent_buffers_set"));
        Ok(Some(Parts { parameters, buffers, volatile, modules }))
    }

    /// The tensors of a module and of all it holds, under the names of its state dictionary.
    fn module(&mut self, root: Id) -> Result<Vec<(String, Id)>, Refusal> {
        let (mut tensors, mut count) = (Vec::new(), 1);
        let mut waiting = vec![(root, String::new(), 0)];
        while let Some((id, prefix, depth)) = waiting.pop() {
            let parts = self.parts(id)?.ok_or_else(|| unreadable(&prefix))?;
            let volatile = self.names(parts.volatile)?;
            for (name, value) in self.members(Some(parts.parameters), &prefix)? {
                self.add_member(&mut tensors, &prefix, (name, value))?;
            }
            for (name, value) in self.members(parts.buffers, &prefix)? {
                if !volatile.contains(name) {
                    self.add_member(&mut tensors, &prefix, (name, value))?;
                }
            }
            for (name, module) in self.members(Some(parts.modules), &prefix)? {
                count += 1;
                if depth >= MAX_DEPTH || count > MAX_MODULES {
                    let found = format!("more than {MAX_MODULES} modules, or more than {MAX_DEPTH} in each other");
                    return Err(Refusal::malformed(found));
                }
                check_length(prefix.len() + name.len())?;
                waiting.push((module, format!("{prefix}{name}."), depth + 1));
            }
        }
        match tensors.is_empty() {
            false => Ok(tensors),
            true => Err(Refusal::not_read(format!("{} without tensors", describe::value(self.pickle, root)))),
        }
    }

    fn add_member(&self, tensors: &mut Vec<(String, Id)>, prefix: &str, member: (&str, Id)) -> Result<(), Refusal> {
        let (name, value) = member;
        if !rebuild::is_tensor(self.pickle, value) {
            return Err(Refusal::malformed(format!("{} in place of a tensor", describe::value(self.pickle, value))));
        }
        add(tensors, prefix, name, value)
    }

    /// Names and values of a part of a module, without those that are None.
    fn members(&mut self, part: Option<Id>, prefix: &str) -> Result<Vec<(&'p str, Id)>, Refusal> {
        let pickle = self.pickle;
        let Some(part) = part else { return Ok(Vec::new()) };
        let mut entries = self.entries(part)?.ok_or_else(|| unreadable(prefix))?;
        entries.retain(|(_, value)| !matches!(pickle.get(*value), Value::None));
        let named = |(key, value)| pickle.text(key).map(|name| (name, value)).ok_or_else(|| unreadable(prefix));
        entries.into_iter().map(named).collect()
    }

    /// The texts of a set.
    fn names(&mut self, set: Option<Id>) -> Result<HashSet<&'p str>, Refusal> {
        let pickle = self.pickle;
        let elements = set.and_then(|set| match pickle.record(set) {
            Some(record) => pickle.elements(*pickle.elements(record.args)?.first()?),
            None => pickle.elements(set),
        });
        let elements = elements.unwrap_or_default();
        self.look_at(elements.len())?;
        let names = elements.iter().filter_map(|&name| pickle.text(name));
        Ok(names.filter(|name| name.len() <= MAX_NAME).collect())
    }

    fn entries(&mut self, id: Id) -> Result<Option<Vec<(Id, Id)>>, Refusal> {
        // Counted before the walk: one that ends at a bad pair is as long as any other.
        self.look_at(self.pickle.most_entries(id).max(1))?;
        Ok(self.pickle.entries(id))
    }

    fn look_at(&mut self, entries: usize) -> Result<(), Refusal> {
        self.looked_at += entries;
        if self.looked_at > MAX_ENTRIES {
            return Err(Refusal::malformed(format!("dictionaries with more than {MAX_ENTRIES} entries")));
        }
        Ok(())
    }
}

/// Where a module keeps what it holds.
struct Parts {
    parameters: Id,
    buffers: Option<Id>,
    /// Buffers that are not saved.
    volatile: Option<Id>,
    modules: Id,
}

fn unreadable(prefix: &str) -> Refusal {
    Refusal::malformed(format!("a module that cannot be read: {}", describe::short(prefix)))
}

fn add(tensors: &mut Vec<(String, Id)>, prefix: &str, name: &str, value: Id) -> Result<(), Refusal> {
    check_length(prefix.len() + name.len())?;
    if tensors.len() >= MAX_TENSORS {
        return Err(Refusal::malformed(format!("more than {MAX_TENSORS} tensors")));
    }
    tensors.push((format!("{prefix}{name}"), value));
    Ok(())
}

fn check_length(length: usize) -> Result<(), Refusal> {
    if length > MAX_NAME {
        return Err(Refusal::malformed(format!("a name of {length} bytes; at most {MAX_NAME} are read")));
    }
    Ok(())
}
