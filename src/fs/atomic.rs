//! Files that appear under their final name whole or not at all.
//!
//! Temporary name in the same folder, write, flush to the device, checked close, rename, flush of the
//! folder: the order restic's local backend uses. Dropping an unfinished file removes it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{FileDigest, owner, parent, sync_folder};
use crate::error::{Error, Result};

const SUFFIX: &str = ".partial";
const BUFFER_BYTES: usize = 1 << 20;

/// A file being written under a temporary name; [`commit`](AtomicFile::commit) gives it its own.
pub struct AtomicFile {
    target: PathBuf,
    partial: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
}

impl AtomicFile {
    /// Starts a file that will be `target`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let partial = partial_path(target);
        let file = File::create(&partial).map_err(|error| Error::writing(&partial, error))?;
        Ok(Self {
            target: target.to_owned(),
            partial,
            file: Some(file),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            hasher: blake3::Hasher::new(),
        })
    }

    /// Final name.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// Anything the file system reports up to and including the close; the final name is untouched then.
    pub fn commit(mut self) -> Result<FileDigest> {
        let target = self.target.clone();
        self.publish().map_err(|error| Error::writing(&target, error))?;
        Ok(FileDigest { bytes: self.hasher.count(), blake3: self.hasher.finalize().to_hex().to_string() })
    }

    fn publish(&mut self) -> io::Result<()> {
        self.drain()?;
        if let Some(file) = self.file.take() {
            file.sync_all()?; // also brings up what a network file system reports only at close
        }
        fs::rename(&self.partial, &self.target).inspect_err(|_| drop(fs::remove_file(&self.partial)))?;
        sync_folder(parent(&self.target))
    }

    /// Digests and writes what the buffer holds: both like large pieces.
    fn drain(&mut self) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("the file is closed"))?;
        file.write_all(&self.buffer)?;
        self.hasher.update(&self.buffer);
        self.buffer.clear();
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // what matters is the commit
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Removes what dead processes of this machine left unfinished in `folder`.
///
/// # Errors
/// The folder cannot be listed.
pub fn remove_abandoned(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if owner_of(&name.to_string_lossy()).is_some_and(owner::is_dead) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Whether a file name is that of an unfinished file.
pub fn is_partial(name: &str) -> bool {
    owner_of(name).is_some()
}

fn partial_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}{SUFFIX}", owner::this()))
}

/// Whose an unfinished file is.
fn owner_of(name: &str) -> Option<&str> {
    let (_, owner) = name.strip_prefix('.')?.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    Some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_committed_and_its_digest_is_that_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("shard.fna");
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"ACGT").unwrap();
        assert!(!target.exists() && is_partial(&names(folder.path())[0]));
        let digest = file.commit().unwrap();
        assert_eq!(names(folder.path()), ["shard.fna"]);
        assert_eq!(digest, FileDigest::of(&target).unwrap());
        assert_eq!(digest.bytes, 4);
    }

    #[test]
    fn an_abandoned_file_leaves_the_old_one_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("t");
        fs::write(&target, "old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(names(folder.path()), ["t"]);
    }

    #[test]
    fn only_dead_processes_lose_their_unfinished_files() {
        let folder = tempfile::tempdir().unwrap();
        let dead = format!(".a.{}{SUFFIX}", owner::of(u32::MAX - 1));
        let alive = format!(".a.{}{SUFFIX}", owner::this());
        let elsewhere = format!(".a.not-{}{SUFFIX}", owner::of(u32::MAX - 1));
        for name in [&dead, &alive, &elsewhere] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_abandoned(folder.path()).unwrap();
        let mut left = vec![alive, elsewhere];
        left.sort();
        assert_eq!(names(folder.path()), left);
    }

    #[test]
    fn a_full_device_is_an_error_with_its_own_identifier() {
        let error = Error::writing(Path::new("x"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(error.fault().id(), "VN-IO-NOSPACE");
        let error = Error::writing(Path::new("x"), io::Error::from_raw_os_error(libc::EDQUOT));
        assert_eq!(error.fault().id(), "VN-IO-QUOTA");
    }
}
