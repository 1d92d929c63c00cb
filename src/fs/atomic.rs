//! A file that appears under its final name whole or not at all.
//!
//! Unfinished name in the same folder, write, flush to the device, checked close, rename, flush of the folder: the order
//! restic's local backend uses. Dropping an unfinished file removes it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{FileDigest, FileWriter, durable, parent, partial};
use crate::error::{Error, Result};

/// A file being written under an unfinished name; [`commit`](AtomicFile::commit) gives it its own.
pub struct AtomicFile {
    name: UnfinishedName,
    writer: FileWriter<blake3::Hasher>,
}

/// A file that is complete and on the device, and still has its unfinished name.
pub struct SealedFile {
    name: UnfinishedName,
    digest: FileDigest,
}

/// The unfinished name of what will be `target`. Dropping it removes the file.
struct UnfinishedName {
    unfinished: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Drop for UnfinishedName {
    fn drop(&mut self) {
        if !self.published {
            partial::discard(&self.unfinished);
        }
    }
}

impl AtomicFile {
    /// Starts a file that will be `target`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let (path, file) = partial::create(target, durable::create_file)?;
        partial::note(&path);
        let name = UnfinishedName { unfinished: path.clone(), target: target.to_owned(), published: false };
        Ok(Self { name, writer: FileWriter::new(path, file) })
    }

    /// Final name.
    pub fn path(&self) -> &Path {
        &self.name.target
    }

    /// Size and digest of what was written so far.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn digest_so_far(&mut self) -> Result<FileDigest> {
        self.writer.digest_so_far().map_err(|error| Error::writing(&self.name.target, error))
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// Anything the file system reports; the final name is untouched unless only the last flush, of the folder, failed.
    pub fn commit(self) -> Result<FileDigest> {
        let sealed = self.seal()?;
        let digest = sealed.digest.clone();
        SealedFile::publish(vec![sealed])?;
        Ok(digest)
    }

    /// Makes the file durable and closes it; its final name comes later, together with that of others.
    ///
    /// # Errors
    /// Anything the file system reports.
    pub fn seal(mut self) -> Result<SealedFile> {
        let (bytes, blake3) = self.writer.finish().map_err(|error| Error::writing(&self.name.target, error))?;
        Ok(SealedFile { name: self.name, digest: FileDigest { bytes, blake3 } })
    }
}

impl SealedFile {
    /// Size and digest.
    pub fn digest(&self) -> &FileDigest {
        &self.digest
    }

    /// Gives files their final names, one after the other.
    ///
    /// # Errors
    /// Anything the file system reports; names that were not reached are untouched.
    pub fn publish(files: Vec<Self>) -> Result<()> {
        let mut folders = BTreeSet::new();
        for Self { mut name, .. } in files {
            let writing = |error| Error::writing(&name.target, error);
            durable::rename(&name.unfinished, &name.target).map_err(writing)?;
            name.published = true;
            partial::forget(&name.unfinished);
            folders.insert(parent(&name.target).to_owned());
        }
        let sync = |folder: &PathBuf| durable::sync_folder(folder).map_err(|error| Error::writing(folder, error));
        folders.iter().try_for_each(sync)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::is_partial;
    use std::fs;

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
    fn sealed_files_get_their_names_together_or_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let seal = |name: &str| {
            let mut file = AtomicFile::create(&folder.path().join(name)).unwrap();
            file.write_all(name.as_bytes()).unwrap();
            file.seal().unwrap()
        };
        let (a, b, c) = (seal("a"), seal("b"), seal("c"));
        assert!(names(folder.path()).iter().all(|name| is_partial(name)));
        let digest = a.digest().clone();
        drop(c);
        SealedFile::publish(vec![a, b]).unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert_eq!(FileDigest::of(&folder.path().join("a")).unwrap(), digest);
    }

    #[test]
    fn a_full_device_is_an_error_with_its_own_identifier() {
        let error = Error::writing(Path::new("x"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(error.fault().id(), "VN-IO-NOSPACE");
        let error = Error::writing(Path::new("x"), io::Error::from_raw_os_error(libc::EDQUOT));
        assert_eq!(error.fault().id(), "VN-IO-QUOTA");
    }
}
