//! The writer: vectors to their rows, blocks to the sink in input order. It runs on the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::block::{Block, Failure};
use super::meter::{Count, Meter, Work};
use super::repeats::Keeper;
use crate::error::{Error, Fault, Result};
use crate::store::VectorBlock;

/// Takes what a session makes.
pub trait Sink<E> {
    /// The next vectors of the file that is open, in input order. The first `kept` were known before.
    ///
    /// # Errors
    /// They cannot be written; the session stops.
    fn rows(&mut self, vectors: VectorBlock, kept: usize) -> Result<()>;

    /// All vectors of the file have come; `end` is what its input ended with.
    ///
    /// # Errors
    /// The file cannot be finished; the session stops.
    fn end(&mut self, end: E) -> Result<()>;

    /// `sequences` more have been embedded; their block may not be complete yet.
    fn embedded(&mut self, _sequences: u64) {}

    /// Adds to an error what is known of the file it has to do with; `file` is the number of files that ended before it.
    fn explain(&self, _file: usize, error: Error) -> Error {
        error
    }
}

impl<F: FnMut(VectorBlock) -> Result<()>, E> Sink<E> for F {
    fn rows(&mut self, vectors: VectorBlock, _: usize) -> Result<()> {
        self(vectors)
    }

    fn end(&mut self, _: E) -> Result<()> {
        Ok(())
    }
}

/// What the writer is told. Blocks and ends come in input order, vectors of an announced block in any.
pub enum Message<E> {
    /// A block of these rows is under way.
    Block(Arc<Block>),
    /// A file has ended.
    End(E),
    /// Vectors of some rows of a block, row-major.
    Vectors {
        /// The block.
        block: Arc<Block>,
        /// Its rows, in the order of the vectors.
        rows: Vec<usize>,
        /// The vectors.
        values: Vec<f32>,
    },
}

/// What is not written yet, in input order.
enum Entry<E> {
    Block(OpenBlock),
    End(E),
}

/// A block on its way out.
struct OpenBlock {
    block: Arc<Block>,
    values: Vec<f32>,
    missing: usize,
}

/// Puts vectors in order.
pub struct Writer<'a, E> {
    dim: usize,
    /// A place per block that is open; a reader waits for one.
    opened: Receiver<()>,
    meter: &'a Meter,
    keeper: Keeper,
    open: VecDeque<Entry<E>>,
    written: u64,
}

impl<'a, E> Writer<'a, E> {
    /// A writer of vectors of width `dim`, which frees a place in `opened` for each block it has written.
    /// It keeps `reach` vectors for sequences that repeat.
    pub fn new(dim: usize, reach: usize, opened: Receiver<()>, meter: &'a Meter) -> Self {
        Self { dim, opened, meter, keeper: Keeper::new(reach, dim), open: VecDeque::new(), written: 0 }
    }

    /// Writes until nobody sends any more. Gives the number of vectors.
    ///
    /// # Errors
    /// What the sink reports; a vector that is not finite; vectors of no block.
    pub fn run(mut self, messages: Receiver<Message<E>>, sink: &mut dyn Sink<E>) -> Result<u64, Failure> {
        for message in messages {
            match message {
                Message::Block(block) => {
                    let known = block.known.len();
                    let (missing, values) = (
                        block.ids.len() - block.copies.len() - known,
                        self.values_of(&block).map_err(|error| Failure::with(block.file, error))?,
                    );
                    self.open.push_back(Entry::Block(OpenBlock { block, values, missing }));
                    self.meter.add(Count::Sequences, known as u64);
                    sink.embedded(known as u64);
                }
                Message::End(end) => self.open.push_back(Entry::End(end)),
                Message::Vectors { block, rows, values } => {
                    let file = block.file;
                    self.place(&block, &rows, &values).map_err(|error| Failure::with(file, error))?;
                    sink.embedded(rows.len() as u64);
                }
            }
            self.hand_out(sink).map_err(Failure::of)?;
        }
        Ok(self.written)
    }

    /// The vectors of a block, as far as they are known.
    fn values_of(&self, block: &Block) -> Result<Vec<f32>> {
        let mut values = vec![0.0; block.ids.len() * self.dim];
        for (row, vector) in &block.known {
            if vector.len() != self.dim {
                return Err(differ(self.dim as u64, vector.len() as u64));
            }
            values[row * self.dim..(row + 1) * self.dim].copy_from_slice(vector);
        }
        Ok(values)
    }

    /// Copies vectors to their rows.
    fn place(&mut self, block: &Block, rows: &[usize], values: &[f32]) -> Result<()> {
        let open = self.open.iter_mut().find_map(|entry| match entry {
            Entry::Block(open) if open.block.number == block.number => Some(open),
            _ => None,
        });
        let open = open.ok_or_else(|| differ(0, rows.len() as u64))?;
        for (&row, vector) in rows.iter().zip(values.chunks_exact(self.dim.max(1))) {
            if !vector.iter().all(|value| value.is_finite()) {
                return Err(not_finite(&block.ids[row]));
            }
            open.values[row * self.dim..(row + 1) * self.dim].copy_from_slice(vector);
        }
        open.missing -= rows.len();
        Ok(())
    }

    /// Gives the sink what is complete and has nothing incomplete before it.
    fn hand_out(&mut self, sink: &mut dyn Sink<E>) -> Result<()> {
        let complete = |entry: &Entry<E>| !matches!(entry, Entry::Block(OpenBlock { missing: 1.., .. }));
        while self.open.front().is_some_and(complete) {
            match self.open.pop_front() {
                Some(Entry::Block(mut open)) => {
                    let (rows, copies) = (open.block.ids.len() as u64, open.block.copies.len() as u64);
                    let completed = self.keeper.complete(&mut open.values, &open.block.copies);
                    completed.ok_or_else(|| differ(copies, 0))?;
                    self.meter.add(Count::Copies, copies);
                    self.meter.add(Count::Sequences, copies);
                    sink.embedded(copies);
                    self.written += rows;
                    // Moved, unless the planner still holds the block; then it is cloned.
                    let Block { ids, proteins, kept, .. } = Arc::unwrap_or_clone(open.block);
                    let vectors = VectorBlock { ids, values: open.values, proteins };
                    self.meter.time(Work::Write, || sink.rows(vectors, kept))?;
                    let _ = self.opened.try_recv();
                }
                Some(Entry::End(end)) => self.meter.time(Work::Write, || sink.end(end))?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Sequences and vectors that differ in number.
pub fn differ(sequences: u64, vectors: u64) -> Error {
    Error::new(Fault::Count, "the numbers of sequences in and vectors out differ")
        .expected(format!("{sequences} vectors"))
        .found(vectors.to_string())
        .advice("please report this; no file with missing vectors has been finished")
}

fn not_finite(id: &str) -> Error {
    Error::new(Fault::NonFinite, "the encoder produced a vector with NaN or infinite values")
        .record(id)
        .advice("use --dtype f32; if that does not help, verify the bundle with `virnucpro models verify`")
}
