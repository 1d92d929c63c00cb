//! `models fetch` against a hub on the loopback device: what comes, what is kept, and what is refused.

mod broken;
mod cached;
mod encrypted;
mod files;
mod normal;
mod refused;
mod secrets;
mod server;
mod world;
mod wrong;
