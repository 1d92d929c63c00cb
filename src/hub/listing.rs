//! What a repository holds, and which of it a model needs.

use serde::Deserialize;

use super::expected::Expected;
use super::http::error::{GivenBy, check_start};
use super::http::url::Url;
use crate::error::{Error, Fault, Result, printable};
use crate::fs::text;
use crate::weights::candidates::PREFERRED;
use crate::weights::hub_cache::{Checksum, Commit, is_safe_name};
use crate::weights::index::Index;

/// Small files that a bundle is made of; the page of the model states its licence.
const SMALL: [&str; 4] = ["config.json", "tokenizer.json", "vocab.txt", "README.md"];

/// A repository at one commit.
pub(super) struct RepoListing {
    pub(super) commit: Commit,
    files: Vec<RepoFile>,
}

/// A file of a repository, with what the listing says of it.
#[derive(Clone, Debug)]
pub(super) struct RepoFile {
    pub(super) name: String,
    pub(super) expected: Expected,
}

#[derive(Deserialize)]
struct ListingJson {
    sha: String,
    siblings: Vec<FileJson>,
}

#[derive(Deserialize)]
struct FileJson {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LfsJson>,
}

#[derive(Deserialize)]
struct LfsJson {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

impl RepoListing {
    /// Reads the hub's answer.
    ///
    /// # Errors
    /// [`Fault::Network`] for an answer that is not a listing.
    pub(super) fn read(body: &[u8], url: &Url) -> Result<Self> {
        check_start(body, url, GivenBy::Hub)?;
        let wrong = |found: String| {
            Error::new(Fault::Network, format!("{url} does not answer like a hub"))
                .expected("the commit and the files of a repository, in JSON")
                .found(found)
                .advice("check HF_ENDPOINT and the proxy; try again later")
        };
        let text = text::decode(body).map_err(|error| wrong(error.to_string()))?;
        let json: ListingJson =
            serde_json::from_str(text).map_err(|error| wrong(printable(&error.to_string(), 100)))?;
        let commit = json.sha.parse().map_err(wrong)?;
        // Files of other names are never asked for, so they do no harm.
        let files = json.siblings.into_iter().filter(|file| is_safe_name(&file.rfilename)).map(RepoFile::from);
        Ok(Self { commit, files: files.collect() })
    }

    fn file(&self, name: &str) -> Option<&RepoFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The files that a model needs, weights last. If the weights are sharded, the last is their index.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`] if a file that every model needs is missing.
    pub(super) fn needed(&self, repo: &str) -> Result<Vec<RepoFile>> {
        let weights = PREFERRED.iter().find_map(|name| self.file(name));
        let (Some(weights), Some(_)) = (weights, self.file("config.json")) else {
            return Err(Error::new(Fault::ModelFormat, format!("{repo} does not hold a model that can be used"))
                .expected(format!("config.json and one of {}", PREFERRED.join(", ")))
                .found(format!("{} files, not these", self.files.len()))
                .advice("check the name and --revision"));
        };
        let small = SMALL.iter().filter_map(|name| self.file(name));
        Ok(small.chain([weights]).cloned().collect())
    }

    /// The shards that the index called `name` lists.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`] for a shard that the repository does not hold.
    pub(super) fn shards(&self, name: &str, index: &Index) -> Result<Vec<RepoFile>> {
        let listed = |shard: &String| {
            self.file(shard).cloned().ok_or_else(|| {
                Error::new(Fault::ModelFormat, format!("{name} lists a file that the repository does not hold"))
                    .found(printable(shard, 100))
                    .advice("the repository is damaged: tell its authors, or choose another --revision")
            })
        };
        index.shards.keys().map(listed).collect()
    }
}

impl From<FileJson> for RepoFile {
    fn from(file: FileJson) -> Self {
        let (bytes, sum) = match file.lfs {
            // The id in Git of a file in LFS is that of its pointer.
            Some(lfs) => (lfs.size, lfs.sha256),
            None => (None, file.blob_id),
        };
        let expected = Expected { bytes: bytes.or(file.size), sum: sum.as_deref().and_then(Checksum::parse) };
        Self { name: file.rfilename, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::index::read;

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
        assert_eq!(found.file("a").unwrap().expected.sum, Checksum::parse(&sha256));
        assert_eq!(found.file("b").unwrap().expected.sum, Checksum::parse(&git));
    }

    #[test]
    fn an_answer_in_another_encoding_is_read_or_told_as_such() {
        let (text, url) =
            (format!("{{\"sha\": \"{}\", \"siblings\": []}}", "a".repeat(40)), "http://h/".parse().unwrap());
        assert!(RepoListing::read(format!("\u{feff}{text}").as_bytes(), &url).is_ok());
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (answer, says) in [(wide, "UTF-16"), (b"{\"sha\": \"\xE9\"".to_vec(), "0xE9")] {
            let error = RepoListing::read(&answer, &url).err().unwrap();
            assert_eq!(error.fault(), Fault::Network);
            assert!(error.report("fetch").contains(says), "{}", error.report("fetch"));
        }
    }

    #[test]
    fn an_index_lists_files_of_the_repository() {
        let listing = listing("{\"rfilename\": \"m-1.safetensors\"}, {\"rfilename\": \"../../x\"}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i");
        let shards = |text: &str| {
            std::fs::write(&path, text).unwrap();
            listing.shards("i", &read(&path)?)
        };
        let index = |name: &str| format!("{{\"weight_map\": {{\"t\": \"{name}\", \"u\": \"m-1.safetensors\"}}}}");
        assert_eq!(names(&shards(&index("m-1.safetensors")).unwrap()), ["m-1.safetensors"]);
        for name in ["../../x", "/etc/x", "m-2.safetensors", "a/b", ""] {
            assert_eq!(shards(&index(name)).unwrap_err().fault(), Fault::ModelFormat, "{name}");
        }
        for text in ["", "{}", "[]", "{\"weight_map\": {}}"] {
            assert!(shards(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_answer_than_a_listing_is_refused() {
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
