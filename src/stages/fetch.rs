//! `models fetch`: published models as a user asks for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::digest::Digest;
use crate::error::{Error, Fault, Result};
use crate::hub::{self, Entry, Hub, Model, Patience, PlainFile, RepoId, Revision, Settings, Source, Url};
use crate::runtime::progress::Progress;

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names of the catalogue, or `organisation/name`.
    pub names: Vec<String>,
    /// Branch, tag or commit of the repositories; their main branch if none is given.
    pub revision: Option<Revision>,
    /// One file of the user's own, with its digest if it is known.
    pub file: Option<(Url, Option<Digest>)>,
    /// Ask no server, whatever the environment says.
    pub offline: bool,
    /// How patient to be with a server.
    pub patience: Patience,
}

/// Fetches models and gives their places, one a line; without names a table of the models that have one.
///
/// # Errors
/// [`Fault::Usage`] for a name that is none; those of [`Hub::fetch_model`] and [`Hub::fetch_file`].
pub fn fetch(request: &Request, progress: &Progress) -> Result<String> {
    let mut settings = Settings::from_environment()?;
    settings.offline |= request.offline;
    if request.names.is_empty() && request.file.is_none() {
        return table(&settings);
    }
    let wanted = request.names.iter().map(|name| Wanted::of(name, request)).collect::<Result<Vec<_>>>()?;
    let file = request.file.clone().map(|(url, digest)| Wanted::File(PlainFile::of_user(url, digest)));
    let hub = Hub::new(settings, request.patience);
    let mut text = String::new();
    for wanted in wanted.into_iter().chain(file) {
        let path = match wanted {
            Wanted::Model(model) => hub.fetch_model(&model, progress)?,
            Wanted::File(file) => hub.fetch_file(&file, progress)?,
        };
        let _ = writeln!(text, "{}", path.display());
    }
    Ok(text)
}

enum Wanted {
    Model(Model),
    File(PlainFile),
}

impl Wanted {
    fn of(name: &str, request: &Request) -> Result<Self> {
        let revision = request.revision.clone().unwrap_or_default();
        let model = |repo: RepoId, licence: String, tokenizer: bool, known: BTreeMap<String, Digest>| {
            Self::Model(Model { name: name.to_owned(), repo, revision, licence, tokenizer, known })
        };
        match hub::entry(name)? {
            Some(Entry { source: Source::File { .. }, .. }) if request.revision.is_some() => {
                Err(Error::new(Fault::Usage, format!("{name} is one file and has no revisions"))
                    .found("--revision")
                    .advice("leave --revision out"))
            }
            Some(Entry { source: Source::File { url, sum }, licence, .. }) => {
                Ok(Self::File(PlainFile::named(name, &url, &sum, &licence)))
            }
            Some(Entry { source: Source::Repo { id, tokenizer, known }, licence, .. }) => {
                // Of another revision nothing is known beforehand.
                let known = if request.revision.is_some() { BTreeMap::new() } else { known };
                Ok(model(id, licence, tokenizer, known))
            }
            None => {
                let id = name.parse::<RepoId>().map_err(|found| {
                    Error::new(Fault::Usage, "there is no model of this name to fetch")
                        .found(found)
                        .advice("'virnucpro models fetch' lists the names; any model of the hub is organisation/name")
                })?;
                Ok(model(id, "see its page on the hub".to_owned(), false, BTreeMap::new()))
            }
        }
    }
}

/// The models that have a name, and whether they are here.
fn table(settings: &Settings) -> Result<String> {
    let mut text = format!("{:14} {:7} {:>7}  {:62} {:11} source\n", "name", "fetched", "size", "what", "licence");
    for entry in hub::entries()? {
        let fetched = if hub::find(&entry.name, settings).is_ok_and(|path| path.is_some()) { "yes" } else { "no" };
        let source = match &entry.source {
            Source::Repo { id, .. } => id.to_string(),
            Source::File { url, .. } => url.to_string(),
        };
        let Entry { name, what, licence, about, .. } = &entry;
        let licence = licence.split(" in the").next().unwrap_or(licence);
        let _ = writeln!(text, "{name:14} {fetched:7} {about:>7}  {what:62} {licence:11} {source}");
    }
    let _ = writeln!(
        text,
        "\nsizes are about right; repositories are fetched from {} into {}, files into {}",
        settings.endpoint,
        settings.cache.display(),
        settings.downloads.display()
    );
    Ok(text)
}
