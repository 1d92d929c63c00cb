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

/// Whether `paths` name the whole output of a stage. Where they are single files, other files of the same stage may
/// have been taken over before.
pub fn is_whole_stage(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| path.is_dir())
}

/// Files of a folder: those its manifest lists, or all shards where there is no manifest.
fn files_of(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let has_extension = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    let is_shard = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-"));
    let mut files: Vec<PathBuf> = match Manifest::read(folder)? {
        Some(manifest) if !manifest.complete => {
            return Err(Error::new(Fault::CheckpointIncomplete, format!("{} is not finished", folder.display()))
                .file(folder)
                .expected(format!("a finished output of {}", manifest.stage))
                .found(format!("{} files so far", manifest.shards.len()))
                .advice(format!("run `virnucpro {}` to its end first", manifest.stage)));
        }
        Some(manifest) => {
            let listed = manifest.shards.keys().map(|name| folder.join(name)).filter(has_extension);
            // `chunk` lists files of the original program, too, which are the same frames once more.
            listed.filter(|path| manifest.stage != "chunk" || is_shard(path)).collect()
        }
        None => {
            let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
            let files: Vec<PathBuf> =
                entries.flatten().map(|entry| entry.path()).filter(has_extension).filter(is_shard).collect();
            if files.is_empty() {
                return Err(Error::new(Fault::InputMissing, format!("{} holds no shards", folder.display()))
                    .file(folder)
                    .expected(format!("shard-*.{extension}"))
                    .advice("name the folder that the stage before wrote, or the files themselves"));
            }
            files
        }
    };
    // By number: shard-100000 comes after shard-99999.
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(files)
}

/// Digests a file, and checks it against the manifest beside it if that one names it.
///
/// # Errors
/// The file is missing, or is not what its manifest records.
pub fn prove(path: &Path) -> Result<Handed> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let recorded = Manifest::read(folder)?.and_then(|manifest| manifest.shards.get(&name).cloned());
    if recorded.is_some() && !path.exists() {
        return Err(Error::new(
            Fault::CheckpointCorrupt,
            format!("{} is gone; its manifest records it", path.display()),
        )
        .file(path)
        .advice("run the stage that wrote it again: it makes what is missing again and keeps the rest"));
    }
    let digest = FileDigest::of(path)?;
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
