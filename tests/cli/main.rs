//! The program as a user meets it: arguments, input, output, resuming, and how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests may

mod bench;
mod checkpoints;
mod cleanup;
mod config;
mod documents;
mod encodings;
mod engines;
mod evaluate;
mod examples;
mod failures;
mod fasta_faults;
#[cfg(feature = "torch")]
mod gpu;
mod handover;
mod help;
mod hints;
mod info;
mod inputs;
mod limits;
mod pages;
mod reader_memory;
mod repeats;
mod resume;
mod schedules;
mod session_memory;
mod sheets;
mod signals;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tables;
#[cfg(feature = "torch")]
mod tour;
#[cfg(feature = "torch")]
mod train;
mod train_recipes;
mod viral;
