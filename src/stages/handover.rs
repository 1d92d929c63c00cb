//! What one stage takes over from another: which files, and the proof that they are whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};
use crate::store::{FileDigest, Manifest};

/// A file taken over from the stage before.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    /// The file.
    pub path: PathBuf,
    /// Its name without folder and extensions, as `shard-00001`.
    pub stem: String,
    /// Digest of its bytes.
    pub digest: FileDigest,
    /// Rows or records that its maker recorded, where there is a manifest beside it.
    pub rows: Option<u64>,
}

/// The files that `paths` name, in order: files as they are, and of a folder all of `extension`, by number.
///
/// # Errors
/// A path is missing; a folder holds none, or its stage is not finished; a file is not what its manifest
/// records; or two files have one stem, so that their outputs would be one.
pub fn take_over(paths: &[PathBuf], extension: &str) -> Result<Vec<Handed>> {
    let mut files = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(|error| Error::reading(path, error))?;
        if kind.is_dir() { files.extend(files_of(path, extension)?) } else { files.push(path.clone()) }
    }
    let handed = files.iter().map(|path| prove(path)).collect::<Result<Vec<_>>>()?;
    for (i, file) in handed.iter().enumerate() {
        if let Some(twin) = handed[..i].iter().find(|other| other.stem == file.stem) {
            return Err(Error::new(Fault::Usage, format!("two inputs are called {}", file.stem))
                .file(&file.path)
                .found(twin.path.display().to_string())
                .advice("an output is named after its input: rename one of them, or run them apart"));
        }
    }
    Ok(handed)
}

fn files_of(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let manifest = Manifest::read(folder)?;
    if let Some(manifest) = manifest.filter(|manifest| !manifest.complete) {
        return Err(Error::new(Fault::CheckpointIncomplete, format!("{} is not finished", folder.display()))
            .file(folder)
            .expected(format!("a finished output of {}", manifest.stage))
            .found(format!("{} files so far", manifest.shards.len()))
            .advice(format!("run `virnucpro {}` to its end first", manifest.stage)));
    }
    let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-")))
        .collect();
    // By number: shard-100000 comes after shard-99999.
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    if files.is_empty() && !folder.join(crate::store::MANIFEST_FILE).exists() {
        return Err(Error::new(Fault::InputMissing, format!("{} holds no shards", folder.display()))
            .file(folder)
            .expected(format!("shard-*.{extension}"))
            .advice("name the folder that the stage before wrote, or the files themselves"));
    }
    Ok(files)
}

/// Digests a file, and checks it against the manifest beside it if that one names it.
///
/// # Errors
/// The file is missing, or is not what its manifest records.
pub fn prove(path: &Path) -> Result<Handed> {
    let digest = FileDigest::of(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let recorded = Manifest::read(folder)?.and_then(|manifest| manifest.shards.get(&name).cloned());
    if let Some(entry) = recorded.as_ref().filter(|entry| entry.file != digest) {
        return Err(Error::new(
            Fault::CheckpointCorrupt,
            format!("{} is not what its manifest records", path.display()),
        )
        .file(path)
        .expected(format!("{} bytes, blake3 {}", entry.file.bytes, entry.file.blake3))
        .found(format!("{} bytes, blake3 {}", digest.bytes, digest.blake3))
        .advice("run the stage that wrote it again: it makes what is damaged again and keeps the rest"));
    }
    let stem = name.split('.').next().unwrap_or_default().to_owned();
    Ok(Handed { path: path.to_owned(), stem, digest, rows: recorded.map(|entry| entry.rows) })
}
