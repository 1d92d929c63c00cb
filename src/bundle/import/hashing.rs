//! SHA-256 of a file that is written, beside the writing.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Fault, Result};
use crate::fs::digest::{Digest, Hasher};

/// Bytes that are read, checked, digested and written in one go: few enough to stay in a processor's cache meanwhile.
pub(super) const PIECE: usize = 1 << 20;
/// Pieces that may wait for the digest.
const WAITING: usize = 64;

/// A digest on a thread of its own. Pieces are handed over whole and come back empty: nothing is copied.
pub(super) struct Hashing {
    pieces: SyncSender<Vec<u8>>,
    emptied: Receiver<Vec<u8>>,
    thread: JoinHandle<Digest>,
}

impl Hashing {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> Result<Self> {
        let (pieces, received) = mpsc::sync_channel::<Vec<u8>>(WAITING);
        let (back, emptied) = mpsc::channel();
        let work = move || {
            let mut hasher = Hasher::default();
            for mut piece in received {
                hasher.update(&piece);
                piece.clear();
                // Nobody waits for it after the last piece.
                let _ = back.send(piece);
            }
            hasher.finish()
        };
        let thread = thread::Builder::new().name("digest".to_owned()).spawn(work).map_err(no_thread)?;
        Ok(Self { pieces, emptied, thread })
    }

    /// Takes the next piece and gives an empty one.
    ///
    /// # Errors
    /// None but a defect of this program.
    pub(super) fn take(&mut self, piece: Vec<u8>) -> Result<Vec<u8>> {
        self.pieces.send(piece).map_err(|_| ended())?;
        Ok(self.emptied.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE)))
    }

    /// Digest of all pieces.
    ///
    /// # Errors
    /// None but a defect of this program.
    pub(super) fn finish(self) -> Result<Digest> {
        drop(self.pieces);
        self.thread.join().map_err(|_| ended())
    }
}

/// The error of a thread that could not be started.
pub(super) fn no_thread(error: std::io::Error) -> Error {
    Error::new(Fault::Write, "the system gives no thread to write with")
        .advice("raise the limit of processes of this user (ulimit -u), then run the same command again")
        .caused_by(error)
}

/// The error of a thread that ended by a panic.
pub(super) fn ended() -> Error {
    Error::new(Fault::Bug, "a thread of the import ended by itself").advice("please report this")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_digest_of_their_bytes() {
        let bytes: Vec<u8> = (0..3 * PIECE + 17).map(|place| (place % 251) as u8).collect();
        let mut hashing = Hashing::start().unwrap();
        let mut piece = Vec::new();
        for part in bytes.chunks(PIECE) {
            piece.extend_from_slice(part);
            piece = hashing.take(piece).unwrap();
            assert!(piece.is_empty());
        }
        assert_eq!(hashing.finish().unwrap(), Digest::of(&bytes));
        assert_eq!(Hashing::start().unwrap().finish().unwrap(), Digest::of(b""));
    }
}
