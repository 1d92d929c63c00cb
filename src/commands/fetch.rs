//! `models fetch`: published models as a user asks for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use crate::config;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::hub::{
    self, CatalogueEntry, CatalogueSource, Hub, HubModel, Network, Patience, PlainFile, Revision, Settings, Url,
};
use crate::runtime::progress::Progress;

/// Where the heads of the catalogue are published, for people.
const HEADS: &str = "github.com/Li-Jing-1997/VirNucPro";

/// Fetches models and tells the place of each, a line, when it is there; without names tells a table of the models
/// that have one.
///
/// # Errors
/// [`Fault::Usage`] for a name that is none; those of [`Hub::fetch_model`], [`Hub::fetch_file`] and `tell`.
pub fn fetch(asked: &config::Fetch, progress: &Progress, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let request = Request::parse(asked)?;
    let mut settings = Settings::from_environment()?;
    if asked.offline && !settings.network.is_off() {
        settings.network = Network::OffByOption;
    }
    if asked.names.is_empty() && request.file.is_none() {
        return tell(&table(&settings)?);
    }
    let wanted = asked.names.iter().map(|name| Wanted::of(name, &request.revision));
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    let file = request.file.map(|(url, digest)| Wanted::File(PlainFile::of_user(url, digest)));
    let hub = Hub::new(settings, Patience { timeout: asked.timeout, first_wait: asked.retry_wait });
    for wanted in wanted.into_iter().chain(file) {
        let path = match wanted {
            Wanted::HubModel(model) => hub.fetch_model(&model, progress)?,
            Wanted::File(file) => hub.fetch_file(&file, progress)?,
        };
        tell(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

/// What the options mean to the hub.
struct Request {
    revision: Option<Revision>,
    file: Option<(Url, Option<Digest>)>,
}

impl Request {
    fn parse(asked: &config::Fetch) -> Result<Self> {
        let url = asked.url.as_deref().map(|url| option("url", url)).transpose()?;
        let digest = asked.sha256.as_deref().map(|hex| option("sha256", &hex.to_lowercase())).transpose()?;
        let revision = asked.revision.as_deref().map(|revision| option("revision", revision)).transpose()?;
        Ok(Self { revision, file: url.map(|url| (url, digest)) })
    }
}

fn option<T: FromStr<Err = String>>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|found| {
        Error::new(Fault::Usage, format!("--{name} cannot be followed")).found(found).advice("see --help")
    })
}

enum Wanted {
    HubModel(HubModel),
    File(PlainFile),
}

impl Wanted {
    fn of(text: &str, asked: &Option<Revision>) -> Result<Self> {
        let (plain, at) = hub::split_revision(text).map_err(no_model)?;
        if at.is_some() && asked.is_some() {
            return Err(Error::new(Fault::Usage, format!("{text} has two revisions"))
                .found("--revision, and another behind the @")
                .advice("leave one of them out"));
        }
        let revision = at.or_else(|| asked.clone());
        let name = revision.as_ref().map_or_else(|| plain.to_owned(), |revision| format!("{plain}@{revision}"));
        // Of another revision nothing is known beforehand.
        let known = |known| if revision.is_some() { BTreeMap::new() } else { known };
        let model = match hub::entry(plain)? {
            Some(CatalogueEntry { source: CatalogueSource::File { .. }, .. }) if revision.is_some() => {
                return Err(hub::no_revisions(plain));
            }
            Some(CatalogueEntry { source: CatalogueSource::File { url, sum }, licence, .. }) => {
                return Ok(Self::File(PlainFile::named(plain, &url, &sum, &licence)));
            }
            Some(CatalogueEntry {
                source: CatalogueSource::Repo { id, tokenizer, known: digests }, licence, ..
            }) => HubModel { name, repo: id, known: known(digests), revision, licence, tokenizer },
            None => {
                let (repo, licence) = (plain.parse().map_err(no_model)?, "see its page on the hub".to_owned());
                HubModel { name, repo, revision, licence, tokenizer: false, known: BTreeMap::new() }
            }
        };
        Ok(Self::HubModel(model))
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
    for CatalogueEntry { name, what, licence, about, source } in hub::entries()? {
        let fetched = if hub::find(&name, settings).is_ok_and(|path| path.is_some()) { "yes" } else { "no" };
        let source = match &source {
            CatalogueSource::Repo { id, .. } => id.to_string(),
            CatalogueSource::File { .. } => HEADS.to_owned(),
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
