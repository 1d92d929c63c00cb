//! Where tests find what they compare with.

#![allow(dead_code)] // each test file uses a part

use std::path::{Path, PathBuf};

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder of the reference data, which do not travel with the code, or a message and nothing.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("VIRNUCPRO_SHARED").map_or_else(|| repository().join("../shared"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there; set VIRNUCPRO_SHARED", path.display());
    None
}
