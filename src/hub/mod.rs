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
mod credentials;
mod download;
mod file;
mod http;
mod ids;
mod listing;
mod local;
mod partial;
mod repo;
mod settings;

use std::cell::OnceCell;
use std::time::Duration;

use self::credentials::Credentials;
use self::http::client::Client;
use crate::error::Result;

pub use self::catalogue::{CatalogueEntry, CatalogueSource, entries, entry, no_revisions};
pub use self::credentials::endpoint;
pub use self::file::PlainFile;
pub use self::http::url::Url;
pub use self::ids::{RepoId, Revision, split_revision};
pub use self::local::find;
pub use self::partial::sum::Sum;
pub use self::repo::HubModel;
pub use self::settings::{Network, Settings};

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
    client: OnceCell<Client>,
    patience: Patience,
}

impl Hub {
    /// Opens no connection yet.
    pub fn new(settings: Settings, patience: Patience) -> Self {
        Self { settings, client: OnceCell::new(), patience }
    }

    /// What asks servers, made when the first is to be asked.
    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let access = Credentials::from_environment()?;
        let host = access.endpoint.host();
        let local = ["localhost", "[::1]"].contains(&host) || host.starts_with("127.");
        if access.token.is_some() && !access.endpoint.is_secure() && !local {
            log::warn!("the token goes to {} without encryption: anybody on the way can read it", access.endpoint);
        }
        Ok(self.client.get_or_init(|| Client::new(access, self.patience.timeout)))
    }
}
