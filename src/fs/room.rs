//! Free space on a disk, asked for before the first byte is written.

use std::path::Path;

use rustix::fs::statvfs;

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

#[cfg(test)]
mod tests {
    use super::*;

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
