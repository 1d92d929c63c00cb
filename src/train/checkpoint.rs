//! The state of a member between two epochs, as a file: a digest, a line of JSON, and the numbers.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Checkpoints, Course, Epoch};
use crate::error::{Error, Result};
use crate::fs::AtomicFile;

/// A member between two epochs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// How it went so far.
    pub course: Course,
    /// Values of the network's tensors.
    pub network: Vec<Vec<f32>>,
    /// Those of the epoch with the smallest loss, where a recipe asks for them.
    pub best: Vec<Vec<f32>>,
    /// What the optimiser remembers.
    pub memory: Vec<Vec<f32>>,
    /// Steps that it took.
    pub taken: i32,
}

/// The line of JSON. Numbers of an epoch stand in it as their bits: text may not give them back to the last one.
#[derive(Serialize, Deserialize)]
struct Header {
    fingerprint: String,
    kept: usize,
    epochs: Vec<[u64; 3]>,
    taken: i32,
    /// Lengths of the tensors of network, best and memory.
    lengths: [Vec<usize>; 3],
}

impl State {
    fn bytes(&self, fingerprint: &str) -> Vec<u8> {
        let bits = |epoch: &Epoch| {
            [epoch.loss, epoch.held_out_loss, epoch.held_out_auroc.unwrap_or(f64::NAN)].map(f64::to_bits)
        };
        let parts = [&self.network, &self.best, &self.memory];
        let header = Header {
            fingerprint: fingerprint.to_owned(),
            kept: self.course.kept,
            epochs: self.course.epochs.iter().map(bits).collect(),
            taken: self.taken,
            lengths: parts.map(|part| part.iter().map(Vec::len).collect()),
        };
        let mut content = serde_json::to_vec(&header).unwrap_or_default();
        content.push(b'\n');
        let numbers = parts.into_iter().flatten().flatten();
        content.extend(numbers.flat_map(|number| number.to_le_bytes()));
        let mut bytes = blake3::hash(&content).to_hex().to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend(content);
        bytes
    }

    /// None where it is damaged; or the fingerprint of what it belongs to.
    fn parse(bytes: &[u8]) -> Option<(String, Self)> {
        let (digest, content) = split_line(bytes)?;
        if digest != blake3::hash(content).to_hex().as_bytes() {
            return None;
        }
        let (header, mut numbers) = split_line(content)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        let mut take = |lengths: &Vec<usize>| {
            let mut part = Vec::with_capacity(lengths.len());
            for length in lengths {
                let (own, rest) = numbers.split_at_checked(length.checked_mul(4)?)?;
                part.push(own.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
                numbers = rest;
            }
            Some(part)
        };
        let [network, best, memory] = header.lengths.each_ref().map(&mut take);
        let epoch = |bits: &[u64; 3]| {
            let [loss, held_out_loss, auroc] = bits.map(f64::from_bits);
            Epoch { loss, held_out_loss, held_out_auroc: (!auroc.is_nan()).then_some(auroc) }
        };
        let course = Course { kept: header.kept, epochs: header.epochs.iter().map(epoch).collect() };
        let state = Self { course, network: network?, best: best?, memory: memory?, taken: header.taken };
        numbers.is_empty().then_some((header.fingerprint, state))
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Keeps the state of one member.
pub struct Keeper<'a> {
    checkpoints: &'a Checkpoints,
    path: PathBuf,
    written: Instant,
    /// The latest state that is not on the disk yet.
    waiting: Option<Vec<u8>>,
}

/// Name of a member's file.
fn name(member: usize) -> String {
    format!("member-{member}.state")
}

/// Whether a file of this name belongs to training.
pub fn is_state(name: &str) -> bool {
    name.strip_prefix("member-").is_some_and(|rest| rest.ends_with(".state"))
}

impl<'a> Keeper<'a> {
    /// Of a member.
    pub fn new(checkpoints: &'a Checkpoints, member: usize) -> Self {
        Self { checkpoints, path: checkpoints.folder.join(name(member)), written: Instant::now(), waiting: None }
    }

    /// What an earlier run kept; none where there is nothing that can be taken up.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn take_up(&self) -> Result<Option<State>> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| Error::reading(&self.path, error))?,
        };
        match State::parse(&bytes) {
            Some((fingerprint, state)) if fingerprint == self.checkpoints.fingerprint => Ok(Some(state)),
            Some(_) => {
                log::warn!("{} belongs to other data or settings; training starts anew", self.path.display());
                Ok(None)
            }
            None => {
                log::warn!("{} is damaged; this member is trained again", self.path.display());
                Ok(None)
            }
        }
    }

    /// Keeps a state, on the disk if the last one has been there for long enough.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn offer(&mut self, state: &State) -> Result<()> {
        self.waiting = Some(state.bytes(&self.checkpoints.fingerprint));
        if self.written.elapsed() >= self.checkpoints.interval { self.flush() } else { Ok(()) }
    }

    /// Has the latest state on the disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        let Some(bytes) = self.waiting.take() else { return Ok(()) };
        let mut file = AtomicFile::create(&self.path)?;
        file.write_all(&bytes).map_err(|error| Error::writing(&self.path, error))?;
        file.commit()?;
        self.written = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state() -> State {
        let epoch = |loss, held_out_auroc| Epoch { loss, held_out_loss: loss / 3.0, held_out_auroc };
        State {
            course: Course { kept: 2, epochs: vec![epoch(0.1, None), epoch(1e-9, Some(2.0 / 3.0))] },
            network: vec![vec![1.0, -0.0, f32::MIN_POSITIVE], vec![]],
            best: Vec::new(),
            memory: vec![vec![f32::MAX]],
            taken: 77,
        }
    }

    fn checkpoints(folder: &std::path::Path, fingerprint: &str) -> Checkpoints {
        Checkpoints { folder: folder.to_owned(), interval: Duration::MAX, fingerprint: fingerprint.to_owned() }
    }

    #[test]
    fn what_was_kept_comes_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let own = checkpoints(folder.path(), "this");
        let mut keeper = Keeper::new(&own, 3);
        keeper.offer(&state()).unwrap();
        assert_eq!(keeper.take_up().unwrap(), None);
        keeper.flush().unwrap();
        assert_eq!(keeper.take_up().unwrap(), Some(state()));
        assert_eq!(Keeper::new(&own, 2).take_up().unwrap(), None);
        assert!(is_state("member-3.state") && !is_state("member-3"));
    }

    #[test]
    fn what_belongs_to_other_settings_or_is_damaged_is_not_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other] = ["this", "that"].map(|fingerprint| checkpoints(folder.path(), fingerprint));
        let mut keeper = Keeper::new(&own, 0);
        keeper.offer(&state()).unwrap();
        keeper.flush().unwrap();
        assert_eq!(Keeper::new(&other, 0).take_up().unwrap(), None);
        let path = folder.path().join("member-0.state");
        let whole = fs::read(&path).unwrap();
        for (place, length) in [(70, whole.len()), (whole.len() - 1, whole.len()), (0, whole.len() - 1), (0, 3)] {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            bytes.truncate(length);
            fs::write(&path, bytes).unwrap();
            assert_eq!(keeper.take_up().unwrap(), None, "{place} {length}");
        }
    }
}
