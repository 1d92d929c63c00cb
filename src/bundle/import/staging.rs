//! A folder that appears whole or not at all: written beside its place under another name, then renamed.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bundle::spec::FileRecord;
use crate::digest::Hasher;
use crate::error::{Error, Fault, Result};

/// A folder in the making; removed unless it is committed.
pub(super) struct Staging {
    folder: PathBuf,
    target: PathBuf,
    committed: bool,
}

/// A file in the making.
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: Hasher,
    bytes: u64,
}

/// Refuses a `target` that is a file, or a folder with something in it.
///
/// # Errors
/// [`Fault::OutputForeign`].
pub(super) fn refuse_occupied(target: &Path) -> Result<()> {
    let occupied = match target.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != ErrorKind::NotFound || target.symlink_metadata().is_ok(),
    };
    if occupied { Err(foreign(target)) } else { Ok(()) }
}

impl Staging {
    /// Begins a folder that shall become `target`.
    ///
    /// # Errors
    /// [`Fault::OutputForeign`] and those of writing.
    pub(super) fn create(target: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        refuse_occupied(target)?;
        let name = target.file_name().ok_or_else(|| foreign(target))?.to_string_lossy();
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(|error| Error::writing(parent, error))?;
        // Two processes, on two machines even, must not meet: the folder is made, not taken.
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = parent.join(format!(".{name}.partial-{}-{count}", std::process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { folder, target: target.to_owned(), committed: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::writing(&folder, error)),
            }
        }
    }

    /// Where the files lie until it is committed.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the file `name` of the folder, safely on disk when this returns.
    ///
    /// # Errors
    /// Those of `content` and of writing.
    pub(super) fn write(&self, name: &str, content: impl FnOnce(&mut Output) -> Result<()>) -> Result<FileRecord> {
        let path = self.folder.join(name);
        let folder = parent_of(&path);
        fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        let file = File::create_new(&path).map_err(|error| Error::writing(&path, error))?;
        let mut output = Output { path, file: BufWriter::new(file), hasher: Hasher::default(), bytes: 0 };
        content(&mut output)?;
        let Output { path, file, hasher, bytes } = output;
        let file = file.into_inner().map_err(|error| Error::writing(&path, error.into_error()))?;
        file.sync_all().map_err(|error| Error::writing(&path, error))?;
        Ok(FileRecord { bytes, sha256: hasher.finish() })
    }

    /// Puts the folder in its place, which is given back.
    ///
    /// # Errors
    /// [`Fault::OutputForeign`] when something came to stand there meanwhile, and those of writing.
    pub(super) fn commit(mut self) -> Result<PathBuf> {
        let entries = self.folder.read_dir().map_err(|error| Error::writing(&self.folder, error))?;
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
        folders.chain([self.folder.clone()]).try_for_each(|folder| sync_folder(&folder))?;
        match fs::rename(&self.folder, &self.target) {
            Ok(()) => self.committed = true,
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                return Err(foreign(&self.target));
            }
            Err(error) => return Err(Error::writing(&self.target, error)),
        }
        sync_folder(parent_of(&self.target))?;
        Ok(std::mem::take(&mut self.target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing better can be done: the name says that the folder is partial.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Output {
    /// Appends bytes.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| Error::writing(&self.path, error))
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|file| file.sync_all()) {
        // Some network file systems cannot sync a folder, and say so.
        Err(error) if !matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => {
            Err(Error::writing(folder, error))
        }
        _ => Ok(()),
    }
}

fn foreign(target: &Path) -> Error {
    Error::new(Fault::OutputForeign, format!("{} is there already", target.display()))
        .file(target)
        .expected("a folder that does not exist yet, or an empty one")
        .advice("choose another folder, or remove this one first")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    #[test]
    fn nothing_has_the_final_name_before_commit_and_nothing_else_is_left_after() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/bundle");
        let staging = Staging::create(&target).unwrap();
        let record = staging.write("a/b", |out| out.write(b"abc")).unwrap();
        assert_eq!((record.bytes, record.sha256), (3, crate::digest::Digest::of(b"abc")));
        assert!(!target.exists());
        staging.commit().unwrap();
        assert_eq!(fs::read(target.join("a/b")).unwrap(), b"abc");
        assert_eq!(entries(&root.path().join("deep")), 1);
    }

    #[test]
    fn an_abandoned_folder_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::create(&root.path().join("bundle")).unwrap();
        staging.write("a", |out| out.write(b"abc")).unwrap();
        assert_eq!(entries(root.path()), 1);
        drop(staging);
        assert_eq!(entries(root.path()), 0);
    }

    #[test]
    fn what_stands_there_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("bundle");
        let (first, second) = (Staging::create(&target).unwrap(), Staging::create(&target).unwrap());
        first.write("a", |out| out.write(b"first")).unwrap();
        first.commit().unwrap();
        assert_eq!(second.commit().unwrap_err().fault(), Fault::OutputForeign);
        assert_eq!(Staging::create(&target).err().map(|error| error.fault()), Some(Fault::OutputForeign));
        assert_eq!(fs::read(target.join("a")).unwrap(), b"first");
        assert_eq!(entries(root.path()), 1);
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::create(root.path()).unwrap();
        staging.write("a", |out| out.write(b"abc")).unwrap();
        staging.commit().unwrap();
        assert_eq!(entries(root.path()), 1);
    }
}
