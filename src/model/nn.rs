//! The layers that both encoders are made of.
//!
//! Number formats: all matrix products run in the format of the weights (f32, bf16 or f16) with sums in f32. What is between
//! them - residuals, LayerNorm, rotary angles, softmax, pooling - is always f32: a `LayerNorm` takes f32, and gives what the
//! products take.
//!
//! Letters: N tokens of a batch, D width.

use tch::{Device, Kind, Tensor};

use crate::device::products::{PackedLinear, Then};
use crate::error::Result;
use crate::model::kernels::{self, norm::Norm};
use crate::model::parameters::{Parameter, Parameters};

pub(super) use crate::model::kernels::norm::Residual;

/// Where in a forward pass a tensor was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// What enters the first layer, f32 [N, D].
    Embeddings,
    /// After the attention half of a layer, counted from 0; residual added.
    Attention(usize),
    /// After a layer, counted from 0.
    Layer(usize),
}

/// Is shown every tensor between the layers.
pub type Observer<'a> = &'a mut dyn FnMut(Point, &Tensor);

/// x W^T + b.
#[derive(Clone)]
pub(super) struct Linear {
    weights: Weights,
}

#[derive(Clone)]
enum Weights {
    /// As they are stored: [outputs, inputs] and [outputs].
    Plain(Parameter, Option<Parameter>),
    /// Laid out for the processor.
    Packed(PackedLinear),
}

impl Linear {
    /// `weight` [outputs, inputs], and `bias` [outputs] where the model has one.
    pub(super) fn load(parameters: &Parameters<'_>) -> Result<Self> {
        Self::of(parameters.get("weight")?, parameters.find("bias")?)
    }

    /// Several on one input as one, their outputs side by side: the fewest products.
    pub(super) fn side_by_side(parts: &[Parameters<'_>]) -> Result<Self> {
        let weights = parts.iter().map(|part| part.get("weight")).collect::<Result<Vec<_>>>()?;
        let biases = parts.iter().map(|part| part.get("bias")).collect::<Result<Vec<_>>>()?;
        let beside = |tensors: Vec<Parameter>| Tensor::f_cat(&tensors.iter().map(|one| &**one).collect::<Vec<_>>(), 0);
        Self::of(beside(weights)?.into(), Some(beside(biases)?.into()))
    }

    /// Two on one input, each half of the outputs of one weight without bias.
    pub(super) fn halves(parameters: &Parameters<'_>) -> Result<[Self; 2]> {
        let weight = parameters.get("weight")?;
        let half = weight.size2()?.0 / 2;
        let [first, second] = [0, half].map(|start| weight.f_narrow(0, start, half));
        Ok([Self::of(first?.into(), None)?, Self::of(second?.into(), None)?])
    }

    fn of(weight: Parameter, bias: Option<Parameter>) -> Result<Self> {
        let kind = weight.f_kind()?;
        let weights = match (weight.device(), kind) {
            (Device::Cpu, Kind::Float | Kind::BFloat16) => {
                Weights::Packed(PackedLinear::new(&weight, bias.map(|bias| bias.shallow_clone()))?)
            }
            _ => Weights::Plain(weight, bias),
        };
        Ok(Self { weights })
    }

    /// [N, inputs] in the format of the weights to [N, outputs] in the same.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.then(x, Then::Nothing)
    }

    /// The same, and what follows.
    pub(super) fn then(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        match &self.weights {
            Weights::Packed(packed) => packed.forward(x, then),
            Weights::Plain(weight, bias) => {
                let y = x.f_linear(weight, bias.as_deref())?;
                match then {
                    Then::Nothing => Ok(y),
                    Then::Gelu => Ok(y.f_gelu("none")?),
                    Then::Times(other) => Ok(y.f_mul(other)?),
                }
            }
        }
    }
}

/// Mean 0 and variance 1 over the last dimension, then scaled and shifted; f32 inside for any input.
#[derive(Clone)]
pub(super) struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
    eps: f64,
    /// Format of its outcome: that of the products which take it.
    kind: Kind,
}

impl LayerNorm {
    /// `weight` and `bias` [D], its outcome in the format of the products.
    pub(super) fn load(parameters: &Parameters<'_>, eps: f64) -> Result<Self> {
        let kind = parameters.kind();
        let parameters = parameters.in_f32();
        Ok(Self { weight: parameters.get("weight")?, bias: parameters.get("bias")?, eps, kind })
    }

    /// f32 [N, D] to [N, D].
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = x.f_layer_norm(self.weight.size(), Some(&*self.weight), Some(&*self.bias), self.eps, true)?;
        Ok(normed.f_to_kind(self.kind)?)
    }

    /// Adds `added` [N, D] to `x` f32 [N, D] and gives the norm of the sum; `residual` of both stays in `x`.
    pub(super) fn of_sum(&self, x: &mut Tensor, added: &Tensor, residual: Residual) -> Result<Tensor> {
        if kernels::take(added)? && kernels::take(x)? {
            let norm = Norm { weight: &self.weight, bias: &self.bias, eps: self.eps, kind: self.kind };
            return kernels::norm::of_sum(&norm, x, added, residual);
        }
        *x = x.f_add(added)?;
        let normed = x.f_layer_norm(self.weight.size(), Some(&*self.weight), Some(&*self.bias), self.eps, true)?;
        let formatted = normed.f_to_kind(self.kind)?;
        if residual == Residual::Norm {
            *x = normed;
        }
        Ok(formatted)
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

    /// Ids [N] to f32 [N, D].
    pub(super) fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_embedding(&self.table, ids, -1, false, false)?)
    }

    /// Row `index`, f32 [D].
    pub(super) fn row(&self, index: i64) -> Result<Parameter> {
        Ok(self.table.f_select(0, index)?.into())
    }
}
