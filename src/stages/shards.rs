//! Shards: FASTA of a fixed number of frames, a file for each side that the bundle has, the same ids in the same order.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, SealedFile};
use crate::runtime::threads;
use crate::seq::{FrameId, Reading};

/// The sides of frames that are kept: those that the bundle has an encoder for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// As `.fna`.
    pub nucleotides: bool,
    /// As `.faa`.
    pub proteins: bool,
}

impl Sides {
    /// Both.
    pub const BOTH: Self = Self { nucleotides: true, proteins: true };

    /// Whether anything is kept.
    pub fn any(self) -> bool {
        self.nucleotides || self.proteins
    }

    /// What tells them apart; nothing for both.
    pub fn name(self) -> &'static str {
        match (self.nucleotides, self.proteins) {
            (true, true) => "",
            (true, false) => "nucleotides only\n",
            (false, true) => "proteins only\n",
            (false, false) => "no shards\n",
        }
    }
}

/// A finished shard.
pub struct Shard {
    /// Frames in it.
    frames: u64,
    /// Its files, by name.
    files: Vec<(String, SealedFile)>,
}

impl Shard {
    /// Its files, each with its name and the number of frames in it.
    pub fn into_files(self) -> impl Iterator<Item = (String, u64, SealedFile)> {
        let frames = self.frames;
        self.files.into_iter().map(move |(name, file)| (name, frames, file))
    }
}

/// Where the frames of windows go.
pub trait FrameSink {
    /// Takes the next frame.
    ///
    /// # Errors
    /// It cannot be written, or nobody takes it.
    fn push(&mut self, id: FrameId<'_>, frame: &Reading<'_>) -> Result<()>;

    /// Ends. Gives the number of frames, and the shards if there are any.
    ///
    /// # Errors
    /// A shard cannot be written.
    fn finish(self: Box<Self>) -> Result<(u64, Vec<Shard>)>;
}

/// Writes frames into one shard after the other.
pub struct ShardWriter {
    folder: PathBuf,
    capacity: u64,
    sides: Sides,
    open: Option<OpenShard>,
    started: usize,
    closing: VecDeque<JoinHandle<Result<Shard>>>,
    finished: Vec<Shard>,
}

/// Shards that may be on their way to the device while the next one is filled.
const CLOSING_AT_ONCE: usize = 2;

struct OpenShard {
    frames: u64,
    nucleotides: Option<(String, AtomicFile)>,
    proteins: Option<(String, AtomicFile)>,
}

impl ShardWriter {
    /// No shard yet; each will hold `capacity` frames, the last one fewer.
    pub fn new(folder: &Path, capacity: usize, sides: Sides) -> Self {
        let (folder, capacity) = (folder.to_owned(), capacity as u64);
        Self { folder, capacity, sides, open: None, started: 0, closing: VecDeque::new(), finished: Vec::new() }
    }

    fn start(&mut self) -> Result<&mut OpenShard> {
        self.started += 1;
        let stem = format!("shard-{:05}", self.started);
        let start = |is_kept: bool, ending: &str| {
            let name = format!("{stem}{ending}");
            let file = is_kept.then(|| AtomicFile::create(&self.folder.join(&name))).transpose()?;
            Ok::<_, Error>(file.map(|file| (name, file)))
        };
        let (nucleotides, proteins) = (start(self.sides.nucleotides, ".fna")?, start(self.sides.proteins, ".faa")?);
        Ok(self.open.insert(OpenShard { frames: 0, nucleotides, proteins }))
    }

    /// Sends the open shard on its way: to wait for the device would cost more than to fill the next one.
    fn close(&mut self) -> Result<()> {
        if let Some(shard) = self.open.take() {
            self.closing.push_back(threads::spawn("shard", move || shard.seal())?);
        }
        self.wait(CLOSING_AT_ONCE)
    }

    /// Waits until at most `left` shards are on their way.
    fn wait(&mut self, left: usize) -> Result<()> {
        while self.closing.len() > left {
            if let Some(shard) = self.closing.pop_front() {
                let shard = shard.join().map_err(|_| Error::new(Fault::Bug, "closing a shard panicked"))?;
                self.finished.push(shard?);
            }
        }
        Ok(())
    }
}

impl FrameSink for ShardWriter {
    fn push(&mut self, id: FrameId<'_>, frame: &Reading<'_>) -> Result<()> {
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => self.start()?,
        };
        for (file, sequence) in [(&mut shard.nucleotides, frame.nucleotides), (&mut shard.proteins, frame.protein)] {
            if let Some((_, file)) = file {
                record(file, id, sequence)?;
            }
        }
        shard.frames += 1;
        if shard.frames == self.capacity { self.close() } else { Ok(()) }
    }

    /// Finishes the last shard. Without a frame there is an empty one: who scatters shards finds it.
    fn finish(mut self: Box<Self>) -> Result<(u64, Vec<Shard>)> {
        if self.started == 0 {
            self.start()?;
        }
        self.close()?;
        self.wait(0)?;
        let shards = std::mem::take(&mut self.finished);
        Ok((shards.iter().map(|shard| shard.frames).sum(), shards))
    }
}

impl Drop for ShardWriter {
    /// Waits for shards on their way: their unfinished files go with them.
    fn drop(&mut self) {
        self.closing.drain(..).for_each(|shard| drop(shard.join()));
    }
}

impl OpenShard {
    fn seal(self) -> Result<Shard> {
        let files = [self.nucleotides, self.proteins].into_iter().flatten();
        let files = files.map(|(name, file)| Ok((name, file.seal()?))).collect::<Result<_>>()?;
        Ok(Shard { frames: self.frames, files })
    }
}

/// Whether a shard bears this name.
pub fn is_shard(name: &str) -> bool {
    is_numbered(name, &[".fna", ".faa"])
}

/// Whether it is the name of a numbered shard, or of what was made from one, with one of these endings.
pub fn is_numbered(name: &str, endings: &[&str]) -> bool {
    let number = name.strip_prefix("shard-");
    let number = number.and_then(|rest| endings.iter().find_map(|ending| rest.strip_suffix(ending)));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn record(file: &mut AtomicFile, id: FrameId<'_>, sequence: &[u8]) -> Result<()> {
    let mut write = || {
        file.write_all(b">")?;
        file.write_all(id.window.as_bytes())?;
        file.write_all(id.frame.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(sequence)?;
        file.write_all(b"\n")
    };
    write().map_err(|error| Error::writing(file.path(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_and_of_other_files() {
        for name in ["shard-00001.fna", "shard-100000.faa"] {
            assert!(is_shard(name), "{name}");
        }
        for name in ["shard-.fna", "shard-1.fna.gz", "shard-x.faa", "shards", "windows.tsv", "shard-1.parquet"] {
            assert!(!is_shard(name), "{name}");
        }
    }
}
