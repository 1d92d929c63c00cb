//! `man`: manual pages in a folder.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs::AtomicFile;

/// Writes pages, by the names of their files. Those that are there are replaced; nothing else in the folder is touched.
///
/// # Errors
/// The folder cannot be written to.
pub fn write<'a>(folder: &Path, pages: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
    for (name, source) in pages {
        let path = folder.join(name);
        let mut file = AtomicFile::create(&path)?;
        file.write_all(source).map_err(|error| Error::writing(&path, error))?;
        file.commit()?;
    }
    Ok(())
}
