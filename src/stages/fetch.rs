//! `models fetch`: published models as a user asks for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::digest::Digest;
use crate::error::{Error, Fault, Result};
use crate::hub::{self, Entry, Hub, Model, Network, Patience, PlainFile, Revision, Settings, Source, Url};
use crate::runtime::progress::Progress;

/// Where the heads of the catalogue are published, for people.
const HEADS: &str = "github.com/Li-Jing-1997/VirNucPro";

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names of the catalogue, or `organisation/name`; either may end in `@revision`.
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

/// Fetches models and tells the place of each, a line, when it is there; without names tells a table of the models
/// that have one.
///
/// # Errors
/// [`Fault::Usage`] for a name that is none; those of [`Hub::fetch_model`], [`Hub::fetch_file`] and `tell`.
pub fn fetch(request: &Request, progress: &Progress, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let mut settings = Settings::from_environment()?;
    if request.offline && !settings.network.is_off() {
        settings.network = Network::OffByOption;
    }
    if request.names.is_empty() && request.file.is_none() {
        return tell(&table(&settings)?);
    }
    let wanted = request.names.iter().map(|name| Wanted::of(name, request)).collect::<Result<Vec<_>>>()?;
    let file = request.file.clone().map(|(url, digest)| Wanted::File(PlainFile::of_user(url, digest)));
    let hub = Hub::new(settings, request.patience);
    for wanted in wanted.into_iter().chain(file) {
        let path = match wanted {
            Wanted::Model(model) => hub.fetch_model(&model, progress)?,
            Wanted::File(file) => hub.fetch_file(&file, progress)?,
        };
        tell(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

enum Wanted {
    Model(Model),
    File(PlainFile),
}

impl Wanted {
    fn of(text: &str, request: &Request) -> Result<Self> {
        let (plain, at) = hub::split_revision(text).map_err(no_model)?;
        if at.is_some() && request.revision.is_some() {
            return Err(Error::new(Fault::Usage, format!("{text} has two revisions"))
                .found("--revision, and another behind the @")
                .advice("leave one of them out"));
        }
        let revision = at.or_else(|| request.revision.clone());
        let name = revision.as_ref().map_or_else(|| plain.to_owned(), |revision| format!("{plain}@{revision}"));
        // Of another revision nothing is known beforehand.
        let known = |known| if revision.is_some() { BTreeMap::new() } else { known };
        let model = match hub::entry(plain)? {
            Some(Entry { source: Source::File { .. }, .. }) if revision.is_some() => {
                return Err(hub::no_revisions(plain));
            }
            Some(Entry { source: Source::File { url, sum }, licence, .. }) => {
                return Ok(Self::File(PlainFile::named(plain, &url, &sum, &licence)));
            }
            Some(Entry { source: Source::Repo { id, tokenizer, known: digests }, licence, .. }) => {
                Model { name, repo: id, known: known(digests), revision, licence, tokenizer }
            }
            None => {
                let (repo, licence) = (plain.parse().map_err(no_model)?, "see its page on the hub".to_owned());
                Model { name, repo, revision, licence, tokenizer: false, known: BTreeMap::new() }
            }
        };
        Ok(Self::Model(model))
    }
}

fn no_model(found: String) -> Error {
    Error::new(Fault::Usage, "there is no model of this name to fetch")
        .found(found)
        .advice("'virnucpro models fetch' lists the names; any model of the hub is organisation/name")
}

/// The models that have a name, and whether they are here: rows of at most 100 columns.
fn table(settings: &Settings) -> Result<String> {
    let row = |cells: [&str; 6]| {
        let [name, fetched, size, what, licence, source] = cells;
        format!("{name:13}  {fetched:7}  {size:>6}  {what:20}  {licence:11}  {source}\n")
    };
    let mut text = row(["name", "fetched", "size", "what", "licence", "source"]);
    for Entry { name, what, licence, about, source } in hub::entries()? {
        let fetched = if hub::find(&name, settings).is_ok_and(|path| path.is_some()) { "yes" } else { "no" };
        let source = match &source {
            Source::Repo { id, .. } => id.to_string(),
            Source::File { .. } => HEADS.to_owned(),
        };
        let licence = licence.split(" in the").next().unwrap_or(&licence);
        text.push_str(&row([&name, fetched, &about, &what, licence, &source]));
    }
    let shown =
        |folder: Result<&Path>| folder.map_or_else(|error| error.to_string(), |folder| folder.display().to_string());
    let endpoint = hub::endpoint().map_or_else(|error| format!("nowhere: {error}"), |endpoint| endpoint.to_string());
    let _ = writeln!(text, "\nsizes are about right; the published heads are for vectors of dnabert-s and esm2-3b");
    let _ = writeln!(text, "models come from {endpoint}\nand go to {}", shown(settings.cache()));
    let _ = writeln!(text, "heads go to {}", shown(settings.downloads()));
    Ok(text)
}
