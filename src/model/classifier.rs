//! The head: one or more small perceptrons over merged vectors, computed on the processor in f32.
//!
//! The published one (Li et al. 2025, doi:10.1093/bib/bbaf224; `MLPClassifier` of Li-Jing-1997/VirNucPro) is
//! softmax(W2 relu(batchnorm(W1 x + b1)) + b2); its BatchNorm, a line by the statistics of training, becomes a part of W1 and
//! b1 as it is loaded. Names and shapes of the weights: `schema::head`. Letters: N rows, D width of a layer's input, C of its
//! output.
//!
//! Rows do not depend on each other, and sums have one order on every processor.

use std::sync::Arc;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::error::{Error, Fault, Result};
use crate::model::kernels::product::{Matrix, PANEL, product};
use crate::model::schema::head::{CLASSES, Config, DEVIATION, LIMIT, MEAN, layer_name};
use crate::model::schema::{NamedTensors, Schema};
use crate::model::{Head, Score};
use crate::weights::TensorSource;

/// Added to the variance by the BatchNorm of upstream, which leaves torch's default.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Rows that are computed at a time: what they take stays in the cache.
const ROWS: usize = 48;

/// The head. Load it with [`Classifier::load`]; widths are those of its tensors. Clones share their weights.
#[derive(Clone)]
pub struct Classifier {
    networks: Arc<Networks>,
}

struct Networks {
    inputs: usize,
    standard: Option<Standard>,
    members: Vec<Vec<Layer>>,
}

/// How inputs are standardised.
struct Standard {
    /// Mean and the inverse of the deviation of each input.
    inputs: Vec<(f32, f32)>,
    /// How far from 0 they may be.
    limit: f32,
}

/// W x + b.
struct Layer {
    inputs: usize,
    outputs: usize,
    /// W^T in panels of [`PANEL`] columns, each [D, PANEL], zeros behind the last column.
    panels: Vec<f32>,
    /// [C]
    bias: Vec<f32>,
}

impl Classifier {
    /// Loads a head of either layout.
    ///
    /// # Errors
    /// Tensors missing, left over, of shapes that do not fit together, not finite, or a variance below zero.
    pub fn load(weights: &dyn TensorSource) -> Result<Self> {
        let tensors: NamedTensors<'_> = weights.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let config = Config::of(&tensors)?;
        let schema = config.tensors();
        schema.check(&tensors)?;
        let file = File { weights, schema: &schema };
        let (standard, members) = match &config {
            Config::Published { inputs, hidden } => (None, vec![file.published(*inputs, *hidden)?]),
            Config::Members { standardised, members, widths } => {
                let standard = if *standardised { Some(file.standard()?) } else { None };
                (standard, (0..*members).map(|member| file.member(member, widths)).collect::<Result<_>>()?)
            }
        };
        Ok(Self { networks: Arc::new(Networks { inputs: config.inputs(), standard, members }) })
    }
}

impl Head for Classifier {
    fn dim(&self) -> usize {
        self.networks.inputs
    }

    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>> {
        let dim = self.dim();
        if !vectors.len().is_multiple_of(dim) {
            return Err(Error::new(Fault::ModelMismatch, "vectors of another width than the head takes")
                .expected(format!("rows of {dim} values"))
                .found(format!("{} values in all", vectors.len()))
                .advice("merge the vectors of the encoders that the head was trained on"));
        }
        let mut scores = Vec::with_capacity(vectors.len() / dim);
        let mut buffers = Buffers::default();
        for rows in vectors.chunks(ROWS * dim) {
            let logits = self.networks.logits(rows, &mut buffers);
            scores.extend(logits.iter().map(|&logit| Score::of(logit)));
        }
        Ok(scores)
    }
}

/// What a layer takes and gives, used again.
#[derive(Default)]
struct Buffers {
    standardised: Vec<f32>,
    before: Vec<f32>,
    after: Vec<f32>,
    panel: Vec<f32>,
}

impl Networks {
    /// Mean over the members of the logit of each row.
    fn logits(&self, rows: &[f32], buffers: &mut Buffers) -> Vec<f32> {
        let Buffers { standardised, before, after, panel } = buffers;
        let rows = match &self.standard {
            None => rows,
            Some(standard) => {
                standardised.clear();
                for row in rows.chunks_exact(self.inputs) {
                    let inputs = standard.inputs.iter().zip(row);
                    standardised.extend(inputs.map(|(&input, &value)| standard.of(input, value)));
                }
                standardised
            }
        };
        let mut sums = vec![0.0; rows.len() / self.inputs];
        for layers in &self.members {
            let mut input = rows;
            for (number, layer) in (1..).zip(layers) {
                layer.forward(input, after, panel);
                if number < layers.len() {
                    after.iter_mut().for_each(|value| *value = value.max(0.0));
                }
                std::mem::swap(before, after);
                input = before;
            }
            let outputs = input.len() / sums.len().max(1);
            for (sum, output) in sums.iter_mut().zip(input.chunks_exact(outputs.max(1))) {
                *sum += match output {
                    [others, virus] => virus - others,
                    [virus] => *virus,
                    _ => f32::NAN,
                };
            }
        }
        let members = self.members.len() as f32;
        sums.iter_mut().for_each(|sum| *sum /= members);
        sums
    }
}

impl Standard {
    fn of(&self, (mean, scale): (f32, f32), value: f32) -> f32 {
        ((value - mean) * scale).clamp(-self.limit, self.limit)
    }
}

impl Layer {
    /// Of `weight` [C, D] and `bias` [C].
    fn new(inputs: usize, weight: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        let mut panels = vec![0.0; outputs.next_multiple_of(PANEL) * inputs];
        for (output, row) in weight.chunks_exact(inputs.max(1)).enumerate() {
            let panel = &mut panels[output / PANEL * PANEL * inputs..];
            for (place, &value) in row.iter().enumerate() {
                panel[place * PANEL + output % PANEL] = value;
            }
        }
        Self { inputs, outputs, panels, bias }
    }

    /// Rows [N, D] to [N, C].
    fn forward(&self, rows: &[f32], to: &mut Vec<f32>, product_of_panel: &mut Vec<f32>) {
        let count = rows.len() / self.inputs;
        to.resize(count * self.outputs, 0.0);
        product_of_panel.resize(count * PANEL, 0.0);
        let a = Matrix { values: rows, stride: self.inputs };
        for (number, values) in self.panels.chunks_exact(PANEL * self.inputs).enumerate() {
            let b = Matrix { values, stride: PANEL };
            product([count, self.inputs], a, b, (product_of_panel, PANEL));
            let first = number * PANEL;
            let bias = &self.bias[first..self.outputs.min(first + PANEL)];
            for (row, sums) in to.chunks_exact_mut(self.outputs).zip(product_of_panel.chunks_exact(PANEL)) {
                for ((value, sum), bias) in row[first..].iter_mut().zip(sums).zip(bias) {
                    *value = sum + bias;
                }
            }
        }
    }
}

/// A file of a head, whose tensors are known to be those of its schema.
struct File<'a> {
    weights: &'a dyn TensorSource,
    schema: &'a Schema,
}

impl File<'_> {
    fn standard(&self) -> Result<Standard> {
        let (mean, deviation) = (self.values(MEAN)?, self.values(DEVIATION)?);
        // An input that never changed in training says nothing.
        let scale = |deviation: f64| if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
        let inputs = mean.iter().zip(deviation).map(|(mean, deviation)| (*mean as f32, scale(deviation) as f32));
        let limit = self.values(LIMIT)?.first().copied().unwrap_or_default();
        Ok(Standard { inputs: inputs.collect(), limit: limit as f32 })
    }

    fn member(&self, member: usize, widths: &[usize]) -> Result<Vec<Layer>> {
        let layer = |(number, pair): (usize, &[usize])| {
            let name = layer_name(member, number);
            let [weight, bias] = ["weight", "bias"].map(|part| self.values(&format!("{name}.{part}")));
            Ok(Layer::new(pair[0], &narrow(weight?), narrow(bias?)))
        };
        widths.windows(2).enumerate().map(layer).collect()
    }

    /// The published layout, its BatchNorm folded into the layer before: computed in f64, rounded once.
    fn published(&self, inputs: usize, hidden: usize) -> Result<Vec<Layer>> {
        let [mut weight, mut bias] = [self.values("hidden_layer.weight")?, self.values("hidden_layer.bias")?];
        let [scale, shift] = [self.values("bn1.weight")?, self.values("bn1.bias")?];
        let [mean, variance] = [self.values("bn1.running_mean")?, self.values("bn1.running_var")?];
        for (unit, row) in weight.chunks_exact_mut(inputs).enumerate() {
            let factor = scale[unit] / (variance[unit] + BATCH_NORM_EPS).sqrt();
            row.iter_mut().for_each(|value| *value *= factor);
            bias[unit] = (bias[unit] - mean[unit]) * factor + shift[unit];
        }
        let [output, output_bias] = [self.values("output_layer.weight")?, self.values("output_layer.bias")?];
        debug_assert_eq!(output.len(), CLASSES * hidden);
        Ok(vec![
            Layer::new(inputs, &narrow(weight), narrow(bias)),
            Layer::new(hidden, &narrow(output), narrow(output_bias)),
        ])
    }

    /// The values of a tensor, proved to be what the schema allows.
    fn values(&self, name: &str) -> Result<Vec<f64>> {
        let absent = || Error::new(Fault::Bug, "the schema lacks a tensor of the head").record(name);
        let (index, spec) = self.weights.find(name).zip(self.schema.get(name)).ok_or_else(absent)?;
        let tensor = &self.weights.tensors()[index];
        let values = floats(tensor.dtype, &self.weights.bytes(index)?);
        let wrong = |&value: &f64| !(value as f32).is_finite() || spec.is_variance && value < 0.0;
        match values.iter().position(wrong) {
            Some(place) => Err(spec.refuse(values[place], "f32", tensor, place)),
            None => Ok(values),
        }
    }
}

/// Little-endian numbers of a format that the schema has let pass.
fn floats(format: Dtype, bytes: &[u8]) -> Vec<f64> {
    match format {
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f64()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f64()).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        _ => bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
    }
}

fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32).collect()
}
