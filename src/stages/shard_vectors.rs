//! Vectors on their way from a session to their files, one file after the other.

use std::collections::BTreeMap;

use super::keeping::Keeping;
use super::shard_sequences::ReadShard;
use super::upstream::UpstreamFile;
use super::vector_files::SOURCE;
use crate::embed::Sink;
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::TaskProgress;
use crate::store::{ShardEntry, StageDir, VectorBlock, VectorWriter};
use crate::units::counted;

/// What is the same for all files of a run.
pub struct About {
    /// What a file says of itself, beside its input.
    pub metadata: BTreeMap<String, String>,
    /// Where it is computed.
    pub place: String,
    /// Width of a vector.
    pub dim: usize,
}

/// Writes the vectors of shards.
pub struct ShardVectors<'a> {
    about: About,
    shards: &'a [UpstreamFile],
    /// Shards whose vectors are written.
    finished: usize,
    dir: &'a mut StageDir,
    /// The file of the shard that comes next, once it has rows.
    open: Option<VectorWriter>,
    /// Rows of all finished shards.
    rows: u64,
    keeping: &'a mut Keeping,
    task: TaskProgress,
}

impl<'a> ShardVectors<'a> {
    /// Nothing is written yet.
    pub fn new(
        about: About,
        shards: &'a [UpstreamFile],
        dir: &'a mut StageDir,
        keeping: &'a mut Keeping,
        task: TaskProgress,
    ) -> Self {
        Self { about, shards, finished: 0, dir, open: None, rows: 0, keeping, task }
    }

    /// Rows of all finished shards.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Keeps what is not in a finished file: the run has failed, and another try goes on from there.
    pub fn keep_what_waits(&mut self) {
        if let Err(error) = self.keep() {
            log::warn!("vectors of unfinished files are not kept: {error}");
        }
    }

    fn keep(&mut self) -> Result<()> {
        let Self { keeping, shards, dir, about, .. } = self;
        keeping.write(shards, dir, &about.place)
    }

    fn shard(&self) -> Result<&UpstreamFile> {
        self.shards.get(self.finished).ok_or_else(|| Error::new(Fault::Bug, "vectors of no shard"))
    }

    /// The file that is open, else a new one.
    fn writer(&mut self) -> Result<VectorWriter> {
        match self.open.take() {
            Some(writer) => Ok(writer),
            None => VectorWriter::create(&self.dir.path(&vector_file(self.shard()?)), self.about.dim),
        }
    }
}

impl Sink<ReadShard> for ShardVectors<'_> {
    fn rows(&mut self, vectors: VectorBlock, kept: usize) -> Result<()> {
        let mut writer = self.writer()?;
        if !self.shard()?.is_stream {
            self.keeping.add(self.finished, writer.rows(), &vectors, kept);
        }
        writer.push(vectors)?;
        self.open = Some(writer);
        if self.keeping.is_due() { self.keep() } else { Ok(()) }
    }

    /// Gives the file its name once it is proved that the shard is what its manifest records, and all of it is there.
    fn end(&mut self, read: ReadShard) -> Result<()> {
        let writer = self.writer()?;
        let shard = self.shard()?;
        let (rows, name) = (writer.rows(), vector_file(shard));
        let expected = shard.rows().unwrap_or(read.records);
        if [read.records, rows] != [expected; 2] {
            return Err(shard.explain(miscounted(expected, &read, rows)));
        }
        shard.prove(&read.digest)?;
        let source = shard.source_of(&read.digest);
        self.dir.allow(&name, &source)?;
        self.dir.begin()?;
        let mut metadata = self.about.metadata.clone();
        metadata.insert(SOURCE.to_owned(), read.digest.blake3.clone());
        let file = writer.commit(&metadata)?;
        let entry =
            ShardEntry { computed: Some(read.computed_with(&self.about.place, rows)), ..source.entry(rows, file) };
        log::debug!("{} is written: {}", self.dir.path(&name).display(), counted(rows, "vector"));
        self.dir.record(&name, entry)?;
        self.keeping.finished(self.finished, &read.digest.blake3);
        self.rows += rows;
        self.finished += 1;
        Ok(())
    }

    fn embedded(&mut self, sequences: u64) {
        self.task.add(sequences);
    }

    fn explain(&self, file: usize, error: Error) -> Error {
        match self.shards.get(file) {
            Some(shard) => shard.explain(error),
            None => error,
        }
    }
}

/// Name of the file of a shard's vectors.
pub fn vector_file(shard: &UpstreamFile) -> String {
    format!("{}.parquet", shard.stem)
}

fn miscounted(expected: u64, read: &ReadShard, rows: u64) -> Error {
    Error::new(Fault::Count, "the numbers of frames in and vectors out differ")
        .expected(expected.to_string())
        .found(format!("{} records, {rows} rows", read.records))
}
