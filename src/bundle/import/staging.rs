//! A folder that appears whole or not at all: written beside its place under another name, then renamed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use super::hashing::{self, Hashing, PIECE};
use super::place;
use crate::bundle::spec::FileRecord;
use crate::error::{Error, Result};
use crate::fs::digest::Digest;
use crate::fs::{owner, parent, room, sync_folder};

/// A folder in the making; removed unless it is committed.
pub(super) struct Staging {
    folder: PathBuf,
    target: PathBuf,
    committed: bool,
    /// Files that are whole and on their way to the disk.
    flushing: Vec<Flushing>,
}

/// A file in the making.
pub(super) struct Output {
    path: PathBuf,
    file: File,
    /// What is not written yet: less than [`PIECE`] between two calls.
    piece: Vec<u8>,
    /// None before the first whole piece: most files are small.
    hashing: Option<Hashing>,
    flushing: Option<Flushing>,
    bytes: u64,
}

/// A file that is flushed to the disk while it, or the next one, is written.
struct Flushing {
    /// None once the file is whole.
    requests: Option<SyncSender<()>>,
    thread: JoinHandle<Result<()>>,
}

/// A flush is begun each time so many bytes are written, so that the disk is not idle until the last one.
const FLUSH: u64 = 256 << 20;

impl Staging {
    /// Begins a folder that shall become `target`, and removes what killed processes left of the same one.
    ///
    /// # Errors
    /// Those of [`place::free`] and of writing.
    pub(super) fn create(target: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let target = place::free(target)?;
        let parent = parent(&target);
        fs::create_dir_all(parent).map_err(|error| Error::writing(parent, error))?;
        remove_abandoned(&target);
        // Two processes, on two machines even, must not meet: the folder is made, not taken.
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = partial(&target, count).ok_or_else(|| place::foreign(&target))?;
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { folder, target, committed: false, flushing: Vec::new() }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::writing(&folder, error)),
            }
        }
    }

    /// Where the files lie until it is committed.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the file `name` of the folder; it is safely on disk when the folder is committed.
    ///
    /// # Errors
    /// Those of `content` and of writing.
    pub(super) fn write(&mut self, name: &str, content: impl FnOnce(&mut Output) -> Result<()>) -> Result<FileRecord> {
        let path = self.folder.join(name);
        let folder = parent(&path);
        fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        let file = File::create_new(&path).map_err(|error| Error::writing(&path, error))?;
        let mut output = Output { path, file, piece: Vec::new(), hashing: None, flushing: None, bytes: 0 };
        let written = content(&mut output).and_then(|()| output.finish());
        // Also of a file that failed: nothing may hold it open when the folder is removed.
        self.flushing.extend(output.flushing.map(|flushing| Flushing { requests: None, ..flushing }));
        written
    }

    /// Puts the folder in its place, which is given back.
    ///
    /// # Errors
    /// [`Fault::OutputForeign`] when something came to stand there meanwhile, and those of writing.
    pub(super) fn commit(mut self) -> Result<PathBuf> {
        mem::take(&mut self.flushing).into_iter().try_for_each(Flushing::finish)?;
        let entries = self.folder.read_dir().map_err(|error| Error::writing(&self.folder, error))?;
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
        folders.chain([self.folder.clone()]).try_for_each(|folder| flush_folder(&folder))?;
        match fs::rename(&self.folder, &self.target) {
            Ok(()) => self.committed = true,
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                return Err(place::foreign(&self.target));
            }
            Err(error) => return Err(Error::writing(&self.target, error)),
        }
        flush_folder(parent(&self.target))?;
        Ok(std::mem::take(&mut self.target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // On some network file systems, a file that is open keeps its folder from being removed.
        mem::take(&mut self.flushing).into_iter().for_each(|flushing| drop(flushing.finish()));
        if !self.committed {
            // Nothing better can be done: the name says that the folder is partial.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Output {
    /// Sets room aside for the file, which will have so many bytes.
    ///
    /// # Errors
    /// Those of [`room::reserve`].
    pub(super) fn reserve(&self, bytes: u64) -> Result<()> {
        room::reserve(&self.file, &self.path, bytes)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        bytes.chunks(PIECE).try_for_each(|bytes| self.append(|piece| piece.extend_from_slice(bytes)))
    }

    /// Appends what `add` appends to the bytes it is given, some [`PIECE`] of them at most: nothing is copied on the way.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn append<T>(&mut self, add: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T> {
        let added = add(&mut self.piece);
        if self.piece.len() >= PIECE {
            self.pass_on()?;
        }
        Ok(added)
    }

    /// Writes the piece and gives it to the digest.
    fn pass_on(&mut self) -> Result<()> {
        self.file.write_all(&self.piece).map_err(|error| Error::writing(&self.path, error))?;
        let before = self.bytes / FLUSH;
        self.bytes += self.piece.len() as u64;
        let mut hashing = match self.hashing.take() {
            Some(hashing) => hashing,
            None => Hashing::start()?,
        };
        self.piece = hashing.take(mem::take(&mut self.piece))?;
        self.hashing = Some(hashing);
        if self.bytes / FLUSH > before {
            self.flushing()?.request();
        }
        Ok(())
    }

    /// Writes the rest and begins the last flush.
    fn finish(&mut self) -> Result<FileRecord> {
        let rest = mem::take(&mut self.piece);
        self.file.write_all(&rest).map_err(|error| Error::writing(&self.path, error))?;
        self.bytes += rest.len() as u64;
        self.flushing()?;
        let sha256 = match self.hashing.take() {
            None => Digest::of(&rest),
            Some(mut hashing) => {
                hashing.take(rest)?;
                hashing.finish()?
            }
        };
        Ok(FileRecord { bytes: self.bytes, sha256 })
    }

    fn flushing(&mut self) -> Result<&mut Flushing> {
        let flushing = match self.flushing.take() {
            Some(flushing) => flushing,
            None => Flushing::start(&self.file, &self.path)?,
        };
        Ok(self.flushing.insert(flushing))
    }
}

impl Flushing {
    fn start(file: &File, path: &Path) -> Result<Self> {
        let file = file.try_clone().map_err(|error| Error::writing(path, error))?;
        let path = path.to_owned();
        let (requests, received) = mpsc::sync_channel(1);
        let work = move || {
            let failed = |error| Error::writing(&path, error);
            for () in received {
                file.sync_data().map_err(failed)?;
            }
            // No more requests: the file is whole.
            file.sync_all().map_err(failed)
        };
        let thread = thread::Builder::new().name("flush".to_owned()).spawn(work).map_err(hashing::no_thread)?;
        Ok(Self { requests: Some(requests), thread })
    }

    /// Begins a flush of what is written. A request that finds another one waiting is covered by it.
    fn request(&self) {
        if let Some(requests) = &self.requests {
            let _ = requests.try_send(());
        }
    }

    /// Waits for the last flush.
    ///
    /// # Errors
    /// Those of writing, of any of the flushes.
    fn finish(mut self) -> Result<()> {
        self.requests = None;
        self.thread.join().map_err(|_| hashing::ended())?
    }
}

/// A name beside `target` for the folder in the making: `.NAME.partial-OWNER-COUNT`.
fn partial(target: &Path, count: u32) -> Option<PathBuf> {
    Some(target.with_file_name(format!("{}{}-{count}", partial_prefix(target)?, owner::this())))
}

fn partial_prefix(target: &Path) -> Option<String> {
    Some(format!(".{}.partial-", target.file_name()?.to_string_lossy()))
}

/// Removes what processes of this machine that have ended left beside `target`. What cannot be removed stays: it is in
/// nobody's way.
fn remove_abandoned(target: &Path) {
    let (Some(prefix), Ok(entries)) = (partial_prefix(target), parent(target).read_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let made = name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(|made| made.rsplit_once('-'));
        if made.is_some_and(|(made_by, _)| owner::is_dead(made_by)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn flush_folder(folder: &Path) -> Result<()> {
    sync_folder(folder).map_err(|error| Error::writing(folder, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    fn entries(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    #[test]
    fn nothing_has_the_final_name_before_commit_and_nothing_else_is_left_after() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/bundle");
        let mut staging = Staging::create(&target).unwrap();
        let record = staging.write("a/b", |out| out.write(b"abc")).unwrap();
        assert_eq!((record.bytes, record.sha256), (3, crate::fs::digest::Digest::of(b"abc")));
        assert!(!target.exists());
        staging.commit().unwrap();
        assert_eq!(fs::read(target.join("a/b")).unwrap(), b"abc");
        assert_eq!(entries(&root.path().join("deep")), 1);
    }

    #[test]
    fn a_file_of_many_pieces_has_the_digest_of_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            let bytes: Vec<u8> = (0..length).map(|place| (place % 253) as u8).collect();
            let target = root.path().join(format!("bundle-{length}"));
            let mut staging = Staging::create(&target).unwrap();
            let record =
                staging.write("a", |out| bytes.chunks(1_000_003).try_for_each(|part| out.write(part))).unwrap();
            assert_eq!((record.bytes, record.sha256), (length as u64, Digest::of(&bytes)), "{length}");
            staging.commit().unwrap();
            assert!(fs::read(target.join("a")).unwrap() == bytes, "{length}");
        }
    }

    #[test]
    fn an_abandoned_folder_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = Staging::create(&root.path().join("bundle")).unwrap();
        staging.write("a", |out| out.write(b"abc")).unwrap();
        assert_eq!(entries(root.path()), 1);
        drop(staging);
        assert_eq!(entries(root.path()), 0);
    }

    #[test]
    fn what_stands_there_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("bundle");
        let (mut first, second) = (Staging::create(&target).unwrap(), Staging::create(&target).unwrap());
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
        let mut staging = Staging::create(root.path()).unwrap();
        staging.write("a", |out| out.write(b"abc")).unwrap();
        staging.commit().unwrap();
        assert_eq!(entries(root.path()), 1);
    }

    #[test]
    fn only_what_the_dead_left_of_the_same_bundle_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dead = owner::of(u32::MAX - 1);
        let path = |name: &str| root.path().join(name);
        let gone = path(&format!(".a.partial-{dead}-0"));
        let kept = [
            partial(&path("a"), 7).unwrap(),
            path(&format!(".a.partial-elsewhere-{dead}-0")),
            path(&format!(".b.partial-{dead}-0")),
            path(&format!(".a.partial-{dead}")),
            path(".a.partial-"),
        ];
        for folder in kept.iter().chain([&gone]) {
            fs::create_dir_all(folder.join("esm")).unwrap();
        }
        remove_abandoned(&path("a"));
        assert!(!gone.exists());
        for folder in &kept {
            assert!(folder.exists(), "{}", folder.display());
        }
    }
}
