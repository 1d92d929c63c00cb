//! The reader: sequences to blocks, on a thread of its own.
//!
//! It is the only thread that may wait for ever - for a pipe that nobody writes to - so nobody waits for it to end: a session
//! that stops leaves it behind, and it ends when its read does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::block::{BlockSize, Failure, Input, Sequence};
use super::meter::{Meter, Work};
use crate::error::{Error, Fault, Result};
use crate::runtime::threads;

/// What the reader hands over, in input order.
#[derive(Debug)]
pub enum Piece<E> {
    /// Sequences of one file that are planned together; at least one.
    Block(Vec<Sequence>),
    /// All blocks of the file have come.
    End(E),
    /// All files have.
    Done,
}

/// The pieces as they come, and how long the next sequence has been waited for.
pub struct Pieces<E> {
    /// Pieces; the first error is the last thing that comes.
    pub received: Receiver<Result<Piece<E>>>,
    /// Whether the reader waits, and since when.
    pub pulse: Arc<Pulse>,
}

/// Starts reading. A place in `open` is taken before a block is read; the writer frees it when the block is written.
///
/// # Errors
/// The system gives no thread.
pub fn start<I, E>(input: I, size: BlockSize, open: Sender<()>, meter: Arc<Meter>) -> Result<Pieces<E>>
where
    I: Iterator<Item = Result<Input<E>>> + Send + 'static,
    E: Send + 'static,
{
    let (to_planner, received) = bounded(1);
    let pulse = Arc::new(Pulse::default());
    let reader = Reader { input, size, open, meter, pulse: Arc::clone(&pulse), to_planner };
    threads::spawn("reader", move || {
        let to_planner = reader.to_planner.clone();
        // Nobody joins this thread: without a word its end would mean that somebody else has stopped the session.
        if catch_unwind(AssertUnwindSafe(|| reader.run().unwrap_or(()))).is_err() {
            let _ = to_planner.send(Err(Failure::panic().error));
        }
    })
    .map(drop)?;
    Ok(Pieces { received, pulse })
}

struct Reader<I, E> {
    input: I,
    size: BlockSize,
    open: Sender<()>,
    meter: Arc<Meter>,
    pulse: Arc<Pulse>,
    to_planner: Sender<Result<Piece<E>>>,
}

/// Nobody listens any more: the session has stopped.
struct Stopped;

impl<I: Iterator<Item = Result<Input<E>>>, E> Reader<I, E> {
    fn run(mut self) -> Result<(), Stopped> {
        let (mut block, mut letters) = (Vec::new(), 0);
        self.open.send(()).map_err(|_| Stopped)?;
        loop {
            match self.next().transpose().and_then(|input| input.map(not_empty).transpose()) {
                Err(error) => return self.to_planner.send(Err(error)).map_err(|_| Stopped),
                Ok(Some(Input::Sequence(sequence))) => {
                    letters += sequence.letters.len();
                    block.push(sequence);
                    if letters >= self.size.letters || block.len() >= self.size.sequences {
                        self.hand_over(&mut block)?;
                        letters = 0;
                    }
                }
                Ok(Some(Input::End(end))) => {
                    self.hand_over(&mut block)?;
                    letters = 0;
                    self.send(Piece::End(end))?;
                }
                Ok(None) => {
                    self.hand_over(&mut block)?;
                    return self.send(Piece::Done);
                }
            }
        }
    }

    /// The next input, on the clock.
    fn next(&mut self) -> Option<Result<Input<E>>> {
        let (input, pulse) = (&mut self.input, &self.pulse);
        self.meter.time(Work::Read, || pulse.during(|| input.next()))
    }

    /// Hands a block over, if it holds anything, and waits until another one may be open.
    fn hand_over(&self, block: &mut Vec<Sequence>) -> Result<(), Stopped> {
        if block.is_empty() {
            return Ok(());
        }
        self.send(Piece::Block(std::mem::take(block)))?;
        self.open.send(()).map_err(|_| Stopped)
    }

    fn send(&self, piece: Piece<E>) -> Result<(), Stopped> {
        self.to_planner.send(Ok(piece)).map_err(|_| Stopped)
    }
}

fn not_empty<E>(input: Input<E>) -> Result<Input<E>> {
    match input {
        Input::Sequence(sequence) if sequence.letters.is_empty() => {
            Err(Error::new(Fault::InputStage, "an empty sequence cannot be embedded")
                .record(sequence.id)
                .advice("remove the record"))
        }
        input => Ok(input),
    }
}

/// Since when a sequence is waited for.
pub struct Pulse {
    start: Instant,
    /// Nanoseconds from `start`; 0 while nothing is waited for.
    since: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), since: AtomicU64::new(0) }
    }
}

impl Pulse {
    fn during<T>(&self, read: impl FnOnce() -> T) -> T {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.since.store(now.max(1), Ordering::Relaxed);
        let read = read();
        self.since.store(0, Ordering::Relaxed);
        read
    }

    /// How long the next sequence has been waited for.
    pub fn waiting(&self) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.start.elapsed().saturating_sub(Duration::from_nanos(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(id: usize, letters: usize) -> Result<Input<usize>> {
        Ok(Input::Sequence(Sequence { id: id.to_string(), letters: vec![b'A'; letters], protein: None, known: None }))
    }

    /// Pieces as text: ids of a block, `end` and its value.
    fn pieces(input: Vec<Result<Input<usize>>>, size: BlockSize) -> Vec<String> {
        let (open, _opened) = bounded(100);
        let pieces = start(input.into_iter(), size, open, Arc::default()).unwrap();
        let text = |piece: Result<Piece<usize>>| match piece {
            Ok(Piece::Block(block)) => block.iter().map(|sequence| sequence.id.as_str()).collect::<Vec<_>>().join(" "),
            Ok(Piece::End(end)) => format!("end {end}"),
            Ok(Piece::Done) => "done".to_owned(),
            Err(error) => error.fault().id().to_owned(),
        };
        pieces.received.iter().map(text).collect()
    }

    #[test]
    fn a_block_ends_with_its_file_its_letters_or_its_sequences() {
        let size = BlockSize { letters: 10, sequences: 3 };
        let input = vec![
            sequence(1, 4),
            sequence(2, 6),
            sequence(3, 1),
            sequence(4, 1),
            sequence(5, 1),
            sequence(6, 1),
            Ok(Input::End(7)),
            Ok(Input::End(8)),
            sequence(9, 100),
        ];
        assert_eq!(pieces(input, size), ["1 2", "3 4 5", "6", "end 7", "end 8", "9", "done"]);
        assert_eq!(pieces(vec![], size), ["done"]);
    }

    #[test]
    fn an_error_and_an_empty_sequence_are_the_last_thing_that_comes() {
        let size = BlockSize { letters: 1, sequences: 3 };
        let failed = Err(Error::new(Fault::InputCharacter, "planted"));
        assert_eq!(pieces(vec![sequence(1, 1), failed, sequence(2, 1)], size), ["1", "VN-IN-CHAR"]);
        assert_eq!(pieces(vec![sequence(1, 0), sequence(2, 1)], size), ["VN-IN-STAGE"]);
    }

    #[test]
    fn an_input_that_panics_is_a_defect_and_not_the_end() {
        let (open, _opened) = bounded(100);
        let input = std::iter::once_with(|| sequence(1, 1)).chain(std::iter::once_with(|| panic!("planted")));
        let pieces = start(input, BlockSize { letters: 9, sequences: 9 }, open, Arc::default()).unwrap();
        let last = pieces.received.iter().last().unwrap();
        assert_eq!(last.unwrap_err().fault(), Fault::Bug);
    }

    #[test]
    fn no_more_blocks_are_read_than_may_be_open() {
        let (open, opened) = bounded(2);
        let size = BlockSize { letters: 1, sequences: 1 };
        let read = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&read);
        let input = (0..9).map(move |i| {
            count.fetch_add(1, Ordering::Relaxed);
            sequence(i, 1)
        });
        let pieces = start(input, size, open, Arc::default()).unwrap();
        for written in 0..5 {
            assert!(matches!(pieces.received.recv().unwrap(), Ok(Piece::Block(_))));
            let most = written + 2;
            assert!(read.load(Ordering::Relaxed) <= most, "{written} written");
            opened.recv().unwrap();
        }
    }
}
