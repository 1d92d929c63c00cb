//! The loop that drives one lane: batches from the queue to the lane, vectors from the lane to the writer, and what happens
//! when memory runs out or the device dies. It knows no device.
//!
//! ```text
//! queue ─► pieces within the budget ─► submit ─► under way, up to the lane's depth ─► collect ─► writer
//!   ▲             ▲                                           │ out of memory
//!   │ device dies └── halves, a smaller budget ◄──────────────┤
//!   └── everything that has no vectors ◄──────────────────────┘
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::block::{Failure, Job};
use super::budget::Budget;
use super::lane::Lane;
use super::meter::{Count, Meter, Work};
use super::queue::Queue;
use super::writer::differ;
use crate::error::{Error, Fault, Result};
use crate::pack::TokenBatch;
use crate::runtime::interrupt;

/// What lanes share with each other and with the rest of the session.
pub struct Surroundings<'a> {
    /// Where batches come from.
    pub queue: &'a Queue,
    /// The memory that the lane computes in.
    pub room: &'a Room,
    /// Counters.
    pub meter: &'a Meter,
    /// Where vectors go.
    pub deliver: &'a dyn Fn(Job, Vec<f32>),
}

/// A memory that lanes share.
#[derive(Default)]
pub struct Room {
    /// Read by lanes while they compute, written by one that must be alone.
    lock: RwLock<()>,
    /// Tokens of the largest batch that any of its lanes computed.
    largest: AtomicUsize,
}

/// How often a lane warns that memory ran out; then it is no news.
const WARNINGS: u32 = 3;

/// Drives a lane to the end of the input, or until it cannot go on.
pub fn drive(lane: &mut dyn Lane, around: Surroundings<'_>, batch_tokens: usize) {
    let budget = Budget::of(batch_tokens);
    let mut driver =
        Driver { lane, budget, pieces: VecDeque::new(), under_way: VecDeque::new(), lowered: 0, inside: None, around };
    match driver.work() {
        Ok(()) => {}
        Err(failure) if failure.error.fault() == Fault::DeviceLost => driver.leave(failure.error),
        Err(failure) => {
            driver.around.queue.stop(failure);
            driver.drain();
        }
    }
}

struct Driver<'a> {
    lane: &'a mut dyn Lane,
    around: Surroundings<'a>,
    budget: Budget,
    /// Taken from the queue and not submitted.
    pieces: VecDeque<Job>,
    /// Submitted and not collected, the oldest first.
    under_way: VecDeque<Job>,
    /// How often memory ran out.
    lowered: u32,
    /// Held while anything is under way.
    inside: Option<RwLockReadGuard<'a, ()>>,
}

impl Driver<'_> {
    fn work(&mut self) -> Result<(), Failure> {
        loop {
            let has_room = self.under_way.len() < self.lane.depth().max(1);
            match has_room.then(|| self.next_job()).flatten() {
                Some(job) => self.submit(job)?,
                None if self.under_way.is_empty() => return Ok(()),
                None => self.collect()?,
            }
        }
    }

    /// The next batch within the budget; waits for one only where nothing is under way.
    fn next_job(&mut self) -> Option<Job> {
        let Surroundings { queue, meter, .. } = self.around;
        let job = match self.pieces.pop_front() {
            Some(job) => job,
            None if self.under_way.is_empty() => {
                self.inside = None;
                meter.time(Work::Starved, || queue.take())?
            }
            None => queue.try_take()?,
        };
        if job.batch.tokens() <= self.budget.tokens() {
            return Some(job);
        }
        self.put_back(job.split(self.budget.tokens()).collect());
        self.pieces.pop_front()
    }

    /// Puts batches before all others.
    fn put_back(&mut self, jobs: Vec<Job>) {
        jobs.into_iter().rev().for_each(|job| self.pieces.push_front(job));
    }

    fn submit(&mut self, job: Job) -> Result<(), Failure> {
        interrupt::check().map_err(Failure::of)?;
        let room = self.around.room;
        self.inside.get_or_insert_with(|| room.lock.read().unwrap_or_else(PoisonError::into_inner));
        match self.around.meter.time(Work::Compute, || self.lane.submit(&job.batch)) {
            Ok(()) => self.under_way.push_back(job),
            Err(error) => return self.failed(job, error),
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Failure> {
        let Some(job) = self.under_way.pop_front() else { return Ok(()) };
        match self.around.meter.time(Work::Compute, || self.lane.collect()) {
            Ok(values) => self.deliver(job, values),
            Err(error) => self.failed(job, error),
        }
    }

    /// Sends vectors on; a lane that lost some is a defect.
    fn deliver(&mut self, job: Job, values: Vec<f32>) -> Result<(), Failure> {
        let (sequences, tokens, dim) = (job.batch.len(), job.batch.tokens(), self.lane.dim());
        if values.len() != sequences * dim {
            let error = differ(sequences as u64, (values.len() / dim.max(1)) as u64);
            return Err(Failure::with(job.block.file, error));
        }
        self.around.room.largest.fetch_max(tokens, Ordering::Relaxed);
        self.budget.went_well();
        for (count, number) in [(Count::Sequences, sequences), (Count::Tokens, tokens), (Count::Batches, 1)] {
            self.around.meter.add(count, number as u64);
        }
        (self.around.deliver)(job, values);
        self.around.queue.done(sequences);
        Ok(())
    }

    /// A batch without vectors: memory is a reason to go on with less, anything else to stop.
    fn failed(&mut self, job: Job, error: Error) -> Result<(), Failure> {
        if error.fault() == Fault::OutOfMemory {
            return self.out_of_memory(job, error);
        }
        let failure = Failure::with(job.block.file, error);
        self.pieces.push_front(job);
        Err(failure)
    }

    /// Waits for the others, frees what can be freed, and goes on with half of what failed.
    fn out_of_memory(&mut self, job: Job, error: Error) -> Result<(), Failure> {
        let tokens = job.batch.tokens();
        let mut failed = vec![job];
        while let Some(other) = self.under_way.pop_front() {
            match self.lane.collect() {
                Ok(values) => self.deliver(other, values)?,
                Err(error) if error.fault() == Fault::OutOfMemory => failed.push(other),
                Err(error) => {
                    self.put_back(failed);
                    return self.failed(other, error);
                }
            }
        }
        self.inside = None;
        self.lane.clear_cache();
        self.lower(tokens);
        self.around.meter.add(Count::Retries, failed.len() as u64);
        let (single, several): (Vec<Job>, Vec<Job>) = failed.into_iter().partition(|job| job.batch.len() == 1);
        self.put_back(several.into_iter().flat_map(|job| job.split(self.budget.tokens())).collect());
        let mut single = single.into_iter();
        while let Some(job) = single.next() {
            if let Err(failure) = self.alone(job, &error) {
                self.put_back(single.collect());
                return Err(failure);
            }
        }
        Ok(())
    }

    fn lower(&mut self, failed: usize) {
        self.budget.lower(failed);
        self.lowered += 1;
        log::log!(
            if self.lowered <= WARNINGS { log::Level::Warn } else { log::Level::Debug },
            "{}: not enough memory for a batch of {failed} tokens; going on with at most {} ({})",
            self.lane.name(),
            self.budget.tokens(),
            self.picture()
        );
    }

    /// Tries a single sequence once more, while no other lane of the same memory computes.
    fn alone(&mut self, job: Job, first: &Error) -> Result<(), Failure> {
        log::debug!("{}: {} is tried alone after: {first}", self.lane.name(), job.first_id());
        let room = self.around.room;
        let only_one = room.lock.write().unwrap_or_else(PoisonError::into_inner);
        self.lane.clear_cache();
        let outcome = self.lane.submit(&job.batch).and_then(|()| self.lane.collect());
        drop(only_one);
        match outcome {
            Ok(values) => self.deliver(job, values),
            Err(error) if error.fault() == Fault::OutOfMemory => {
                let (file, picture, largest) = (job.block.file, self.picture(), room.largest.load(Ordering::Relaxed));
                let error = does_not_fit(&job.batch, largest, error).record(job.first_id()).found(picture);
                Err(Failure::with(file, error))
            }
            Err(error) => self.failed(job, error),
        }
    }

    fn picture(&self) -> String {
        format!("memory: {}", self.lane.memory().unwrap_or_default())
    }

    /// Takes what is under way out of the lane: the next input must not get its vectors.
    fn drain(&mut self) {
        for _ in self.under_way.drain(..) {
            let _ = self.lane.collect();
        }
    }

    /// Gives everything back that has no vectors: another lane does it, if one is left.
    fn leave(&mut self, error: Error) {
        self.inside = None;
        let (name, told) = (self.lane.name(), error.to_string());
        let jobs: Vec<Job> = self.under_way.drain(..).chain(self.pieces.drain(..)).collect();
        let last = Error::new(Fault::DeviceLost, format!("{name} stopped working, and no other device is left"))
            .found(self.picture())
            .advice(
                "check the device (nvidia-smi, dmesg), then run the same command again: finished files are kept; \
                 --device cpu runs without it",
            )
            .caused_by(error);
        let left = self.around.queue.leave(jobs, Failure::of(last));
        if left > 0 {
            log::warn!("{name} stopped working ({told}); the run goes on with what is left: lanes: {left}");
        }
    }
}

/// Tokens of a sequence that is longer than any frame of a window.
const LONG_TOKENS: usize = 4096;

/// Why a single sequence has no vector: there is less memory than before, or too little of it, or the sequence is long.
/// `largest` is what this memory has held.
fn does_not_fit(batch: &TokenBatch, largest: usize, cause: Error) -> Error {
    let tokens = batch.tokens();
    let (fault, message, advice) = if largest >= tokens {
        (
            Fault::OutOfMemory,
            format!(
                "there is not enough memory for a single sequence of {tokens} tokens, though a batch of {largest} tokens was \
                 computed before in this memory"
            ),
            "give a smaller --batch-tokens, or leave it out and run again with --attempt one higher; fewer --threads or, on \
             a GPU, --dtype f16 take less memory too",
        )
    } else if tokens < LONG_TOKENS {
        (
            Fault::HostMemory,
            format!("there is not enough memory for a single sequence of {tokens} tokens"),
            "give fewer --threads, raise the memory of this job, or use a device with more memory or a smaller model",
        )
    } else {
        (
            Fault::TooLong,
            format!("there is not enough memory for a single sequence of {tokens} tokens"),
            "use a device with more memory, or cut the sequence into windows",
        )
    };
    Error::new(fault, message).advice(advice).caused_by(cause)
}
