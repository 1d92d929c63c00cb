//! Files of a bundle as bytes: tensors in the safetensors format, configurations as JSON.

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;

use super::selection::Selection;
use super::staging::Output;
use crate::error::{Error, Fault, Result};

/// Bytes that are looked at, hashed and written in one go.
const PIECE: usize = 1 << 20;

/// Writes the tensors, the widest numbers first and then by name: the same tensors give the same bytes.
///
/// # Errors
/// [`Fault::ModelNonFinite`] for a tensor with NaN or infinite values, and those of writing.
pub(super) fn safetensors(tensors: &Selection<'_>, out: &mut Output) -> Result<()> {
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(name, tensor)| (std::cmp::Reverse(tensor.dtype), *name));
    let (mut header, mut end) = (Vec::new(), 0);
    for (name, tensor) in &ordered {
        let start = end;
        end += tensor.shape.iter().product::<usize>() * tensor.dtype.bitsize() / 8;
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        header.push(((*name).to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) }));
    }
    let defect = |error: String| Error::new(Fault::Bug, "tensors cannot be written").file(tensors.path()).found(error);
    let header = Metadata::new(None, header).map_err(|error| defect(error.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| defect(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write(&(header.len() as u64).to_le_bytes())?;
    out.write(&header)?;
    for (name, tensor) in ordered {
        let values = tensors.bytes(name)?;
        for (piece, bytes) in values.chunks(PIECE).enumerate() {
            if let Some(place) = first_non_finite(tensor.dtype, bytes) {
                let place = piece * PIECE * 8 / tensor.dtype.bitsize() + place;
                return Err(Error::new(Fault::ModelNonFinite, "a tensor holds a value that is not finite")
                    .file(tensors.path())
                    .record(format!("{}, value {place} of shape {:?}", tensor.name, tensor.shape))
                    .expected("finite numbers")
                    .advice("the checkpoint is damaged or its training failed: take another"));
            }
            out.write(bytes)?;
        }
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

/// Place of the first value with an exponent of ones only: infinite or no number.
fn first_non_finite(dtype: Dtype, bytes: &[u8]) -> Option<usize> {
    let two = |exponent: u16| {
        bytes
            .chunks_exact(2)
            .position(move |b| matches!(b, &[b0, b1] if u16::from_le_bytes([b0, b1]) & exponent == exponent))
    };
    match dtype {
        Dtype::F16 => two(0x7c00),
        Dtype::BF16 => two(0x7f80),
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().position(|b| !f32::from_le_bytes(*b).is_finite()),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().position(|b| !f64::from_le_bytes(*b).is_finite()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_finite_are_found_in_every_format() {
        let f16 = |value: u16| [0, 0x3c, value as u8, (value >> 8) as u8];
        for (value, found) in [(0x7c00, Some(1)), (0xfc00, Some(1)), (0x7e00, Some(1)), (0x7bff, None), (0, None)] {
            assert_eq!(first_non_finite(Dtype::F16, &f16(value)), found, "{value:#x}");
        }
        for (value, found) in [(0x7f80, Some(1)), (0xffc0, Some(1)), (0x7f7f, None), (0x7c00, None)] {
            assert_eq!(first_non_finite(Dtype::BF16, &f16(value)), found, "{value:#x}");
        }
        for (value, found) in [(f32::NAN, Some(0)), (f32::NEG_INFINITY, Some(0)), (f32::MAX, None), (-0.0, None)] {
            assert_eq!(first_non_finite(Dtype::F32, &value.to_le_bytes()), found, "{value}");
            let wide = if found.is_some() { f64::from(value) } else { f64::MAX };
            assert_eq!(first_non_finite(Dtype::F64, &wide.to_le_bytes()), found, "{wide}");
        }
    }
}
