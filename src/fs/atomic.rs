//! A file that appears under its final name whole or not at all.
//!
//! Unfinished name in the same folder, write, flush to the device, checked close, rename, flush of the folder: the order
//! restic's local backend uses. Dropping an unfinished file removes it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{FileDigest, FileWriter, durable, partial};
use crate::error::{Error, Result};

/// A file being written under an unfinished name; [`commit`](AtomicFile::commit) gives it its own.
pub struct AtomicFile {
    target: PathBuf,
    writer: FileWriter<blake3::Hasher>,
    committed: bool,
}

impl AtomicFile {
    /// Starts a file that will be `target`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let (path, file) = partial::create(target, durable::create_file)?;
        Ok(Self { target: target.to_owned(), writer: FileWriter::new(path, file), committed: false })
    }

    /// Final name.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// Anything the file system reports; the final name is untouched unless only the last flush, of the folder, failed.
    pub fn commit(mut self) -> Result<FileDigest> {
        self.publish().map_err(|error| Error::writing(&self.target, error))
    }

    fn publish(&mut self) -> io::Result<FileDigest> {
        let (bytes, blake3) = self.writer.finish()?;
        durable::publish(self.writer.path(), &self.target)?;
        self.committed = true;
        Ok(FileDigest { bytes, blake3 })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(self.writer.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::is_partial;

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
    fn a_file_that_cannot_get_its_name_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("t/inner")).unwrap();
        let file = AtomicFile::create(&folder.path().join("t")).unwrap();
        assert!(file.commit().is_err());
        assert_eq!(names(folder.path()), ["t"]);
    }

    #[test]
    fn a_full_device_is_an_error_with_its_own_identifier() {
        let error = Error::writing(Path::new("x"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(error.fault().id(), "VN-IO-NOSPACE");
        let error = Error::writing(Path::new("x"), io::Error::from_raw_os_error(libc::EDQUOT));
        assert_eq!(error.fault().id(), "VN-IO-QUOTA");
    }
}
