//! Where sequences come from: a file or standard input, measured and digested as it is read.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Fault, Result};

/// An input as named by the user; `-` is standard input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file, pipe or device.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::Path(path) }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

impl Source {
    /// A failure that concerns this input.
    pub(super) fn fault(&self, fault: Fault, message: impl Into<String>) -> Error {
        Error::new(fault, message).file(self.as_path())
    }

    /// A failure from below: ours if one is inside, else one of reading.
    pub(super) fn io_fault(&self, error: io::Error) -> Error {
        error.downcast::<Error>().unwrap_or_else(|error| Error::reading(self.as_path(), error))
    }

    fn as_path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            Self::Stdin => Path::new("standard input"),
        }
    }

    /// Opens the input.
    pub(super) fn open(&self) -> Result<(Raw, Watch)> {
        let tally = Arc::new(Mutex::new(Tally { hasher: blake3::Hasher::new(), bytes: 0 }));
        let (reader, file): (Box<dyn Read + Send>, _) = match self {
            Self::Stdin => (Box::new(io::stdin()), None),
            Self::Path(path) => {
                let _waiting = Waiting::start(); // a named pipe without a writer
                let file = open_file(path).map_err(|error| missing(path, error))?;
                let identity = file.metadata().map(|metadata| Identity::of(&metadata));
                let identity = identity.map_err(|error| missing(path, error))?;
                let handle = file.try_clone().map_err(|error| Error::reading(path, error))?;
                (Box::new(file), identity.map(|identity| (handle, identity)))
            }
        };
        let is_stream = file.is_none();
        let watch = Watch { source: self.clone(), file, tally: tally.clone() };
        Ok((Raw { source: self.clone(), reader, is_stream, tally }, watch))
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let open = || -> io::Result<File> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    };
    match open() {
        // A network file system may hold a stale handle once.
        Err(error) if error.raw_os_error() == Some(libc::ESTALE) => open(),
        result => result,
    }
}

/// Whatever keeps an input from being opened, it counts as missing.
fn missing(path: &Path, error: io::Error) -> Error {
    use io::ErrorKind as K;
    if let Some(limit) = Error::of_open_files(path, &error) {
        return limit.caused_by(error);
    }
    match error.kind() {
        K::NotFound | K::PermissionDenied | K::IsADirectory => Error::reading(path, error),
        _ => Error::new(Fault::InputMissing, format!("cannot open {}", path.display()))
            .file(path)
            .advice("check the path: every part of it must exist and be readable")
            .caused_by(error),
    }
}

/// The bytes of an input as stored, counted and digested in passing.
pub(super) struct Raw {
    source: Source,
    reader: Box<dyn Read + Send>,
    /// Whether a read may wait for another process.
    is_stream: bool,
    tally: Arc<Mutex<Tally>>,
}

/// Reads that may wait for another process.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Whether a thread of this process waits for the next bytes of a pipe, and may do so for ever.
pub fn is_waiting() -> bool {
    WAITING.load(Ordering::Relaxed) > 0
}

/// A read under way.
struct Waiting;

impl Waiting {
    fn start() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Tally {
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let _waiting = self.is_stream.then(Waiting::start);
            match self.reader.read(buffer) {
                Ok(count) => {
                    let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.hasher.update(&buffer[..count]);
                    tally.bytes += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Wrapped here, so that no decompressor can take a bad disk for bad data.
                Err(error) => return Err(io::Error::other(Error::reading(self.source.as_path(), error))),
            }
        }
    }
}

/// Watches over an input while it is read.
pub(super) struct Watch {
    source: Source,
    file: Option<(File, Identity)>,
    tally: Arc<Mutex<Tally>>,
}

impl Watch {
    /// Bytes read and their digest; fails if a regular file is no longer what was opened.
    pub(super) fn finish(&self) -> Result<(u64, blake3::Hash)> {
        if let (Some((file, before)), Source::Path(path)) = (&self.file, &self.source) {
            let same =
                |metadata: io::Result<Metadata>| metadata.is_ok_and(|m| Identity::of(&m).as_ref() == Some(before));
            if !same(file.metadata()) || !same(fs::metadata(path)) {
                return Err(self
                    .source
                    .fault(Fault::InputChanged, format!("{} changed while it was read", self.source))
                    .expected("the same size, modification time and inode before and after")
                    .advice("wait until the file is complete, then run the same command again"));
            }
        }
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((tally.bytes, tally.hasher.finalize()))
    }
}

/// What tells one state of a regular file from another.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}
