//! What proves the content of a published file: SHA-256 for a large one, its id in Git for a small one.

use std::fmt;
use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs::digest::{ContentHash as _, Digest, GitBlob, Sha256};
use crate::fs::for_each_piece;

/// The checksum that a file must have. It is also the name of the file's blob in a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256 of the bytes.
    Sha256(Digest),
    /// SHA-1 of `blob`, the size and the bytes: the id of a file in Git.
    Git(String),
}

impl Checksum {
    /// Reads a checksum as a hub writes it: 64 or 40 hexadecimal digits, possibly with the quotes and `W/` of an ETag.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        match text.len() {
            40 if text.bytes().all(|b| b.is_ascii_hexdigit()) => Some(Self::Git(text)),
            64 => text.parse().ok().map(Self::Sha256),
            _ => None,
        }
    }

    /// Starts a checksum of this kind for a file of `bytes` bytes.
    pub fn start(&self, bytes: u64) -> Running {
        match self {
            Self::Sha256(_) => Running::Sha256(Sha256::default()),
            Self::Git(_) => Running::Git(GitBlob::of_size(bytes)),
        }
    }

    /// The checksum of this kind that `content` has.
    pub fn of_same_kind(&self, content: &[u8]) -> Self {
        let mut running = self.start(content.len() as u64);
        running.update(content);
        running.finish()
    }

    /// Whether a file has this checksum. `proceed` is told how many bytes were read since the last call.
    ///
    /// # Errors
    /// The file cannot be read; those of `proceed`.
    pub fn matches(&self, path: &Path, proceed: &mut dyn FnMut(u64) -> Result<()>) -> Result<bool> {
        let reading = |error| Error::reading(path, error);
        let mut file = File::open(path).map_err(reading)?;
        let mut running = self.start(file.metadata().map_err(reading)?.len());
        for_each_piece(&mut file, path, &mut |piece| {
            running.update(piece);
            proceed(piece.len() as u64)
        })?;
        Ok(running.finish() == *self)
    }
}

impl From<Digest> for Checksum {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "{digest}"),
            Self::Git(id) => f.write_str(id),
        }
    }
}

/// A checksum of bytes that arrive piece by piece.
pub enum Running {
    /// SHA-256.
    Sha256(Sha256),
    /// The id in Git.
    Git(GitBlob),
}

impl Running {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    /// Checksum of all pieces.
    pub fn finish(self) -> Checksum {
        match self {
            Self::Sha256(hasher) => Checksum::Sha256(hasher.finish()),
            Self::Git(hasher) => Checksum::Git(hasher.finish()),
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
        let sum = Checksum::parse(&format!("W/\"{HELLO}\"")).unwrap();
        let mut running = sum.start(6);
        running.update(b"hel");
        running.update(b"lo\n");
        assert_eq!(running.finish(), sum);
        assert_eq!(sum.of_same_kind(b"hello\n"), sum);
        assert_eq!(sum.to_string(), HELLO);
    }

    #[test]
    fn a_file_is_proved_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "hello\n").unwrap();
        let mut seen = 0;
        let mut count = |n| {
            seen += n;
            Ok(())
        };
        assert!(Checksum::Git(HELLO.into()).matches(&path, &mut count).unwrap());
        assert!(!Checksum::Sha256(Digest::of(b"hello")).matches(&path, &mut |_| Ok(())).unwrap());
        assert!(Checksum::Sha256(Digest::of(b"hello\n")).matches(&path, &mut |_| Ok(())).unwrap());
        assert_eq!(seen, 6);
    }

    #[test]
    fn text_that_is_not_a_checksum_gives_none() {
        for text in ["", "\"abc\"", "W/\"0815\"", &"g".repeat(40), &"ab".repeat(33)] {
            assert_eq!(Checksum::parse(text), None, "{text}");
        }
    }
}
