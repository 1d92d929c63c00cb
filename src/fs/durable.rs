//! Every call that makes, writes, flushes or renames a file: the one place to make a disk full or a flush fail.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Creates a file that does not exist yet.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    File::create_new(path)
}

/// Creates a folder that does not exist yet.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Creates a folder and those above it, where they are missing.
pub(super) fn create_folders(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Gives the content of a file a second name.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Copies a file, durably.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    sync(&File::open(to)?)
}

/// Appends all of `bytes`.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)
}

/// Has the file system set space aside for a file that is about to be written; its length stays as it is. So a full disk
/// or quota is reported now and not after minutes. A file system that cannot do this is written to all the same.
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Waits until the content of a file is on the device. Also reports what a network file system reports only at close.
pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Waits until what was renamed in `folder` is on the device, where the file system can: some network file systems
/// cannot, and say so.
///
/// # Errors
/// Those that the system reports.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        outcome => outcome,
    }
}

/// Gives an unfinished file or folder its final name. It is durable once the folder is synced.
pub(super) fn rename(unfinished: &Path, target: &Path) -> io::Result<()> {
    fs::rename(unfinished, target)
}

/// Gives an unfinished file or folder its final name, durably.
///
/// # Errors
/// Those that the system reports.
pub fn publish(unfinished: &Path, target: &Path) -> io::Result<()> {
    rename(unfinished, target)?;
    sync_folder(super::parent(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_synced_or_an_error_says_that_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sync_folder(folder.path()).is_ok());
        assert_eq!(sync_folder(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_file_has_its_space_before_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = create_file(&folder.path().join("file")).unwrap();
        reserve(&file, 1 << 20).unwrap();
        // Not tried with more than the disk has: file systems give all that is free before they refuse.
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
