//! Which of the values in a pickle are the tensors of the model.
//!
//! People save a state dictionary, a dictionary that holds one beside settings and optimisers, or the model object.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::tensor::{self, Storages, is_tensor};
use super::{MAX_TENSORS, Tensors, describe, malformed, not_read};
use crate::error::Result;
use crate::weights::pickle::{Id, Pickle, Value};

/// Keys under which training programs put the model.
const MODEL_KEYS: &[&str] =
    &["model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights", "params"];
/// How deep a model may lie in dictionaries.
const MAX_WRAPPING: usize = 8;
/// The most modules: shared ones count as often as they have names.
const MAX_MODULES: usize = 100_000;
/// The most entries of modules, counted in the same way.
const MAX_ENTRIES: usize = 10_000_000;
/// The most bytes in the name of a tensor.
const MAX_NAME: usize = 512;

/// The tensors of the model in order of their names.
pub(super) fn tensors(pickle: &Pickle<'_>, storages: &Storages) -> Result<Tensors> {
    let mut found = Search::new(pickle).model()?;
    strip_module(&mut found);
    found.sort();
    if let Some([(name, _), ..]) = found.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return Err(malformed(format!("two tensors of the name {name}")));
    }
    let rebuild = |(name, id): (String, Id)| match tensor::rebuild(pickle, storages, id) {
        Ok(view) => Ok((name, view)),
        Err(error) => Err(error.record(name)),
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
#[derive(Clone, Copy)]
enum Kind {
    /// A dictionary with tensors in it.
    StateDict,
    /// A `torch.nn.Module`.
    Module(Tables),
    /// Another dictionary.
    Dict,
    Other,
}

/// Where a module keeps what it holds.
#[derive(Clone, Copy)]
struct Tables {
    parameters: Id,
    modules: Id,
    buffers: Option<Id>,
    /// The names of buffers that are not saved.
    volatile: Option<Id>,
}

struct Search<'p> {
    pickle: &'p Pickle<'p>,
    state_dicts: HashSet<Id>,
    /// By the dictionary that is the state of the module. Each is looked at once, however many objects share it.
    tables: HashMap<Id, Tables>,
}

impl<'p> Search<'p> {
    fn new(pickle: &'p Pickle<'p>) -> Self {
        let mut search = Self { pickle, state_dicts: HashSet::new(), tables: HashMap::new() };
        for (id, value) in pickle.values() {
            let Value::Dict(entries) = value else { continue };
            if entries.iter().any(|&(key, value)| pickle.text(key).is_some() && is_tensor(pickle, value)) {
                search.state_dicts.insert(id);
            }
            let table = |name: &str| {
                let entry = entries.iter().rev().find(|(key, _)| pickle.text(*key) == Some(name));
                entry.map(|(_, value)| *value)
            };
            if let Some((parameters, modules)) = table("_parameters").zip(table("_modules")) {
                let (buffers, volatile) = (table("_buffers"), table("_non_persistent_buffers_set"));
                search.tables.insert(id, Tables { parameters, modules, buffers, volatile });
            }
        }
        search
    }

    fn kind(&self, id: Id) -> Kind {
        match self.pickle.get(id) {
            Value::Dict(_) if self.state_dicts.contains(&id) => Kind::StateDict,
            Value::Dict(_) => Kind::Dict,
            _ => {
                let tables = self.pickle.state(id).and_then(|state| self.tables.get(&state));
                tables.map_or(Kind::Other, |tables| Kind::Module(*tables))
            }
        }
    }

    /// Names and values of the tensors, if there is one model.
    fn model(&self) -> Result<Vec<(String, Id)>> {
        let root = self.pickle.root;
        let mut value = root;
        for _ in 0..MAX_WRAPPING {
            let kind = self.kind(value);
            if let Kind::Module(_) = kind {
                return self.module(value);
            }
            let Some(entries) = self.pickle.entries(value) else { break };
            value = match self.models(entries, kind).as_slice() {
                [] if matches!(kind, Kind::StateDict) => return self.state_dict(entries),
                [(model, _)] => *model,
                [] => break,
                several => {
                    let keys: Vec<_> = several.iter().take(5).map(|(_, key)| describe::short(key)).collect();
                    return Err(not_read(format!("{} models, under the keys {}", several.len(), keys.join(", "))));
                }
            };
        }
        let mut found = describe::value(self.pickle, value);
        if value != root {
            found = format!("{found}, within {}", describe::value(self.pickle, root));
        }
        Err(not_read(found))
    }

    /// The entries that lead to a model: models under a usual key, or else under any, or else dictionaries under a
    /// usual key. Beside tensors, only the first count.
    fn models(&self, entries: &[(Id, Id)], kind: Kind) -> Vec<(Id, &'p str)> {
        let last_rank = if matches!(kind, Kind::Dict) { 2 } else { 0 };
        let named = entries.iter().filter_map(|&(key, value)| Some((self.pickle.text(key)?, value)));
        // The last entry of a key counts.
        let named: BTreeMap<&str, Id> = named.filter(|(key, _)| key.len() <= MAX_NAME).collect();
        let ranked = named.into_iter().filter_map(|(key, value)| {
            let rank = match (MODEL_KEYS.contains(&key), self.kind(value)) {
                (true, Kind::StateDict | Kind::Module(_)) => 0,
                (false, Kind::StateDict | Kind::Module(_)) => 1,
                (true, Kind::Dict) => 2,
                _ => return None,
            };
            (rank <= last_rank).then_some((rank, key, value))
        });
        let ranked: Vec<_> = ranked.collect();
        let best = ranked.iter().map(|(rank, ..)| *rank).min();
        let mut models = BTreeMap::new();
        for (_, key, value) in ranked.into_iter().filter(|(rank, ..)| Some(*rank) == best) {
            // One model under two keys is one.
            models.entry(value).or_insert(key);
        }
        models.into_iter().collect()
    }

    /// The tensors of a state dictionary. Settings among them are passed over.
    fn state_dict(&self, entries: &[(Id, Id)]) -> Result<Vec<(String, Id)>> {
        let mut tensors = Vec::new();
        for &(key, value) in entries {
            let is_tensor = is_tensor(self.pickle, value);
            match self.pickle.text(key) {
                Some(name) if is_tensor => add(&mut tensors, "", name, value)?,
                None if is_tensor => return Err(malformed("a tensor whose name is not text")),
                name if matches!(self.kind(value), Kind::StateDict | Kind::Module(_)) => {
                    let name = describe::short(name.unwrap_or("that is not text"));
                    return Err(not_read(format!("tensors beside more tensors under the key {name}")));
                }
                _ => {}
            }
        }
        Ok(tensors)
    }

    /// The tensors of a module and of all it holds, under the names of its state dictionary.
    fn module(&self, root: Id) -> Result<Vec<(String, Id)>> {
        let (mut tensors, mut modules, mut entries) = (Vec::new(), 1, 0);
        let mut waiting = vec![(root, String::new())];
        while let Some((id, prefix)) = waiting.pop() {
            let unreadable = || malformed(format!("a module that cannot be read: {}", describe::short(&prefix)));
            let Kind::Module(tables) = self.kind(id) else { return Err(unreadable()) };
            // Names and values of a table, without those that are None.
            let mut members = |table: Option<Id>| {
                let members = table.map_or(Some(&[][..]), |table| self.pickle.entries(table)).ok_or_else(unreadable)?;
                entries += members.len();
                let members = members.iter().filter(|(_, value)| !matches!(self.pickle.get(*value), Value::None));
                let named = |&(key, value): &(Id, Id)| Some((self.pickle.text(key)?, value));
                members.map(|member| named(member).ok_or_else(unreadable)).collect::<Result<Vec<_>>>()
            };
            let parameters = members(Some(tables.parameters))?;
            let buffers = members(tables.buffers)?;
            let submodules = members(Some(tables.modules))?;
            let volatile = tables.volatile.and_then(|names| self.pickle.elements(names)).unwrap_or_default();
            entries += volatile.len();
            if entries > MAX_ENTRIES {
                return Err(malformed(format!("modules with more than {MAX_ENTRIES} entries")));
            }
            let volatile: HashSet<&str> = volatile.iter().filter_map(|&name| self.pickle.text(name)).collect();
            let saved = buffers.into_iter().filter(|(name, _)| !volatile.contains(name));
            for (name, value) in parameters.into_iter().chain(saved) {
                if !is_tensor(self.pickle, value) {
                    let found = describe::value(self.pickle, value);
                    return Err(malformed(format!("{found} in place of a tensor")));
                }
                add(&mut tensors, &prefix, name, value)?;
            }
            modules += submodules.len();
            if modules > MAX_MODULES {
                return Err(malformed(format!("more than {MAX_MODULES} modules")));
            }
            for (name, module) in submodules {
                // A module that holds itself ends here: its names grow.
                waiting.push((module, join(&prefix, name)? + "."));
            }
        }
        match tensors.is_empty() {
            false => Ok(tensors),
            true => Err(not_read(format!("{} without tensors", describe::value(self.pickle, root)))),
        }
    }
}

fn add(tensors: &mut Vec<(String, Id)>, prefix: &str, name: &str, value: Id) -> Result<()> {
    if tensors.len() >= MAX_TENSORS {
        return Err(malformed(format!("more than {MAX_TENSORS} tensors")));
    }
    tensors.push((join(prefix, name)?, value));
    Ok(())
}

fn join(prefix: &str, name: &str) -> Result<String> {
    match prefix.len() + name.len() {
        ..=MAX_NAME => Ok(format!("{prefix}{name}")),
        length => Err(malformed(format!("a name of {length} bytes; at most {MAX_NAME} are read"))),
    }
}
