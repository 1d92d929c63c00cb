//! A file while it is written: digested and flushed to the device as it grows.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use super::digest::{ContentHash, FileDigest};
use super::durable;
use crate::error::{Error, Result};

/// Bytes that are digested and written in one go: few enough to stay in a processor's cache meanwhile.
const PIECE: usize = 1 << 20;
/// A file that is announced to be larger is flushed each time so many bytes are written: then the last flush takes a moment,
/// and a signal is answered soon.
const FLUSH: u64 = 64 << 20;
/// Pieces that may wait for the digest.
const WAITING: usize = 16;

/// A file in the making and the digest of what was written.
pub struct FileWriter<H: ContentHash> {
    path: PathBuf,
    file: File,
    /// Not written yet: less than [`PIECE`] between two calls.
    buffer: Vec<u8>,
    hasher: H,
    /// Takes the place of the hasher in a large file.
    beside: Option<Beside<H::Digest>>,
    bytes: u64,
}

/// A digest on a thread of its own: it takes twice as long as the writing. Buffers go to and fro: new ones would cost as
/// much as they save.
struct Beside<D> {
    pieces: SyncSender<Vec<u8>>,
    used: Receiver<Vec<u8>>,
    thread: JoinHandle<D>,
}

impl<D: Send + 'static> Beside<D> {
    /// None where the system gives no thread.
    fn start<H: ContentHash<Digest = D>>() -> Option<Self> {
        let (pieces, received) = mpsc::sync_channel::<Vec<u8>>(WAITING);
        let (back, used) = mpsc::channel();
        let work = move || {
            let mut hasher = H::default();
            for piece in received {
                hasher.update(&piece);
                let _ = back.send(piece); // the last ones are not wanted any more
            }
            hasher.finish()
        };
        let thread = thread::Builder::new().name("digest".to_owned()).spawn(work).ok()?;
        Some(Self { pieces, used, thread })
    }

    fn update(&self, bytes: &[u8]) -> io::Result<()> {
        let mut piece = self.used.try_recv().unwrap_or_default();
        piece.clear();
        piece.extend_from_slice(bytes);
        self.pieces.send(piece).map_err(|_| ended())
    }

    fn finish(self) -> io::Result<D> {
        drop(self.pieces);
        self.thread.join().map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that digests has ended by itself")
}

impl<H: ContentHash> FileWriter<H> {
    /// Starts with an empty file. `path` is named in errors.
    pub(super) fn new(path: PathBuf, file: File) -> Self {
        Self { path, file, buffer: Vec::new(), hasher: H::default(), beside: None, bytes: 0 }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.buffer.len() as u64
    }

    /// Sets space aside for a file that will have so many bytes, before the first is written.
    ///
    /// # Errors
    /// [`Fault::NoSpace`](crate::error::Fault::NoSpace), [`Fault::Quota`](crate::error::Fault::Quota).
    pub fn reserve(&mut self, bytes: u64) -> Result<()> {
        if bytes > FLUSH && self.bytes() == 0 {
            self.beside = Beside::start::<H>();
        }
        durable::reserve(&self.file, bytes).map_err(|error| Error::writing(&self.path, error))
    }

    /// Appends bytes, as [`Write::write_all`] does.
    ///
    /// # Errors
    /// Those of writing, with the path.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|error| Error::writing(&self.path, error))
    }

    /// Puts everything on the device; gives the size and the digest.
    pub(super) fn finish(&mut self) -> io::Result<(u64, H::Digest)> {
        self.drain()?;
        durable::sync(&self.file)?;
        let digest = match self.beside.take() {
            Some(beside) => beside.finish()?,
            None => mem::take(&mut self.hasher).finish(),
        };
        Ok((self.bytes, digest))
    }

    fn drain(&mut self) -> io::Result<()> {
        let mut full = mem::take(&mut self.buffer);
        self.pass_on(&full)?;
        full.clear();
        self.buffer = full;
        Ok(())
    }

    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        durable::write(&self.file, bytes)?;
        let before = self.bytes / FLUSH;
        self.bytes += bytes.len() as u64;
        let Some(beside) = &self.beside else {
            self.hasher.update(bytes);
            return Ok(());
        };
        beside.update(bytes)?;
        if self.bytes / FLUSH > before { durable::sync(&self.file) } else { Ok(()) }
    }
}

impl FileWriter<blake3::Hasher> {
    /// Digest of what was written so far.
    pub(super) fn digest_so_far(&mut self) -> io::Result<FileDigest> {
        self.drain()?;
        Ok(FileDigest::from(&self.hasher))
    }
}

impl<H: ContentHash> Write for FileWriter<H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        if self.buffer.len() + piece.len() > PIECE {
            self.drain()?;
        }
        match piece.len() {
            PIECE => self.pass_on(piece)?, // the buffer is empty: nothing is copied
            _ => self.buffer.extend_from_slice(piece),
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // what matters is the end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::{Digest, Sha256};

    #[test]
    fn size_and_digest_are_those_of_the_bytes_whatever_the_pieces() {
        let root = tempfile::tempdir().unwrap();
        for (number, length) in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5].into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|place| (place % 253) as u8).collect();
            for step in [1_000_003, PIECE, 2 * PIECE + 1] {
                let path = root.path().join(format!("{number}-{step}"));
                let mut writer = FileWriter::<Sha256>::new(path.clone(), durable::create_file(&path).unwrap());
                bytes.chunks(step).for_each(|part| writer.append(part).unwrap());
                assert_eq!(writer.finish().unwrap(), (length as u64, Digest::of(&bytes)), "{length} by {step}");
                assert!(std::fs::read(&path).unwrap() == bytes, "{length} by {step}");
            }
        }
    }

    #[test]
    fn a_large_file_is_digested_beside_its_writing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("large");
        let mut writer = FileWriter::<Sha256>::new(path.clone(), durable::create_file(&path).unwrap());
        let bytes: Vec<u8> = (0..FLUSH + 17).map(|place| (place % 251) as u8).collect();
        writer.reserve(bytes.len() as u64).unwrap();
        bytes.chunks(PIECE - 5).for_each(|part| writer.append(part).unwrap());
        assert!(writer.beside.is_some());
        assert_eq!(writer.finish().unwrap(), (bytes.len() as u64, Digest::of(&bytes)));
    }
}
