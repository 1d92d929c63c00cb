//! Files of the stage before: which ones, and the proof that they are what their manifest records. The proof comes with
//! the reading: a file is digested while it is read, and nothing made from it is kept before the digests agree.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{STDIN, stem};
use crate::error::{Error, Fault, Result, printable};
use crate::fs::FileDigest;
use crate::store::tables::WindowRow;
use crate::store::{MadeFrom, Manifest, Origin, Row as _, ShardEntry};
use crate::units::counted;

/// A file of the stage before.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamFile {
    /// The file.
    pub path: PathBuf,
    /// Its name without folder and extensions, as `shard-00001`.
    pub stem: String,
    /// What the manifest beside it records, where there is one that names it.
    recorded: Option<ShardEntry>,
    /// The sequences it comes from, where the manifest says so.
    origin: Option<Origin>,
    /// Whether it can be read once only: a pipe.
    pub is_stream: bool,
}

/// What to do about a file that its manifest does not describe.
const AGAIN: &str = "run the stage that wrote it again: it redoes what is missing or damaged and keeps the rest";

impl UpstreamFile {
    /// Rows or records, where they are recorded.
    pub fn rows(&self) -> Option<u64> {
        self.recorded.as_ref().map(|entry| entry.rows)
    }

    /// The recorded digest, else that of the bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest(&self) -> Result<FileDigest> {
        self.recorded.as_ref().map_or_else(|| FileDigest::of(&self.path), |entry| Ok(entry.file.clone()))
    }

    /// What is made from this file: its digest, and its name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn source(&self) -> Result<MadeFrom> {
        Ok(self.source_of(&self.digest()?))
    }

    /// The same, of a digest that is known.
    pub fn source_of(&self, read: &FileDigest) -> MadeFrom {
        MadeFrom { digest: read.blake3.clone(), from: self.name() }
    }

    /// Its name without the folder: the same files in another place make the same manifest.
    pub fn name(&self) -> String {
        printable(&self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy(), usize::MAX)
    }

    /// Compares what was read with what is recorded.
    ///
    /// # Errors
    /// [`Fault::CheckpointCorrupt`] where they differ.
    pub fn prove(&self, found: &FileDigest) -> Result<()> {
        match &self.recorded {
            Some(entry) if entry.file != *found => Err(self
                .differs()
                .expected(format!("{} bytes, blake3 {}", entry.file.bytes, entry.file.blake3))
                .found(format!("{} bytes, blake3 {}", found.bytes, found.blake3))),
            _ => Ok(()),
        }
    }

    /// What made reading fail: a file that is not what its manifest records explains any other error.
    pub fn explain(&self, error: Error) -> Error {
        // What the system refuses says nothing about the file.
        let system = [
            Fault::Threads,
            Fault::OpenFiles,
            Fault::HostMemory,
            Fault::OutOfMemory,
            Fault::DeviceLost,
            Fault::TooLong,
        ];
        if system.contains(&error.fault()) {
            return error;
        }
        // A file that gave nothing would give nothing again.
        let suspect = self.recorded.is_some() && !error.fault().is_retryable() && error.fault() != Fault::Stalled;
        match suspect.then(|| FileDigest::of(&self.path).and_then(|found| self.prove(&found))) {
            Some(Err(damaged)) => damaged,
            _ if error.path().is_none() => error.file(&self.path),
            _ => error,
        }
    }

    fn differs(&self) -> Error {
        let message = format!("{} does not match its manifest", self.path.display());
        Error::new(Fault::CheckpointCorrupt, message).file(&self.path).advice(AGAIN)
    }
}

/// The manifest of a folder that another command wrote; none where there is none.
///
/// # Errors
/// It is damaged, or of another version's layout.
pub fn manifest(folder: &Path) -> Result<Option<Manifest>> {
    let again = "run the stage that wrote this folder again, with --overwrite";
    Manifest::read(folder).map_err(|error| error.advice(again))
}

/// The file at `path`, with its entry in `manifest` if that one names it. Its content is not read.
///
/// # Errors
/// The file is missing, or has another size than recorded.
pub fn file(path: &Path, manifest: Option<&Manifest>) -> Result<UpstreamFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let recorded = manifest.and_then(|manifest| manifest.shards.get(name.as_ref())).cloned();
    let origin = recorded.as_ref().and(manifest).and_then(|manifest| manifest.origin.clone());
    let is_stream = path == Path::new(STDIN) || fs::metadata(path).is_ok_and(|kind| !kind.is_file());
    let stem = if path == Path::new(STDIN) { "stdin".to_owned() } else { stem(path) };
    let file = UpstreamFile { path: path.to_owned(), stem, recorded, origin, is_stream };
    let Some(expected) = file.recorded.as_ref().map(|entry| entry.file.bytes) else { return Ok(file) };
    match fs::metadata(path) {
        Ok(found) if found.len() == expected => Ok(file),
        Ok(found) => {
            let size = |bytes: u64| format!("{bytes} bytes");
            Err(file.differs().expected(size(expected)).found(size(found.len())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{} is missing, but its manifest lists it", path.display());
            Err(Error::new(Fault::CheckpointCorrupt, message).file(path).advice(AGAIN))
        }
        Err(error) => Err(Error::reading(path, error)),
    }
}

/// The files that `paths` name, in order: files as they are, and of a folder all of `extension`, by number. `stage` is
/// what must have written them, where they say what did. Their content is not read.
///
/// # Errors
/// A path is missing; a folder holds none, or its stage is another one or not finished; a file is not there or has
/// another size than recorded; or two files have one stem, so that their outputs would be one.
pub fn files(paths: &[PathBuf], stage: &str, extension: &str) -> Result<Vec<UpstreamFile>> {
    let mut named = Vec::new();
    for path in paths {
        if path == Path::new(STDIN) {
            named.push(path.clone());
            continue;
        }
        let kind = fs::metadata(path).map_err(|error| Error::reading(path, error))?;
        if kind.is_dir() { named.extend(files_of(path, stage, extension)?) } else { named.push(path.clone()) }
    }
    let mut manifests = HashMap::new();
    let mut files: Vec<UpstreamFile> = Vec::with_capacity(named.len());
    let mut stems: HashMap<String, PathBuf> = HashMap::new();
    for path in &named {
        let folder = crate::fs::parent(path);
        if !manifests.contains_key(folder) {
            manifests.insert(folder.to_owned(), manifest(folder)?);
        }
        let manifest = manifests.get(folder).and_then(Option::as_ref);
        let file = file(path, manifest)?;
        // Windows get their names together: a shard beside a manifest that does not list it is of another run.
        if let Some(manifest) = manifest.filter(|manifest| manifest.stage == "chunk" && file.recorded.is_none()) {
            let message = format!("{} is not listed in the manifest beside it", path.display());
            return Err(Error::new(Fault::CheckpointIncomplete, message)
                .file(path)
                .expected(format!("a shard of {}", folder.display()))
                .found(if manifest.complete {
                    "a file that chunk did not write"
                } else {
                    "windows that are not complete"
                })
                .advice("let `virnucpro chunk` finish, or give a file of your own from another folder"));
        }
        if let Some(twin) = stems.insert(file.stem.clone(), file.path.clone()) {
            let same = twin.canonicalize().ok() == file.path.canonicalize().ok();
            return Err(if same {
                Error::new(Fault::Usage, format!("{} is given twice", file.path.display()))
                    .file(&file.path)
                    .advice("give it once")
            } else {
                Error::new(Fault::Usage, format!("two inputs are called {}", file.stem))
                    .file(&file.path)
                    .found(twin.display().to_string())
                    .advice("outputs are named after inputs: rename one of them, or run them separately")
            });
        }
        if file.is_stream && extension == "parquet" {
            let message = format!("{} is not a regular file", file.path.display());
            return Err(Error::new(Fault::InputStage, message)
                .file(&file.path)
                .expected("a file of vectors, which cannot come through a pipe")
                .advice("give the file itself, or the folder it is in"));
        }
        files.push(file);
    }
    Ok(files)
}

/// The sequences that all of `files` come from; none where a file does not say.
///
/// # Errors
/// [`Fault::CheckpointInput`] where two files come from different ones.
pub fn origin(files: &[UpstreamFile]) -> Result<Option<Origin>> {
    let known: Vec<(&UpstreamFile, &Origin)> =
        files.iter().filter_map(|file| Some((file, file.origin.as_ref()?))).collect();
    let Some((first, origin)) = known.first() else { return Ok(None) };
    if let Some((other, found)) = known.iter().find(|(_, found)| !found.is_same(origin)) {
        return Err(apart(&other.path, &first.path, origin, found));
    }
    Ok((known.len() == files.len()).then(|| (*origin).clone()))
}

/// The sequences that two sides of a hand-over come from; none where neither says.
///
/// # Errors
/// [`Fault::CheckpointInput`] where they differ.
pub fn common_origin(sides: [(&Path, Option<Origin>); 2]) -> Result<Option<Origin>> {
    match sides {
        [(left, Some(one)), (right, Some(other))] if !one.is_same(&other) => Err(apart(right, left, &one, &other)),
        [(_, Some(origin)), (_, Some(_))] => Ok(Some(origin)),
        _ => Ok(None),
    }
}

/// Files that come from different sequences.
fn apart(path: &Path, beside: &Path, expected: &Origin, found: &Origin) -> Error {
    let (fault, here, there) = expected.differs(found);
    let (other, advice) = match fault {
        Fault::CheckpointInput => (
            "another input",
            "give files that were made from one input; run the stages again for the one that was changed",
        ),
        _ => ("windows of other settings", "give files that were made from one folder of windows"),
    };
    Error::new(fault, format!("{} comes from {other}", path.display()))
        .file(path)
        .expected(format!("{here}, as {}", beside.display()))
        .found(there)
        .advice(advice)
}

/// Refuses an output folder in which an input of the same command lies: it would be overwritten.
///
/// # Errors
/// [`Fault::Usage`].
pub fn refuse_input_in_output<'a>(inputs: impl IntoIterator<Item = &'a Path>, output: &Path) -> Result<()> {
    let Ok(output) = output.canonicalize() else { return Ok(()) };
    let inside = |path: &&Path| path.canonicalize().is_ok_and(|path| path.is_file() && path.parent() == Some(&output));
    match inputs.into_iter().find(inside) {
        None => Ok(()),
        Some(path) => Err(Error::new(Fault::Usage, format!("{} lies in the output folder", path.display()))
            .file(path)
            .expected("an output folder without inputs, which it could replace")
            .found(output.display().to_string())
            .advice("choose another folder with -o")),
    }
}

/// Whether `paths` name the whole output of a stage. Where they are single files, other files of the same stage may
/// have been taken over before.
pub fn is_whole_stage(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| path.is_dir())
}

/// Windows whose frames are not there, or only those of the other side (`has_others`).
fn without_shards(folder: &Path, extension: &str, has_others: bool) -> Error {
    let side = if extension == "faa" { "protein" } else { "nucleotide" };
    let (message, found, advice) = if has_others {
        (
            format!("{} has no shards of the {side} side", folder.display()),
            format!("windows that were cut for a bundle without a {side} side"),
            "run `virnucpro chunk` with the --model that you embed with".to_owned(),
        )
    } else {
        (
            format!("{} has windows without shards", folder.display()),
            "windows that `virnucpro run` scored without keeping their frames".to_owned(),
            "run `virnucpro chunk`, or `virnucpro run` with --keep-intermediate".to_owned(),
        )
    };
    Error::new(Fault::InputMissing, message)
        .file(folder)
        .expected(format!("shard-*.{extension}"))
        .found(found)
        .advice(advice)
}

/// Files of a folder: those its manifest lists, or all shards where there is no manifest.
fn files_of(folder: &Path, stage: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let has_extension = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    let is_shard = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shard-"));
    let mut files: Vec<PathBuf> = match manifest(folder)? {
        Some(manifest) if manifest.stage != stage => {
            return Err(Error::new(Fault::InputStage, format!("{} is the output of another stage", folder.display()))
                .file(folder)
                .expected(format!("a folder that `virnucpro {stage}` wrote"))
                .found(format!("one that `virnucpro {}` wrote", manifest.stage))
                .advice(format!("give the output folder of `virnucpro {stage}`")));
        }
        Some(manifest) if !manifest.complete => {
            return Err(Error::new(Fault::CheckpointIncomplete, format!("{} is not complete", folder.display()))
                .file(folder)
                .expected(format!("a complete output of {}", manifest.stage))
                .found(format!("{} so far", counted(manifest.shards.len() as u64, "file")))
                .advice(format!("wait if it is still running elsewhere, or let `virnucpro {stage}` finish")));
        }
        Some(manifest) => {
            let listed = manifest.shards.keys().map(|name| folder.join(name)).filter(has_extension);
            // `chunk` lists files of the original program, too, which are the same frames once more.
            let files: Vec<PathBuf> = listed.filter(|path| manifest.stage != "chunk" || is_shard(path)).collect();
            if files.is_empty() && manifest.stage == "chunk" {
                let has_shards = manifest.shards.keys().any(|name| is_shard(&folder.join(name)));
                return Err(without_shards(folder, extension, has_shards));
            }
            files
        }
        None if stage == "chunk" && folder.join(WindowRow::TSV).exists() => {
            return Err(Error::new(Fault::CheckpointIncomplete, format!("{} has no manifest", folder.display()))
                .file(folder)
                .expected("the manifest that `virnucpro chunk` wrote: it says which shards there must be")
                .advice("run `virnucpro chunk` again with --overwrite, or give the shards themselves"));
        }
        None => {
            let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
            let files: Vec<PathBuf> =
                entries.flatten().map(|entry| entry.path()).filter(has_extension).filter(is_shard).collect();
            if files.is_empty() {
                return Err(Error::new(Fault::InputMissing, format!("{} contains no shards", folder.display()))
                    .file(folder)
                    .expected(format!("shard-*.{extension}"))
                    .advice("give the folder that the previous stage wrote, or the files themselves"));
            }
            files
        }
    };
    // By number: shard-100000 comes after shard-99999.
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(files)
}
