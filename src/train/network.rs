//! The network that is fitted: Linear, BatchNorm, ReLU, Dropout for each hidden layer, then Linear.
//!
//! Letters: N rows of a batch, D width of a layer's input, C of its output.

use tch::{Device, Kind, Reduction, Tensor};

use super::head_file::{self, Layer};
use super::random::Random;
use crate::error::Result;

/// What PyTorch adds to the variance of a BatchNorm.
const EPSILON: f64 = 1e-5;
/// Share of a batch in the running statistics of a BatchNorm, PyTorch's.
const MOMENTUM: f64 = 0.1;

/// One batch.
pub struct Batch {
    /// f32 [N, D], disturbed.
    pub inputs: Vec<f32>,
    /// Labels to train on, from 0 others to 1 virus [N].
    pub targets: Vec<f32>,
    /// What each row counts [N].
    pub weights: Vec<f32>,
    /// What each hidden layer is multiplied by, f32 [N, C]; none: nothing.
    pub masks: Vec<Vec<f32>>,
}

/// A network and its parameters.
pub struct Network {
    device: Device,
    /// D of the first layer, C of every layer.
    widths: Vec<usize>,
    /// Tensors of a layer after those of the one before.
    tensors: Vec<Tensor>,
}

/// Tensors of a layer: those of a hidden one, and how many of them the last one has.
const OF_A_LAYER: [&str; 6] = ["weight", "bias", "norm.weight", "norm.bias", "norm.mean", "norm.variance"];
const OF_THE_LAST: usize = 2;
/// Tensors of a hidden layer that are trained; the others are measured.
const TRAINED: usize = 4;

impl Network {
    /// With random weights, as PyTorch begins: uniform within 1 / sqrt(D).
    ///
    /// # Errors
    /// Memory or the device.
    pub fn random(widths: Vec<usize>, random: &mut Random, device: Device) -> Result<Self> {
        let shapes = shapes(&widths);
        let values = shapes.iter().map(|(kind, shape, inputs)| {
            let count = shape.iter().product::<i64>() as usize;
            let bound = 1.0 / (*inputs as f32).sqrt();
            match *kind {
                "norm.weight" | "norm.variance" => vec![1.0; count],
                "norm.bias" | "norm.mean" => vec![0.0; count],
                _ => (0..count).map(|_| (2.0 * random.unit() - 1.0) * bound).collect(),
            }
        });
        let values: Vec<Vec<f32>> = values.collect();
        Self::of(widths, &values, device)
    }

    /// Of the values of all tensors, in the order of [`values`](Self::values).
    ///
    /// # Errors
    /// Memory or the device.
    pub fn of(widths: Vec<usize>, values: &[Vec<f32>], device: Device) -> Result<Self> {
        let mut tensors = Vec::new();
        for ((_, shape, _), values) in shapes(&widths).into_iter().zip(values) {
            tensors.push(Tensor::f_from_slice(values)?.f_view(&shape[..])?.f_to_device(device)?);
        }
        let network = Self { device, widths, tensors };
        for tensor in network.trained() {
            let _ = tensor.f_set_requires_grad(true)?;
        }
        Ok(network)
    }

    /// Every tensor's values.
    ///
    /// # Errors
    /// The device.
    pub fn values(&self) -> Result<Vec<Vec<f32>>> {
        self.tensors.iter().map(values).collect()
    }

    /// The tensors that training changes; they share their memory with the network.
    pub fn trained(&self) -> Vec<Tensor> {
        let is_trained = |(place, _): &(usize, _)| {
            let hidden = (self.widths.len() - 2) * OF_A_LAYER.len();
            *place >= hidden || place % OF_A_LAYER.len() < TRAINED
        };
        let trained = self.tensors.iter().enumerate().filter(is_trained);
        trained.map(|(_, tensor)| tensor.shallow_clone()).collect()
    }

    /// Mean loss of a batch and its gradients, one for each tensor of [`trained`](Self::trained).
    ///
    /// # Errors
    /// Memory or the device.
    pub fn gradients(&self, batch: &Batch) -> Result<(f64, Vec<Tensor>)> {
        let rows = batch.targets.len();
        let masks = batch.masks.iter().zip(&self.widths[1..]);
        let masks = masks.map(|(mask, width)| self.matrix(mask, rows, *width)).collect::<Result<Vec<_>>>()?;
        let logits = self.forward(self.matrix(&batch.inputs, rows, self.widths[0])?, Some(&masks))?;
        let column = |values: &[f32]| self.matrix(values, rows, 1)?.f_view([-1]).map_err(crate::error::Error::from);
        let (targets, weights) = (column(&batch.targets)?, column(&batch.weights)?);
        let loss =
            logits.f_binary_cross_entropy_with_logits(&targets, Some(&weights), None::<&Tensor>, Reduction::Mean)?;
        let gradients = Tensor::f_run_backward(&[&loss], &self.trained(), false, false)?;
        Ok((loss.f_double_value(&[])?, gradients))
    }

    /// Logits of undisturbed rows, f32 [N, D].
    ///
    /// # Errors
    /// Memory or the device.
    pub fn logits(&self, inputs: &[f32]) -> Result<Vec<f32>> {
        let width = self.widths[0];
        let inputs = self.matrix(inputs, inputs.len() / width.max(1), width)?;
        values(&tch::no_grad(|| self.forward(inputs, None))?)
    }

    /// [N, D] to logits [N]; in training with masks, and BatchNorm by the batch.
    fn forward(&self, inputs: Tensor, masks: Option<&[Tensor]>) -> Result<Tensor> {
        let (mut x, last) = (inputs, self.widths.len() - 2);
        for layer in 0..=last {
            let tensors = &self.tensors[layer * OF_A_LAYER.len()..];
            let tensor = |place: usize| tensors.get(place);
            if let (Some(weight), bias) = (tensor(0), tensor(1)) {
                x = x.f_linear(weight, bias)?;
            }
            if layer < last {
                let is_training = masks.is_some();
                let norm = [tensor(2), tensor(3), tensor(4), tensor(5)];
                let [weight, bias, mean, variance] = norm;
                x = x.f_batch_norm(weight, bias, mean, variance, is_training, MOMENTUM, EPSILON, false)?.f_relu()?;
                if let Some(mask) = masks.and_then(|masks| masks.get(layer)) {
                    x = x.f_mul(mask)?;
                }
            }
        }
        let logits = match self.widths.last() {
            Some(2) => x.f_select(1, 1)?.f_sub(&x.f_select(1, 0)?)?,
            _ => x.f_select(1, 0)?,
        };
        Ok(logits)
    }

    /// Its layers, BatchNorm folded into them.
    ///
    /// # Errors
    /// The device.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        let values = self.values()?;
        let mut layers = Vec::new();
        for (pair, tensors) in self.widths.windows(2).zip(values.chunks(OF_A_LAYER.len())) {
            let [inputs, outputs] = [pair[0], pair[1]];
            let of = |place: usize| tensors.get(place).cloned().unwrap_or_default();
            let mut layer = Layer { inputs, outputs, weight: of(0), bias: of(1) };
            if tensors.len() > OF_THE_LAST {
                let norm = head_file::Norm { weight: of(2), bias: of(3), mean: of(4), variance: of(5) };
                layer = layer.folded(&norm, EPSILON);
            }
            layers.push(layer);
        }
        Ok(layers)
    }

    fn matrix(&self, values: &[f32], rows: usize, width: usize) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_view([rows as i64, width as i64])?.f_to_device(self.device)?)
    }
}

/// Kind, shape and D of every tensor.
fn shapes(widths: &[usize]) -> Vec<(&'static str, Vec<i64>, usize)> {
    let mut shapes = Vec::new();
    for (layer, pair) in widths.windows(2).enumerate() {
        let is_last = layer + 2 == widths.len();
        let kinds = if is_last { &OF_A_LAYER[..OF_THE_LAST] } else { &OF_A_LAYER[..] };
        for (place, kind) in kinds.iter().enumerate() {
            let shape = if place == 0 { vec![pair[1] as i64, pair[0] as i64] } else { vec![pair[1] as i64] };
            shapes.push((*kind, shape, pair[0]));
        }
    }
    shapes
}

/// The values of a tensor, row-major.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let count = flat.numel();
    let mut values = vec![0.0; count];
    flat.f_copy_data(&mut values, count)?;
    Ok(values)
}
