//! The planner: blocks to tokens to batches. It never touches a device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, select};

use super::block::{Block, Failure, Job, Sequence};
use super::meter::{Meter, Work};
use super::queue::Queue;
use super::reader::{Piece, Pieces};
use super::repeats::{Copied, Finder};
use super::tokens::{TokenWorkers, Tokenised};
use super::writer::Message;
use crate::error::{Error, Fault, Result};
use crate::pack::{TokenBatch, plan};
use crate::runtime::interrupt;
use crate::units::{Tokens, counted};

/// Takes what the reader gives, tells the writer what will come, and fills the queue.
pub struct Planner<'a, E> {
    /// From the reader.
    pub pieces: Pieces<E>,
    /// Threads that tokenise.
    pub workers: TokenWorkers<'a>,
    /// Tokens of a batch.
    pub budget: Tokens,
    /// To the lanes.
    pub queue: &'a Queue,
    /// To the writer.
    pub to_writer: Sender<Message<E>>,
    /// What repeats.
    pub finder: Finder,
    /// Whether vectors may be copied from one file to another.
    pub across_files: bool,
    /// How long the reader may keep everybody waiting.
    pub timeout: Option<Duration>,
    /// Counters.
    pub meter: &'a Meter,
}

/// Where the planner is in its input.
#[derive(Clone, Copy, Default)]
struct Place {
    file: usize,
    block: usize,
}

impl<E> Planner<'_, E> {
    /// Plans until the input ends or the session stops. Gives the number of sequences.
    ///
    /// # Errors
    /// What reading or tokenising reports, a reader that stalls, a signal.
    pub fn run(mut self) -> Result<u64, Failure> {
        let (mut place, mut sequences) = (Place::default(), 0);
        loop {
            match self.next_piece().map_err(|error| Failure::with(place.file, error))? {
                None => return Ok(sequences), // whoever stopped the session says why
                Some(Piece::Block(block)) => {
                    sequences += block.len() as u64;
                    if !self.plan(block, place).map_err(|error| Failure::with(place.file, error))? {
                        return Ok(sequences);
                    }
                    place.block += 1;
                }
                Some(Piece::End(end)) => {
                    place.file += 1;
                    if !self.across_files {
                        self.finder.forget();
                    }
                    if self.to_writer.send(Message::End(end)).is_err() {
                        return Ok(sequences);
                    }
                }
                Some(Piece::Done) => {
                    self.queue.end();
                    return Ok(sequences);
                }
            }
        }
    }

    /// Waits for the reader: as long as it takes while lanes have work, and no longer than the limit once they wait too.
    /// None: the session has stopped.
    fn next_piece(&self) -> Result<Option<Piece<E>>> {
        let mut idle_since = Instant::now();
        loop {
            select! {
                // The reader ends without a word only where somebody has stopped the session.
                recv(self.pieces.received) -> piece => return piece.ok().transpose(),
                recv(self.queue.stopped()) -> _ => return Ok(None),
                default(interrupt::TICK) => interrupt::check()?,
            }
            if !self.queue.is_idle() {
                idle_since = Instant::now();
            }
            let waited = self.pieces.pulse.waiting().min(idle_since.elapsed());
            if let Some(limit) = self.timeout.filter(|&limit| waited >= limit) {
                return Err(stalled(limit));
            }
        }
    }

    /// Tokenises a block, cuts it into batches and queues them. False: the session has stopped.
    fn plan(&mut self, block: Vec<Sequence>, place: Place) -> Result<bool> {
        let (block, batches) = self.meter.time(Work::Plan, || {
            let sequences = self.workers.tokenise(block)?;
            let copies = self.finder.repeats(&sequences);
            let batches = batches(&sequences, &copies, self.budget);
            Ok::<_, Error>((Arc::new(rows(sequences, copies, place)), batches))
        })?;
        let tokens: usize = batches.iter().map(TokenBatch::tokens).sum();
        let sequences = counted(block.ids.len() as u64, "sequence");
        log::debug!("block {}: {sequences}, {tokens} tokens, batches: {}", block.number, batches.len());
        if self.to_writer.send(Message::Block(Arc::clone(&block))).is_err() {
            return Ok(false);
        }
        let mut jobs = batches.into_iter().map(|batch| Job { block: Arc::clone(&block), batch });
        Ok(self.meter.time(Work::Blocked, || jobs.all(|job| self.queue.put(job))))
    }
}

/// Batches of the sequences that are neither copied nor known.
fn batches(sequences: &[Tokenised], copies: &[Copied], budget: Tokens) -> Vec<TokenBatch> {
    let mut copied = copies.iter().map(|copied| copied.row).peekable();
    let is_new = |row: &usize| copied.next_if_eq(row).is_none() && sequences[*row].known.is_none();
    let rows: Vec<usize> = (0..sequences.len()).filter(is_new).collect();
    let lengths: Vec<usize> = rows.iter().map(|&row| sequences[row].tokens.len()).collect();
    let batch = |places: Vec<usize>| {
        let mut batch = TokenBatch::new();
        places.into_iter().map(|place| rows[place]).for_each(|row| batch.push(row, &sequences[row].tokens));
        batch
    };
    plan(&lengths, budget).into_iter().map(batch).collect()
}

fn rows(sequences: Vec<Tokenised>, copies: Vec<Copied>, place: Place) -> Block {
    let kept = sequences.iter().take_while(|sequence| sequence.known.is_some()).count();
    let mut block = Block { number: place.block, file: place.file, kept, ..Block::default() };
    let mut copied = copies.iter().map(|copied| copied.row).peekable();
    for (row, Tokenised { id, protein, known, .. }) in sequences.into_iter().enumerate() {
        block.ids.push(id);
        block.proteins.push(protein);
        if copied.next_if_eq(&row).is_none() {
            block.known.extend(known.map(|vector| (row, vector)));
        }
    }
    Block { copies, ..block }
}

fn stalled(limit: Duration) -> Error {
    let seconds = limit.as_secs_f64();
    Error::new(Fault::Stalled, format!("the input gave no sequence for {seconds} s, and everything else waits for it"))
        .expected(format!("a sequence within {seconds} s, or the end of the input"))
        .advice("check what writes to it; --timeout SECONDS waits longer, --timeout 0 for ever")
}
