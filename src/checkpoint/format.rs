//! Which format a file of tensors has: told by its content, never by its name.

use std::path::Path;

use super::safetensors::Safetensors;
use super::{ModelBytes, TensorSource};
use crate::error::Result;

/// Opens a file of tensors.
///
/// # Errors
/// [`Fault::ModelMissing`](crate::error::Fault::ModelMissing),
/// [`Fault::ModelFormat`](crate::error::Fault::ModelFormat),
/// [`Fault::ModelPointer`](crate::error::Fault::ModelPointer).
pub(super) fn open(path: &Path) -> Result<Box<dyn TensorSource>> {
    let bytes = ModelBytes::open(path)?;
    Ok(Box::new(Safetensors::read(bytes, path)?))
}
