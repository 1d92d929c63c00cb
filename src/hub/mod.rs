//! Published models from the hub they are published on, and heads from plain addresses.
//!
//! ```text
//! name ─ catalogue ─► repository ─ client ─► listing ─► files needed ─ download ─► blobs ─ cache ─► snapshot
//! ```
//!
//! The protocol and the cache are those of the hub's own client. What differs: size and digest of every file are
//! proved before it has its name, files that are there are proved again, and nothing depends on a lock. Sources: the
//! documentation of huggingface_hub on its cache and its environment variables.

mod cache;
mod catalogue;
mod disk;
mod download;
mod http;
mod listing;
mod local;
mod names;
mod plain;
mod repo;
mod settings;

use std::time::Duration;

use self::http::client::Client;

pub use self::catalogue::{Entry, Source, entries, entry};
pub use self::disk::sum::Sum;
pub use self::http::url::Url;
pub use self::local::find;
pub use self::names::{RepoId, Revision};
pub use self::plain::PlainFile;
pub use self::repo::Model;
pub use self::settings::Settings;

/// How patient to be with a server.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long it may stand still.
    pub timeout: Duration,
    /// Wait after the first failure; it doubles each time.
    pub first_wait: Duration,
}

/// The hub, as this process reaches it.
pub struct Hub {
    settings: Settings,
    client: Client,
    first_wait: Duration,
}

impl Hub {
    /// Opens no connection yet.
    pub fn new(settings: Settings, patience: Patience) -> Self {
        let local =
            ["localhost", "[::1]"].contains(&settings.endpoint.host()) || settings.endpoint.host().starts_with("127.");
        if settings.token.is_some() && !settings.endpoint.is_secure() && !local {
            log::warn!("the token goes to {} without encryption: anybody on the way can read it", settings.endpoint);
        }
        let client = Client::new(&settings, patience.timeout);
        Self { settings, client, first_wait: patience.first_wait }
    }
}
