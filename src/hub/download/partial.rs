//! A file that is being downloaded. It belongs to one process.
//!
//! Its name is that of the finished file, host, process and number. No lock is needed: every process writes to a file of
//! its own and renames it once size and checksum are proved, so that whoever comes last puts the same bytes in place
//! again. What a dead process left changes hands by a rename, which succeeds only once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::leftover::take_over;
use crate::error::{Error, Result};
use crate::fs::{for_each_piece, parent, partial, publish};
use crate::hub::expected::Expected;
use crate::hub::http::retry::Failed;
use crate::runtime::interrupt;
use crate::units::Bytes;
use crate::weights::hub_cache::{Checksum, Running};

/// How often a writer makes sure that nobody has taken its file over: sooner than others may take it.
const ASSURED: Duration = Duration::from_secs(1);

/// A file that is being downloaded.
pub struct Partial {
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
    pub fn open(target: &Path, expected: &Expected) -> Result<Self> {
        let folder = parent(target);
        fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let (path, mut file) = partial::create(target, |path| options.clone().create_new(true).open(path))?;
        let taken = take_over(target, &path, expected.sum.is_some());
        if taken.inspect_err(|_| drop(fs::remove_file(&path)))? {
            file = options.open(&path).map_err(|error| Error::writing(&path, error))?;
        }
        let (target, expected) = (target.to_owned(), expected.clone());
        let mut partial = Self { path, target, file, bytes: 0, sum: None, expected, assured: Instant::now() };
        partial.sum = partial.start_sum();
        partial.read()?;
        Ok(partial)
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all bytes are there.
    pub fn is_full(&self) -> bool {
        self.expected.bytes == Some(self.bytes)
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| Error::writing(&self.path, error))?;
        self.bytes = 0;
        self.sum = self.start_sum();
        Ok(())
    }

    fn start_sum(&self) -> Option<Running> {
        match (self.expected.sum.as_ref()?, self.expected.bytes) {
            (Checksum::Git(_), None) => None, // an id in Git starts with the size
            (sum, bytes) => Some(sum.start(bytes.unwrap_or_default())),
        }
    }

    /// Reads what a dead process wrote.
    fn read(&mut self) -> Result<()> {
        let Self { file, path, bytes, sum, .. } = self;
        for_each_piece(file, path, &mut |piece| {
            count(piece, bytes, sum);
            interrupt::check()
        })?;
        if self.expected.bytes.is_some_and(|expected| self.bytes > expected) { self.restart() } else { Ok(()) }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The file cannot be written to, or another process has taken it over. What was written before stays.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        if self.assured.elapsed() > ASSURED {
            if !self.is_ours() {
                return Err(Failed::again(self.lost()));
            }
            self.assured = Instant::now();
        }
        if let Err(error) = self.file.write_all(bytes) {
            // How much of these bytes has reached the file is unknown: it is cut back to what is known.
            let _ = self.file.set_len(self.bytes);
            return Err(self.unwritten(error).into());
        }
        count(bytes, &mut self.bytes, &mut self.sum);
        Ok(())
    }

    fn unwritten(&self, error: io::Error) -> Error {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let error = Error::writing(&self.path, error);
        if !full {
            return error;
        }
        error.found(format!("{} written before", Bytes(self.bytes))).advice(
            "free space, then run the same command again: it resumes from there; or delete this file to free its space",
        )
    }

    /// Whether the file still has the name that this process gave it.
    pub fn is_ours(&self) -> bool {
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

    /// What was found, if the bytes are not those that are expected.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn mismatch(&mut self) -> Result<Option<String>> {
        if self.expected.bytes.is_some_and(|bytes| bytes != self.bytes) {
            return Ok(Some(format!("{} bytes", self.bytes)));
        }
        let Some(expected) = &self.expected.sum else { return Ok(None) };
        let found = match self.sum.take() {
            Some(sum) => sum.finish(),
            // The checksum starts with the size, which was not known.
            None if self.expected.holds(&self.path)? => return Ok(None),
            None => return Ok(Some("another digest".to_owned())),
        };
        Ok((found != *expected).then(|| format!("the digest {found}")))
    }

    /// Gives the file its name, durably.
    ///
    /// # Errors
    /// The file system refuses, or another process has taken the file over.
    pub fn publish(&self) -> Result<()> {
        if !self.is_ours() {
            return Err(self.lost());
        }
        self.file.sync_all().map_err(|error| self.unwritten(error))?;
        let named = publish(&self.path, &self.target);
        named.map_err(|error| Error::writing(&self.target, error))
    }

    /// Removes the file.
    pub fn discard(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn count(piece: &[u8], bytes: &mut u64, sum: &mut Option<Running>) {
    if let Some(sum) = sum {
        sum.update(piece);
    }
    *bytes += piece.len() as u64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::Digest;
    use crate::fs::owner;
    use crate::hub::download::leftover::{ABANDONED, leftover_bytes};

    const DEAD: u32 = u32::MAX - 1;

    fn expected(content: &[u8]) -> Expected {
        Expected { bytes: Some(content.len() as u64), sum: Some(Checksum::Sha256(Digest::of(content))) }
    }

    fn leave(target: &Path, owner: &str, content: &[u8]) -> PathBuf {
        let name = target.file_name().unwrap().to_str().unwrap();
        let path = target.with_file_name(format!(".{name}.{owner}.partial"));
        fs::write(&path, content).unwrap();
        path
    }

    fn error(failed: Failed) -> Error {
        match failed {
            Failed::Again { error, .. } | Failed::Wrong(error) | Failed::Finally(error) => error,
        }
    }

    fn finish(mut partial: Partial, rest: &[u8]) -> bool {
        partial.write(rest).map_err(error).unwrap();
        let proved = partial.mismatch().unwrap().is_none();
        if proved {
            partial.publish().unwrap();
        }
        proved
    }

    #[test]
    fn the_largest_leftover_of_a_dead_process_is_continued() {
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
    fn wrong_bytes_of_a_leftover_are_noticed_and_one_that_is_too_long_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        leave(&target, &format!("{}-0", owner::of(DEAD)), b"XX");
        assert!(!finish(Partial::open(&target, &expected(b"ACGT")).unwrap(), b"GT"));
        assert!(!target.exists());
        leave(&target, &format!("{}-0", owner::of(DEAD)), b"ACGTACGT");
        assert_eq!(Partial::open(&target, &expected(b"ACGT")).unwrap().bytes(), 0);
    }

    #[test]
    fn a_file_that_another_process_took_over_does_not_get_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        let mut partial = Partial::open(&target, &expected(b"ACGT")).unwrap();
        partial.write(b"ACGT").map_err(error).unwrap();
        fs::rename(&partial.path, folder.path().join("elsewhere")).unwrap();
        assert!(!partial.is_ours());
        assert!(partial.publish().is_err());
        assert!(!target.exists());
    }

    #[test]
    fn a_full_disk_keeps_what_was_written_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut partial = Partial::open(&folder.path().join("blob"), &expected(b"ACGT")).unwrap();
        partial.write(b"AC").map_err(error).unwrap();
        let path = partial.path.clone();
        partial.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = error(partial.write(b"GT").unwrap_err());
        assert_eq!((error.fault().id(), error.path()), ("VN-IO-NOSPACE", Some(path.as_path())));
        let report = error.report("virnucpro");
        assert!(report.contains("2 B written before") && report.contains("resumes from there"), "{report}");
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
    fn an_old_leftover_of_another_machine_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        let path = leave(&target, "far-away-12-0", b"AC");
        let old = std::time::SystemTime::now() - ABANDONED - Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(leftover_bytes(&target), 2);
        assert_eq!(Partial::open(&target, &expected(b"ACGT")).unwrap().bytes(), 2);
    }
}
