//! Models on their way into a bundle: weights files, downloads, imports, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests may

mod bundles;
mod fuzz_corpus;
mod hostile;
mod hub;
mod import;
#[path = "../support/mod.rs"]
mod support;
mod verify;
mod weights;
