//! Fits heads: the arithmetic of training, from rows of vectors to layers. Nothing here knows files of vectors or bundles.
//!
//! ```text
//! rows, recipe ─ folds ─► members, each on a thread: batches ─► network ─ optimiser ─► layers, logits of held-out rows
//! ```
//!
//! A member computes on one thread, and its random numbers follow from the seed, its own number and the epoch: so the
//! result depends neither on the number of threads nor on where an interrupted run went on.

#[cfg(not(feature = "torch"))]
mod absent;
#[cfg(feature = "torch")]
mod batches;
pub mod checkpoint;
pub mod folds;
pub mod head_file;
pub mod measure;
#[cfg(feature = "torch")]
mod member;
#[cfg(feature = "torch")]
mod network;
#[cfg(feature = "torch")]
mod optimiser;
pub mod random;
pub mod recipe;
mod rows;

#[cfg(not(feature = "torch"))]
use absent as member;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use rows::{Rows, Standard, weights};

use crate::error::{Error, Fault, Result};
use crate::runtime::progress::TaskProgress;
use crate::runtime::threads;
use crate::units::DeviceChoice;
use head_file::Layer;
use recipe::Recipe;

/// What the members of a head are fitted to, and how.
pub struct Training<'a> {
    /// The rows.
    pub rows: &'a Rows,
    /// How inputs are standardised; none: not at all.
    pub standard: Option<&'a Standard>,
    /// What each row counts in the loss.
    pub weights: &'a [f32],
    /// The fold of each row.
    pub folds: &'a [usize],
    /// The recipe.
    pub recipe: &'a Recipe,
    /// What random numbers follow from.
    pub seed: u64,
    /// Where it is computed: the CPU, or one GPU.
    pub device: &'a DeviceChoice,
    /// Members that are fitted at a time on a CPU, a thread each.
    pub threads: usize,
    /// Where unfinished work is kept.
    pub checkpoints: Checkpoints,
}

/// Where unfinished members are kept.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// Folder, which exists.
    pub folder: PathBuf,
    /// Least time between two.
    pub interval: Duration,
    /// What the work depends on, as text: unfinished work of anything else is not taken up.
    pub fingerprint: String,
}

/// A fitted network.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its layers, BatchNorm folded into them.
    pub layers: Vec<Layer>,
    /// Numbers of the rows that it has not seen.
    pub held_out: Vec<usize>,
    /// Their logits.
    pub logits: Vec<f32>,
    /// Its course.
    pub course: Course,
}

/// How a network was fitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Epoch whose weights were kept, counted from 1.
    pub kept: usize,
    /// What was measured after each epoch.
    pub epochs: Vec<Epoch>,
}

/// What was measured after a pass over the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss of the training rows, as it was trained on.
    pub loss: f64,
    /// Mean cross-entropy of the held-out rows.
    pub held_out_loss: f64,
    /// Area under their receiver operating characteristic; none where they are of one class.
    pub held_out_auroc: Option<f64>,
}

/// Fits all members. `task` counts training rows.
///
/// # Errors
/// The device, memory, a checkpoint that cannot be written; a signal. Work up to the last epoch is kept then.
pub fn fit(training: &Training<'_>, task: &TaskProgress) -> Result<Vec<Member>> {
    let members = training.recipe.members;
    let place = member::Place::resolve(training.device)?;
    let count = if place.is_gpu() { 1 } else { training.threads.clamp(1, members) };
    let (next, failed) = (Mutex::new(0..members), AtomicBool::new(false));
    let fit_next = || {
        let mut fitted = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let Some(member) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
            let outcome = member::fit(training, member, &place, &|rows| {
                task.add(rows);
                // The first failure ends the others.
                if failed.load(Ordering::Relaxed) { Err(Error::new(Fault::Bug, STOPPED)) } else { Ok(()) }
            });
            if outcome.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            fitted.push((member, outcome));
        }
        fitted
    };
    let fitted = thread::scope(|scope| {
        let workers = (0..count).map(|_| threads::spawn_scoped(scope, "train", fit_next));
        let workers = workers.collect::<Result<Vec<_>>>()?;
        let panicked = || Error::new(Fault::Bug, "a thread that trains panicked");
        workers.into_iter().map(|worker| worker.join().map_err(|_| panicked())).collect::<Result<Vec<_>>>()
    })?;
    let mut fitted: Vec<(usize, Result<Member>)> = fitted.into_iter().flatten().collect();
    fitted.sort_by_key(|(member, _)| *member);
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for (_, outcome) in fitted {
        match outcome {
            Ok(member) => done.push(member),
            Err(error) => failures.push(error),
        }
    }
    // What was only stopped does not say why.
    let cause = failures.iter().position(|error| error.to_string() != STOPPED).unwrap_or_default();
    if failures.is_empty() { Ok(done) } else { Err(no_smaller(failures.swap_remove(cause))) }
}

const STOPPED: &str = "training was stopped";

/// Training takes the memory of its recipe: another attempt at the same would take no less.
fn no_smaller(error: Error) -> Error {
    if error.fault() != Fault::OutOfMemory {
        return error;
    }
    Error::new(Fault::HostMemory, "memory is used up by training")
        .advice("train on fewer rows, with fewer --threads, with a recipe of a smaller batch, or with more memory")
        .caused_by(error)
}
