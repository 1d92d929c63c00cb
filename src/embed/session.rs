//! One session embeds all files of a command: its threads start once, and nothing waits between two files.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::block::{BlockSize, Failure, Input, Job};
use super::lane::Lane;
use super::meter::{Count, Meter, Work};
use super::planner::Planner;
use super::queue::{Queue, StopOnPanic};
use super::reader::{self, Pieces};
use super::recovery::{Room, Surroundings, drive};
use super::repeats::{self, Finder};
use super::tokens::TokenWorkers;
use super::writer::{Message, Sink, Writer, differ};
use crate::error::Result;
use crate::runtime::{memory, threads};
use crate::tokenize::Tokenize;
use crate::units::Tokens;

/// Blocks that may be read and not written: one that is written, one that is computed, one that is planned, one that is read;
/// and for many lanes more, since the batches of a block are few where several letters make a token. A slow lane must not make
/// memory grow.
fn open_blocks(lanes: usize) -> usize {
    4 + lanes / 2
}

/// How much runs at once. None of it changes results beyond the stated tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Tokens of a batch.
    pub batch_tokens: Tokens,
    /// Batches ready per lane while it works.
    pub prefetch: usize,
    /// Threads that tokenise.
    pub workers: usize,
    /// How long the input may keep everybody waiting; none: for ever.
    pub timeout: Option<Duration>,
    /// Whether identical sequences are embedded once.
    pub dedup: bool,
}

/// A tokeniser and its lanes.
///
/// ```no_run
/// use virnucpro::bundle::Bundle;
/// use virnucpro::config::{Compute, Side};
/// use virnucpro::embed::load::{self, Model};
/// use virnucpro::embed::{Input, Sequence};
/// use virnucpro::store::VectorBlock;
///
/// let mut session = load::session(&Model::Bundled(&Bundle::mini()?, Side::Esm), &Compute::default())?;
/// let protein = Sequence { id: "p1".to_owned(), letters: b"MKVLAA".to_vec(), protein: None, known: None };
/// let input = [Ok(Input::Sequence(protein)), Ok(Input::End(()))];
/// session.embed(input.into_iter(), &mut |vectors: VectorBlock| {
///     println!("{}: {} numbers", vectors.ids[0], vectors.values.len());
///     Ok(())
/// })?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
pub struct Session {
    tokenizer: Box<dyn Tokenize>,
    lanes: Vec<Box<dyn Lane>>,
    place: String,
    batching: Batching,
    meter: Arc<Meter>,
}

impl Session {
    /// A session over lanes of one width.
    pub fn new(tokenizer: Box<dyn Tokenize>, lanes: Vec<Box<dyn Lane>>, batching: Batching) -> Self {
        Self { tokenizer, lanes, place: String::new(), batching, meter: Arc::default() }
    }

    /// The same, with words for where it computes: the last digits of a vector may depend on it.
    pub fn at(self, place: String) -> Self {
        Self { place, ..self }
    }

    /// Where it computes.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Width of a vector.
    pub fn dim(&self) -> usize {
        self.lanes.first().map_or(0, |lane| lane.dim())
    }

    /// Whether vectors do not depend on their batch.
    fn is_exact(&self) -> bool {
        self.lanes.iter().all(|lane| lane.is_exact())
    }

    /// How many distinct sequences back a repeat is recognised.
    fn reach(&self) -> usize {
        if self.batching.dedup { repeats::reach(self.dim()) } else { 0 }
    }

    /// Batches that are computed at a time.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Most tokens of a batch of several sequences.
    pub fn batch_tokens(&self) -> usize {
        self.batching.batch_tokens.0
    }

    /// Number of tokens of a sequence.
    ///
    /// # Errors
    /// The tokeniser cannot read it.
    pub fn tokens(&self, letters: &[u8]) -> Result<usize> {
        Ok(self.tokenizer.encode(letters)?.len())
    }

    /// What it has done, and with which time.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Embeds the sequences of one file after the other and hands the vectors to `sink` in input order. Gives their number.
    ///
    /// Sequences of two files never share a batch, and where a vector may depend on its batch, it is not copied to another
    /// file: a file has the same vectors whatever stands before and behind it. The input is read on a thread of its own, which
    /// a failure may leave behind, waiting for its next sequence.
    ///
    /// # Errors
    /// What the input, the tokeniser, the lanes or the sink report; an input that stalls; a signal; a vector that is not
    /// finite. The sink may have received earlier blocks and files.
    pub fn embed<E, I>(&mut self, input: I, sink: &mut dyn Sink<E>) -> Result<u64>
    where
        I: Iterator<Item = Result<Input<E>>> + Send + 'static,
        E: Send + 'static,
    {
        let _in_batches = memory::InBatches::start();
        let (open, opened) = bounded(open_blocks(self.lanes.len()));
        let size = BlockSize::of(self.batching.batch_tokens);
        let pieces = reader::start(input, size, open, Arc::clone(&self.meter))?;
        let lanes = self.lanes.len().max(1);
        let queue = Queue::new(self.batching.prefetch.max(1) * lanes, lanes, self.is_exact());
        let rooms: HashMap<String, Room> =
            self.lanes.iter().map(|lane| (lane.name().to_owned(), Room::default())).collect();
        let (to_writer, messages) = bounded(2 * lanes);
        let meter = Arc::clone(&self.meter);
        let writer = Writer::new(self.dim(), self.reach(), opened, &meter);
        let outcome = thread::scope(|scope| {
            let _watch = StopOnPanic(&queue);
            let wiring = Wiring { queue: &queue, rooms: &rooms, to_writer };
            let started = self.start(scope, wiring, pieces).map_err(|error| queue.stop(Failure::of(error)));
            let written = writer.run(messages, sink).map_err(|failure| queue.stop(failure));
            let planned = started.ok().and_then(|threads| threads.join(&queue));
            (planned, written.ok())
        });
        match (queue.into_failure(), outcome) {
            (Some(Failure { file: Some(file), error }), _) => Err(sink.explain(file, error)),
            (Some(Failure { file: None, error }), _) => Err(error),
            (None, (Some(planned), Some(written))) if planned == written => Ok(written),
            (None, (planned, written)) => Err(differ(planned.unwrap_or(0), written.unwrap_or(0))),
        }
    }

    /// Starts the lanes, the threads that tokenise, and the planner.
    fn start<'scope, E: Send + 'static>(
        &'scope mut self,
        scope: &'scope Scope<'scope, '_>,
        wiring: Wiring<'scope, E>,
        pieces: Pieces<E>,
    ) -> Result<Threads<'scope>> {
        let Wiring { queue, rooms, to_writer } = wiring;
        let (budget, meter) = (self.batching.batch_tokens, &*self.meter);
        let (reach, across_files) = (self.reach(), self.is_exact());
        let mut lanes = Vec::new();
        for lane in &mut self.lanes {
            let room = rooms.get(lane.name()).ok_or_else(|| Failure::panic().error)?;
            let to_writer = to_writer.clone();
            let work = move || {
                let _watch = StopOnPanic(queue);
                let deliver = |job: Job, values| {
                    let rows = job.batch.rows().to_vec();
                    let message = Message::Vectors { block: job.block, rows, values };
                    let _ = meter.time(Work::Behind, || to_writer.send(message)); // it may have stopped
                };
                drive(lane.as_mut(), Surroundings { queue, room, meter, deliver: &deliver }, budget.0);
            };
            lanes.push(threads::spawn_scoped(scope, "lane", work)?);
        }
        let workers = TokenWorkers::start(scope, self.tokenizer.as_ref(), self.batching.workers)?;
        let (finder, timeout) = (Finder::new(reach), self.batching.timeout);
        let planner = Planner { pieces, workers, budget, queue, to_writer, finder, across_files, timeout, meter };
        let plan = move || {
            let _watch = StopOnPanic(queue);
            planner.run().map_err(|failure| queue.stop(failure)).ok()
        };
        Ok(Threads { lanes, planner: threads::spawn_scoped(scope, "planner", plan)? })
    }

    /// Says what the memories of the lanes look like, each once. That of this machine is of less interest.
    pub fn log_memory(&self, when: &str) {
        let mut told = HashSet::new();
        for lane in self.lanes.iter().filter(|lane| told.insert(lane.name())) {
            if let Some(picture) = lane.memory() {
                let level = if picture.reserved.is_some() { log::Level::Info } else { log::Level::Debug };
                log::log!(level, "memory of {} {when}: {picture}", lane.name());
            }
        }
    }

    /// Says what the session did.
    pub fn log(&self) {
        log::debug!("{}", self.meter);
        self.log_memory("at the end");
        let copies = self.meter.count(Count::Copies);
        if copies > 0 {
            let all = self.meter.count(Count::Sequences);
            let share = 100.0 * copies as f64 / all as f64;
            log::info!("{copies} of {all} sequences repeat others and took their vectors ({share:.1} %)");
        }
        let retries = self.meter.count(Count::Retries);
        if retries > 0 {
            log::info!(
                "batches that did not fit in memory and were halved: {retries}; a smaller --batch-tokens avoids that"
            );
        }
    }
}

/// What connects the threads.
struct Wiring<'a, E> {
    queue: &'a Queue,
    /// One for each memory.
    rooms: &'a HashMap<String, Room>,
    to_writer: Sender<Message<E>>,
}

/// Threads that have started.
struct Threads<'scope> {
    lanes: Vec<ScopedJoinHandle<'scope, ()>>,
    planner: ScopedJoinHandle<'scope, Option<u64>>,
}

impl Threads<'_> {
    /// Waits for them; one that panicked stops the session. Gives the number of sequences that were planned.
    fn join(self, queue: &Queue) -> Option<u64> {
        let panicked = |_| queue.stop(Failure::panic());
        self.lanes.into_iter().for_each(|lane| lane.join().unwrap_or_else(panicked));
        self.planner.join().map_err(panicked).ok().flatten()
    }
}
