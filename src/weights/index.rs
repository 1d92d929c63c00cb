//! An index of shards, as Hugging Face writes it: which file holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::unique_names::UniqueNames;
use super::{ModelBytes, bytes};
use crate::error::{Error, Fault, Result, printable};

/// Content of a `*.index.json`.
#[derive(Debug)]
pub(crate) struct Index {
    /// Tensors of every shard, by the name of its file.
    pub(crate) shards: BTreeMap<String, BTreeSet<String>>,
    /// Bytes of all tensors.
    pub(super) total: Option<u64>,
}

/// The most shards of one model: the largest known one has 30.
const MAX_SHARDS: usize = 1000;

/// Whether the file is JSON text by its first bytes: then it is an index, or not a weights file at all.
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
/// [`Fault::ModelFormat`] for a file that is not an index, names files outside its folder or too many of them;
/// [`Fault::ModelMissing`], [`Fault::Read`].
pub(crate) fn read(path: &Path) -> Result<Index> {
    #[derive(Deserialize)]
    struct IndexFile {
        weight_map: Option<UniqueNames<String>>,
        metadata: Option<Metadata>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        total_size: Option<serde_json::Number>,
    }
    let refused = |message: &str| Error::new(Fault::ModelFormat, message).file(path);
    let content = ModelBytes::open(path)?;
    let text = bytes::text(&content, path)?;
    let file: IndexFile = serde_json::from_str(text).map_err(|error| {
        let again = "the file may be cut short or damaged: download it again";
        refused("this index of shards cannot be read").line(error.line() as u64).caused_by(error).advice(again)
    })?;
    let Some(UniqueNames(map)) = file.weight_map.filter(|UniqueNames(map)| !map.is_empty()) else {
        return Err(refused("this JSON file is not a weights file")
            .expected("a file of tensors, or an index of them with a weight_map")
            .found("JSON without a weight_map")
            .advice("give the folder of the model, or name its file of weights"));
    };
    let mut shards: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (tensor, shard) in map {
        if !is_file_name(&shard) {
            return Err(refused("the index names a file outside its folder")
                .record(printable(&tensor, 200))
                .expected("the name of a file in the same folder")
                .found(printable(&shard, 200))
                .advice("do not use this index: a path out of its folder is never right"));
        }
        shards.entry(shard).or_default().insert(tensor);
    }
    if shards.len() > MAX_SHARDS {
        return Err(refused("the index names too many files")
            .expected(format!("at most {MAX_SHARDS} shards"))
            .found(format!("{} shards", shards.len()))
            .advice("download the model again"));
    }
    // Some programs write the number of bytes as 5682008064.0.
    let total = file.metadata.and_then(|metadata| metadata.total_size);
    let total = total.and_then(|size| size.as_u64().or_else(|| size.as_f64().map(|size| size as u64)));
    Ok(Index { shards, total })
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !matches!(name, "." | "..") && !name.contains(['/', '\\', '\0'])
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
        assert_eq!((read.total, read.shards.len()), (Some(8), 2));
        assert!(read.shards["2.bin"].iter().eq(["b"]));
        assert_eq!(index("\u{feff} {\"weight_map\":{\"a\":\"1\"}}").unwrap().total, None);
    }

    #[test]
    fn another_file_or_an_index_that_leaves_its_folder_is_refused() {
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
        let map = |shards: usize| (0..shards).map(|n| format!("\"{n}\": \"{n}.bin\"")).collect::<Vec<_>>().join(",");
        let of = |shards| index(&format!("{{\"weight_map\": {{{}}}}}", map(shards)));
        assert_eq!(of(MAX_SHARDS).unwrap().shards.len(), MAX_SHARDS);
        assert_eq!(of(MAX_SHARDS + 1).unwrap_err().fault(), Fault::ModelFormat);
    }

    #[test]
    fn a_file_of_tensors_is_not_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for bytes in [&b"{\0\0\0\0\0\0\0{\"a\":"[..], b"PK\x03\x04", b"\x80\x02}", b"", b"version https"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(!is_json(&path), "{bytes:?}");
        }
        assert!(!is_json(folder.path()) && !is_json(&folder.path().join("none")));
    }
}
