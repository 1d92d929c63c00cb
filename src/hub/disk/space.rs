//! Room on the disk, asked for before the first byte comes.

use std::path::Path;

use crate::error::{Error, Fault, Result};
use crate::units::Bytes;

/// Refuses to start what cannot fit below `folder`, which need not be there yet. Where the file system does not tell,
/// the download starts; quotas are not asked for. `by` is the variable that moves the folder.
///
/// # Errors
/// [`Fault::NoSpace`].
pub(in crate::hub) fn check(folder: &Path, bytes: u64, by: &str) -> Result<()> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    let Ok(system) = rustix::fs::statvfs(there) else { return Ok(()) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if system.f_blocks == 0 || bytes <= free {
        return Ok(());
    }
    Err(Error::new(Fault::NoSpace, "the download does not fit on this disk")
        .file(folder)
        .expected(format!("{} free", Bytes(bytes)))
        .found(format!("{} free", Bytes(free)))
        .advice(format!("free space, or set {by} to a folder on a larger disk")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_starts_and_what_cannot_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("not/there/yet");
        assert!(check(&folder, 1, "HF_HOME").is_ok());
        let error = check(&folder, u64::MAX, "HF_HUB_CACHE").unwrap_err();
        assert_eq!(error.fault(), Fault::NoSpace);
        assert!(error.report("virnucpro").contains("set HF_HUB_CACHE"));
    }
}
