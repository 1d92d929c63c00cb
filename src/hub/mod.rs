//! Published models from the hub they are published on, and single files from other addresses.
//!
//! ```text
//! name ─ catalogue ─► repository ─ client ─► listing ─► files needed ─ download ─► blobs ─ cache ─► snapshot
//! ```
//!
//! The protocol and the cache are those of the hub's own client. What differs: size and checksum of every file are
//! proved before it gets its name, files that are there are proved again, and no locks are needed. Sources: the
//! documentation of huggingface_hub on its cache and its environment variables.

mod cache;
mod download;
mod expected;
mod fetchable;
mod file;
mod http;
mod listing;
mod local;
mod model;
mod settings;

use std::cell::OnceCell;
use std::path::PathBuf;

use self::http::client::Client;
use crate::error::{Fault, Result};
use crate::runtime::progress::Progress;

pub use self::fetchable::Fetchable;
pub use self::http::client::Patience;
pub use self::http::url::Url;
pub use self::local::find;
pub use self::settings::{Network, Settings, endpoint};

/// The hub, as this process reaches it.
///
/// ```no_run
/// use std::time::Duration;
/// use virnucpro::hub::{Fetchable, Hub, Patience, Settings};
/// use virnucpro::runtime::progress::Progress;
///
/// let patience = Patience { timeout: Duration::from_secs(60), first_wait: Duration::from_secs(1) };
/// let hub = Hub::new(Settings::from_environment()?, patience);
/// if let Some(model) = Fetchable::named("esm2-8m", None)? {
///     println!("{}", hub.fetch(&model, &Progress::Silent)?.display());
/// }
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
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

    /// Fetches what is not here yet, and proves what is; the folder of a model's files, or the path of a file.
    ///
    /// # Errors
    /// [`Fault::Network`], [`Fault::DownloadRefused`], [`Fault::DownloadDigest`], [`Fault::ModelPointer`],
    /// [`Fault::ModelFormat`] for a repository without a model; [`Fault::ModelMissing`] if the network is switched off and
    /// something is missing; [`Fault::NoSpace`] and others of writing. Nothing wrong has a name then.
    pub fn fetch(&self, wanted: &Fetchable, progress: &Progress) -> Result<PathBuf> {
        let (outcome, variable) = match wanted {
            Fetchable::Model(model) => (self.fetch_model(model, progress), self.settings.cache_variable),
            Fetchable::File(file) => (self.fetch_file(file, progress), "XDG_DATA_HOME"),
        };
        outcome.map_err(|error| match error.fault() {
            Fault::Write => {
                error.advice(format!("make this folder writable for this user, or set {variable} to another one"))
            }
            _ => error,
        })
    }

    /// What asks servers, created when the first one is asked.
    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let access = settings::PROCESS.access()?;
        if access.exposes_token() {
            log::warn!("the token goes to {} without encryption: others on the way can read it", access.endpoint);
        }
        Ok(self.client.get_or_init(|| Client::new(access, self.patience)))
    }
}
