//! What files and folders in the making have in common, whoever makes them: whose they are, room for them, and when they
//! are safely there.

mod atomic;
pub mod digest;
pub mod owner;
pub mod room;

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

pub use atomic::{AtomicFile, is_partial, remove_abandoned};
pub use digest::FileDigest;

use crate::error::{Error, Result};

/// Makes what was renamed in `folder` durable, where the file system can: some network file systems cannot, and say so.
///
/// # Errors
/// Whatever the system reports.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        outcome => outcome,
    }
}

/// The folder that `path` stands in: the current one for a mere name.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Reads the rest of a file in pieces of at most 1 MiB. `path` is named in errors.
///
/// # Errors
/// The file cannot be read; those of `take`.
pub fn for_each_piece(file: &mut File, path: &Path, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&piece[..n])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::reading(path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_stands_in_a_folder() {
        for (path, folder) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("./a", "."), ("", ".")] {
            assert_eq!(parent(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn a_folder_is_synced_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sync_folder(folder.path()).is_ok());
        assert_eq!(sync_folder(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
