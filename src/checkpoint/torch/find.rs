//! Which of the values in a pickle are the tensors of the model.
//!
//! People save a state dictionary, a dictionary that holds one beside settings and optimisers, or the model object.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::rebuild;
use super::storages::Storages;
use super::{MAX_TENSORS, Tensors, describe, malformed, not_read};
use crate::checkpoint::pickle::{Id, Pickle, Value};
use crate::error::Error;

/// Keys under which training programs put the model.
const MODEL_KEYS: &[&str] =
    &["model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights", "params"];
/// How deep a model may lie in dictionaries.
const MAX_WRAPPING: usize = 8;
/// How deep modules may lie in each other.
const MAX_MODULES: usize = 64;
/// The most entries of modules that are looked at: shared modules count as often as they have names.
const MAX_ENTRIES: usize = 2_000_000;
/// The most bytes of a tensor's name.
const MAX_NAME: usize = 1024;

/// Why there are no tensors.
pub(super) enum Refusal {
    /// What describes them is wrong.
    Malformed { found: String, tensor: Option<String> },
    /// There is no model, or more than one.
    NoModel(String),
}

impl Refusal {
    pub(super) fn into_error(self, path: &Path) -> Error {
        match self {
            Refusal::Malformed { found, tensor: Some(tensor) } => malformed(path, found).record(tensor),
            Refusal::Malformed { found, tensor: None } => malformed(path, found),
            Refusal::NoModel(found) => not_read(path, found),
        }
    }
}

fn wrong(found: impl Into<String>) -> Refusal {
    Refusal::Malformed { found: found.into(), tensor: None }
}

/// The tensors of the model in order of their names.
pub(super) fn tensors(pickle: &Pickle<'_>, storages: &Storages) -> Result<Tensors, Refusal> {
    let mut search = Search { pickle, kinds: HashMap::new(), looked_at: 0 };
    let mut found = search.model()?;
    strip_module(&mut found);
    found.sort();
    let twice = found.windows(2).find(|pair| matches!(pair, [first, second] if first.0 == second.0));
    if let Some([(name, _), ..]) = twice {
        return Err(wrong(format!("two tensors of the name {name}")));
    }
    let rebuild = |(name, id): (String, Id)| match rebuild::tensor(pickle, storages, id) {
        Ok(view) => Ok((name, view)),
        Err(found) => Err(Refusal::Malformed { found, tensor: Some(name) }),
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

impl Search<'_> {
    /// Names and values of the tensors of the one model there is.
    fn model(&mut self) -> Result<Vec<(String, Id)>, Refusal> {
        let mut value = self.pickle.root();
        for _ in 0..MAX_WRAPPING {
            let kind = self.kind(value);
            if kind == Kind::Module {
                return self.module(value);
            }
            let Some(entries) = self.pickle.entries(value) else { break };
            let models = self.models(&entries, kind);
            value = match models.as_slice() {
                [] if kind == Kind::StateDict => return self.state_dict(&entries),
                [(_, model)] => *model,
                [] => break,
                several => {
                    let keys: Vec<_> = several.iter().map(|(key, _)| describe::short(key)).collect();
                    return Err(Refusal::NoModel(format!("{} models, under the keys {}", keys.len(), keys.join(", "))));
                }
            };
        }
        let found = match value == self.pickle.root() {
            true => describe::value(self.pickle, value),
            false => format!(
                "{} within {}",
                describe::value(self.pickle, value),
                describe::value(self.pickle, self.pickle.root())
            ),
        };
        Err(Refusal::NoModel(found))
    }

    /// The entries that lead to a model: those under a usual key, or else all that hold one.
    fn models(&mut self, entries: &[(Id, Id)], kind: Kind) -> Vec<(String, Id)> {
        let named = entries.iter().filter_map(|&(key, value)| Some((self.pickle.text(key)?, value)));
        // The last entry of a key counts.
        let named: BTreeMap<&str, Id> = named.collect();
        let mut choose = |usual: bool, kinds: &[Kind]| {
            let mut models: Vec<(String, Id)> = Vec::new();
            for (&key, &value) in &named {
                let fits = (!usual || MODEL_KEYS.contains(&key)) && kinds.contains(&self.kind(value));
                // One model under two keys is one.
                if fits && models.iter().all(|(_, other)| *other != value) {
                    models.push((key.to_owned(), value));
                }
            }
            models
        };
        let models = choose(true, &[Kind::StateDict, Kind::Module]);
        if !models.is_empty() || kind != Kind::Dict {
            return models;
        }
        let models = choose(false, &[Kind::StateDict, Kind::Module]);
        if !models.is_empty() { models } else { choose(true, &[Kind::Dict]) }
    }

    fn kind(&mut self, id: Id) -> Kind {
        if let Some(&kind) = self.kinds.get(&id) {
            return kind;
        }
        let kind = if let Some(entries) = self.pickle.entries(id) {
            let tensor =
                |&(key, value): &(Id, Id)| self.pickle.text(key).is_some() && rebuild::is_tensor(self.pickle, value);
            if entries.iter().any(tensor) { Kind::StateDict } else { Kind::Dict }
        } else if self.parts(id).is_some() {
            Kind::Module
        } else {
            Kind::Other
        };
        self.kinds.insert(id, kind);
        kind
    }

    /// The tensors of a state dictionary. Settings that stand between them are passed over.
    fn state_dict(&mut self, entries: &[(Id, Id)]) -> Result<Vec<(String, Id)>, Refusal> {
        let mut tensors = Vec::new();
        for &(key, value) in entries {
            let is_tensor = rebuild::is_tensor(self.pickle, value);
            match self.pickle.text(key) {
                Some(name) if is_tensor => add(&mut tensors, name.to_owned(), value)?,
                None if is_tensor => return Err(wrong("a tensor whose name is no text")),
                name if matches!(self.kind(value), Kind::StateDict | Kind::Module) => {
                    let name = describe::short(name.unwrap_or("that is no text"));
                    return Err(Refusal::NoModel(format!("tensors beside more tensors under the key {name}")));
                }
                _ => {}
            }
        }
        Ok(tensors)
    }

    /// Parameters, buffers, buffers that are not saved, and modules of a module; none of what is no module.
    fn parts(&self, id: Id) -> Option<[Option<Id>; 4]> {
        let state = self.pickle.entries(self.pickle.record(id)?.state?)?;
        let part = |name: &str| {
            let entry = state.iter().rev().find(|(key, _)| self.pickle.text(*key) == Some(name));
            entry.map(|(_, value)| *value)
        };
        let parts = [part("_parameters"), part("_buffers"), part("_non_persistent_buffers_set"), part("_modules")];
        (parts[0].is_some() && parts[3].is_some()).then_some(parts)
    }

    /// The tensors of a module and of all it holds, under the names of its state dictionary.
    fn module(&mut self, root: Id) -> Result<Vec<(String, Id)>, Refusal> {
        let mut tensors = Vec::new();
        let mut waiting = vec![(root, String::new(), 0)];
        while let Some((id, prefix, depth)) = waiting.pop() {
            let found = || format!("a module that cannot be read: {}", describe::short(&prefix));
            let [parameters, buffers, volatile, modules] = self.parts(id).ok_or_else(|| wrong(found()))?;
            let mut named = |part: Option<Id>| {
                let Some(part) = part else { return Ok(Vec::new()) };
                let entries = self.pickle.entries(part).ok_or_else(|| wrong(found()))?;
                self.looked_at += entries.len() + 1;
                if self.looked_at > MAX_ENTRIES {
                    return Err(wrong(format!("modules with more than {MAX_ENTRIES} entries")));
                }
                let name = |(key, value)| match self.pickle.get(value) {
                    Value::None => None,
                    _ => Some(self.pickle.text(key).map(|name| (name, value)).ok_or_else(|| wrong(found()))),
                };
                entries.into_iter().filter_map(name).collect::<Result<Vec<_>, _>>()
            };
            let (parameters, buffers, modules) = (named(parameters)?, named(buffers)?, named(modules)?);
            let volatile = self.names(volatile);
            let buffers = buffers.into_iter().filter(|(name, _)| !volatile.contains(name));
            for (name, value) in parameters.into_iter().chain(buffers) {
                if !rebuild::is_tensor(self.pickle, value) {
                    return Err(wrong(format!("{} in place of a tensor", describe::value(self.pickle, value))));
                }
                add(&mut tensors, format!("{prefix}{name}"), value)?;
            }
            if depth >= MAX_MODULES && !modules.is_empty() {
                return Err(wrong(format!("more than {MAX_MODULES} modules in each other")));
            }
            for (name, module) in modules {
                let prefix = format!("{prefix}{name}.");
                check_length(&prefix)?;
                waiting.push((module, prefix, depth + 1));
            }
        }
        match tensors.is_empty() {
            false => Ok(tensors),
            true => Err(Refusal::NoModel(format!("{} without tensors", describe::value(self.pickle, root)))),
        }
    }

    /// The texts of a set.
    fn names(&self, set: Option<Id>) -> Vec<&str> {
        let Some(set) = set else { return Vec::new() };
        let elements = match self.pickle.record(set) {
            Some(record) => self.pickle.elements(record.args).and_then(|args| self.pickle.elements(*args.first()?)),
            None => self.pickle.elements(set),
        };
        elements.unwrap_or_default().iter().filter_map(|&name| self.pickle.text(name)).collect()
    }
}

fn add(tensors: &mut Vec<(String, Id)>, name: String, value: Id) -> Result<(), Refusal> {
    check_length(&name)?;
    if tensors.len() >= MAX_TENSORS {
        return Err(wrong(format!("more than {MAX_TENSORS} tensors")));
    }
    tensors.push((name, value));
    Ok(())
}

fn check_length(name: &str) -> Result<(), Refusal> {
    if name.len() > MAX_NAME {
        return Err(wrong(format!("a name of {} bytes; at most {MAX_NAME} are read", name.len())));
    }
    Ok(())
}
