//! The head: a small perceptron over both vectors (Li et al. 2025, doi:10.1093/bib/bbaf224).
//!
//! Upstream: `MLPClassifier` of Li-Jing-1997/VirNucPro. softmax(W2 relu(batchnorm(W1 x + b1)) + b2), with the
//! running statistics of training; f32 whatever the encoders compute in. Letters: N rows, D width, C hidden.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};
use crate::model::nn::Linear;
use crate::model::parameters::Parameters;
use crate::model::{Head, Score, input};

/// Added to the variance by the BatchNorm of upstream, which leaves torch's default.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Classes: 0 others, 1 virus.
const CLASSES: usize = 2;

/// The head. Load it with [`Classifier::load`]; widths are those of its tensors.
pub struct Classifier {
    hidden: Linear,
    norm: BatchNorm,
    output: Linear,
    dim: usize,
    device: Device,
}

struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl BatchNorm {
    fn load(parameters: &Parameters<'_>, width: usize) -> Result<Self> {
        let variance = parameters.get("running_var", &[width])?;
        let smallest = variance.f_min()?.f_double_value(&[])?;
        if smallest < 0.0 {
            return Err(Error::new(Fault::ModelMismatch, "the head has a variance below zero")
                .record("bn1.running_var")
                .expected("0 or more")
                .found(smallest.to_string())
                .advice("the file is damaged: import or fetch the head again"));
        }
        Ok(Self {
            weight: parameters.get("weight", &[width])?,
            bias: parameters.get("bias", &[width])?,
            mean: parameters.get("running_mean", &[width])?,
            variance,
        })
    }

    /// [N, C] to [N, C], by the statistics of training.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, variance) = (Some(&self.mean), Some(&self.variance));
        Ok(x.f_batch_norm(weight, bias, mean, variance, false, 0.0, BATCH_NORM_EPS, false)?)
    }
}

impl Classifier {
    /// Takes every tensor out of `weights`.
    ///
    /// # Errors
    /// Tensors missing, left over, of shapes that do not fit together, or not finite.
    pub fn load(parameters: &Parameters<'_>) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let all = parameters.in_f32();
        let (hidden, output) = (all.sub("hidden_layer"), all.sub("output_layer"));
        let shape = hidden.shape("weight")?;
        let &[width, dim] = shape.as_slice() else {
            return Err(Error::new(Fault::ModelShape, "the head's first layer is no matrix")
                .record("hidden_layer.weight")
                .expected("[hidden, inputs]")
                .found(format!("{shape:?}"))
                .advice("the file is not a head of this kind: import the original's .pth file"));
        };
        let model = Self {
            hidden: Linear::load(&hidden, dim, width)?,
            norm: BatchNorm::load(&all.sub("bn1"), width)?,
            output: Linear::load(&output, width, CLASSES)?,
            dim,
            device: parameters.device(),
        };
        parameters.finish()?;
        Ok(model)
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
        let mut numbers = Vec::with_capacity(vectors.len() / self.dim * CLASSES);
        input::append(&mut numbers, &scores)?;
        let (pairs, _) = numbers.as_chunks::<CLASSES>();
        Ok(pairs.iter().map(|&[others, virus]| Score { others, virus }).collect())
    }
}
