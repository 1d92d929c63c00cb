//! Servers: addresses, connections and proxies, answers and errors, and when to try again.

pub(super) mod access;
pub(super) mod client;
pub(super) mod error;
mod exchange;
pub(super) mod proxy;
pub(super) mod retry;
pub(super) mod url;
