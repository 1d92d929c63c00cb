//! An index of shards: which tensor stands in which file, as Hugging Face writes it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{ModelBytes, bytes};
use crate::error::{Error, Fault, Result, printable};

/// Content of a `*.index.json`.
#[derive(Debug)]
pub(super) struct Index {
    /// Name of its shard for every tensor.
    pub(super) shards: BTreeMap<String, String>,
    /// Bytes of all tensors.
    pub(super) total: Option<u64>,
}

const MAX_TENSORS: usize = 100_000;

/// Whether the file is JSON text by its first bytes: then it is an index, or it is no weights file.
pub(super) fn is_json(path: &Path) -> bool {
    let start = bytes::start_of(path);
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    // A safetensors file begins with a length, which has a zero byte among its eight.
    let is_text = text.len() >= 2 && !text.iter().take(8).any(|&byte| byte == 0);
    is_text && text.trim_ascii_start().starts_with(b"{")
}

/// Reads an index.
///
/// # Errors
/// [`Fault::ModelFormat`] for what is none, or names files outside its folder; [`Fault::ModelMissing`],
/// [`Fault::Read`].
pub(super) fn read(path: &Path) -> Result<Index> {
    #[derive(Deserialize)]
    struct File {
        weight_map: Option<Unique>,
        metadata: Option<Metadata>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        total_size: Option<serde_json::Number>,
    }
    let refused = |message: &str| Error::new(Fault::ModelFormat, message).file(path);
    let content = ModelBytes::open(path)?;
    let text = bytes::text(&content, path)?;
    let file: File = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        refused("this index of shards cannot be read").line(error.line() as u64).caused_by(error).advice(AGAIN)
    })?;
    let Some(Unique(shards)) = file.weight_map.filter(|Unique(shards)| !shards.is_empty()) else {
        return Err(refused("this JSON file is no weights file")
            .expected("a file of tensors, or an index of them with a weight_map")
            .found("JSON without a weight_map")
            .advice("give the folder of the model, or name its file of weights"));
    };
    if let Some((tensor, shard)) = shards.iter().find(|(_, shard)| !is_file_name(shard)) {
        return Err(refused("the index names a file that does not stand beside it")
            .record(tensor.chars().take(200).collect::<String>())
            .expected("the name of a file in the same folder")
            .found(shard.chars().take(200).collect::<String>())
            .advice("do not use this index: a path out of its folder is never right"));
    }
    // Some programs write the number of bytes as 5682008064.0.
    let total = file.metadata.and_then(|metadata| metadata.total_size);
    let total = total.and_then(|size| size.as_u64().or_else(|| size.as_f64().map(|size| size as u64)));
    Ok(Index { shards, total })
}

const AGAIN: &str = "the file may be cut short or damaged: download it again";

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !matches!(name, "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// Names that stand once each.
#[derive(Debug)]
struct Unique(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the file of every tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut names = BTreeMap::new();
                while let Some((name, shard)) = map.next_entry::<String, String>()? {
                    if names.len() >= MAX_TENSORS {
                        return Err(serde::de::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    if names.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!(
                            "the name {} stands twice",
                            printable(&name, 200)
                        )));
                    }
                    names.insert(name, shard);
                }
                Ok(Unique(names))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Result<Index> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors.index.json");
        std::fs::write(&path, text).unwrap();
        assert!(is_json(&path), "{text}");
        read(&path)
    }

    #[test]
    fn shards_and_size_are_read() {
        let read = index(r#"{"metadata":{"total_size":8.0},"weight_map":{"a":"1.bin","b":"2.bin"}}"#).unwrap();
        assert_eq!((read.total, read.shards["b"].as_str()), (Some(8), "2.bin"));
        assert_eq!(index("\u{feff} {\"weight_map\":{\"a\":\"1\"}}").unwrap().total, None);
    }

    #[test]
    fn what_is_no_index_or_leaves_its_folder_is_refused() {
        let long = "x".repeat(300);
        for text in [
            "{\"hidden_size\": 8}",
            "{\"weight_map\": {}}",
            "{\"weight_map\": {\"a\": 1}}",
            "{\"weight_map\": {\"a\": \"x\"",
            "{\"weight_map\": [\"a\"]}",
            r#"{"weight_map":{"a":"x","a":"y"}}"#,
            r#"{"weight_map":{"a":"../x"}}"#,
            r#"{"weight_map":{"a":"/etc/passwd"}}"#,
            r#"{"weight_map":{"a":".."}}"#,
            r#"{"weight_map":{"a":""}}"#,
            r#"{"weight_map":{"a":"..\\x"}}"#,
            &format!(r#"{{"weight_map":{{"a":"{long}"}}}}"#),
        ] {
            assert_eq!(index(text).unwrap_err().fault(), Fault::ModelFormat, "{text}");
        }
    }

    #[test]
    fn a_file_of_tensors_is_no_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for bytes in [&b"{\0\0\0\0\0\0\0{\"a\":"[..], b"PK\x03\x04", b"\x80\x02}", b"", b"version https"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(!is_json(&path), "{bytes:?}");
        }
        assert!(!is_json(folder.path()) && !is_json(&folder.path().join("none")));
    }
}
