//! Models that can be fetched by a short name: `catalogue.yaml`, part of the executable.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::http::url::Url;
use super::ids::{RepoId, is_file_name};
use super::partial::sum::Sum;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;

const CATALOGUE: &str = include_str!("catalogue.yaml");

/// A model of the catalogue.
#[derive(Clone, Debug)]
pub struct CatalogueEntry {
    /// Name it is asked for by.
    pub name: String,
    /// What it is, in a few words.
    pub what: String,
    /// Licence of the weights, as far as it is stated.
    pub licence: String,
    /// Size of the download, for people.
    pub about: String,
    /// Where it comes from.
    pub source: CatalogueSource,
}

/// Where a model of the catalogue comes from.
#[derive(Clone, Debug)]
pub enum CatalogueSource {
    /// A repository of the hub.
    Repo {
        /// Its name.
        id: RepoId,
        /// Whether a tokeniser belongs to the model.
        tokenizer: bool,
        /// Digests of files that are known beforehand.
        known: BTreeMap<String, Digest>,
    },
    /// One file.
    File {
        /// Its address.
        url: Url,
        /// Its digest.
        sum: Sum,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    kind: Kind,
    what: String,
    licence: String,
    about: String,
    repo: Option<String>,
    url: Option<String>,
    git: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, Known>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Dnabert,
    Esm,
    Head,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(rename = "bytes")]
    _bytes: u64,
    sha256: Digest,
}

/// All of the catalogue, in the order of its file.
///
/// # Errors
/// [`Fault::Bug`] if the file is not what it must be; a test holds it to that.
pub fn entries() -> Result<Vec<CatalogueEntry>> {
    let defect = |found: String| Error::new(Fault::Bug, "the catalogue of models is damaged").found(found);
    let written: Vec<Written> = serde_yaml::from_str(CATALOGUE).map_err(|error| defect(error.to_string()))?;
    written.into_iter().map(|entry| entry.read().map_err(defect)).collect()
}

/// The model of this name.
///
/// # Errors
/// Those of [`entries`].
pub fn entry(name: &str) -> Result<Option<CatalogueEntry>> {
    Ok(entries()?.into_iter().find(|entry| entry.name == name))
}

/// The error of asking for a revision of one file.
pub fn no_revisions(name: &str) -> Error {
    Error::new(Fault::Usage, format!("{name} is one file and has no revisions"))
        .found("a revision")
        .advice("leave --revision and @ out")
}

impl Written {
    fn read(self) -> Result<CatalogueEntry, String> {
        let source = match (self.kind, self.repo, self.url, self.git) {
            (Kind::Head, None, Some(url), Some(git)) => CatalogueSource::File {
                url: url.parse()?,
                sum: Sum::parse(&git).ok_or_else(|| format!("no id: {git}"))?,
            },
            (Kind::Dnabert | Kind::Esm, Some(repo), None, None) => {
                if let Some(name) = self.files.keys().find(|name| !is_file_name(name)) {
                    return Err(format!("no file name: {name}"));
                }
                CatalogueSource::Repo {
                    id: repo.parse()?,
                    tokenizer: self.kind == Kind::Dnabert,
                    known: self.files.into_iter().map(|(name, known)| (name, known.sha256)).collect(),
                }
            }
            _ => return Err(format!("{}: neither a repository nor a file", self.name)),
        };
        let Self { name, what, licence, about, .. } = self;
        Ok(CatalogueEntry { name, what, licence, about, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_whole() {
        let entries = entries().unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "esm2-8m",
                "esm2-35m",
                "esm2-150m",
                "esm2-650m",
                "esm2-3b",
                "esm2-15b",
                "dnabert-s",
                "dnabert-2",
                "virnucpro-300",
                "virnucpro-500"
            ]
        );
        for entry in &entries {
            assert!(entry.name.len() <= 13 && entry.what.len() <= 20, "{} does not fit its column", entry.name);
            assert!(!entry.name.contains('/') && entry.about.ends_with('B') && !entry.licence.is_empty());
            match &entry.source {
                CatalogueSource::Repo { tokenizer, .. } => assert_eq!(*tokenizer, entry.name.starts_with("dnabert")),
                CatalogueSource::File { url, .. } => assert!(url.is_secure() && url.path().ends_with("_model.pth")),
            }
        }
    }

    #[test]
    fn a_name_is_found_and_another_is_not() {
        let Some(CatalogueEntry { source: CatalogueSource::Repo { id, known, .. }, .. }) = entry("dnabert-2").unwrap()
        else {
            panic!("no repository");
        };
        assert_eq!(id.to_string(), "zhihan1996/DNABERT-2-117M");
        assert_eq!(known.len(), 1);
        assert!(entry("esm3").unwrap().is_none());
    }
}
