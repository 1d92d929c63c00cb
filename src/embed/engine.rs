//! Tokenise and plan, run on the device, write in order: three kinds of thread and two bounded channels.
//!
//! ```text
//! reader ── batches ──► device (one thread per encoder) ── vectors ──► writer (the caller)
//!    └─────────────────── identifiers of a block ──────────────────────────┘
//! ```
//!
//! A block is planned as a whole and written as a whole, so the composition of a batch depends on the
//! input alone. The next block is tokenised while the device works on this one. The first failure stops
//! everybody and is what the caller gets.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::{Error, Fault, Result};
use crate::model::Encoder;
use crate::pack::{TokenBatch, plan};
use crate::runtime::{interrupt, memory, threads};
use crate::store::VectorBlock;
use crate::tokenize::Tokenize;
use crate::units::{Tokens, counted};

/// Sequences planned together: enough that every length fills its batches.
const BLOCK_SEQUENCES: usize = 16_384;
/// Letters after which a block ends even with fewer sequences; bounds the memory that long ones take.
const BLOCK_LETTERS: usize = 64 << 20;

/// A named sequence of nucleotides or residues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Identifier, which the vector will carry.
    pub id: String,
    /// Letters.
    pub letters: Vec<u8>,
}

/// Takes what the engine makes.
pub trait Sink {
    /// Vectors of the next block, in input order.
    ///
    /// # Errors
    /// They cannot be kept; the engine stops.
    fn block(&mut self, vectors: VectorBlock) -> Result<()>;

    /// `sequences` more have been embedded; their block may not be complete yet.
    fn embedded(&mut self, _sequences: u64) {}
}

impl<F: FnMut(VectorBlock) -> Result<()>> Sink for F {
    fn block(&mut self, vectors: VectorBlock) -> Result<()> {
        self(vectors)
    }
}

/// How much runs at once. None of it changes results beyond the stated tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Tokens of a batch.
    pub batch_tokens: Tokens,
    /// Batches ready per device while it works.
    pub prefetch: usize,
    /// Threads that tokenise.
    pub workers: usize,
}

/// A tokeniser and its encoders, one per device.
///
/// ```no_run
/// use virnucpro::bundle::Bundle;
/// use virnucpro::config::{Compute, Side};
/// use virnucpro::embed::{Sequence, load};
/// use virnucpro::store::VectorBlock;
///
/// let mut engine = load::engine(&Bundle::mini()?, Side::Esm, &Compute::default())?;
/// let protein = Sequence { id: "p1".to_owned(), letters: b"MKVLAA".to_vec() };
/// engine.embed([Ok(protein)].into_iter(), &mut |vectors: VectorBlock| {
///     println!("{}: {} numbers", vectors.ids[0], vectors.values.len());
///     Ok(())
/// })?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
pub struct Engine {
    tokenizer: Box<dyn Tokenize>,
    encoders: Vec<Box<dyn Encoder>>,
    place: String,
    batching: Batching,
}

/// What the writer is told, in the order in which it can matter.
enum Message {
    /// A block of these identifiers is under way.
    Block(Vec<String>),
    /// Vectors of some rows of a block, row-major.
    Vectors { block: usize, rows: Vec<usize>, values: Vec<f32> },
}

/// A planned batch and the block it belongs to.
type Job = (usize, TokenBatch);

impl Engine {
    /// An engine over encoders of one width.
    pub fn new(tokenizer: Box<dyn Tokenize>, encoders: Vec<Box<dyn Encoder>>, batching: Batching) -> Self {
        Self { tokenizer, encoders, place: String::new(), batching }
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
        self.encoders.first().map_or(0, |encoder| encoder.dim())
    }

    /// Embeds `sequences` and hands the vectors to `sink` in input order, block by block. Gives their number.
    ///
    /// # Errors
    /// What the sequences, the tokeniser, the encoder or the sink report; a signal; or a vector that is not
    /// finite. The sink may have received earlier blocks.
    pub fn embed<I>(&mut self, sequences: I, sink: &mut dyn Sink) -> Result<u64>
    where
        I: Iterator<Item = Result<Sequence>> + Send,
    {
        let (dim, batching) = (self.dim(), self.batching);
        let tokenizer = self.tokenizer.as_ref();
        let (jobs, queue) = bounded::<Job>(batching.prefetch.max(1) * self.encoders.len().max(1));
        let (to_writer, messages) = bounded::<Message>(2 * self.encoders.len().max(1));
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            let devices: Vec<_> = self
                .encoders
                .iter_mut()
                .map(|encoder| {
                    let (queue, to_writer) = (queue.clone(), to_writer.clone());
                    threads::spawn_scoped(scope, "device", move || {
                        let outcome = run_device(encoder.as_mut(), &queue, &to_writer, stop);
                        stop.fetch_or(outcome.is_err(), Ordering::Relaxed);
                        outcome
                    })
                })
                .collect::<Result<_>>()?;
            drop(queue); // once every device has stopped, the reader finds nobody to send to
            let read = move || read(sequences, tokenizer, batching, (jobs, to_writer));
            let reader = threads::spawn_scoped(scope, "reader", read)?;
            let written = write(messages, dim, sink);
            stop.fetch_or(written.is_err(), Ordering::Relaxed);
            // The device's failure is the cause of the others', and the reader's of the writer's.
            for device in devices {
                joined(device)?;
            }
            let sent = joined(reader)?;
            let written = written?;
            if sent == written { Ok(written) } else { Err(lost(sent, written)) }
        })
    }
}

fn joined<T>(handle: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().unwrap_or_else(|_| {
        Err(Error::new(Fault::Bug, "a worker thread panicked").advice("please report this with the lines above"))
    })
}

fn lost(sent: u64, written: u64) -> Error {
    Error::new(Fault::Count, "the numbers of sequences in and vectors out differ")
        .expected(format!("{sent} vectors"))
        .found(written.to_string())
}

/// Reader: blocks of sequences to tokens to batches. Gives the number of sequences sent.
fn read<I>(
    sequences: I,
    tokenizer: &dyn Tokenize,
    batching: Batching,
    out: (Sender<Job>, Sender<Message>),
) -> Result<u64>
where
    I: Iterator<Item = Result<Sequence>>,
{
    let (jobs, to_writer) = out;
    let mut sequences = sequences.peekable();
    let mut sent = 0;
    for block in 0.. {
        let sequences = next_block(&mut sequences)?;
        if sequences.is_empty() {
            break;
        }
        let tokens = tokenize(&sequences, tokenizer, batching.workers)?;
        let lengths: Vec<usize> = tokens.iter().map(Vec::len).collect();
        let count = sequences.len() as u64;
        let ids = sequences.into_iter().map(|sequence| sequence.id).collect();
        if to_writer.send(Message::Block(ids)).is_err() {
            break; // the writer failed and will say why
        }
        sent += count;
        let batches = plan(&lengths, batching.batch_tokens);
        let tokens_in_all: usize = lengths.iter().sum();
        log::debug!("{}, {tokens_in_all} tokens, batches: {}", counted(count, "sequence"), batches.len());
        for rows in batches {
            let mut batch = TokenBatch::new();
            for row in rows {
                batch.push(row, &tokens[row]);
            }
            if jobs.send((block, batch)).is_err() {
                return Ok(sent); // the device or the writer failed and will say why
            }
        }
    }
    Ok(sent)
}

fn next_block<I>(sequences: &mut std::iter::Peekable<I>) -> Result<Vec<Sequence>>
where
    I: Iterator<Item = Result<Sequence>>,
{
    let (mut block, mut letters) = (Vec::new(), 0);
    while block.len() < BLOCK_SEQUENCES && letters < BLOCK_LETTERS {
        let Some(sequence) = sequences.next().transpose()? else { break };
        if sequence.letters.is_empty() {
            return Err(Error::new(Fault::InputStage, "an empty sequence cannot be embedded")
                .record(sequence.id)
                .advice("remove the record"));
        }
        letters += sequence.letters.len();
        block.push(sequence);
    }
    Ok(block)
}

/// Token ids of every sequence, in order, on `workers` threads.
fn tokenize(sequences: &[Sequence], tokenizer: &dyn Tokenize, workers: usize) -> Result<Vec<Vec<u32>>> {
    let encode = |part: &[Sequence]| -> Result<Vec<Vec<u32>>> {
        part.iter()
            .map(|sequence| tokenizer.encode(&sequence.letters).map_err(|error| error.record(&sequence.id)))
            .collect()
    };
    let size = sequences.len().div_ceil(workers.max(1)).max(1);
    thread::scope(|scope| {
        let start = |part| threads::spawn_scoped(scope, "tokens", move || encode(part));
        let parts = sequences.chunks(size).map(start).collect::<Result<Vec<_>>>()?;
        let mut tokens = Vec::with_capacity(sequences.len());
        for part in parts {
            tokens.extend(joined(part)?);
        }
        Ok(tokens)
    })
}

/// Device: batches to vectors, until the queue ends or somebody fails.
fn run_device(
    encoder: &mut dyn Encoder,
    queue: &Receiver<Job>,
    to_writer: &Sender<Message>,
    stop: &AtomicBool,
) -> Result<()> {
    for (block, batch) in queue {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        interrupt::check()?;
        memory::work_in_batches(batch.len() > 1);
        let values = encoder.embed(&batch).map_err(|error| judge_memory(error, &batch))?;
        let rows = batch.rows().to_vec();
        if to_writer.send(Message::Vectors { block, rows, values }).is_err() {
            break; // the writer failed and will say why
        }
    }
    Ok(())
}

/// Tokens of a sequence that is longer than any frame of a window.
const LONG_TOKENS: usize = 4096;

/// Out of memory is worth a retry with smaller batches only where the batch can be smaller.
fn judge_memory(error: Error, batch: &TokenBatch) -> Error {
    if error.fault() == Fault::OutOfMemory && batch.len() == 1 {
        let tokens = batch.tokens();
        let (fault, advice) = match tokens {
            ..LONG_TOKENS => (
                Fault::HostMemory,
                "give fewer --threads, raise the memory of this job, or use a device with more memory",
            ),
            _ => (Fault::TooLong, "use a device with more memory, or cut the sequence into windows"),
        };
        let message = format!("there is not enough memory for a single sequence of {tokens} tokens");
        return Error::new(fault, message).advice(advice).caused_by(error);
    }
    error
}

/// A block on its way out.
struct OpenBlock {
    vectors: VectorBlock,
    missing: usize,
}

/// Writer: vectors to their rows, blocks to the sink in order. Gives the number of sequences written.
fn write(messages: Receiver<Message>, dim: usize, sink: &mut dyn Sink) -> Result<u64> {
    let mut open: VecDeque<OpenBlock> = VecDeque::new();
    let (mut first_open, mut written) = (0, 0);
    for message in messages {
        match message {
            Message::Block(ids) => {
                let (missing, values) = (ids.len(), vec![0.0; ids.len() * dim]);
                open.push_back(OpenBlock { vectors: VectorBlock { ids, values, proteins: Vec::new() }, missing });
            }
            Message::Vectors { block, rows, values } => {
                let target = open.get_mut(block - first_open).ok_or_else(|| lost(0, rows.len() as u64))?;
                place(&mut target.vectors, dim, &rows, &values)?;
                target.missing -= rows.len();
                sink.embedded(rows.len() as u64);
            }
        }
        while open.front().is_some_and(|block| block.missing == 0) {
            if let Some(block) = open.pop_front() {
                first_open += 1;
                written += block.vectors.ids.len() as u64;
                sink.block(block.vectors)?;
            }
        }
    }
    Ok(written)
}

fn place(block: &mut VectorBlock, dim: usize, rows: &[usize], values: &[f32]) -> Result<()> {
    if values.len() != rows.len() * dim {
        return Err(lost((rows.len() * dim) as u64, values.len() as u64));
    }
    for (&row, vector) in rows.iter().zip(values.chunks_exact(dim.max(1))) {
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(Error::new(Fault::NonFinite, "the encoder produced a vector with NaN or infinite values")
                .record(&block.ids[row])
                .advice("use --dtype f32; if that does not help, verify the bundle with `virnucpro models verify`"));
        }
        block.values[row * dim..(row + 1) * dim].copy_from_slice(vector);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mock::MockEncoder;
    use crate::tokenize::EsmTokenizer;
    use std::sync::Mutex;
    use std::time::Duration;

    fn sequences(n: usize) -> Vec<Result<Sequence>> {
        let letters = |i: usize| b"MKVLAA".iter().copied().cycle().take(1 + i * 7 % 23).chain([b'A' + (i % 4) as u8]);
        (0..n).map(|i| Ok(Sequence { id: format!("s{i}"), letters: letters(i).collect() })).collect()
    }

    fn engine(encoders: Vec<Box<dyn Encoder>>, tokens: usize) -> Engine {
        let batching = Batching { batch_tokens: Tokens(tokens), prefetch: 2, workers: 3 };
        Engine::new(Box::new(EsmTokenizer), encoders, batching)
    }

    fn mocks(n: usize) -> Vec<Box<dyn Encoder>> {
        (0..n).map(|_| Box::new(MockEncoder::new(5)) as Box<dyn Encoder>).collect()
    }

    fn embed(mut engine: Engine, input: Vec<Result<Sequence>>) -> Result<VectorBlock> {
        let mut all = VectorBlock::default();
        let written = engine.embed(input.into_iter(), &mut |block: VectorBlock| {
            all.ids.extend(block.ids);
            all.values.extend(block.values);
            Ok(())
        })?;
        assert_eq!(written as usize, all.ids.len());
        Ok(all)
    }

    #[test]
    fn vectors_are_those_of_each_sequence_alone_whatever_the_budget_and_the_devices() {
        let one_by_one: Vec<f32> = sequences(300)
            .into_iter()
            .flat_map(|sequence| embed(engine(mocks(1), 1), vec![sequence]).unwrap().values)
            .collect();
        for (devices, tokens) in [(1, 1), (1, 64), (3, 40), (2, 100_000)] {
            let all = embed(engine(mocks(devices), tokens), sequences(300)).unwrap();
            assert_eq!(all.values, one_by_one, "{devices} devices, {tokens} tokens");
            assert_eq!(all.ids, (0..300).map(|i| format!("s{i}")).collect::<Vec<_>>());
        }
    }

    #[test]
    fn several_blocks_stay_in_order() {
        let n = 2 * BLOCK_SEQUENCES + 5;
        let all = embed(engine(mocks(2), 4096), sequences(n)).unwrap();
        assert_eq!(all.ids, (0..n).map(|i| format!("s{i}")).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert_eq!(embed(engine(mocks(1), 64), vec![]).unwrap(), VectorBlock::default());
    }

    /// Fails, or gives NaN, from the given batch on.
    struct Faulty {
        after: Mutex<usize>,
        fault: Option<Fault>,
    }

    impl Encoder for Faulty {
        fn dim(&self) -> usize {
            5
        }

        fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
            let mut after = self.after.lock().unwrap();
            if *after > 0 {
                *after -= 1;
                thread::sleep(Duration::from_millis(1));
                return Ok(vec![0.5; batch.len() * 5]);
            }
            match self.fault {
                Some(fault) => Err(Error::new(fault, "planted")),
                None => Ok(vec![f32::NAN; batch.len() * 5]),
            }
        }
    }

    fn faulty(after: usize, fault: Option<Fault>) -> Box<dyn Encoder> {
        Box::new(Faulty { after: Mutex::new(after), fault })
    }

    #[test]
    fn the_devices_failure_is_what_the_caller_gets_and_nobody_hangs() {
        for after in [0, 1, 7] {
            for others in [0, 2] {
                // As slow as the one that fails, so that it gets its share of the batches.
                let mut encoders: Vec<_> = (0..others).map(|_| faulty(usize::MAX, None)).collect();
                encoders.push(faulty(after, Some(Fault::Torch)));
                let error = embed(engine(encoders, 64), sequences(5000)).unwrap_err();
                assert_eq!(error.fault(), Fault::Torch);
            }
        }
        let error = embed(engine(vec![faulty(2, None)], 64), sequences(500)).unwrap_err();
        assert_eq!(error.fault(), Fault::NonFinite);
    }

    #[test]
    fn memory_is_worth_a_retry_only_when_a_batch_can_be_smaller() {
        let fail =
            |tokens| embed(engine(vec![faulty(0, Some(Fault::OutOfMemory))], tokens), sequences(50)).unwrap_err();
        assert_eq!(fail(1000).fault(), Fault::OutOfMemory);
        assert_eq!(fail(1).fault(), Fault::HostMemory);
    }

    #[test]
    fn a_failing_reader_or_sink_stops_everybody() {
        let mut input = sequences(5000);
        input.push(Err(Error::new(Fault::InputCharacter, "planted")));
        assert_eq!(embed(engine(mocks(2), 64), input).unwrap_err().fault(), Fault::InputCharacter);
        let mut refuse = |_: VectorBlock| Err(Error::new(Fault::NoSpace, "planted"));
        let error = engine(mocks(2), 64).embed(sequences(40_000).into_iter(), &mut refuse).unwrap_err();
        assert_eq!(error.fault(), Fault::NoSpace);
        let empty = vec![Ok(Sequence { id: "e".into(), letters: vec![] })];
        assert_eq!(embed(engine(mocks(1), 64), empty).unwrap_err().fault(), Fault::InputStage);
    }
}
