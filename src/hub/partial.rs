//! Downloads that are not finished: a file of one process alone, and what dead processes left of theirs.
//!
//! Its name is that of the file it will be, host, process and number. No lock is needed: every process writes to a
//! file of its own and renames it when size and digest are proved, so that whoever comes last puts the same bytes in
//! place again. A leftover changes hands by a rename, which succeeds once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::sum::{Running, Sum};
use crate::error::{Error, Result};
use crate::runtime::interrupt;

const SUFFIX: &str = ".incomplete";
/// A leftover of another machine, or of a process that cannot be asked for, has no owner after this time.
const ABANDONED: Duration = Duration::from_secs(120);
/// Nobody has written to a leftover for so long. In a container of its own numbers a process may only seem dead.
const SETTLED: Duration = Duration::from_secs(2);
/// So often a writer makes sure that nobody has taken its file over: more often than files settle.
const ASSURED: Duration = Duration::from_secs(1);
const PIECE: usize = 1 << 20;

/// What a finished file must be.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Size in bytes, where it is known beforehand.
    pub(super) bytes: Option<u64>,
    /// Digest, where it is known beforehand.
    pub(super) sum: Option<Sum>,
}

impl Expected {
    /// Whether a file of this path is what is expected; what cannot be told is not.
    pub(super) fn holds(&self, path: &Path, read: &mut dyn FnMut(u64)) -> Result<bool> {
        let Ok(metadata) = path.metadata() else { return Ok(false) };
        let size = metadata.is_file() && self.bytes.is_none_or(|bytes| bytes == metadata.len());
        match &self.sum {
            Some(sum) if size => sum.holds(path, read),
            _ => Ok(false),
        }
    }
}

/// A file that is being downloaded.
pub(super) struct Partial {
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
    pub(super) fn open(target: &Path, expected: &Expected) -> Result<Self> {
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
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all bytes are there.
    pub(super) fn is_full(&self) -> bool {
        self.expected.bytes == Some(self.bytes)
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub(super) fn restart(&mut self) -> Result<()> {
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
            let n = self.file.read(&mut piece).map_err(|error| Error::reading(&self.path, error))?;
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
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
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
    pub(super) fn is_ours(&self) -> bool {
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
    pub(super) fn proved(&mut self) -> Result<(bool, Option<Sum>)> {
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
    pub(super) fn publish(self) -> Result<()> {
        if !self.is_ours() {
            return Err(self.lost());
        }
        self.file.sync_all().map_err(|error| self.unwritten(error))?;
        fs::rename(&self.path, &self.target).map_err(|error| Error::writing(&self.target, error))?;
        sync_folder(&self.target).map_err(|error| Error::writing(&self.target, error))
    }

    /// Removes the file.
    pub(super) fn discard(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A name beside `target` that no other process uses, nor one before it with this one's number.
pub(super) fn own_path(target: &Path) -> PathBuf {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AtomicU64::new(now.as_millis() as u64)
    });
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{name}.{}-{}-{n}{SUFFIX}", hostname(), std::process::id()))
}

/// Gives the largest leftover of `target` to this process and removes the others; leftovers of the living stay. What
/// cannot be proved at the end is not gone on with.
fn take_over(target: &Path, own: &Path, provable: bool) -> Result<bool> {
    let mut leftovers = abandoned(target);
    leftovers.sort_by_key(|(_, metadata)| metadata.len());
    let largest = if provable { leftovers.pop() } else { None };
    for (path, _) in leftovers {
        let _ = fs::remove_file(path);
    }
    match largest {
        Some((path, before)) if before.len() > 0 && is_settled(&path, &before)? => Ok(fs::rename(&path, own).is_ok()),
        _ => Ok(false),
    }
}

/// Whether nobody writes to the file: watched for a moment if it is young.
fn is_settled(path: &Path, before: &fs::Metadata) -> Result<bool> {
    let age = before.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
    let until = Instant::now() + SETTLED.saturating_sub(age);
    while Instant::now() < until {
        interrupt::check()?;
        thread::sleep(Duration::from_millis(50));
    }
    let same = |now: fs::Metadata| now.len() == before.len() && now.modified().ok() == before.modified().ok();
    Ok(fs::metadata(path).is_ok_and(same))
}

/// Bytes that an abandoned download of `target` holds, at most.
pub(super) fn leftover_bytes(target: &Path) -> u64 {
    abandoned(target).into_iter().map(|(_, metadata)| metadata.len()).max().unwrap_or_default()
}

fn abandoned(target: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let stem = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(Ok(entries)) = target.parent().map(fs::read_dir) else { return Vec::new() };
    let leftover = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let owner = name.to_str()?.strip_prefix(&stem)?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        (is_dead(owner) || is_old(&metadata)).then(|| (entry.path(), metadata))
    };
    entries.flatten().filter_map(leftover).collect()
}

/// Whether `host-process-number` names a process of this machine that has ended.
fn is_dead(owner: &str) -> bool {
    let mut parts = owner.rsplitn(3, '-');
    let (_, process, host) = (parts.next(), parts.next(), parts.next());
    let process = process.and_then(|process| process.parse::<u32>().ok());
    match (host, process) {
        (Some(host), Some(process)) => host == hostname() && !Path::new("/proc").join(process.to_string()).exists(),
        _ => false,
    }
}

fn is_old(metadata: &fs::Metadata) -> bool {
    metadata.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > ABANDONED)
}

/// First label of the host's name.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let label: String =
        name.chars().take_while(|c| *c != '.').filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if label.is_empty() { "localhost".to_owned() } else { label }
}

/// Makes a rename in the folder of `path` durable, where the file system can.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

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
        let host = hostname();
        leave(&target, &format!("{host}-{DEAD}-0"), b"AC");
        leave(&target, &format!("{host}-{DEAD}-1"), b"ACG");
        let alive = leave(&target, &format!("{host}-{}-7", std::process::id()), b"ACGT");
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
    fn an_old_leftover_of_another_machine_has_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        let path = leave(&target, "far-away-12-0", b"AC");
        let old = std::time::SystemTime::now() - ABANDONED - Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(leftover_bytes(&target), 2);
        assert_eq!(Partial::open(&target, &expected(b"ACGT")).unwrap().bytes(), 2);
    }

    #[test]
    fn wrong_bytes_of_a_leftover_are_noticed_and_too_many_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("blob");
        leave(&target, &format!("{}-{DEAD}-0", hostname()), b"XX");
        assert!(!finish(Partial::open(&target, &expected(b"ACGT")).unwrap(), b"GT"));
        assert!(!target.exists());
        leave(&target, &format!("{}-{DEAD}-0", hostname()), b"ACGTACGT");
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
        assert!(report.contains("2 bytes written before") && report.contains("goes on from there"), "{report}");
        assert_eq!(fs::read(path).unwrap(), b"AC");
    }

    #[test]
    fn what_cannot_be_proved_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("head.pth");
        let left = leave(&target, &format!("{}-{DEAD}-0", hostname()), b"AC");
        let partial = Partial::open(&target, &Expected { bytes: None, sum: None }).unwrap();
        assert_eq!(partial.bytes(), 0);
        assert!(!left.exists());
    }
}
