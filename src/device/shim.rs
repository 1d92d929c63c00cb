//! What the functions of `shim/` answer.

use std::ffi::{CStr, c_char};

use tch::TchError;

use crate::error::Result;

/// Nothing, or the message of an exception.
///
/// # Errors
/// What the message means.
pub(super) fn check(said: *const c_char) -> Result<()> {
    if said.is_null() {
        return Ok(());
    }
    #[allow(unsafe_code)]
    // SAFETY: a terminated string that the calling thread keeps until its next failure.
    let message = unsafe { CStr::from_ptr(said) };
    Err(TchError::Torch(message.to_string_lossy().into_owned()).into())
}
