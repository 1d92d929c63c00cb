//! Token ids to tensor, tensor to numbers.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};
use crate::pack::LengthGroup;

/// Ids of a run as an i64 tensor [B, T], each below `vocabulary`.
///
/// # Errors
/// [`Fault::ModelTokenizer`] for an id outside the vocabulary: on a GPU libtorch would end the process;
/// [`Fault::Bug`] for sequences without any token.
pub(super) fn ids(group: &LengthGroup<'_>, vocabulary: usize, device: Device) -> Result<Tensor> {
    if let Some(id) = group.ids.iter().find(|&&id| id as usize >= vocabulary) {
        return Err(Error::new(Fault::ModelTokenizer, "a token has no place in the model's vocabulary")
            .expected(format!("ids below {vocabulary}"))
            .found(format!("id {id}"))
            .advice("the tokeniser belongs to another model: import the model again"));
    }
    if group.length == 0 {
        return Err(Error::new(Fault::Bug, "a sequence without tokens reached the encoder"));
    }
    let ids: Vec<i64> = group.ids.iter().map(|&id| i64::from(id)).collect();
    let ids = Tensor::f_from_slice(&ids)?.f_reshape([group.sequences as i64, group.length as i64])?;
    Ok(ids.f_to_device(device)?)
}

/// Appends the values of `tensor` to `numbers`, row-major, as f32.
pub(super) fn append(numbers: &mut Vec<f32>, tensor: &Tensor) -> Result<()> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let start = numbers.len();
    let count = tensor.numel();
    numbers.resize(start + count, 0.0);
    if let Some(place) = numbers.get_mut(start..) {
        tensor.f_copy_data(place, count)?;
    }
    Ok(())
}
