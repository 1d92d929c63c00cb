//! What proves a download: SHA-256 of a large file, Git's own digest of a small one.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs::digest::{Digest, GitBlob, Hasher};
use crate::runtime::interrupt;

/// Bytes of a file that are read at once.
const PIECE: usize = 1 << 20;

/// A digest that a file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sum {
    /// SHA-256 of the bytes.
    Sha256(Digest),
    /// SHA-1 of `blob`, the size and the bytes: the id of a file in Git.
    Git(String),
}

impl Sum {
    /// Reads a digest as a hub announces it: 64 or 40 hexadecimal digits. Quotes and `W/` of an ETag are left out.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        match text.len() {
            40 if text.bytes().all(|b| b.is_ascii_hexdigit()) => Some(Self::Git(text)),
            64 => text.parse().ok().map(Self::Sha256),
            _ => None,
        }
    }

    /// Starts such a digest. `bytes` is the size of the file.
    pub(in crate::hub) fn start(&self, bytes: u64) -> Running {
        match self {
            Self::Sha256(_) => Running::Sha256(Hasher::default()),
            Self::Git(_) => Running::Git(GitBlob::of_size(bytes)),
        }
    }

    /// Whether a file has this digest. `read` hears of the bytes read.
    ///
    /// # Errors
    /// The file cannot be read, or a signal has arrived.
    pub(in crate::hub) fn holds(&self, path: &Path, read: &mut dyn FnMut(u64)) -> Result<bool> {
        let mut file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let bytes = file.metadata().map_err(|error| Error::reading(path, error))?.len();
        let mut running = self.start(bytes);
        let mut piece = vec![0; PIECE];
        loop {
            interrupt::check()?;
            let n = match file.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(|error| Error::reading(path, error))?,
            };
            if n == 0 {
                return Ok(running.finish() == *self);
            }
            running.update(&piece[..n]);
            read(n as u64);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "{digest}"),
            Self::Git(id) => f.write_str(id),
        }
    }
}

/// A digest of bytes that come piece by piece.
pub(in crate::hub) enum Running {
    Sha256(Hasher),
    Git(GitBlob),
}

impl Running {
    /// Takes the next piece.
    pub(in crate::hub) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    /// Digest of all pieces.
    pub(in crate::hub) fn finish(self) -> Sum {
        match self {
            Self::Sha256(hasher) => Sum::Sha256(hasher.finish()),
            Self::Git(hasher) => Sum::Git(hasher.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'hello\n' | git hash-object --stdin`
    const HELLO: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    #[test]
    fn a_git_id_is_that_of_git() {
        let sum = Sum::parse(&format!("W/\"{HELLO}\"")).unwrap();
        let mut running = sum.start(6);
        running.update(b"hel");
        running.update(b"lo\n");
        assert_eq!(running.finish(), sum);
        assert_eq!(sum.to_string(), HELLO);
    }

    #[test]
    fn a_file_is_proved_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "hello\n").unwrap();
        let mut seen = 0;
        assert!(Sum::Git(HELLO.into()).holds(&path, &mut |n| seen += n).unwrap());
        assert_eq!(seen, 6);
        assert!(!Sum::Sha256(Digest::of(b"hello")).holds(&path, &mut |_| ()).unwrap());
        assert!(Sum::Sha256(Digest::of(b"hello\n")).holds(&path, &mut |_| ()).unwrap());
    }

    #[test]
    fn an_etag_that_is_no_digest_is_none() {
        for text in ["", "\"abc\"", "W/\"0815\"", &"g".repeat(40), &"ab".repeat(33)] {
            assert_eq!(Sum::parse(text), None, "{text}");
        }
    }
}
