//! Room on a disk, asked for before the first byte is written.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::error::{Error, Fault, Result};
use crate::units::Bytes;

/// Refuses what cannot fit at `place`, which need not be there yet. Where the file system does not tell, the work starts;
/// quotas are not asked for. `what` and `advice` are for the message.
///
/// # Errors
/// [`Fault::NoSpace`].
pub fn check(place: &Path, bytes: u64, what: &str, advice: &str) -> Result<()> {
    let mut above = place.ancestors().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let Some(there) = above.find(|folder| folder.exists()) else { return Ok(()) };
    let Ok(system) = statvfs(there) else { return Ok(()) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if system.f_blocks == 0 || bytes <= free {
        return Ok(());
    }
    Err(Error::new(Fault::NoSpace, format!("{what} does not fit on this disk"))
        .file(place)
        .expected(format!("{} free", Bytes(bytes)))
        .found(format!("{} free", Bytes(free)))
        .advice(advice))
}

/// Has the file system set aside so many bytes for a file that is going to be written, whose length stays as it is. A
/// quota is heard of here and not after minutes. Where the file system cannot do this, the writing starts.
///
/// # Errors
/// [`Fault::NoSpace`], [`Fault::Quota`].
pub fn reserve(file: &File, path: &Path, bytes: u64) -> Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(Error::writing(path, error.into())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_room_before_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        reserve(&file, &path, 1 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        // More than any disk has; file systems that cannot reserve, or have no files so large, let it pass.
        if let Err(error) = reserve(&file, &path, 1 << 42) {
            assert!(matches!(error.fault(), Fault::NoSpace | Fault::Quota), "{}", error.report("import"));
        }
    }

    #[test]
    fn what_fits_is_let_pass_and_what_cannot_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("not/there/yet");
        assert!(check(&folder, 1, "the bundle", "free space").is_ok());
        assert!(check(Path::new("not-there"), 1, "the bundle", "free space").is_ok());
        let error = check(&folder, u64::MAX, "the bundle", "free space").unwrap_err();
        assert_eq!(error.fault(), Fault::NoSpace);
        let report = error.report("virnucpro");
        assert!(report.contains("the bundle does not fit") && report.contains("free space"), "{report}");
    }
}
