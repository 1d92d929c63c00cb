//! What one stage takes over from another: which files, and the proof that they are whole.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::stem;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::store::Manifest;

/// A file taken over from the stage before.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamFile {
    /// The file.
    pub path: PathBuf,
    /// Its name without folder and extensions, as `shard-00001`.
    pub stem: String,
    /// Digest of its bytes.
    pub digest: FileDigest,
    /// Rows or records that its maker recorded, where there is a manifest beside it.
    pub rows: Option<u64>,
}

/// The files that `paths` name, in order: files as they are, and of a folder all of `extension`, by number. `stage` is
/// what must have written them, where they say what did.
///
/// # Errors
/// A path is missing; a folder holds none, or its stage is another one or not finished; a file is not what its
/// manifest records; or two files have one stem, so that their outputs would be one.
pub fn take_over(paths: &[PathBuf], stage: &str, extension: &str) -> Result<Vec<UpstreamFile>> {
    let mut files = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(|error| Error::reading(path, error))?;
        if kind.is_dir() { files.extend(files_of(path, stage, extension)?) } else { files.push(path.clone()) }
    }
    let mut manifests = HashMap::new();
    let mut handed: Vec<UpstreamFile> = Vec::with_capacity(files.len());
    let mut stems: HashMap<String, PathBuf> = HashMap::new();
    for path in &files {
        let folder = folder_of(path);
        if !manifests.contains_key(folder) {
            manifests.insert(folder.to_owned(), Manifest::read(folder)?);
        }
        let file = prove(path, manifests.get(folder).and_then(Option::as_ref))?;
        if let Some(twin) = stems.insert(file.stem.clone(), file.path.clone()) {
            return Err(Error::new(Fault::Usage, format!("two inputs are called {}", file.stem))
                .file(&file.path)
                .found(twin.display().to_string())
                .advice("an output is named after its input: rename one of them, or run them apart"));
        }
        handed.push(file);
    }
    Ok(handed)
}

/// Whether `paths` name the whole output of a stage. Where they are single files, other files of the same stage may
/// have been taken over before.
pub fn is_whole_stage(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| path.is_dir())
}

/// Files of a folder: those its manifest lists, or all shards where there is no manifest.
fn files_of(folder: &Path, stage: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let has_extension = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    let is_shard = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-"));
    let mut files: Vec<PathBuf> = match Manifest::read(folder)? {
        Some(manifest) if manifest.stage != stage => {
            return Err(Error::new(Fault::InputStage, format!("{} is the output of another stage", folder.display()))
                .file(folder)
                .expected(format!("a folder that `virnucpro {stage}` wrote"))
                .found(format!("one that `virnucpro {}` wrote", manifest.stage))
                .advice(format!("name the output folder of `virnucpro {stage}`")));
        }
        Some(manifest) if !manifest.complete => {
            return Err(Error::new(Fault::CheckpointIncomplete, format!("{} is not finished", folder.display()))
                .file(folder)
                .expected(format!("a finished output of {}", manifest.stage))
                .found(format!("{} files so far", manifest.shards.len()))
                .advice(format!("wait if it is at work elsewhere, or run `virnucpro {stage}` to its end")));
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
pub fn prove(path: &Path, manifest: Option<&Manifest>) -> Result<UpstreamFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let recorded = manifest.and_then(|manifest| manifest.shards.get(name.as_ref()));
    let again = "run the stage that wrote it again: it makes what is missing or damaged again and keeps the rest";
    if recorded.is_some() && !path.exists() {
        let message = format!("{} is gone; its manifest records it", path.display());
        return Err(Error::new(Fault::CheckpointCorrupt, message).file(path).advice(again));
    }
    let digest = FileDigest::of(path)?;
    if let Some(entry) = recorded.filter(|entry| entry.file != digest) {
        let message = format!("{} is not what its manifest records", path.display());
        return Err(Error::new(Fault::CheckpointCorrupt, message)
            .file(path)
            .expected(format!("{} bytes, blake3 {}", entry.file.bytes, entry.file.blake3))
            .found(format!("{} bytes, blake3 {}", digest.bytes, digest.blake3))
            .advice(again));
    }
    Ok(UpstreamFile { path: path.to_owned(), stem: stem(path), digest, rows: recorded.map(|entry| entry.rows) })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
