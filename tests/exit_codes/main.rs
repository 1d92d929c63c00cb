//! How the program ends: exit code, fault, last line of stderr and the message for a person.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../harness/mod.rs"]
mod harness;

mod failures;
mod signals;
mod streams;
