//! What an embed stage keeps of vectors whose file is not complete, and when.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, absolute};
use std::time::{Duration, Instant};

use super::shard_vectors::vector_file;
use super::upstream::UpstreamFile;
use crate::config;
use crate::error::{Error, Fault, Result};
use crate::fs::room;
use crate::store::{CHECKPOINT_FOLDER, Checkpoints, Fingerprint, StageDir, VectorBlock};

/// Bytes of vectors that wait at most: what a fast device makes is kept before the time is up.
const MOST_WAITING: usize = 64 << 20;

/// Keeps vectors in checkpoints. Those in the output folder go when their file is complete; those in a folder of the user's
/// choice when the command is, since the output may be lost with the task.
pub struct Keeping {
    checkpoints: Checkpoints,
    in_output: bool,
    interval: Duration,
    waiting: Vec<Waiting>,
    since: Instant,
    /// Digests of inputs that have a checkpoint, or may have one.
    inputs: BTreeSet<String>,
    /// Whether a checkpoint could not be written: the run goes on without.
    given_up: bool,
}

/// Refuses a checkpoint folder that is one of `outputs` or cannot be written to. Writes nothing.
///
/// # Errors
/// [`Fault::Usage`], [`Fault::Write`].
pub fn check(checkpoints: &config::Checkpointing, outputs: &[&Path]) -> Result<()> {
    let Some(folder) = &checkpoints.folder else { return Ok(()) };
    let place = |folder: &Path| folder.canonicalize().or_else(|_| absolute(folder)).unwrap_or(folder.to_owned());
    if outputs.iter().any(|output| place(output) == place(folder)) {
        return Err(Error::new(Fault::Usage, "--checkpoint-dir is an output folder")
            .file(folder)
            .advice("choose another folder, or leave it out: checkpoints are then kept in the output"));
    }
    if folder.exists() && !folder.is_dir() {
        return Err(Error::writing(folder, ErrorKind::NotADirectory.into()));
    }
    room::check_writable(folder)
}

/// Rows that no checkpoint holds yet.
struct Waiting {
    /// Place of their shard among those of the run.
    shard: usize,
    /// Number of the first one in its file.
    first: u64,
    rows: VectorBlock,
}

impl Keeping {
    /// Nothing is kept yet.
    ///
    /// # Errors
    /// The folder is that of the output, or cannot be written to.
    pub fn new(settings: &config::Embed, work: &Fingerprint, dim: usize) -> Result<Self> {
        check(&settings.checkpoints, &[&settings.output])?;
        let config::Checkpointing { folder, interval } = &settings.checkpoints;
        let root = folder.clone().unwrap_or_else(|| settings.output.join(CHECKPOINT_FOLDER));
        Ok(Self {
            checkpoints: Checkpoints::new(root, work, dim),
            in_output: folder.is_none(),
            interval: Duration::from_secs(*interval),
            waiting: Vec::new(),
            since: Instant::now(),
            inputs: BTreeSet::new(),
            given_up: false,
        })
    }

    /// The checkpoints, where there may be some.
    pub fn checkpoints(&self) -> Option<&Checkpoints> {
        self.checkpoints.root().is_dir().then_some(&self.checkpoints)
    }

    /// Takes rows of a shard that are not in a checkpoint: all but the first `kept`. `first` is the number of the first row.
    pub fn add(&mut self, shard: usize, first: u64, vectors: &VectorBlock, kept: usize) {
        let rows = vectors.ids.len();
        if kept >= rows || self.given_up {
            return;
        }
        let dim = vectors.values.len() / rows;
        let new = VectorBlock {
            ids: vectors.ids[kept..].to_vec(),
            values: vectors.values[kept * dim..].to_vec(),
            proteins: Vec::new(),
        };
        let first = first + kept as u64;
        match self.waiting.last_mut() {
            Some(last) if last.shard == shard && last.first + last.rows.ids.len() as u64 == first => {
                last.rows.ids.extend(new.ids);
                last.rows.values.extend(new.values);
            }
            _ => self.waiting.push(Waiting { shard, first, rows: new }),
        }
    }

    /// Whether it is time to write what waits.
    pub fn is_due(&self) -> bool {
        let bytes: usize = self.waiting.iter().map(|waiting| size_of_val(waiting.rows.values.as_slice())).sum();
        bytes > 0 && (self.since.elapsed() >= self.interval || bytes >= MOST_WAITING)
    }

    /// Writes what waits. Where that fails, the run goes on without checkpoints.
    ///
    /// # Errors
    /// An input cannot be read, or its vectors may not replace those in the output.
    pub fn write(&mut self, shards: &[UpstreamFile], dir: &mut StageDir, place: &str) -> Result<()> {
        for Waiting { shard, first, rows } in std::mem::take(&mut self.waiting) {
            let shard = shards.get(shard).ok_or_else(|| Error::new(Fault::Bug, "vectors of no shard"))?;
            let source = shard.source()?;
            dir.allow(&vector_file(shard), &source)?;
            if self.in_output {
                dir.begin()?;
            }
            let kept = self.checkpoints.of(&source.digest).keep(first, rows, place);
            self.inputs.insert(source.digest);
            if let Err(error) = kept {
                log::warn!("no more vectors of unfinished files are kept: {error}");
                self.given_up = true;
                break;
            }
        }
        self.since = Instant::now();
        Ok(())
    }

    /// A shard's file is complete; its input has this digest.
    pub fn finished(&mut self, shard: usize, input: &str) {
        self.inputs.insert(input.to_owned());
        if self.in_output {
            self.waiting.retain(|waiting| waiting.shard != shard);
            self.checkpoints.of(input).remove();
        }
    }

    /// The command is complete.
    pub fn remove_all(&self) {
        let root = self.checkpoints.root();
        if !root.is_dir() {
            return;
        }
        self.inputs.iter().for_each(|input| self.checkpoints.of(input).remove());
        if self.in_output {
            let _ = fs::remove_dir(root); // not where another process keeps something
        }
    }
}
