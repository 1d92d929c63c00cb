//! The format before zip archives: five pickles, then the storages, each after the number of its elements.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use super::{Storage, Tensors, damaged, describe, not_read};
use crate::error::Result;
use crate::weights::pickle::{Pickle, Value};

/// Bytes of the number of elements before a storage.
const LENGTH: usize = 8;

/// Reads what describes the tensors, and finds the storages.
///
/// # Errors
/// [`Fault::ModelFormat`](crate::error::Fault::ModelFormat), [`Fault::ModelPickle`](crate::error::Fault::ModelPickle).
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<(Tensors, Vec<Storage>)> {
    let mut file = File { bytes, at: 0, path };
    let first = file.pickle()?;
    match first.get(first.root()) {
        Value::Long(number) if **number == super::MAGIC => {}
        _ => {
            return Err(not_read(
                path,
                format!("a pickle that torch.save has not written: {}", describe::value(&first, first.root())),
            ));
        }
    }
    let protocol = file.pickle()?;
    if protocol.int(protocol.root()) != Some(1001) {
        return Err(not_read(path, "another version of the format than 1001"));
    }
    let machine = file.pickle()?;
    let entries = machine.entries(machine.root()).unwrap_or_default();
    let is_little =
        |&(key, value)| machine.text(key) == Some("little_endian") && matches!(machine.get(value), Value::Bool(true));
    if !entries.iter().any(is_little) {
        return Err(not_read(path, "numbers that are not little-endian"));
    }
    let model = file.pickle()?;
    let (tensors, declared) = super::describe(&model, path)?;

    let places: HashMap<&str, usize> =
        declared.iter().enumerate().map(|(index, storage)| (storage.key.as_str(), index)).collect();
    let mut ranges = vec![None; declared.len()];
    let keys = file.pickle()?;
    for &key in keys.elements(keys.root()).ok_or_else(|| damaged(path, "no list of storages"))? {
        let key = keys.text(key).unwrap_or_default();
        let place = places.get(key).and_then(|&index| Some((declared.get(index)?, ranges.get_mut(index)?)));
        let Some((storage, range)) = place else {
            return Err(damaged(path, format!("a storage that no tensor uses: {}", describe::short(key))));
        };
        let start = file.at.saturating_add(LENGTH);
        let size = storage.dtype.map_or(1, |dtype| dtype.bitsize() / 8);
        let numbers =
            file.take(LENGTH).and_then(|length| length.first_chunk()).map(|length| u64::from_le_bytes(*length));
        let numbers = numbers.ok_or_else(|| damaged(path, format!("{} bytes, cut before a storage", bytes.len())))?;
        if usize::try_from(numbers).ok().and_then(|numbers| numbers.checked_mul(size)) != Some(storage.bytes) {
            return Err(damaged(path, format!("{numbers} numbers in a storage of {} bytes", storage.bytes)));
        }
        if file.take(storage.bytes).is_none() {
            return Err(damaged(path, format!("{} bytes, cut within a storage", bytes.len())));
        }
        if range.replace(start..file.at).is_some() {
            return Err(damaged(path, "a storage that stands twice"));
        }
    }
    if file.at != bytes.len() {
        return Err(damaged(path, format!("{} bytes after the last storage", bytes.len() - file.at)));
    }
    let storage = |(declared, range): (super::Declared, Option<_>)| match range {
        Some(range) => Ok(Storage { name: declared.key, range, crc32: None, intact: OnceLock::new() }),
        None => Err(damaged(path, format!("storage {} is missing", describe::short(&declared.key)))),
    };
    let storages = declared.into_iter().zip(ranges).map(storage).collect::<Result<_>>()?;
    Ok((tensors, storages))
}

/// A file, and how far it was read.
struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> File<'a> {
    fn pickle(&mut self) -> Result<Pickle<'a>> {
        let pickle = Pickle::read(self.bytes.get(self.at..).unwrap_or_default(), self.path)?;
        self.at += pickle.length();
        Ok(pickle)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }
}
