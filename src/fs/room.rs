//! Free space on a disk, asked for before the first byte is written.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;

use crate::error::{Error, Fault, Result};
use crate::units::Bytes;

/// Refuses `bytes` that cannot fit at `place`, which need not exist yet. Where the file system gives no number, the work
/// starts; quotas are not looked at. `what` and `advice` go into the message.
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

/// Refuses a folder that exists and cannot be written to, before anything else is replaced. Nothing is written.
///
/// # Errors
/// [`Fault::Write`].
pub fn check_writable(folder: &Path) -> Result<()> {
    let failed = |error: Errno| Error::writing(folder, error.into());
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::NOENT) if super::is_absent(folder) => Ok(()),
        outcome => outcome.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_cannot_be_written_to_and_a_new_folder_can() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path().join("gone"), &link).unwrap();
        assert!(check_writable(root.path()).is_ok() && check_writable(&root.path().join("new")).is_ok());
        assert_eq!(check_writable(&link).unwrap_err().fault(), Fault::Write);
    }

    #[test]
    fn what_fits_may_start_and_what_cannot_is_refused() {
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
