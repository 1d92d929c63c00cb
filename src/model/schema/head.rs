//! The classifier: Linear, BatchNorm, ReLU, Linear.

use super::{NamedTensors, Schema, check_sizes};
use crate::error::Result;

/// Classes: 0 others, 1 virus.
pub const CLASSES: usize = 2;

/// Sizes of a classifier. No file holds them: they are those of its first matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Width C of the hidden layer.
    pub hidden: usize,
    /// Width D of the input: both encoders side by side.
    pub inputs: usize,
}

impl Config {
    /// The sizes that the shapes of the tensors tell.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`](crate::error::Fault::ModelTensors),
    /// [`Fault::ModelShape`](crate::error::Fault::ModelShape);
    /// [`Fault::ModelConfig`](crate::error::Fault::ModelConfig) for sizes out of bounds.
    pub fn of(tensors: &NamedTensors<'_>) -> Result<Self> {
        let (hidden, inputs) = (tensors.size("hidden_layer.weight", 0)?, tensors.size("hidden_layer.weight", 1)?);
        check_sizes(&[("hidden layer", hidden), ("width", inputs)])?;
        Ok(Self { hidden, inputs })
    }

    /// The tensors of the model.
    pub fn tensors(&self) -> Schema {
        let (c, d) = (self.hidden, self.inputs);
        let mut model = Schema::default();
        model.add_linear("hidden_layer", c, d);
        model.add_norm("bn1", c);
        model.add("bn1.running_mean", &[c]);
        model.add_variance("bn1.running_var", c);
        model.add_linear("output_layer", CLASSES, c);
        model
    }
}
