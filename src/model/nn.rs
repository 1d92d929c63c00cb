//! The layers that both encoders are made of.
//!
//! Number formats: matrix products run in the format of the weights (f32, bf16 or f16; which layers take part in bf16 is
//! the model's choice, `Parameters::sensitive`). What is between them - residuals, LayerNorm, rotary angles - is always
//! f32: `Linear` converts its input and leaves its output, and adding an output to an f32 residual gives f32.
//!
//! Letters: B sequences, T tokens, D width, H heads, K = D / H.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::model::parameters::{Parameter, Parameters};

/// Where in a forward pass a tensor was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// What enters the first layer, f32 [B, T, D].
    Embeddings,
    /// After the attention half of a layer, counted from 0; residual added.
    Attention(usize),
    /// After a layer, counted from 0.
    Layer(usize),
}

/// Is shown every tensor between the layers.
pub type Observer<'a> = &'a mut dyn FnMut(Point, &Tensor);

/// Sequences of fewer tokens have too few residues for roundings to cancel in their mean: with bf16 weights their
/// products are f32. They cost next to nothing.
const SHORT_TOKENS: i64 = 32;

/// x W^T + b.
#[derive(Clone)]
pub(super) struct Linear {
    weight: Parameter,
    bias: Option<Parameter>,
}

impl Linear {
    /// `weight` [outputs, inputs], and `bias` [outputs] where the model has one.
    pub(super) fn load(parameters: &Parameters<'_>) -> Result<Self> {
        Ok(Self { weight: parameters.get("weight")?, bias: parameters.find("bias")? })
    }

    /// Several on one input as one, their outputs side by side: the fewest products.
    pub(super) fn side_by_side(parts: &[Parameters<'_>]) -> Result<Self> {
        let parts = parts.iter().map(Self::load).collect::<Result<Vec<_>>>()?;
        let weights: Vec<&Tensor> = parts.iter().map(|part| &*part.weight).collect();
        let biases: Vec<&Tensor> = parts.iter().filter_map(|part| part.bias.as_deref()).collect();
        Ok(Self { weight: Tensor::f_cat(&weights, 0)?.into(), bias: Some(Tensor::f_cat(&biases, 0)?.into()) })
    }

    /// [B, T, inputs] to [B, T, outputs], in the format of the weights; in f32 for short sequences and bf16 weights.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let kind = match self.weight.f_kind()? {
            Kind::BFloat16 if x.size().iter().rev().nth(1).is_some_and(|&tokens| tokens < SHORT_TOKENS) => Kind::Float,
            kind => kind,
        };
        // Converting to the format at hand copies nothing.
        let bias = match &self.bias {
            Some(bias) => Some(bias.f_to_kind(kind)?),
            None => None,
        };
        Ok(x.f_to_kind(kind)?.f_linear(&self.weight.f_to_kind(kind)?, bias)?)
    }
}

/// Mean 0 and variance 1 over the last dimension, then scaled and shifted; f32 for any input.
#[derive(Clone)]
pub(super) struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
    eps: f64,
}

impl LayerNorm {
    /// `weight` and `bias` [D].
    pub(super) fn load(parameters: &Parameters<'_>, eps: f64) -> Result<Self> {
        let parameters = parameters.in_f32();
        Ok(Self { weight: parameters.get("weight")?, bias: parameters.get("bias")?, eps })
    }

    /// [.., D] to [.., D].
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.f_to_kind(Kind::Float)?;
        Ok(x.f_layer_norm(self.weight.size(), Some(&*self.weight), Some(&*self.bias), self.eps, true)?)
    }
}

/// A row of a table for every id; f32, since the LayerNorm that may follow enlarges what rounding leaves.
#[derive(Clone)]
pub(super) struct Embedding {
    table: Parameter,
}

impl Embedding {
    /// `weight` [rows, D].
    pub(super) fn load(parameters: &Parameters<'_>) -> Result<Self> {
        Ok(Self { table: parameters.in_f32().get("weight")? })
    }

    /// Ids [B, T] to f32 [B, T, D].
    pub(super) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_embedding(&self.table, ids, -1, false, false)?)
    }

    /// Row `index`, f32 [D].
    pub(super) fn row(&self, index: i64) -> Result<Parameter> {
        Ok(self.table.f_select(0, index)?.into())
    }
}

/// x times the normal distribution function at x, by the error function; the tanh form differs by 5e-4.
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_gelu("none")?)
}

/// softmax(scale q k^T + bias) v with q, k, v [B, H, T, K], bias [1, H, T, T]; heads side by side [B, T, D].
pub(super) fn attention(qkv: [&Tensor; 3], bias: Option<&Tensor>, scale: f64) -> Result<Tensor> {
    let [q, k, v] = qkv;
    let mixed = Tensor::f_scaled_dot_product_attention(q, k, v, bias, 0.0, false, scale, false)?; // [B, H, T, K]
    Ok(mixed.f_transpose(1, 2)?.f_flatten(2, 3)?) // [B, T, H, K] -> [B, T, D]
}
