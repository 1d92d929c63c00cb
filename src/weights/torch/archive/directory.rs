//! The entries of a zip archive and where they lie.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::weights::torch::describe;

/// The most entries: one for each storage.
const MAX_ENTRIES: usize = 100_000;
/// The largest directory.
const MAX_DIRECTORY: usize = 32 << 20;
/// Bytes of the record at the end, of the locator of the longer record before it, and the least of that record.
const END: usize = 22;
const LOCATOR: usize = 20;
const END64: usize = 56;
/// Bytes of the fixed part of an entry in the directory, and before its content.
const HEADER: usize = 46;
const LOCAL: usize = 30;

/// Where the content of an entry lies, and its checksum.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) range: Range<usize>,
    pub(super) crc32: u32,
}

/// The entries of an archive by name, without the folder that all of them lie in.
pub(super) struct Directory {
    entries: HashMap<String, Entry>,
    /// An entry that cannot be read where it lies.
    compressed: Option<String>,
}

impl Directory {
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Whether this is a program, as TorchScript writes them.
    pub(super) fn is_program(&self) -> bool {
        self.entries.keys().any(|name| name == "constants.pkl" || name.starts_with("code/"))
    }

    /// The name of an entry that is compressed, if one is.
    pub(super) fn compressed(&self) -> Option<&str> {
        self.compressed.as_deref()
    }
}

/// Reads the directory of an archive and checks every entry against what stands before its content.
pub(super) fn read(bytes: &[u8]) -> Result<Directory, String> {
    let end = End::read(bytes)?;
    end.check_headers(bytes)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let unreadable = |error: zip::result::ZipError| format!("a zip archive that cannot be read: {error}");
    let mut archive = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(unreadable)?;
    if archive.has_duplicate_names() {
        return Err("two entries of one name".to_owned());
    }
    if archive.len() != end.entries || archive.central_directory_start() != end.directory.start as u64 {
        return Err("a zip archive with two directories".to_owned());
    }
    let (mut top, mut compressed) = (None::<String>, None);
    let (mut entries, mut places) = (HashMap::new(), Vec::new());
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(unreadable)?;
        let path = std::str::from_utf8(file.name_raw()).map_err(|_| "an entry whose name is not UTF-8".to_owned())?;
        let (folder, name) = split(path)?;
        if *top.get_or_insert_with(|| folder.to_owned()) != folder {
            return Err("entries in more than one folder".to_owned());
        }
        if file.encrypted() {
            return Err("an encrypted entry".to_owned());
        }
        if file.compression() != CompressionMethod::Stored || file.size() != file.compressed_size() {
            compressed.get_or_insert_with(|| name.to_owned());
        }
        let is_stored = compressed.is_none();
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let header = number(file.header_start());
        let start = number(file.data_start().unwrap_or(u64::MAX));
        let range = start..start.saturating_add(number(file.compressed_size()));
        if range.end > end.directory.start {
            return Err(format!("{} bytes, cut within {}", bytes.len(), describe::short(name)));
        }
        if is_stored {
            check_local(bytes, header, path, file.size())?;
        }
        places.push(header..range.end);
        entries.insert(name.to_owned(), Entry { range, crc32: file.crc32() });
    }
    places.sort_by_key(|place| place.start);
    if places.windows(2).any(|pair| matches!(pair, [first, second] if first.end > second.start)) {
        return Err("entries that lie over each other".to_owned());
    }
    Ok(Directory { entries, compressed })
}

/// Bits of the flags: encrypted, strongly encrypted, names hidden.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Bit of the flags: the sizes stand behind the content.
const SIZES_BEHIND: u16 = 1 << 3;

/// The folder of an entry and its name there. Names that would lead elsewhere are refused although nothing is unpacked.
fn split(path: &str) -> Result<(&str, &str), String> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    match path.split_once('/') {
        Some((folder, name)) if path.split('/').all(is_plain) && !path.contains(['\\', ':', '\0']) => {
            Ok((folder, name))
        }
        _ => Err("an entry whose name is no path within one folder".to_owned()),
    }
}

/// What stands before the content must say the same as the directory.
fn check_local(bytes: &[u8], header: usize, path: &str, size: u64) -> Result<(), String> {
    let local = header.checked_add(LOCAL).and_then(|end| bytes.get(header..end)).unwrap_or_default();
    let name = header + LOCAL;
    let length = u16_at(local, 26).map_or(0, usize::from);
    let is_same_name = bytes.get(name..name.saturating_add(length)) == Some(path.as_bytes());
    let flags = u16_at(local, 6).unwrap_or(u16::MAX);
    let is_stored = u16_at(local, 8) == Some(0) && flags & ENCRYPTED == 0;
    // All ones where the size stands elsewhere.
    let is_size = |at| u32_at(local, at).is_some_and(|found| u64::from(found) == size || found == u32::MAX);
    let has_sizes = flags & SIZES_BEHIND != 0 || (is_size(18) && is_size(22));
    match is_same_name && is_stored && has_sizes {
        true => Ok(()),
        false => Err("an entry that is not what the directory says".to_owned()),
    }
}

/// What the end of an archive says of its directory.
struct End {
    entries: usize,
    directory: Range<usize>,
}

impl End {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let cut = || format!("{} bytes without the end of a zip archive", bytes.len());
        let at = bytes.len().checked_sub(END).ok_or_else(cut)?;
        let end = bytes.get(at..).unwrap_or_default();
        // The comment would be last; torch.save writes none.
        if u32_at(end, 0) != Some(0x0605_4b50) || u16_at(end, 20) != Some(0) {
            return Err(cut());
        }
        let (disk, start_disk) = (u16_at(end, 4), u16_at(end, 6));
        let number = |number: Option<u16>| number.map_or(0, u64::from);
        let long = |number: Option<u32>| number.map_or(0, u64::from);
        let (here, entries) = (number(u16_at(end, 8)), number(u16_at(end, 10)));
        let (size, start) = (long(u32_at(end, 12)), long(u32_at(end, 16)));
        if (disk, start_disk) != (Some(0), Some(0)) || here != entries {
            return Err("a zip archive in several parts".to_owned());
        }
        let needs_longer =
            entries == u64::from(u16::MAX) || size == u64::from(u32::MAX) || start == u64::from(u32::MAX);
        // PyTorch writes the longer record always.
        let longer = Self::longer(bytes, at);
        let (entries, size, start, limit) = match longer {
            Some((found, limit)) if needs_longer || found == (entries, size, start) => {
                (found.0, found.1, found.2, limit)
            }
            Some(_) => return Err("a zip archive whose two ends differ".to_owned()),
            None if needs_longer => return Err(cut()),
            None => (entries, size, start, at),
        };
        let directory = usize::try_from(start).ok().zip(usize::try_from(size).ok());
        let directory = directory.and_then(|(start, size)| Some(start..start.checked_add(size)?));
        let Some(directory) = directory.filter(|directory| directory.end == limit) else {
            return Err("a zip archive whose directory is not at its end".to_owned());
        };
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        if entries > MAX_ENTRIES || directory.len() > MAX_DIRECTORY {
            return Err(format!(
                "a zip directory of {entries} entries and {} bytes; at most {MAX_ENTRIES} and {MAX_DIRECTORY} are read",
                directory.len()
            ));
        }
        Ok(Self { entries, directory })
    }

    /// The record of 64-bit numbers before the end: entries, size and start of the directory; and where it stands.
    fn longer(bytes: &[u8], end: usize) -> Option<((u64, u64, u64), usize)> {
        let locator = end.checked_sub(LOCATOR)?;
        let fields = bytes.get(locator..end)?;
        if u32_at(fields, 0) != Some(0x0706_4b50) {
            return None;
        }
        let at = usize::try_from(u64_at(fields, 8)?).ok()?;
        let fields = bytes.get(at..locator)?;
        let is_whole = fields.len() >= END64 && u64_at(fields, 4)? == (fields.len() - 12) as u64;
        if u32_at(fields, 0) != Some(0x0606_4b50) || !is_whole || u64_at(fields, 24) != u64_at(fields, 32) {
            return None;
        }
        Some(((u64_at(fields, 32)?, u64_at(fields, 40)?, u64_at(fields, 48)?), at))
    }

    /// The headers of the entries must fill the directory.
    fn check_headers(&self, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes.get(self.directory.clone()).unwrap_or_default();
        for _ in 0..self.entries {
            let length: usize = [28, 30, 32].map(|at| u16_at(rest, at).map_or(0, usize::from)).iter().sum();
            if u32_at(rest, 0) != Some(0x0201_4b50) || rest.len() < HEADER + length {
                return Err("a zip directory with fewer entries than announced".to_owned());
            }
            rest = rest.get(HEADER + length..).unwrap_or_default();
        }
        match rest {
            [] => Ok(()),
            _ => Err("a zip directory with more than the entries announced".to_owned()),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
