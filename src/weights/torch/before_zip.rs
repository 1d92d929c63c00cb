//! The format before zip archives: five pickles, then the storages, each after the number of its elements.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::tensor::{Declared, Storages};
use super::{Storage, Tensors, damaged, describe, model, not_read};
use crate::error::Result;
use crate::weights::pickle::{Pickle, Value};

/// Magic number of the format, as an integer in a pickle: little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: usize = 1001;

/// Reads what describes the tensors, and finds the storages.
///
/// # Errors
/// [`Fault::ModelFormat`](crate::error::Fault::ModelFormat), [`Fault::ModelPickle`](crate::error::Fault::ModelPickle).
pub(super) fn read(bytes: &[u8]) -> Result<(Tensors, Vec<Storage>)> {
    let mut at = 0;
    let mut next = || -> Result<_> {
        let pickle = Pickle::read(bytes.get(at..).unwrap_or_default())?;
        at += pickle.length;
        Ok(pickle)
    };
    let magic = next()?;
    if !matches!(magic.get(magic.root), Value::Long(number) if **number == MAGIC) {
        let found = describe::value(&magic, magic.root);
        return Err(not_read(format!("a pickle that torch.save has not written: {found}")));
    }
    let version = next()?;
    if version.size(version.root) != Some(VERSION) {
        return Err(not_read(format!("another version of the format than {VERSION}")));
    }
    let machine = next()?;
    let entries = machine.entries(machine.root).unwrap_or_default();
    let is_little =
        |&(key, value)| machine.text(key) == Some("little_endian") && matches!(machine.get(value), Value::Bool(true));
    if !entries.iter().any(is_little) {
        return Err(not_read("numbers that are not little-endian"));
    }
    let pickle = next()?;
    let declared = Storages::of(&pickle)?;
    let tensors = model::tensors(&pickle, &declared)?;
    let keys = next()?;

    let by_key: HashMap<&str, &Declared> = declared.list.iter().map(|storage| (&*storage.key, storage)).collect();
    let mut ranges = HashMap::new();
    for &key in keys.elements(keys.root).ok_or_else(|| damaged("no list of storages"))? {
        let key = keys.text(key).unwrap_or_default();
        let unused = || damaged(format!("a storage that no tensor uses: {}", describe::short(key)));
        let storage = *by_key.get(key).ok_or_else(unused)?;
        let numbers = bytes.get(at..).and_then(|rest| rest.first_chunk());
        let numbers = numbers.ok_or_else(|| damaged(format!("{} bytes, cut before a storage", bytes.len())))?;
        let numbers = u64::from_le_bytes(*numbers);
        if numbers != storage.numbers as u64 {
            return Err(damaged(format!("{numbers} numbers in a storage of {} bytes", storage.bytes)));
        }
        let start = at + size_of::<u64>();
        let end = start.checked_add(storage.bytes).filter(|&end| end <= bytes.len());
        at = end.ok_or_else(|| damaged(format!("{} bytes, cut within a storage", bytes.len())))?;
        if ranges.insert(&*storage.key, start..at).is_some() {
            return Err(damaged("a storage that occurs twice"));
        }
    }
    if at != bytes.len() {
        return Err(damaged(format!("{} bytes after the last storage", bytes.len() - at)));
    }
    let storage = |storage: &Declared| match ranges.remove(&*storage.key) {
        Some(range) => Ok(Storage { key: storage.key.clone(), range, crc32: None, intact: OnceLock::new() }),
        None => Err(damaged(format!("storage {} is missing", describe::short(&storage.key)))),
    };
    let storages = declared.list.iter().map(storage).collect::<Result<_>>()?;
    Ok((tensors, storages))
}
