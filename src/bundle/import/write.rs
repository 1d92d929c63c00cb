//! Files of a bundle as bytes: tensors in the safetensors format, configurations as JSON.

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;

use super::Model;
use super::convert::{self, Wrong};
use super::hashing::PIECE;
use super::staging::Output;
use crate::error::{Error, Fault, Result};

/// Writes the tensors, the widest numbers first and then by name: the same tensors give the same bytes. `proceed` is
/// asked before each.
///
/// # Errors
/// [`Fault::ModelNonFinite`] for a tensor with values that are not finite, or would not be in the format that is asked
/// for; those of reading, of writing and of `proceed`.
pub(super) fn safetensors(model: &Model<'_>, out: &mut Output, proceed: &dyn Fn() -> Result<()>) -> Result<()> {
    let tensors = &model.tensors;
    let target = |name: &str, stored| convert::target(name, stored, model.dtype);
    let mut ordered: Vec<_> = tensors.iter().map(|(name, tensor)| (name, tensor, target(name, tensor.dtype))).collect();
    ordered.sort_by_key(|&(name, _, dtype)| (std::cmp::Reverse(dtype), name));
    let (mut header, mut end) = (Vec::new(), 0);
    for &(name, tensor, dtype) in &ordered {
        let start = end;
        end += tensor.shape.iter().product::<usize>() * dtype.bitsize() / 8;
        header.push((name.to_owned(), TensorInfo { dtype, shape: tensor.shape.clone(), data_offsets: (start, end) }));
    }
    let defect = |error: String| Error::new(Fault::Bug, "tensors cannot be written").file(tensors.path()).found(error);
    let header = Metadata::new(None, header).map_err(|error| defect(error.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| defect(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.reserve((8 + header.len() + end) as u64)?;
    out.write(&(header.len() as u64).to_le_bytes())?;
    out.write(&header)?;
    for (name, tensor, dtype) in ordered {
        proceed()?;
        let values = tensors.bytes(name)?;
        let size = tensor.dtype.bitsize() / 8;
        if values.len() != tensor.shape.iter().product::<usize>() * size {
            return Err(defect(format!("{} bytes for {}", values.len(), tensor.name)));
        }
        for (piece, bytes) in values.chunks(PIECE).enumerate() {
            let written = out.append(|piece| convert::convert(bytes, tensor.dtype, dtype, piece))?;
            written.map_err(|(place, wrong)| {
                let refused = match wrong {
                    Wrong::NotFinite => Error::new(Fault::ModelNonFinite, "a tensor holds a value that is not finite")
                        .expected("finite numbers")
                        .advice("the weights file is damaged or its training failed: take another"),
                    Wrong::TooLarge(value) => {
                        let format = format!("{dtype:?}").to_lowercase();
                        Error::new(Fault::ModelNonFinite, format!("a tensor holds a value that {format} cannot hold"))
                            .expected(format!("numbers that stay finite in {format}"))
                            .found(value.to_string())
                            .advice("leave out --dtype, or choose a wider format: bf16 reaches as far as f32")
                    }
                };
                let place = piece * PIECE / size + place;
                refused
                    .file(tensors.path())
                    .record(format!("{}, value {place} of shape {:?}", tensor.name, tensor.shape))
            })?;
        }
        drop(values);
        tensors.release(name);
    }
    Ok(())
}

/// JSON in lines, a line end last.
///
/// # Errors
/// None but a defect of this program.
pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(Fault::Bug, "a configuration cannot be written").caused_by(error))?;
    text.push(b'\n');
    Ok(text)
}
