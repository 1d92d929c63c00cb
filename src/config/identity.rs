//! Whether two paths lead to one file.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::STDIN;

/// A file, however its path is written: two spellings, links of either kind and `/dev/stdin` for `-` are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// Device and inode.
    File(u64, u64),
    /// The path of a file that cannot be looked at.
    Path(PathBuf),
}

impl Identity {
    /// The file that a path leads to.
    pub(super) fn of(path: &Path) -> Self {
        let place = if path == Path::new(STDIN) { Path::new("/dev/stdin") } else { path };
        match place.metadata() {
            Ok(metadata) => Self::File(metadata.dev(), metadata.ino()),
            Err(_) => Self::Path(path.components().filter(|part| *part != Component::CurDir).collect()),
        }
    }
}

/// The first two of these paths that lead to one file.
pub(super) fn repeated<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Option<(&'a Path, &'a Path)> {
    let mut seen = HashMap::new();
    paths.into_iter().find_map(|path| Some((seen.insert(Identity::of(path), path)?, path)))
}
