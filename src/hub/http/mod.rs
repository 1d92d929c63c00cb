//! How a server is talked to: addresses, connections and proxies, answers and refusals, and when to try again.

pub(super) mod client;
pub(super) mod error;
mod exchange;
pub(super) mod proxy;
pub(super) mod retry;
pub(super) mod url;
