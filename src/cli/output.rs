//! Text for stdout.

use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `text` to stdout. A closed pipe is not a failure: the reader has what it wanted.
///
/// # Errors
/// stdout cannot be written for another reason, a full disk for one.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::writing(Path::new("stdout"), error)),
        _ => Ok(()),
    }
}
