//! The head: a small perceptron over both vectors (Li et al. 2025, doi:10.1093/bib/bbaf224).
//!
//! Upstream: `MLPClassifier` of Li-Jing-1997/VirNucPro. softmax(W2 relu(batchnorm(W1 x + b1)) + b2), with the
//! running statistics of training; f32 for any number format of the encoders. Letters: N rows, D width, C hidden. Names and
//! shapes of the weights: `schema::head`.

use tch::{Device, Kind, Tensor};

use crate::device::Placement;
use crate::error::{Error, Fault, Result};
use crate::model::nn::Linear;
use crate::model::parameters::{Parameter, Parameters, tensors_of};
use crate::model::schema::head::{CLASSES, Config};
use crate::model::{Head, Score, input};
use crate::weights::TensorSource;

/// Added to the variance by the BatchNorm of upstream, which leaves torch's default.
const BATCH_NORM_EPS: f64 = 1e-5;

/// The head. Load it with [`Classifier::load`]; widths are those of its tensors.
#[derive(Clone)]
pub struct Classifier {
    /// [C, D]
    hidden: Linear,
    norm: BatchNorm,
    /// [2, C]
    output: Linear,
    dim: usize,
    device: Device,
}

/// All [C].
#[derive(Clone)]
struct BatchNorm {
    weight: Parameter,
    bias: Parameter,
    mean: Parameter,
    variance: Parameter,
}

impl BatchNorm {
    fn load(parameters: &Parameters<'_>) -> Result<Self> {
        Ok(Self {
            weight: parameters.get("weight")?,
            bias: parameters.get("bias")?,
            mean: parameters.get("running_mean")?,
            variance: parameters.get("running_var")?,
        })
    }

    /// [N, C] to [N, C], by the statistics of training.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&*self.weight), Some(&*self.bias));
        let (mean, variance) = (Some(&*self.mean), Some(&*self.variance));
        Ok(x.f_batch_norm(weight, bias, mean, variance, false, 0.0, BATCH_NORM_EPS, false)?)
    }
}

impl Classifier {
    /// Loads `weights` to a device.
    ///
    /// # Errors
    /// Tensors missing, left over, of shapes that do not fit together, not finite, or a variance below zero.
    pub fn load(weights: &dyn TensorSource, placement: &Placement) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let config = Config::of(&tensors_of(weights))?;
        let schema = config.tensors();
        let parameters = Parameters::open(weights, &schema, placement, &|| Ok(()))?.in_f32();
        Ok(Self {
            hidden: Linear::load(&parameters.sub("hidden_layer"))?,
            norm: BatchNorm::load(&parameters.sub("bn1"))?,
            output: Linear::load(&parameters.sub("output_layer"))?,
            dim: config.inputs,
            device: placement.device,
        })
    }
}

impl Head for Classifier {
    fn dim(&self) -> usize {
        self.dim
    }

    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>> {
        if self.dim == 0 || !vectors.len().is_multiple_of(self.dim) {
            return Err(Error::new(Fault::ModelMismatch, "vectors of another width than the head takes")
                .expected(format!("rows of {} values", self.dim))
                .found(format!("{} values in all", vectors.len()))
                .advice("merge the vectors of the encoders that the head was trained on"));
        }
        if vectors.is_empty() {
            return Ok(Vec::new());
        }
        let _no_grad = tch::no_grad_guard();
        let x = Tensor::f_from_slice(vectors)?.f_view([-1, self.dim as i64])?.f_to_device(self.device)?; // [N, D]
        let x = self.norm.forward(&self.hidden.forward(&x)?)?.f_relu()?; // [N, C]
        let scores = self.output.forward(&x)?.f_softmax(-1, Kind::Float)?; // [N, 2]
        let numbers = input::numbers(&scores)?;
        let (pairs, _) = numbers.as_chunks::<CLASSES>();
        Ok(pairs.iter().map(|&[others, virus]| Score { others, virus }).collect())
    }
}
