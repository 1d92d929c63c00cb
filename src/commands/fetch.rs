//! `models fetch`: published models as a user asks for them.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use crate::config;
use crate::error::{Error, Fault, Result, printable};
use crate::hub::{Fetchable, Hub, Network, Patience, Settings, Url, endpoint, find};
use crate::nearest::did_you_mean;
use crate::runtime::progress::Progress;
use crate::weights::catalogue::catalogue;

/// Fetches models and tells the path of each, one per line, as soon as it is there. Without names, tells a table of the
/// catalogue.
///
/// # Errors
/// [`Fault::Usage`] for a name or option that cannot be followed; those of [`Hub::fetch`] and `tell`.
pub fn fetch(asked: &config::Fetch, progress: &Progress, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let revision = option("revision", asked.revision.as_deref())?;
    let url: Option<Url> = option("url", asked.url.as_deref())?;
    let digest = option("sha256", asked.sha256.as_ref().map(|hex| hex.to_lowercase()).as_deref())?;
    let mut settings = Settings::from_environment()?;
    if asked.offline && !settings.network.is_off() {
        settings.network = Network::OffByOption;
    }
    if asked.names.is_empty() && url.is_none() {
        return tell(&table(&settings)?);
    }
    let named = |name: &String| Fetchable::named(name, revision.as_ref())?.ok_or_else(|| unknown(name));
    let mut wanted = asked.names.iter().map(named).collect::<Result<Vec<_>>>()?;
    wanted.extend(url.map(|url| Fetchable::at(url, digest)));
    let hub = Hub::new(settings, Patience { timeout: asked.timeout, first_wait: asked.retry_wait });
    for wanted in &wanted {
        tell(&format!("{}\n", hub.fetch(wanted, progress)?.display()))?;
    }
    Ok(())
}

fn option<T: FromStr<Err = String>>(name: &str, value: Option<&str>) -> Result<Option<T>> {
    value.map(str::parse).transpose().map_err(|found| {
        Error::new(Fault::Usage, format!("--{name} cannot be followed")).found(found).advice("see --help")
    })
}

fn unknown(name: &str) -> Error {
    let bare = name.split('@').next().unwrap_or(name);
    let near = catalogue().ok().and_then(|catalogue| did_you_mean(bare, catalogue.names()));
    let near = near.map_or_else(String::new, |near| near + " ");
    Error::new(Fault::Usage, format!("'{}' is not a model that can be fetched", printable(name, 100)))
        .expected("a name of the catalogue, or organisation/name on the hub; @ and a branch, tag or commit may follow")
        .advice(format!("{near}'virnucpro models fetch' lists the names"))
}

/// The models of the catalogue, and whether they are here: rows of at most 100 columns.
fn table(settings: &Settings) -> Result<String> {
    let row = |cells: [&str; 6]| {
        let [name, fetched, size, what, licence, source] = cells;
        format!("{name:13}  {fetched:7}  {size:>6}  {what:20}  {licence:11}  {source}\n")
    };
    let mut text = row(["name", "fetched", "size", "what", "licence", "source"]);
    let mut add = |name: &str, size: &str, what: &str, licence: &str, source: &str| {
        let fetched = if find(name, settings).is_ok_and(|path| path.is_some()) { "yes" } else { "no" };
        let licence = licence.split(" in the").next().unwrap_or(licence);
        text.push_str(&row([name, fetched, size, what, licence, source]));
    };
    let catalogue = catalogue()?;
    for encoder in &catalogue.encoders {
        add(&encoder.name, &encoder.size, &encoder.what, &encoder.licence, &encoder.repo.to_string());
    }
    for head in &catalogue.heads {
        add(&head.name, &head.size, &head.what, &head.licence, &head.site);
    }
    let shown =
        |folder: Result<&Path>| folder.map_or_else(|error| error.to_string(), |folder| folder.display().to_string());
    let endpoint = endpoint().map_or_else(|error| format!("nowhere: {error}"), |endpoint| endpoint.to_string());
    let _ = writeln!(text, "\nsizes are approximate; the published heads are for vectors of dnabert-s and esm2-3b");
    let _ = writeln!(text, "models come from {endpoint}\nand go to {}", shown(settings.cache()));
    let _ = writeln!(text, "heads go to {}", shown(settings.downloads()));
    Ok(text)
}
