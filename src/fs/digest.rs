//! Digests of files: BLAKE3 in manifests, SHA-256 in bundles and on model hubs, and Git's ids of small files.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::error::{Error, Result as Fallible};

/// Size and content digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content, in hexadecimal.
    pub blake3: String,
}

impl FileDigest {
    /// Reads a file and digests it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(path: &Path) -> Fallible<Self> {
        let file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(|error| Error::reading(path, error))?;
        Ok(Self::from(&hasher))
    }

    /// One digest for several files, in the given order.
    pub fn of_all<'a>(digests: impl IntoIterator<Item = &'a FileDigest>) -> String {
        let mut hasher = blake3::Hasher::new();
        for digest in digests {
            hasher.update(digest.blake3.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl From<&blake3::Hasher> for FileDigest {
    /// The digest of all that the hasher was given.
    fn from(hasher: &blake3::Hasher) -> Self {
        Self { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() }
    }
}

/// A SHA-256 digest; written and read as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_ring(digest(&SHA256, bytes))
    }

    fn from_ring(found: ring::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(found.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

/// A digest of bytes that come piece by piece.
pub trait ContentHash: Default {
    /// What comes of it.
    type Digest: Send + 'static;

    /// Takes the next piece.
    fn update(&mut self, bytes: &[u8]);

    /// Digest of all pieces.
    fn finish(self) -> Self::Digest;
}

/// SHA-256 of bytes that come piece by piece.
pub struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl ContentHash for Sha256 {
    type Digest = Digest;

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> Digest {
        Digest::from_ring(self.0.finish())
    }
}

impl ContentHash for blake3::Hasher {
    type Digest = String;

    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn finish(self) -> String {
        self.finalize().to_hex().to_string()
    }
}

/// The id of a file in Git, of bytes that come piece by piece: SHA-1 of `blob`, the size and the bytes.
pub struct GitBlob(Sha1);

impl GitBlob {
    /// Starts the id of a file of so many bytes.
    pub fn of_size(bytes: u64) -> Self {
        Self(Sha1::new().chain_update(format!("blob {bytes}\0")))
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id: 40 lower-case hexadecimal digits.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The id of a file with this content in Git.
pub fn git_blob(content: &[u8]) -> String {
    let mut id = GitBlob::of_size(content.len() as u64);
    id.update(content);
    id.finish()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a SHA-256 digest: 64 lower-case hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_the_standard_is_given_whole_and_in_pieces() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), abc);
        let mut hasher = Sha256::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), abc.parse().unwrap());
    }

    #[test]
    fn the_id_of_a_file_is_that_of_git() {
        // As `printf 'abc' | git hash-object --stdin` prints it.
        assert_eq!(git_blob(b"abc"), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
    }

    #[test]
    fn anything_but_a_digest_is_refused() {
        for text in ["", "ba78", &"A".repeat(64), &"g".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
