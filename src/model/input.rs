//! Token ids to tensor, tensor to numbers.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};
use crate::pack::TokenBatch;

/// Ids of a batch as an i64 tensor [N], each below `vocabulary`.
///
/// # Errors
/// [`Fault::ModelTokenizer`] for an id outside the vocabulary: on a GPU libtorch would end the process;
/// [`Fault::Bug`] for sequences without any token.
pub(super) fn ids(batch: &TokenBatch, vocabulary: usize, device: Device) -> Result<Tensor> {
    if let Some(id) = batch.ids().iter().find(|&&id| id as usize >= vocabulary) {
        return Err(Error::new(Fault::ModelTokenizer, "a token has no place in the model's vocabulary")
            .expected(format!("ids below {vocabulary}"))
            .found(format!("id {id}"))
            .advice("the tokeniser belongs to another model: import the model again"));
    }
    if batch.groups().any(|stretch| stretch.length == 0) {
        return Err(Error::new(Fault::Bug, "a sequence without tokens reached the encoder"));
    }
    let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
    Ok(Tensor::f_from_slice(&ids)?.f_to_device(device)?)
}

/// Mean over some tokens of each sequence, f32 [N, D] to [sequences, D]. `pooled` gives the first and the number of those
/// that count for a number of tokens.
pub(super) fn means(x: &Tensor, batch: &TokenBatch, pooled: impl Fn(usize) -> (usize, usize)) -> Result<Tensor> {
    let (mut means, mut first) = (Vec::new(), 0);
    for stretch in batch.groups() {
        let (sequences, length) = (stretch.sequences as i64, stretch.length as i64);
        let (start, count) = pooled(stretch.length);
        let tokens = x.f_narrow(0, first, sequences * length)?.f_view([sequences, length, -1])?; // [B, T, D]
        means.push(tokens.f_narrow(1, start as i64, count as i64)?.f_mean_dim(1, false, Kind::Float)?);
        first += sequences * length;
    }
    Ok(Tensor::f_cat(&means, 0)?)
}

/// The values of `tensor`, row-major, as f32.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut numbers = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut numbers, tensor.numel())?;
    Ok(numbers)
}
