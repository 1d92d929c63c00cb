//! Which format a file of tensors has. Its content decides, not its name.

use std::path::Path;

use super::safetensors::Safetensors;
use super::torch::Torch;
use super::{ModelBytes, TensorSource, bytes};
use crate::error::{Error, Fault, Result};

/// Opens a file of tensors.
///
/// # Errors
/// [`Fault::ModelMissing`], [`Fault::Read`], and those of [`read`].
pub(super) fn open(path: &Path) -> Result<Box<dyn TensorSource>> {
    read(ModelBytes::open(path)?, path)
}

/// Reads the bytes of a file of tensors: safetensors, or what `torch.save` writes. `path` is named in errors.
///
/// # Errors
/// [`Fault::ModelFormat`], [`Fault::ModelPointer`], [`Fault::ModelPickle`].
pub fn read(bytes: ModelBytes, path: &Path) -> Result<Box<dyn TensorSource>> {
    refuse_other_formats(&bytes, path)?;
    if Torch::is_one(&bytes) {
        return Ok(Box::new(Torch::read(bytes, path)?));
    }
    Ok(Box::new(Safetensors::read(bytes, path)?))
}

/// Where a tar archive has its magic bytes.
const TAR: usize = 257;

/// Recognises what users give instead of a weights file.
fn refuse_other_formats(bytes: &[u8], path: &Path) -> Result<()> {
    bytes::refuse_pointer(bytes, path)?;
    let found = match bytes {
        _ if Torch::is_one(bytes) => return Ok(()),
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF file",
        [0x1f, 0x8b, ..] => "a gzip file",
        _ if bytes.get(TAR..).is_some_and(|rest| rest.starts_with(b"ustar")) => {
            "a tar archive, as PyTorch wrote before version 0.1.10"
        }
        // As a number, eight characters of text would be a header of exabytes.
        start if start.len() >= 8 && start.iter().take(8).all(|b| matches!(b, b' '..=b'~' | b'\n')) => "text",
        _ => return Ok(()),
    };
    Err(Error::new(Fault::ModelFormat, "this is not a weights file that this program reads")
        .file(path)
        .expected("a safetensors file, or a PyTorch weights file (.pt, .pth, .bin)")
        .found(found)
        .advice("take the safetensors file of the model, or convert the weights file with its authors' tools"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &[u8]) -> Error {
        let name = Path::new("model.bin");
        read(ModelBytes::from(content.to_vec()), name).err().unwrap_or_else(|| panic!("{content:?} is accepted"))
    }

    #[test]
    fn what_holds_no_weights_is_told_by_its_content() {
        let mut tar = vec![0; 1024];
        tar[..8].copy_from_slice(b"storages");
        tar[TAR..TAR + 5].copy_from_slice(b"ustar");
        let cases = [
            (&b"PK\x03\x04archive/data.pkl"[..], Fault::ModelFormat, "the end of a zip archive"),
            (b"\x80\x02}q\x00(X", Fault::ModelPickle, "the end of the file"),
            (b"\x80\x02K\x01.", Fault::ModelFormat, "a pickle that torch.save has not written"),
            (b"\x80\x02cos\nsystem\n", Fault::ModelPickle, "os.system"),
            (b"{\"error\":\"Repository not found\"}", Fault::ModelFormat, "text"),
            (b"\x89HDF\r\n\x1a\n", Fault::ModelFormat, "HDF5"),
            (b"GGUF\x03\0\0\0", Fault::ModelFormat, "GGUF"),
            (&tar, Fault::ModelFormat, "tar archive"),
            (b"version https://git-lfs.github.com/spec/v1\n", Fault::ModelPointer, "Git-LFS"),
            (b"<!doctype html><html>", Fault::ModelPointer, "web page"),
            (b"\x10\0\0\0\0\0\0\0{}", Fault::ModelFormat, "a header of 16 bytes, cut"),
        ];
        for (content, fault, found) in cases {
            let error = refusal(content);
            assert_eq!(error.fault(), fault, "{found}");
            assert!(error.report("open").contains(found), "{}", error.report("open"));
        }
    }
}
