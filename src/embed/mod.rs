//! Where tokens meet a model: one session over all files of a command, for both encoders.
//!
//! ```text
//! input ─► reader ─► planner ─► queue ─► lane, lane, ... ─► writer ─► sink
//!  files   blocks   ╱ tokens ╲  batches   vectors            rows of a block, ends of files: in input order
//!            ▲      workers                                    │
//!            └─────────────── few blocks are open ◄────────────┘
//! ```
//!
//! | thread | file | hands over |
//! |---|---|---|
//! | reader | `reader.rs` | blocks of sequences of one file, ends of files |
//! | tokens, `--dataloader-workers` of them | `tokens.rs` | token ids of a part of a block |
//! | planner | `planner.rs` | batches, through the queue, which holds `--prefetch` per lane; blocks to the writer |
//! | one per lane | `recovery.rs` drives a [`lane::Lane`] | vectors of a batch |
//! | the caller's | `writer.rs` | rows and ends to the [`Sink`] |
//!
//! A block is planned as a whole and written as a whole, so the composition of a batch depends on the input and
//! `--batch-tokens` alone; only where vectors do not depend on it do lanes share the last batches. Sequences that repeat are in no batch: the planner finds them and the writer copies their vectors
//! (`repeats.rs`). `session.rs` starts the threads; the first failure stops everybody and is what the caller gets;
//! `meter.rs` counts what they do. `load` makes a session from a bundle, `measure.rs`
//! says how fast it is.

mod block;
mod budget;
pub mod lane;
pub mod load;
pub mod measure;
mod meter;
mod planner;
mod queue;
mod reader;
mod recovery;
pub mod reference;
mod repeats;
mod session;
mod tokens;
mod writer;

pub use block::{Input, Sequence};
pub use meter::{Count, Meter, Work};
pub use session::{Batching, Session};
pub use writer::Sink;
