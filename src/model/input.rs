//! A batch on its way to the device, and what comes back.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};
use crate::model::TensorEncoder;
use crate::model::nn::Observer;
use crate::pack::TokenBatch;

/// Rows are filled up to a multiple of this many. Kernels are made for every number of rows, and kept: few numbers are quick, and
/// take little memory. The products of a GPU, too, are faster for such numbers.
const FILLED: usize = 16;

/// Rows for so many tokens, N. What fills them up is computed and never read.
pub(super) fn filled(tokens: usize) -> usize {
    tokens.next_multiple_of(FILLED)
}

/// A batch, and its numbers on the device of a model.
pub struct DeviceBatch<'a> {
    /// On the host.
    pub(super) batch: &'a TokenBatch,
    /// i32 [N]. Behind those of the batch, its first id fills the rows up.
    pub(super) ids: Tensor,
    /// Where each token stands in its sequence, i32 [N].
    pub(super) positions: Tensor,
    /// First token of each sequence, and the number of all, i32 [sequences + 1].
    pub(super) bounds: Tensor,
}

impl<'a> DeviceBatch<'a> {
    /// `words` are those that [`TensorEncoder::words`] gives for `batch`, on the device.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn of(batch: &'a TokenBatch, words: &Tensor) -> Result<Self> {
        let (rows, sequences) = (filled(batch.tokens()) as i64, batch.len() as i64);
        let part = |first, length| words.f_narrow(0, first, length);
        Ok(Self { batch, ids: part(0, rows)?, positions: part(rows, rows)?, bounds: part(2 * rows, sequences + 1)? })
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.batch.tokens()
    }

    /// Tokens of the longest sequence.
    pub(super) fn longest(&self) -> usize {
        self.batch.groups().map(|stretch| stretch.length).max().unwrap_or(0)
    }
}

/// What a model needs of a batch on its device, one behind the other: the ids, each below `vocabulary`; where each token
/// stands; the bounds of the sequences. On a GPU an id outside the vocabulary would cost the device.
///
/// # Errors
/// [`Fault::ModelTokenizer`] for an id outside the vocabulary; [`Fault::Bug`] for sequences without any token.
pub(super) fn words(batch: &TokenBatch, vocabulary: usize) -> Result<Vec<i32>> {
    if i32::try_from(batch.tokens()).is_err() {
        return Err(Error::new(Fault::TooLong, "a batch has more tokens than 32 bits can count"));
    }
    let rows = filled(batch.tokens());
    let mut words = Vec::with_capacity(2 * rows + batch.len() + 1);
    for &id in batch.ids() {
        match i32::try_from(id) {
            Ok(word) if (id as usize) < vocabulary => words.push(word),
            _ => return Err(unknown(id, vocabulary)),
        }
    }
    words.resize(rows, words.first().copied().unwrap_or(0));
    let mut bounds = vec![0];
    for stretch in batch.groups() {
        let length = stretch.length as i32;
        if length == 0 {
            return Err(Error::new(Fault::Bug, "a sequence without tokens reached the encoder"));
        }
        for _ in 0..stretch.sequences {
            words.extend(0..length);
            bounds.push(bounds.last().unwrap_or(&0) + length);
        }
    }
    words.resize(2 * rows, 0);
    words.append(&mut bounds);
    Ok(words)
}

fn unknown(id: u32, vocabulary: usize) -> Error {
    Error::new(Fault::ModelTokenizer, "a token has no place in the model's vocabulary")
        .expected(format!("ids below {vocabulary}"))
        .found(format!("id {id}"))
        .advice("the tokeniser belongs to another model: import the model again")
}

/// The words of a batch on a device, for as long as the computation takes.
///
/// # Errors
/// Out of memory.
pub(super) fn to_device(words: &[i32], device: Device) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(words)?.f_to_device(device)?)
}

/// Pooled vectors as numbers: what [`Encoder::embed`](super::Encoder::embed) gives.
///
/// # Errors
/// Those of the encoder.
pub(super) fn embed(encoder: &impl TensorEncoder, batch: &TokenBatch, device: Device) -> Result<Vec<f32>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let words = to_device(&encoder.words(batch)?, device)?;
    numbers(&encoder.pool(&DeviceBatch::of(batch, &words)?)?)
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

/// Does `forward`, and gives the rows of the tokens, without what fills them up; `observer` is shown no other either.
///
/// # Errors
/// Those of `forward`.
pub(super) fn tokens_alone(
    batch: &DeviceBatch<'_>,
    observer: Observer<'_>,
    forward: impl Fn(&DeviceBatch<'_>, Observer<'_>) -> Result<Tensor>,
) -> Result<Tensor> {
    let tokens = batch.tokens() as i64;
    let mut shown = |point, x: &Tensor| {
        if let Ok(x) = x.f_narrow(0, 0, tokens) {
            observer(point, &x);
        }
    };
    Ok(forward(batch, &mut shown)?.f_narrow(0, 0, tokens)?)
}

/// The values of `tensor`, row-major, as f32.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut numbers = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut numbers, tensor.numel())?;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_to_the_device_as_ids_places_and_bounds() {
        let batch = TokenBatch::of([vec![7, 8], vec![9, 5], vec![6, 4, 3]]);
        let words = words(&batch, 10).unwrap();
        let filled = |numbers: [i32; 7], with| numbers.into_iter().chain([with; 9]).collect::<Vec<_>>();
        let (ids, positions) = (filled([7, 8, 9, 5, 6, 4, 3], 7), filled([0, 1, 0, 1, 0, 1, 2], 0));
        assert_eq!(words, [ids.clone(), positions.clone(), vec![0, 2, 4, 7]].concat());
        let tensor = to_device(&words, Device::Cpu).unwrap();
        let placed = DeviceBatch::of(&batch, &tensor).unwrap();
        let numbers = |tensor: &Tensor| Vec::<i32>::try_from(tensor).unwrap();
        assert_eq!((numbers(&placed.ids), numbers(&placed.positions)), (ids, positions));
        assert_eq!(numbers(&placed.bounds), [0, 2, 4, 7]);
        assert_eq!(placed.longest(), 3);
    }

    #[test]
    fn what_would_cost_a_device_is_refused_on_the_host() {
        for id in [10, u32::MAX] {
            let error = words(&TokenBatch::of([vec![1, id]]), 10).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelTokenizer);
        }
        assert_eq!(words(&TokenBatch::of([vec![1], vec![]]), 10).unwrap_err().fault(), Fault::Bug);
    }
}
