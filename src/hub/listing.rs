//! What a repository holds, and which of it a model needs.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::http::url::Url;
use super::ids::{Commit, is_file_name, shortened};
use super::partial::sum::Sum;
use crate::error::{Error, Fault, Result};

/// Small files that a bundle is made of; the page of the model states its licence.
const SMALL: [&str; 4] = ["config.json", "tokenizer.json", "vocab.txt", "README.md"];
/// Files of weights, the best first; an index names the files it is cut into.
const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Files of one model, at most: the largest known has 30.
const MOST_SHARDS: usize = 1000;

/// A file of a repository.
#[derive(Clone, Debug)]
pub(super) struct RepoFile {
    pub(super) name: String,
    pub(super) bytes: Option<u64>,
    pub(super) sum: Option<Sum>,
}

/// A repository at one commit.
pub(super) struct RepoListing {
    pub(super) commit: Commit,
    files: Vec<RepoFile>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

impl RepoListing {
    /// Reads the hub's answer.
    ///
    /// # Errors
    /// It is none: [`Fault::Network`].
    pub(super) fn read(body: &[u8], url: &Url) -> Result<Self> {
        super::http::error::check_start(body, url, super::http::error::Origin::Hub)?;
        let wrong = |found: String| {
            Error::new(Fault::Network, format!("{url} does not answer as a hub"))
                .expected("the commit and the files of a repository, in JSON")
                .found(found)
                .advice("check HF_ENDPOINT and the proxy; try again later")
        };
        let answer: Answer = serde_json::from_slice(body).map_err(|error| wrong(shortened(&error.to_string())))?;
        let commit = answer.sha.parse().map_err(wrong)?;
        // Other names are not asked for, so that they do no harm.
        let files = answer.siblings.into_iter().filter(|file| is_file_name(&file.rfilename)).map(Sibling::listed);
        Ok(Self { commit, files: files.collect() })
    }

    fn file(&self, name: &str) -> Option<&RepoFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The files that a model needs, weights last. If those are cut up, the last is the index that names them.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`]: this is no model that can be used.
    pub(super) fn needed(&self, repo: &str) -> Result<Vec<RepoFile>> {
        let weights = WEIGHTS.iter().find_map(|name| self.file(name));
        let (Some(weights), Some(_)) = (weights, self.file("config.json")) else {
            return Err(Error::new(Fault::ModelFormat, format!("{repo} holds no model that can be used"))
                .expected(format!("config.json and one of {}", WEIGHTS.join(", ")))
                .found(format!("{} files, not these", self.files.len()))
                .advice("check the name and --revision"));
        };
        let small = SMALL.iter().filter_map(|name| self.file(name));
        Ok(small.chain([weights]).cloned().collect())
    }

    /// The files that an index names.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`]: the index is none, or names files that cannot be.
    pub(super) fn shards(&self, index: &str, content: &[u8]) -> Result<Vec<RepoFile>> {
        let names = shard_names(index, content)?;
        let listed = |name: &String| {
            self.file(name).cloned().ok_or_else(|| {
                Error::new(Fault::ModelFormat, format!("{index} names a file that the repository does not hold"))
                    .found(name.clone())
                    .advice("the repository is damaged: tell its authors, or choose another --revision")
            })
        };
        names.iter().map(listed).collect()
    }
}

impl Sibling {
    fn listed(self) -> RepoFile {
        let (in_lfs, lfs_bytes) = match self.lfs {
            Some(lfs) => (Some(lfs.sha256.as_deref().and_then(Sum::parse)), lfs.size),
            None => (None, None),
        };
        // The id in Git of a file in LFS is that of its pointer.
        let sum = in_lfs.unwrap_or_else(|| self.blob_id.as_deref().and_then(Sum::parse));
        RepoFile { name: self.rfilename, bytes: lfs_bytes.or(self.size), sum }
    }
}

/// Whether a file of this name says which files hold the weights.
pub(super) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// Names of the files in an index, each once, in order.
///
/// # Errors
/// [`Fault::ModelFormat`]: the index is none, or holds a name that no file may have.
pub(super) fn shard_names(index: &str, content: &[u8]) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let wrong = |found: String| {
        Error::new(Fault::ModelFormat, format!("{index} is no index of weights"))
            .expected("weight_map: plain file names by tensor")
            .found(found)
            .advice("the repository is damaged or not meant well: choose another --revision or tell its authors")
    };
    let parsed: Index = serde_json::from_slice(content).map_err(|error| wrong(shortened(&error.to_string())))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if let Some(name) = names.iter().find(|name| !is_file_name(name)) {
        return Err(wrong(format!("the name '{}'", shortened(name))));
    }
    if names.is_empty() || names.len() > MOST_SHARDS {
        return Err(wrong(format!("{} files", names.len())));
    }
    Ok(names.into_iter().collect())
}

/// What a folder that holds a model must have, told from what it has; the missing names.
///
/// # Errors
/// [`Fault::ModelFormat`] for an index that is none.
pub(super) fn missing(
    has: &dyn Fn(&str) -> bool,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
    tokenizer: bool,
) -> Result<Vec<String>> {
    let mut wanted: Vec<String> = vec!["config.json".to_owned()];
    if tokenizer {
        wanted.push("tokenizer.json".to_owned());
    }
    match WEIGHTS.iter().find(|name| has(name)) {
        Some(index) if is_index(index) => {
            wanted.extend(shard_names(index, &read(index).unwrap_or_default())?);
        }
        Some(_) => {}
        None => wanted.push(WEIGHTS[0].to_owned()),
    }
    wanted.retain(|name| !has(name));
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &str) -> RepoListing {
        let sha = "a".repeat(40);
        let body = format!("{{\"sha\": \"{sha}\", \"siblings\": [{files}]}}");
        RepoListing::read(body.as_bytes(), &"http://h/".parse().unwrap()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn names(files: &[RepoFile]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn safetensors_come_before_pickles_and_only_what_is_needed_is_taken() {
        let files = ["config.json", "README.md", "pytorch_model.bin", "vocab.txt", "model.safetensors", "model.onnx"];
        let text: Vec<String> = files.iter().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let needed = listing(&text.join(",")).needed("a/b").unwrap();
        assert_eq!(names(&needed), ["config.json", "vocab.txt", "README.md", "model.safetensors"]);
        assert_eq!(listing(&text[..2].join(",")).needed("a/b").unwrap_err().fault(), Fault::ModelFormat);
    }

    #[test]
    fn the_digest_is_that_of_the_content_and_not_of_a_pointer() {
        let (git, sha256) = ("b".repeat(40), "c".repeat(64));
        let lfs = format!("\"size\": 9, \"blobId\": \"{git}\", \"lfs\": {{\"sha256\": \"{sha256}\", \"size\": 9}}");
        let found =
            listing(&format!("{{\"rfilename\": \"a\", {lfs}}}, {{\"rfilename\": \"b\", \"blobId\": \"{git}\"}}"));
        assert_eq!(found.file("a").unwrap().sum, Sum::parse(&sha256));
        assert_eq!(found.file("b").unwrap().sum, Sum::parse(&git));
    }

    #[test]
    fn an_index_names_plain_files_of_the_repository() {
        let listing = listing("{\"rfilename\": \"m-1.safetensors\"}, {\"rfilename\": \"../../x\"}");
        let index = |name: &str| format!("{{\"weight_map\": {{\"t\": \"{name}\", \"u\": \"m-1.safetensors\"}}}}");
        assert_eq!(names(&listing.shards("i", index("m-1.safetensors").as_bytes()).unwrap()), ["m-1.safetensors"]);
        for name in ["../../x", "/etc/x", "m-2.safetensors", "a/b", ""] {
            assert_eq!(listing.shards("i", index(name).as_bytes()).unwrap_err().fault(), Fault::ModelFormat, "{name}");
        }
        for text in ["", "{}", "[]", "{\"weight_map\": {}}"] {
            assert!(listing.shards("i", text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        let url = "http://h/".parse().unwrap();
        for (body, fault) in [
            ("<!DOCTYPE html><html>", Fault::ModelPointer),
            ("nonsense", Fault::Network),
            ("{\"sha\": \"../../x\", \"siblings\": []}", Fault::Network),
        ] {
            assert_eq!(RepoListing::read(body.as_bytes(), &url).err().unwrap().fault(), fault, "{body}");
        }
    }
}
