//! The classifier: Linear, BatchNorm, ReLU, Linear.

use super::selection::Selection;
use super::{Dims, Model, names, size};
use crate::error::{Error, Fault, Result};
use crate::units::WeightFormat;
use crate::weights::Weights;

/// Reads and checks a classifier of two classes.
///
/// # Errors
/// [`Fault::ModelTensors`], [`Fault::ModelShape`].
pub(super) fn read(weights: &Weights) -> Result<Model<'_>> {
    let tensors = Selection::choose(weights, names::HEAD, names::head)?;
    let (hidden, inputs) = tensors.matrix("hidden_layer.weight")?;
    let wanted = [
        ("hidden_layer.weight", vec![hidden, inputs]),
        ("hidden_layer.bias", vec![hidden]),
        ("bn1.weight", vec![hidden]),
        ("bn1.bias", vec![hidden]),
        ("bn1.running_mean", vec![hidden]),
        ("bn1.running_var", vec![hidden]),
        ("output_layer.weight", vec![2, hidden]),
        ("output_layer.bias", vec![2]),
    ];
    tensors.require(&wanted.map(|(name, shape)| (name.to_owned(), shape)))?;
    refuse_negative_variance(&tensors)?;
    let width = size(inputs, "width", weights.path())?;
    Ok(Model {
        tensors,
        dims: Dims { layers: None, width, heads: None, vocabulary: None },
        files: Vec::new(),
        dtype: WeightFormat::Keep,
    })
}

/// BatchNorm takes the root of the variance: below zero every score would be no number.
fn refuse_negative_variance(tensors: &Selection<'_>) -> Result<()> {
    const NAME: &str = "bn1.running_var";
    let Some((_, tensor)) = tensors.iter().find(|(name, _)| *name == NAME) else { return Ok(()) };
    // In every format the sign is the highest bit of the last byte.
    let number = tensor.dtype.bitsize() / 8;
    let bytes = tensors.bytes(NAME)?;
    let negative = |value: &[u8]| match value.split_last() {
        Some((last, rest)) => last & 0x80 != 0 && (last & 0x7f != 0 || rest.iter().any(|&byte| byte != 0)),
        None => false,
    };
    match bytes.chunks_exact(number).position(negative) {
        None => Ok(()),
        Some(place) => Err(Error::new(Fault::ModelNonFinite, "a variance is below zero")
            .file(tensors.path())
            .record(format!("{NAME}[{place}]"))
            .expected("0 or more")
            .advice("the weights file is damaged")),
    }
}
