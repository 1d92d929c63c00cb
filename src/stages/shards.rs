//! Shards: paired FASTA of a fixed number of frames, the same ids in the same order on both sides.

use std::io::Write;

use crate::error::{Error, Result};
use crate::store::{AtomicFile, FileDigest, StageDir};

/// A finished shard.
pub struct Shard {
    /// Frames in it.
    pub frames: u64,
    /// Names and digests of the nucleotide and the protein file.
    pub files: [(String, FileDigest); 2],
}

/// Writes frames into one shard after the other.
pub struct ShardWriter<'a> {
    dir: &'a StageDir,
    capacity: u64,
    open: Option<OpenShard>,
    finished: Vec<Shard>,
}

struct OpenShard {
    frames: u64,
    nucleotides: (String, AtomicFile),
    proteins: (String, AtomicFile),
}

impl<'a> ShardWriter<'a> {
    /// No shard yet; each will hold `capacity` frames, the last one fewer.
    pub fn new(dir: &'a StageDir, capacity: usize) -> Self {
        Self { dir, capacity: capacity as u64, open: None, finished: Vec::new() }
    }

    /// Appends a frame; its id is the two parts of `id` together.
    ///
    /// # Errors
    /// A shard cannot be written.
    pub fn push(&mut self, id: [&str; 2], nucleotides: &[u8], protein: &[u8]) -> Result<()> {
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => {
                let stem = format!("shard-{:05}", self.finished.len() + 1);
                let start = |name: String| AtomicFile::create(&self.dir.path(&name)).map(|file| (name, file));
                self.open.insert(OpenShard {
                    frames: 0,
                    nucleotides: start(format!("{stem}.fna"))?,
                    proteins: start(format!("{stem}.faa"))?,
                })
            }
        };
        record(&mut shard.nucleotides.1, id, nucleotides)?;
        record(&mut shard.proteins.1, id, protein)?;
        shard.frames += 1;
        if shard.frames == self.capacity { self.close() } else { Ok(()) }
    }

    /// Finishes the last shard and gives all of them.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<Vec<Shard>> {
        self.close()?;
        Ok(self.finished)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(shard) = self.open.take() {
            let files = [
                (shard.nucleotides.0, shard.nucleotides.1.commit()?),
                (shard.proteins.0, shard.proteins.1.commit()?),
            ];
            self.finished.push(Shard { frames: shard.frames, files });
        }
        Ok(())
    }
}

fn record(file: &mut AtomicFile, id: [&str; 2], sequence: &[u8]) -> Result<()> {
    let mut write = || {
        file.write_all(b">")?;
        file.write_all(id[0].as_bytes())?;
        file.write_all(id[1].as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(sequence)?;
        file.write_all(b"\n")
    };
    write().map_err(|error| Error::writing(file.path(), error))
}
