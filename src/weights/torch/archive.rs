//! The zip archive that `torch.save` writes since PyTorch 1.6: `NAME/data.pkl`, and a storage in each `NAME/data/KEY`.
//!
//! Entries are stored, never compressed, so that a storage is a part of the file. The end of the archive is checked
//! before the `zip` crate sees it: how much is read and kept is then bounded by what is really there.

mod directory;

use std::path::Path;
use std::sync::OnceLock;

use self::directory::{Directory, Entry};
use super::{Storage, Tensors, damaged, describe, not_read};
use crate::error::Result;
use crate::weights::pickle::{MAX_BYTES, Pickle};

/// The latest version of the format that is known.
const MAX_VERSION: u32 = 10;

/// Reads what describes the tensors, and finds the storages.
///
/// # Errors
/// [`Fault::ModelFormat`](crate::error::Fault::ModelFormat), [`Fault::ModelPickle`](crate::error::Fault::ModelPickle).
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<(Tensors, Vec<Storage>)> {
    let directory = directory::read(bytes).map_err(|found| damaged(path, found))?;
    if directory.is_program() {
        return Err(not_read(path, "a TorchScript archive, which is a program"));
    }
    if let Some(name) = directory.compressed() {
        return Err(damaged(path, format!("a compressed entry, {}", describe::short(name))));
    }
    let small = |name: &str| content(&directory, bytes, name).map_err(|found| damaged(path, found));
    match small("byteorder")? {
        None | Some(b"little") => {}
        Some(_) => return Err(not_read(path, "numbers that are not little-endian")),
    }
    if let Some(version) = small("version")? {
        let number = std::str::from_utf8(version).ok().and_then(|version| version.trim().parse::<u32>().ok());
        if number.is_none_or(|number| number == 0 || number > MAX_VERSION) {
            let found = format!("version {} of the format", describe::short(&String::from_utf8_lossy(version)));
            return Err(not_read(path, found).expected(format!("version 1 to {MAX_VERSION}")));
        }
    }
    let Some(pickle) = small("data.pkl")? else {
        return Err(not_read(path, "a zip archive without data.pkl"));
    };
    let content = Pickle::read(pickle, path)?;
    if content.length() != pickle.len() {
        return Err(damaged(path, format!("{} bytes after the pickle", pickle.len() - content.length())));
    }
    let (tensors, declared) = super::describe(&content, path)?;
    let storage = |storage: super::Declared| match directory.get(&format!("data/{}", storage.key)) {
        Some(entry) if entry.range.len() == storage.bytes => {
            let Entry { range, crc32 } = entry.clone();
            Ok(Storage { name: format!("data/{}", storage.key), range, crc32: Some(crc32), intact: OnceLock::new() })
        }
        Some(entry) => {
            let name = describe::short(&storage.key);
            Err(damaged(path, format!("{} bytes in storage {name} of {}", entry.range.len(), storage.bytes)))
        }
        None => Err(damaged(path, format!("storage {} is missing", describe::short(&storage.key)))),
    };
    let storages = declared.into_iter().map(storage).collect::<Result<_>>()?;
    Ok((tensors, storages))
}

/// The checksum of zip archives.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The bytes of an entry that is read whole, compared with their checksum.
fn content<'a>(directory: &Directory, bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, String> {
    let Some(entry) = directory.get(name) else { return Ok(None) };
    if entry.range.len() > MAX_BYTES {
        return Err(format!("{name} of {} bytes; at most {MAX_BYTES} are read", entry.range.len()));
    }
    let content = bytes.get(entry.range.clone()).unwrap_or_default();
    if crc32(content) != entry.crc32 {
        return Err(format!("{name} with another CRC-32 than recorded"));
    }
    Ok(Some(content))
}
