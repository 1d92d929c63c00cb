//! Numbers: windows, tokens, vectors and scores against those that the reference programs computed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests may

mod composition;
#[cfg(feature = "torch")]
mod models;
#[cfg(feature = "torch")]
mod pipeline;
#[path = "../support/mod.rs"]
mod support;
mod tokenizers;
#[cfg(feature = "torch")]
mod train;
mod upstream;
mod windows;
