//! One writer per folder: a file in it that the writing process holds locked. The system lets go of the lock with the process,
//! however that ends, so that none can be left behind; a network file system does so too. The file is no more than what the
//! lock hangs on, and says who holds it.
//!
//! Nothing is right or wrong because of a lock: where a file system has none, work goes on without it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{owner, partial};
use crate::error::{Error, Fault, Result, printable};

/// Name of the file.
const LOCK: &str = ".lock";

/// Whether a file of this name is a lock.
pub fn is_lock(name: &str) -> bool {
    name == LOCK
}

/// The right to write to a folder. Dropping it gives it back.
#[derive(Debug)]
pub struct FolderLock {
    /// None where the file system has no locks.
    held: Option<(PathBuf, File)>,
}

impl FolderLock {
    /// Takes the right to write to `folder`.
    ///
    /// # Errors
    /// [`Fault::CheckpointLocked`] where another process has it; the folder cannot be written to.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW);
            let mut file = options.open(&path).map_err(|error| Error::writing(folder, error))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&path, &file) => {
                    partial::note(&path);
                    // For whoever is refused; a full disk is no reason to stop.
                    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", owner::in_words()));
                    return Ok(Self { held: Some((path, file)) });
                }
                Ok(()) => {} // its last owner has removed it in the meantime
                Err(Errno::WOULDBLOCK | Errno::ACCESS) => return Err(held_by_another(folder, &mut file)),
                Err(error) => {
                    log::debug!("{}: the file system has no locks: {error}", folder.display());
                    let _ = fs::remove_file(&path);
                    return Ok(Self { held: None });
                }
            }
        }
    }

    /// Removes the file that a killed process left, if it can be.
    pub fn clear(folder: &Path) {
        if folder.join(LOCK).exists() {
            let _ = Self::take(folder);
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Some((path, file)) = self.held.take()
            && is_at(&path, &file)
        {
            partial::discard(&path);
        }
    }
}

/// Whether `path` still leads to this very file.
fn is_at(path: &Path, file: &File) -> bool {
    let [there, here] = [path.symlink_metadata(), file.metadata()];
    there.ok().zip(here.ok()).is_some_and(|(there, here)| (there.dev(), there.ino()) == (here.dev(), here.ino()))
}

fn held_by_another(folder: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    let _ = file.take(500).read_to_string(&mut owner);
    let owner = if owner.trim().is_empty() { "another process" } else { owner.trim() };
    Error::new(Fault::CheckpointLocked, format!("another process is writing to {}", folder.display()))
        .file(folder)
        .expected("one writer of a folder at a time")
        .found(printable(owner, 200))
        .advice(
            "wait for that process, or end it; a scheduler that starts a command once per GPU or task must start it once",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_writer_at_a_time_and_the_other_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointLocked);
        let report = error.report("v");
        assert!(report.contains(&format!("process {} on ", std::process::id())), "{report}");
        FolderLock::clear(folder.path());
        assert!(folder.path().join(LOCK).exists(), "a lock that is held stays");
        drop(lock);
        assert!(!folder.path().join(LOCK).exists());
        drop(FolderLock::take(folder.path()).unwrap());
    }

    #[test]
    fn a_file_that_a_killed_process_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCK), "process 1 on elsewhere\n").unwrap();
        drop(FolderLock::take(folder.path()).unwrap());
        fs::write(folder.path().join(LOCK), "").unwrap();
        FolderLock::clear(folder.path());
        assert!(!folder.path().join(LOCK).exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("precious");
        fs::write(&target, "text").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(LOCK)).unwrap();
        assert_eq!(FolderLock::take(folder.path()).unwrap_err().fault(), Fault::Write);
        assert_eq!(fs::read_to_string(target).unwrap(), "text");
    }
}
