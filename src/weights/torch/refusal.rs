//! Why a pickle gives no tensors.

use std::path::Path;

use super::{malformed, not_read};
use crate::error::Error;

/// Why a pickle gives no tensors.
pub(super) struct Refusal {
    is_malformed: bool,
    found: String,
    tensor: Option<String>,
}

impl Refusal {
    /// What describes the tensors is wrong.
    pub(super) fn malformed(found: impl Into<String>) -> Self {
        Self { is_malformed: true, found: found.into(), tensor: None }
    }

    /// PyTorch would read it, and this program does not.
    pub(super) fn not_read(found: impl Into<String>) -> Self {
        Self { is_malformed: false, found: found.into(), tensor: None }
    }

    /// Names the tensor.
    pub(super) fn of(self, tensor: String) -> Self {
        Self { tensor: Some(tensor), ..self }
    }

    pub(super) fn into_error(self, path: &Path) -> Error {
        let error = if self.is_malformed { malformed(path, self.found) } else { not_read(path, self.found) };
        self.tensor.into_iter().fold(error, Error::record)
    }
}

impl From<String> for Refusal {
    fn from(found: String) -> Self {
        Self::malformed(found)
    }
}

impl From<&str> for Refusal {
    fn from(found: &str) -> Self {
        Self::malformed(found)
    }
}
