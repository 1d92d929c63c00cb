//! Models that others have published, by a short name: `catalogue.yaml`, part of the executable. Fetching looks up
//! where a model is; import recognises a head by its content.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::hub_cache::RepoId;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::{Digest, git_blob};

/// All published models, in the order of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Encoders, which are repositories of the hub.
    pub encoders: Vec<PublishedEncoder>,
    /// Heads, which are single files.
    pub heads: Vec<PublishedHead>,
}

/// An encoder that is a repository of the hub.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedEncoder {
    /// Name that it is asked for by.
    pub name: String,
    /// What it is, in a few words.
    pub what: String,
    /// The repository.
    pub repo: RepoId,
    /// Whether a tokeniser belongs to it.
    #[serde(default)]
    pub tokenizer: bool,
    /// Licence of the weights, as far as it is stated.
    pub licence: String,
    /// Size of the download, for people.
    pub size: String,
    /// SHA-256 digests of files that must be these very ones.
    #[serde(default)]
    pub digests: BTreeMap<String, Digest>,
}

/// A head that is one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedHead {
    /// Name that it is asked for by.
    pub name: String,
    /// What it is, in a few words.
    pub what: String,
    /// Address of the file.
    pub url: String,
    /// Id of the file in Git.
    pub git: String,
    /// Window length of its training data, in bases.
    pub window: u32,
    /// Site that it is published on, for people.
    pub site: String,
    /// Licence of the repository that holds it.
    pub licence: String,
    /// Size of the download, for people.
    pub size: String,
}

/// The catalogue.
///
/// # Errors
/// [`Fault::Bug`] if `catalogue.yaml` is wrong, which a test rules out.
pub fn catalogue() -> Result<&'static Catalogue> {
    static CATALOGUE: LazyLock<Result<Catalogue, String>> =
        LazyLock::new(|| serde_yaml::from_str(include_str!("catalogue.yaml")).map_err(|error| error.to_string()));
    let defect = |found: &String| Error::new(Fault::Bug, "the catalogue of published models is wrong").found(found);
    CATALOGUE.as_ref().map_err(defect)
}

impl PublishedHead {
    /// Site and name of the file, for people.
    pub fn source(&self) -> String {
        format!("{} {}", self.site, self.url.rsplit('/').next().unwrap_or_default())
    }
}

impl Catalogue {
    /// The names of all models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let encoders = self.encoders.iter().map(|encoder| encoder.name.as_str());
        encoders.chain(self.heads.iter().map(|head| head.name.as_str()))
    }

    /// The encoder of this name.
    pub fn encoder(&self, name: &str) -> Option<&PublishedEncoder> {
        self.encoders.iter().find(|encoder| encoder.name == name)
    }

    /// The head of this name.
    pub fn head(&self, name: &str) -> Option<&PublishedHead> {
        self.heads.iter().find(|head| head.name == name)
    }

    /// The head whose file has this content.
    pub fn head_of(&self, content: &[u8]) -> Option<&PublishedHead> {
        let git = git_blob(content);
        self.heads.iter().find(|head| head.git == git)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::hub_cache::{Checksum, is_safe_name};

    #[test]
    fn the_catalogue_is_whole() {
        let Catalogue { encoders, heads } = catalogue().unwrap();
        let names: Vec<&str> = encoders.iter().map(|encoder| encoder.name.as_str()).collect();
        let esm2 = ["esm2-8m", "esm2-35m", "esm2-150m", "esm2-650m", "esm2-3b", "esm2-15b"];
        assert_eq!(names, [&esm2[..], &["dnabert-s", "dnabert-2"]].concat());
        for encoder in encoders {
            assert_eq!(encoder.tokenizer, encoder.name.starts_with("dnabert"), "{}", encoder.name);
            assert!(encoder.digests.keys().all(|name| is_safe_name(name)), "{}", encoder.name);
        }
        let heads_by_name: Vec<&str> = heads.iter().map(|head| head.name.as_str()).collect();
        assert_eq!(heads_by_name, ["virnucpro-300", "virnucpro-500"]);
        for head in heads {
            assert!(head.url.starts_with("https://") && head.url.ends_with(&format!("/{}_model.pth", head.window)));
            assert!(matches!(Checksum::parse(&head.git), Some(Checksum::Git(git)) if git == head.git));
            assert!(head.name.ends_with(&head.window.to_string()) && head.what.contains(&head.window.to_string()));
        }
        let encoders = encoders.iter().map(|one| (&one.name, &one.what, &one.licence, &one.size));
        for (name, what, licence, size) in
            encoders.chain(heads.iter().map(|one| (&one.name, &one.what, &one.licence, &one.size)))
        {
            assert!(name.len() <= 13 && what.len() <= 20, "{name} does not fit its column");
            assert!(!name.contains('/') && size.ends_with('B') && !licence.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_model_is_found_by_name_and_a_head_by_content() {
        let catalogue = catalogue().unwrap();
        let dnabert = catalogue.encoder("dnabert-2").unwrap();
        assert_eq!((dnabert.repo.to_string().as_str(), dnabert.digests.len()), ("zhihan1996/DNABERT-2-117M", 1));
        assert!(catalogue.encoder("esm3").is_none() && catalogue.encoder("virnucpro-500").is_none());
        assert_eq!(catalogue.head("virnucpro-300").unwrap().window, 300);
        assert!(catalogue.head_of(b"abc").is_none());
        let heads: Vec<PublishedHead> = serde_yaml::from_str(&format!(
            "[{{name: n, what: w, url: https://h/x.pth, git: {}, window: 7, site: h.org, licence: MIT, size: 1 B}}]",
            git_blob(b"abc")
        ))
        .unwrap();
        let own = Catalogue { encoders: Vec::new(), heads };
        let head = own.head_of(b"abc").unwrap();
        assert_eq!((head.window, head.source().as_str()), (7, "h.org x.pth"));
    }
}
