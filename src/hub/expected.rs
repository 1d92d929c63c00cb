//! What is known of a file in advance: its size and its checksum.

use std::path::Path;

use crate::error::Result;
use crate::runtime::interrupt;
use crate::weights::hub_cache::Checksum;

/// What a file must be, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Size in bytes.
    pub(super) bytes: Option<u64>,
    /// Checksum.
    pub(super) sum: Option<Checksum>,
}

impl Expected {
    /// What this says and, where it says nothing, what `other` says.
    pub(super) fn or(self, other: Self) -> Self {
        Self { bytes: self.bytes.or(other.bytes), sum: self.sum.or(other.sum) }
    }

    /// Whether the file exists and is proved to be what is expected; without a checksum it never is.
    ///
    /// # Errors
    /// The file cannot be read, or a signal has arrived.
    pub(super) fn holds(&self, path: &Path) -> Result<bool> {
        self.holds_counted(path, &mut |_| ())
    }

    /// The same; `read` is told how many bytes were read since the last call.
    ///
    /// # Errors
    /// Those of [`Self::holds`].
    pub(super) fn holds_counted(&self, path: &Path, read: &mut dyn FnMut(u64)) -> Result<bool> {
        let Ok(metadata) = path.metadata() else { return Ok(false) };
        let size = metadata.is_file() && self.bytes.is_none_or(|bytes| bytes == metadata.len());
        let Some(sum) = self.sum.as_ref().filter(|_| size) else { return Ok(false) };
        sum.matches(path, &mut |bytes| {
            read(bytes);
            interrupt::check()
        })
    }
}

impl From<Checksum> for Expected {
    fn from(sum: Checksum) -> Self {
        Self { bytes: None, sum: Some(sum) }
    }
}
