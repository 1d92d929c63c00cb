//! The zip archive that `torch.save` writes since PyTorch 1.6: `NAME/data.pkl`, and a storage in each `NAME/data/KEY`.
//!
//! Entries are stored, never compressed, so that a storage is a part of the file. Only archives whose directory says
//! one thing are read: what is read and kept is then bounded by what is really there.
//!
//! Source of the format: APPNOTE.TXT 6.3.10 of PKWARE.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::tensor::{Declared, Storages};
use super::{Storage, Tensors, damaged, describe, model, not_read};
use crate::error::Result;
use crate::weights::pickle::{MAX_BYTES, Pickle};

/// The latest version of PyTorch's format that is known.
const MAX_VERSION: u32 = 10;
/// The most entries: one for each storage.
const MAX_ENTRIES: u64 = 100_000;

/// Reads what describes the tensors, and finds the storages.
///
/// # Errors
/// [`Fault::ModelFormat`](crate::error::Fault::ModelFormat), [`Fault::ModelPickle`](crate::error::Fault::ModelPickle).
pub(super) fn read(bytes: &[u8]) -> Result<(Tensors, Vec<Storage>)> {
    let entries = entries(bytes).map_err(damaged)?;
    if entries.keys().any(|name| *name == "constants.pkl" || name.starts_with("code/")) {
        return Err(not_read("a TorchScript archive, which is a program"));
    }
    if let Some((name, _)) = entries.iter().find(|(_, entry)| !entry.is_stored) {
        return Err(damaged(format!("a compressed entry, {}", describe::short(name))));
    }
    let small = |name: &str| {
        let Some(entry) = entries.get(name) else { return Ok(None) };
        let content = bytes.get(entry.range.clone()).unwrap_or_default();
        if content.len() > MAX_BYTES {
            let found = format!("{name} of {} bytes; at most {MAX_BYTES} are read", content.len());
            return Err(damaged(found));
        }
        match crc32(content) == entry.crc32 {
            true => Ok(Some(content)),
            false => Err(damaged(format!("{name} with another CRC-32 than recorded"))),
        }
    };
    if small("byteorder")?.is_some_and(|order| order != b"little") {
        return Err(not_read("numbers that are not little-endian"));
    }
    if let Some(version) = small("version")? {
        let version = String::from_utf8_lossy(version);
        if !version.trim().parse().is_ok_and(|version: u32| (1..=MAX_VERSION).contains(&version)) {
            let found = format!("version {} of the format", describe::short(&version));
            return Err(not_read(found).expected(format!("version 1 to {MAX_VERSION}")));
        }
    }
    let content = small("data.pkl")?.ok_or_else(|| not_read("a zip archive without data.pkl"))?;
    let pickle = Pickle::read(content)?;
    if pickle.length != content.len() {
        return Err(damaged(format!("{} bytes after the pickle", content.len() - pickle.length)));
    }
    let declared = Storages::of(&pickle)?;
    let tensors = model::tensors(&pickle, &declared)?;
    let storage = |Declared { key, bytes, .. }| {
        let entry = entries.get(&*format!("data/{key}"));
        let entry = entry.ok_or_else(|| damaged(format!("storage {key} is missing")))?;
        if entry.range.len() != bytes {
            return Err(damaged(format!("{} bytes in storage {key} of {bytes}", entry.range.len())));
        }
        Ok(Storage { key, range: entry.range.clone(), crc32: Some(entry.crc32), intact: OnceLock::new() })
    };
    let storages = declared.list.into_iter().map(storage).collect::<Result<_>>()?;
    Ok((tensors, storages))
}

/// The checksum of zip archives.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Where the content of an entry lies, and its checksum.
struct Entry {
    range: Range<usize>,
    crc32: u32,
    is_stored: bool,
}

/// The entries by name, without the folder that all of them lie in.
fn entries(bytes: &[u8]) -> Result<HashMap<&str, Entry>, String> {
    let (count, directory) = directory(bytes)?;
    let mut rest = bytes.get(directory.clone()).unwrap_or_default();
    let (mut entries, mut top, mut ranges) = (HashMap::new(), None, Vec::new());
    for _ in 0..count {
        let (header, length) = Header::parse(rest).ok_or("a zip directory with fewer entries than announced")?;
        rest = rest.get(length..).unwrap_or_default();
        let path = std::str::from_utf8(header.path).map_err(|_| "an entry whose name is not UTF-8")?;
        let (folder, name) = split(path).ok_or("an entry whose name is not a path within one folder")?;
        if *top.get_or_insert(folder) != folder {
            return Err("entries in more than one folder".to_owned());
        }
        if header.flags & ENCRYPTED != 0 {
            return Err("an encrypted entry".to_owned());
        }
        let start = header.content(bytes).ok_or("an entry that is not what the directory says")?;
        let range = start..start.saturating_add(usize::try_from(header.packed).unwrap_or(usize::MAX));
        if range.end > directory.start {
            return Err(format!("{} bytes, cut within {}", bytes.len(), describe::short(name)));
        }
        ranges.push(header.at..range.end as u64);
        let is_stored = header.method == 0 && header.packed == header.size;
        if entries.insert(name, Entry { range, crc32: header.crc32, is_stored }).is_some() {
            return Err("two entries of one name".to_owned());
        }
    }
    if !rest.is_empty() {
        return Err("a zip directory with more than the entries announced".to_owned());
    }
    ranges.sort_by_key(|range| range.start);
    if ranges.windows(2).any(|pair| matches!(pair, [first, second] if first.end > second.start)) {
        return Err("entries that lie over each other".to_owned());
    }
    Ok(entries)
}

/// Folder and name of an entry. Names that would lead elsewhere are refused although nothing is unpacked.
fn split(path: &str) -> Option<(&str, &str)> {
    let is_plain = !path.contains(['\\', ':', '\0']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    path.split_once('/').filter(|_| is_plain)
}

/// Bits of the flags: encrypted, strongly encrypted, names hidden.
const ENCRYPTED: u64 = 1 | 1 << 6 | 1 << 13;
/// A number that does not fit into its field, and is written in the extra fields.
const ELSEWHERE: u64 = u32::MAX as u64;

/// An entry of the directory.
struct Header<'a> {
    path: &'a [u8],
    flags: u64,
    method: u64,
    crc32: u32,
    /// Bytes in the archive, and of the content.
    packed: u64,
    size: u64,
    /// Where the entry begins.
    at: u64,
}

impl<'a> Header<'a> {
    /// Bytes before the name.
    const FIXED: usize = 46;

    /// The header at the start of `bytes`, and its length.
    fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let field = |at, width| number(bytes, at, width);
        if !bytes.starts_with(b"PK\x01\x02") {
            return None;
        }
        let [path, extra, comment] = [28, 30, 32].map(|at| field(at, 2).map_or(0, |length| length as usize));
        let (path_end, extra_end) = (Self::FIXED + path, Self::FIXED + path + extra);
        let mut extra = bytes.get(path_end..extra_end)?;
        // Those of the three numbers that are elsewhere, in this order.
        let mut long: &[u8] = &[];
        while let Some(length) = number(extra, 2, 2) {
            let content = extra.get(4..4 + length as usize)?;
            if number(extra, 0, 2) == Some(1) {
                long = content;
            }
            extra = extra.get(4 + length as usize..)?;
        }
        let mut sized = |at| match field(at, 4)? {
            ELSEWHERE => {
                let value = number(long, 0, 8)?;
                long = long.get(8..)?;
                Some(value)
            }
            short => Some(short),
        };
        let (size, packed, at) = (sized(24)?, sized(20)?, sized(42)?);
        let header = Self {
            path: bytes.get(Self::FIXED..path_end)?,
            flags: field(8, 2)?,
            method: field(10, 2)?,
            crc32: field(16, 4)? as u32,
            packed,
            size,
            at,
        };
        let length = extra_end + comment;
        (length <= bytes.len()).then_some((header, length))
    }

    /// Where the content begins, if an entry of this name begins where the directory says.
    fn content(&self, archive: &[u8]) -> Option<usize> {
        const FIXED: usize = 30;
        let at = usize::try_from(self.at).ok()?;
        let local = archive.get(at..)?;
        let (path, extra) = (number(local, 26, 2)? as usize, number(local, 28, 2)? as usize);
        let is_same = local.starts_with(b"PK\x03\x04") && local.get(FIXED..FIXED + path) == Some(self.path);
        is_same.then_some(at + FIXED + path + extra)
    }
}

/// The number of entries that the end of an archive announces, and where their directory lies.
fn directory(bytes: &[u8]) -> Result<(u64, Range<usize>), String> {
    const END: usize = 22;
    let cut = || format!("{} bytes without the end of a zip archive", bytes.len());
    let at = bytes.len().checked_sub(END).ok_or_else(cut)?;
    let end = bytes.get(at..).unwrap_or_default();
    let field = |at, width| number(end, at, width).unwrap_or_default();
    // A comment would be last; torch.save writes none.
    if !end.starts_with(b"PK\x05\x06") || field(20, 2) != 0 {
        return Err(cut());
    }
    if (field(4, 2), field(6, 2)) != (0, 0) || field(8, 2) != field(10, 2) {
        return Err("a zip archive in several parts".to_owned());
    }
    let short = (field(10, 2), field(12, 4), field(16, 4));
    let needs_longer = short.0 == u64::from(u16::MAX) || short.1 == ELSEWHERE || short.2 == ELSEWHERE;
    // PyTorch always writes the longer end.
    let ((count, size, start), limit) = match longer_end(bytes, at) {
        Some((found, limit)) if needs_longer || found == short => (found, limit),
        Some(_) => return Err("a zip archive whose two ends differ".to_owned()),
        None if needs_longer => return Err(cut()),
        None => (short, at),
    };
    if start.checked_add(size) != Some(limit as u64) {
        return Err("a zip archive whose directory is not at its end".to_owned());
    }
    if count > MAX_ENTRIES {
        return Err(format!("a zip directory of {count} entries; at most {MAX_ENTRIES} are read"));
    }
    Ok((count, start as usize..limit))
}

/// What the end in 64-bit numbers says: entries, size and start of the directory; and where it begins.
fn longer_end(bytes: &[u8], end: usize) -> Option<((u64, u64, u64), usize)> {
    const LOCATOR: usize = 20;
    let locator = bytes.get(end.checked_sub(LOCATOR)?..end)?;
    let at = usize::try_from(number(locator, 8, 8)?).ok()?;
    let record = bytes.get(at..end - LOCATOR)?;
    let is_whole = locator.starts_with(b"PK\x06\x07")
        && record.starts_with(b"PK\x06\x06")
        && number(record, 4, 8)? == record.len().checked_sub(12)? as u64
        && number(record, 24, 8) == number(record, 32, 8);
    is_whole.then_some(((number(record, 32, 8)?, number(record, 40, 8)?, number(record, 48, 8)?), at))
}

/// A little-endian number of `width` bytes, at most 8.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mut number = [0; 8];
    number.get_mut(..width)?.copy_from_slice(bytes.get(at..at + width)?);
    Some(u64::from_le_bytes(number))
}
