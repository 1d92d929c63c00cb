//! Finds viral DNA in metagenomic reads and contigs.
//!
//! The library behind the `virnucpro` executable. A record becomes windows, a window six frames, an open
//! frame two vectors, the vectors a score, the scores a verdict:
//!
//! ```text
//! FASTA ─ seq ─► windows, frames ─ tokenize ─► token ids ─ pack ─► batches ─ model ─► vectors, scores
//!         └──────────────── stages read and write all of it through store ────────────────┘
//! ```
//!
//! Everything that the executable does can be called:
//!
//! ```no_run
//! use virnucpro::cli::{self, Asked, Task};
//! use virnucpro::runtime::progress::Progress;
//! use virnucpro::stages::run::run;
//!
//! let arguments = ["virnucpro", "run", "contigs.fa", "-o", "out"].map(Into::into);
//! if let Asked::Work { command, .. } = cli::parse(arguments.into())?
//!     && let Task::Run(settings) = command.task()?
//! {
//!     let manifest = run(&settings, &Progress::Silent)?;
//!     println!("{} viral sequences", manifest.totals["sequences_viral"]);
//! }
//! # Ok::<(), virnucpro::error::Error>(())
//! ```
//!
//! Modules import in one direction (`tests/architecture.rs`); `docs/tour.md` follows one record through.

pub mod bundle;
pub mod calibration;
pub mod cli;
pub mod commands;
pub mod composition;
pub mod config;
pub mod device;
pub mod embed;
pub mod error;
pub mod fs;
pub mod hub;
pub mod labels;
pub mod metrics;
pub mod model;
pub mod nearest;
pub mod pack;
pub mod plot;
pub mod regions;
pub mod runtime;
pub mod seq;
pub mod stages;
pub mod store;
pub mod tokenize;
pub mod train;
pub mod units;
pub mod weights;
