//! The bytes of a model file, and what is found in place of one.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::{Advice, Mmap, UncheckedAdvice};

use crate::error::{Error, Fault, Result};
use crate::fs::digest::{ContentHash as _, Digest, Sha256};
use crate::fs::text::decode_file;
use crate::weights::placeholder::Placeholder;

/// Bytes of a model file: mapped from disk, read, or part of the executable.
pub struct ModelBytes(Held);

enum Held {
    Mapped(Mmap),
    Read(Vec<u8>),
    Embedded(&'static [u8]),
}

/// The largest file, in bytes, that is read and not mapped.
const SMALL: u64 = 64 << 20;

/// A multiple of the page size of every machine this program runs on.
const PAGE: usize = 64 << 10;

impl ModelBytes {
    /// Maps a file of more than 64 MiB, where the file system can; reads any other.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`] for a file that is not there, is a folder or cannot be opened; [`Fault::Read`].
    pub fn open(path: &Path) -> Result<Self> {
        // Asked before opening: opening a named pipe would wait for a writer.
        let metadata = path.metadata().map_err(|error| unreadable(path, error))?;
        if metadata.is_dir() {
            return Err(unreadable(path, ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            let special =
                std::io::Error::new(ErrorKind::InvalidInput, "a device, pipe or socket is not a regular file");
            return Err(unreadable(path, special));
        }
        let mut file = File::open(path).map_err(|error| unreadable(path, error))?;
        if metadata.len() > SMALL {
            #[allow(unsafe_code)]
            // SAFETY: sound while nobody writes to the file. Nobody does to an installed model, which one rename puts in
            // place. A weights file that a user gives can change, and nothing here prevents it: cut short under the map
            // it ends the process (SIGBUS), and what is borrowed from it changes with it. Configurations and lists of
            // symbols are small, and never mapped.
            let mapped = unsafe { Mmap::map(&file) };
            if let Ok(map) = mapped {
                return Ok(Self(Held::Mapped(map)));
            }
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
        Ok(Self(Held::Read(bytes)))
    }

    /// SHA-256 of all bytes, front to end. A large file is read without filling the memory, and `proceed` is asked at
    /// every 16 MiB.
    ///
    /// # Errors
    /// Those of `proceed`.
    pub fn digest(&self, proceed: &dyn Fn() -> Result<()>) -> Result<Digest> {
        const PIECE: usize = 16 << 20;
        let mut hasher = Sha256::default();
        for (place, piece) in self.chunks(PIECE).enumerate() {
            proceed()?;
            hasher.update(piece);
            self.release(place * PIECE..place * PIECE + piece.len());
        }
        Ok(hasher.finish())
    }

    /// Has the system bring in a part that is needed whole and at once: cheaper than page by page.
    pub fn populate(&self, part: Range<usize>) {
        if let Held::Mapped(map) = &self.0 {
            let start = part.start.min(map.len()) / PAGE * PAGE;
            // Systems that cannot do this do it page by page.
            let _advice = map.advise_range(Advice::PopulateRead, start, part.end.min(map.len()).saturating_sub(start));
        }
    }

    /// Lets the system take back the memory of a part that is not needed soon; it can still be read.
    pub fn release(&self, part: Range<usize>) {
        if let Held::Mapped(map) = &self.0 {
            // Whole pages only, and only those inside the part.
            let start = part.start.next_multiple_of(PAGE);
            let length = (part.end.min(map.len()) / PAGE * PAGE).saturating_sub(start);
            if length > 0 {
                #[allow(unsafe_code)]
                // SAFETY: the map is shared and read-only, so that pages given back are read from the file again.
                let _advice = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
            }
        }
    }

    /// Bytes that are part of the executable.
    pub fn embedded(bytes: &'static [u8]) -> Self {
        Self(Held::Embedded(bytes))
    }
}

impl From<Vec<u8>> for ModelBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Held::Read(bytes))
    }
}

impl Deref for ModelBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Mapped(map) => map,
            Held::Read(bytes) => bytes,
            Held::Embedded(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for ModelBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// An error for a model file that cannot be opened or read.
pub(crate) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    if let Some(limit) = Error::of_open_files(path, &error) {
        return limit.caused_by(error);
    }
    let (fault, advice) = match error.kind() {
        ErrorKind::NotFound => (Fault::ModelMissing, "check the path; a link may point to nothing"),
        ErrorKind::PermissionDenied => (Fault::ModelMissing, "make the file readable for this user"),
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => (Fault::ModelMissing, "give the path of a file"),
        ErrorKind::InvalidInput => {
            (Fault::ModelMissing, "give a regular file: copy what comes from elsewhere into one")
        }
        _ => (Fault::Read, "check the disk or the network file system, then run the same command again"),
    };
    Error::new(fault, format!("cannot read the model file {}", path.display()))
        .file(path)
        .advice(advice)
        .caused_by(error)
}

/// The first bytes of a file, at most 256; none where the path is not a file or cannot be read.
pub(super) fn start_of(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    // Asked before opening: opening a named pipe would wait for a writer.
    if path.is_file()
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(256).read_to_end(&mut start);
    }
    start
}

/// Refuses what is commonly found in place of a model file: a Git-LFS pointer or a web page.
///
/// # Errors
/// [`Fault::ModelPointer`].
pub(crate) fn refuse_pointer(bytes: &[u8], path: &Path) -> Result<()> {
    let (found, advice) = match Placeholder::of(bytes) {
        Some(Placeholder::Pointer) => (
            "a Git-LFS pointer, which only names the file",
            "run 'git lfs pull' in the folder it came from, or download the file",
        ),
        Some(Placeholder::Page) => {
            ("a web page", "download the file itself: the link led to a page about it, a login or an error")
        }
        None => return Ok(()),
    };
    Err(Error::new(Fault::ModelPointer, "this is not the model file itself").file(path).found(found).advice(advice))
}

/// Text of a small file of a model (configuration, list of symbols), at most 64 MiB, without a byte order mark.
///
/// # Errors
/// As [`ModelBytes::open`], [`refuse_pointer`], and [`Fault::ModelFormat`] for anything but text.
pub(crate) fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str> {
    refuse_pointer(bytes, path)?;
    if bytes.len() > 64 << 20 {
        return Err(Error::new(Fault::ModelFormat, "this is not a text file of a model")
            .file(path)
            .expected("at most 64 MiB")
            .found(format!("{} bytes", bytes.len())));
    }
    decode_file(bytes, path, Fault::ModelFormat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_or_page_is_recognised() {
        let path = Path::new("model.safetensors");
        for bytes in
            [&b"version https://git-lfs.github.com/spec/v1\noid"[..], b"\n <!DOCTYPE html>", b"\xef\xbb\xbf<html>"]
        {
            assert_eq!(refuse_pointer(bytes, path).unwrap_err().fault(), Fault::ModelPointer);
        }
        for bytes in [&b""[..], b"\x10\0\0\0\0\0\0\0{}", b"<cls>\n<pad>", b"{\"a\": \"<\"}"] {
            assert!(refuse_pointer(bytes, path).is_ok());
        }
    }

    #[test]
    fn a_large_file_is_mapped_and_a_small_one_read() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(SMALL + 1).unwrap();
        let bytes = ModelBytes::open(&large).unwrap();
        assert!(matches!(bytes.0, Held::Mapped(_)) && bytes.len() as u64 == SMALL + 1);
        for content in [&b"weights"[..], b""] {
            let path = folder.path().join("file");
            std::fs::write(&path, content).unwrap();
            let bytes = ModelBytes::open(&path).unwrap();
            bytes.populate(0..content.len());
            bytes.release(0..content.len());
            assert!(matches!(bytes.0, Held::Read(_)) && *bytes == *content);
        }
    }

    #[test]
    fn a_digest_is_that_of_all_bytes_or_ends_when_it_must() {
        let content: Vec<u8> = (0..(48 << 20) + 17).map(|place| (place % 251) as u8).collect();
        let bytes = ModelBytes::from(content.clone());
        assert_eq!(bytes.digest(&|| Ok(())).unwrap(), Digest::of(&content));
        assert_eq!(ModelBytes::embedded(b"").digest(&|| Ok(())).unwrap(), Digest::of(b""));
        let asked = std::cell::Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Ok(()) } else { Err(Error::new(Fault::Interrupted, "stopped")) }
        };
        assert_eq!(bytes.digest(&stop).unwrap_err().fault(), Fault::Interrupted);
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_missing_file_or_a_folder_is_a_missing_model() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none"), folder.path().join("none/none")] {
            assert_eq!(ModelBytes::open(&path).err().map(|error| error.fault()), Some(Fault::ModelMissing));
        }
        let error = ModelBytes::open(Path::new("/dev/zero")).err().unwrap();
        assert_eq!(error.fault(), Fault::ModelMissing);
        assert!(error.report("import").contains("not a regular file"));
    }
}
