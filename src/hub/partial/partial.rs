//! Downloads that are not finished: a file of one process alone, and what dead processes left of theirs.
//!
//! Its name is that of the file it will be, host, process and number. No lock is needed: every process writes to a
//! file of its own and renames it when size and digest are proved, so that whoever comes last puts the same bytes in
//! place again. A leftover changes hands by a rename, which succeeds once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::leftover::{own_path, take_over};
use super::sum::{Running, Sum};
use crate::error::{Error, Result};
use crate::fs::{parent, sync_folder};
use crate::runtime::interrupt;

/// So often a writer makes sure that nobody has taken its file over: more often than leftovers settle.
const ASSURED: Duration = Duration::from_secs(1);
const PIECE: usize = 1 << 20;

/// What a finished file must be.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Expected {
    /// Size in bytes, where it is known beforehand.
    pub(in crate::hub) bytes: Option<u64>,
    /// Digest, where it is known beforehand.
    pub(in crate::hub) sum: Option<Sum>,
}

impl Expected {
    /// Whether a file of this path is what is expected; what cannot be told is not.
    pub(in crate::hub) fn holds(&self, path: &Path, read: &mut dyn FnMut(u64)) -> Result<bool> {
        let Ok(metadata) = path.metadata() else { return Ok(false) };
        let size = metadata.is_file() && self.bytes.is_none_or(|bytes| bytes == metadata.len());
        match &self.sum {
            Some(sum) if size => sum.holds(path, read),
            _ => Ok(false),
        }
    }
}

/// A file that is being downloaded.
pub(in crate::hub) struct Partial {
    path: PathBuf,
    target: PathBuf,
    file: File,
    bytes: u64,
    sum: Option<Running>,
    expected: Expected,
    assured: Instant,
}

impl Partial {
    /// Takes over what a dead process left of `target`, or starts anew.
    ///
    /// # Errors
    /// The folder cannot be written to, or a signal has arrived.
    pub(in crate::hub) fn open(target: &Path, expected: &Expected) -> Result<Self> {
        let path = own_path(target);
        let taken = take_over(target, &path, expected.sum.is_some())?;
        let writing = |error| Error::writing(&path, error);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(writing)?;
        let mut partial = Self {
            path: path.clone(),
            target: target.to_owned(),
            file,
            bytes: 0,
            sum: None,
            expected: expected.clone(),
            assured: Instant::now(),
        };
        if taken {
            partial.digest_again()?;
        } else {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Bytes that are there.
    pub(in crate::hub) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all bytes are there.
    pub(in crate::hub) fn is_full(&self) -> bool {
        self.expected.bytes == Some(self.bytes)
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub(in crate::hub) fn restart(&mut self) -> Result<()> {
        let writing = |error| Error::writing(&self.path, error);
        self.file.set_len(0).map_err(writing)?;
        self.file.seek(SeekFrom::Start(0)).map_err(writing)?;
        self.bytes = 0;
        self.sum = self.running();
        Ok(())
    }

    fn running(&self) -> Option<Running> {
        match (self.expected.sum.as_ref()?, self.expected.bytes) {
            (Sum::Git(_), None) => None, // Git's digest starts with the size
            (sum, bytes) => Some(sum.start(bytes.unwrap_or_default())),
        }
    }

    /// Reads what somebody else wrote.
    fn digest_again(&mut self) -> Result<()> {
        let mut sum = self.running();
        let mut piece = vec![0; PIECE];
        let mut bytes = 0;
        loop {
            interrupt::check()?;
            let n = match self.file.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|error| Error::reading(&self.path, error))?,
            };
            if n == 0 {
                break;
            }
            bytes += n as u64;
            if let Some(sum) = &mut sum {
                sum.update(&piece[..n]);
            }
        }
        if self.expected.bytes.is_some_and(|expected| bytes > expected) {
            return self.restart();
        }
        (self.bytes, self.sum) = (bytes, sum);
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The file cannot be written to. What was written before stays.
    pub(in crate::hub) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.assured.elapsed() > ASSURED {
            if !self.is_ours() {
                return Err(self.lost());
            }
            self.assured = Instant::now();
        }
        if let Err(error) = self.file.write_all(bytes) {
            // What of these bytes has reached the file is not known: the rest goes on from what is.
            let _ = self.file.set_len(self.bytes);
            return Err(self.unwritten(error));
        }
        if let Some(sum) = &mut self.sum {
            sum.update(bytes);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn unwritten(&self, error: io::Error) -> Error {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let error = Error::writing(&self.path, error);
        if !full {
            return error;
        }
        error.found(format!("{} written before", crate::units::Bytes(self.bytes))).advice(
            "free space, then run the same command again: it goes on from there; or delete this file to get its space \
             back",
        )
    }

    /// Whether the file still has the name that this process gave it.
    pub(in crate::hub) fn is_ours(&self) -> bool {
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(open)) => inode(named) == inode(open),
            _ => false,
        }
    }

    fn lost(&self) -> Error {
        Error::writing(&self.path, io::Error::new(io::ErrorKind::NotFound, "another process has taken the file over"))
            .advice("run the same command again")
    }

    /// Whether the bytes are those expected; the digest found, if one was expected.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::hub) fn proved(&mut self) -> Result<(bool, Option<Sum>)> {
        let size = self.expected.bytes.is_none_or(|bytes| bytes == self.bytes);
        let Some(expected) = &self.expected.sum else { return Ok((size, None)) };
        match self.sum.take() {
            Some(sum) => {
                let found = sum.finish();
                Ok((size && found == *expected, Some(found)))
            }
            // The size was not known when the digest had to start with it.
            None => Ok((size && expected.holds(&self.path, &mut |_| ())?, None)),
        }
    }

    /// Gives the file its name, durably.
    ///
    /// # Errors
    /// The file system refuses.
    pub(in crate::hub) fn publish(&self) -> Result<()> {
        if !self.is_ours() {
            return Err(self.lost());
        }
        self.file.sync_all().map_err(|error| self.unwritten(error))?;
        fs::rename(&self.path, &self.target).map_err(|error| Error::writing(&self.target, error))?;
        sync_folder(parent(&self.target)).map_err(|error| Error::writing(&self.target, error))
    }

    /// Removes the file.
    pub(in crate::hub) fn discard(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::Digest;
    use crate::fs::owner;
    use crate::hub::partial::leftover::{ABANDONED, SUFFIX, leftover_bytes};

    const DEAD: u32 = u32::MAX - 1;

    fn expected(content: &[u8]) -> Expected {
        Expected { bytes: Some(content.len() as u64), sum: Some(Sum::Sha256(Digest::of(content))) }
    }

    fn leave(target: &Path, owner: &str, content: &[u8]) -> PathBuf {
        let name = target.file_name().unwrap().to_str().unwrap();
        let path = target.with_file_name(format!("{name}.{owner}{SUFFIX}"));
        fs::write(&path, content).unwrap();
        path
    }

    fn finish(mut partial: Partial, rest: &[u8]) -> bool {
        partial.write(rest).unwrap();
        let proved = partial.proved().unwrap().0;
        if proved {
            partial.publish().unwrap();
        }
        proved
    }

    #[test]
    fn the_largest_leftover_of_the_dead_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        leave(&target, &format!("{}-0", owner::of(DEAD)), b"AC");
        leave(&target, &format!("{}-1", owner::of(DEAD)), b"ACG");
        let alive = leave(&target, &format!("{}-7", owner::this()), b"ACGT");
        let elsewhere = leave(&target, "not-here-1-0", b"ACGT");
        let partial = Partial::open(&target, &expected(b"ACGTACGT")).unwrap();
        assert_eq!(partial.bytes(), 3);
        assert!(finish(partial, b"TACGT"));
        assert_eq!(fs::read(&target).unwrap(), b"ACGTACGT");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(alive.exists() && elsewhere.exists());
    }

    #[test]
    fn wrong_bytes_of_a_leftover_are_noticed_and_too_many_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        leave(&target, &format!("{}-0", owner::of(DEAD)), b"XX");
        assert!(!finish(Partial::open(&target, &expected(b"ACGT")).unwrap(), b"GT"));
        assert!(!target.exists());
        leave(&target, &format!("{}-0", owner::of(DEAD)), b"ACGTACGT");
        assert_eq!(Partial::open(&target, &expected(b"ACGT")).unwrap().bytes(), 0);
    }

    #[test]
    fn a_file_that_somebody_took_over_is_not_given_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        let mut partial = Partial::open(&target, &expected(b"ACGT")).unwrap();
        partial.write(b"ACGT").unwrap();
        fs::rename(&partial.path, folder.path().join("elsewhere")).unwrap();
        assert!(!partial.is_ours());
        assert!(partial.publish().is_err());
        assert!(!target.exists());
    }

    #[test]
    fn a_full_disk_keeps_what_was_written_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut partial = Partial::open(&folder.path().join("blob"), &expected(b"ACGT")).unwrap();
        partial.write(b"AC").unwrap();
        let path = partial.path.clone();
        partial.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = partial.write(b"GT").unwrap_err();
        assert_eq!((error.fault().id(), error.path()), ("VN-IO-NOSPACE", Some(path.as_path())));
        let report = error.report("virnucpro");
        assert!(report.contains("2 B written before") && report.contains("goes on from there"), "{report}");
        assert_eq!(fs::read(path).unwrap(), b"AC");
    }

    #[test]
    fn what_cannot_be_proved_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("head.pth");
        let left = leave(&target, &format!("{}-0", owner::of(DEAD)), b"AC");
        let partial = Partial::open(&target, &Expected { bytes: None, sum: None }).unwrap();
        assert_eq!(partial.bytes(), 0);
        assert!(!left.exists());
    }

    #[test]
    fn an_old_leftover_of_another_machine_has_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        let path = leave(&target, "far-away-12-0", b"AC");
        let old = std::time::SystemTime::now() - ABANDONED - Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(leftover_bytes(&target), 2);
        assert_eq!(Partial::open(&target, &expected(b"ACGT")).unwrap().bytes(), 2);
    }
}
