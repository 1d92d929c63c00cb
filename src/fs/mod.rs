//! Files and folders that appear whole or not at all, and what their makers share: names of unfinished ones and their
//! owners, digests, the space they need, and the calls that put them safely on the device. And how text is decoded.

mod atomic;
pub mod digest;
mod durable;
pub mod lock;
pub mod owner;
pub mod partial;
pub mod room;
mod staged;
pub mod text;
mod writer;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

pub use atomic::{AtomicFile, SealedFile};
pub use digest::FileDigest;
pub use durable::publish;
pub use lock::FolderLock;
pub use partial::{is_partial, remove_abandoned};
pub use staged::{StagedFolder, free_target};
pub use writer::FileWriter;

use crate::error::{Error, Result};

/// The folder that contains `path`: the current one for a bare name.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Whether nothing has this name, not even a link that leads nowhere.
pub fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
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
    fn every_path_has_a_folder() {
        for (path, folder) in [("a", "."), ("a/b", "a"), ("/a", "/"), ("./a", "."), ("", ".")] {
            assert_eq!(parent(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
