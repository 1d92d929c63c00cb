//! Layers of a head as its file holds them (`model/schema/head.rs` reads it): BatchNorm is a part of the layer before it.

use std::collections::BTreeMap;

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::Standard;
use crate::error::{Error, Fault, Result};
use crate::units::Precision;

/// W x + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// D.
    pub inputs: usize,
    /// C.
    pub outputs: usize,
    /// [C, D]
    pub weight: Vec<f32>,
    /// `[C]`
    pub bias: Vec<f32>,
}

/// A BatchNorm, each `[C]`.
pub struct Norm {
    /// What normalised values are multiplied by.
    pub weight: Vec<f32>,
    /// What is added.
    pub bias: Vec<f32>,
    /// Mean of the values before.
    pub mean: Vec<f32>,
    /// Their variance.
    pub variance: Vec<f32>,
}

impl Layer {
    /// With the BatchNorm that follows as a part of it.
    pub fn folded(mut self, norm: &Norm, epsilon: f64) -> Self {
        for output in 0..self.outputs {
            let of = |values: &[f32]| f64::from(values[output]);
            let scale = of(&norm.weight) / (of(&norm.variance) + epsilon).sqrt();
            let row = &mut self.weight[output * self.inputs..(output + 1) * self.inputs];
            row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
            self.bias[output] = ((of(&self.bias) - of(&norm.mean)) * scale + of(&norm.bias)) as f32;
        }
        self
    }
}

/// The bytes of `head.safetensors`. Layers are stored in `format`; what standardises inputs, in f32.
///
/// # Errors
/// [`Fault::ModelNonFinite`] for a weight that the format cannot hold.
pub fn bytes(members: &[&[Layer]], standard: Option<&Standard>, format: Precision) -> Result<Vec<u8>> {
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    if let Some(standard) = standard {
        for (name, values) in
            [("mean", &standard.mean), ("deviation", &standard.deviation), ("limit", &vec![standard.limit])]
        {
            tensors.insert(format!("input.{name}"), (Dtype::F32, vec![values.len()], stored(values, Precision::F32)));
        }
    }
    let dtype = if format == Precision::F16 { Dtype::F16 } else { Dtype::F32 };
    for (member, layers) in members.iter().enumerate() {
        for (number, layer) in layers.iter().enumerate() {
            let kinds = [
                ("weight", &layer.weight, vec![layer.outputs, layer.inputs]),
                ("bias", &layer.bias, vec![layer.outputs]),
            ];
            for (kind, values, shape) in kinds {
                let name = format!("members.{member}.layers.{number}.{kind}");
                check(&name, values, format)?;
                tensors.insert(name, (dtype, shape, stored(values, format)));
            }
        }
    }
    let views =
        tensors.iter().map(|(name, (dtype, shape, bytes))| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)));
    let failed =
        |error: safetensors::SafeTensorError| Error::new(Fault::Bug, "the head cannot be written").caused_by(error);
    let views = views.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    safetensors::serialize(views, None).map_err(failed)
}

fn stored(values: &[f32], format: Precision) -> Vec<u8> {
    match format {
        Precision::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn check(name: &str, values: &[f32], format: Precision) -> Result<()> {
    let fits = |value: &&f32| !(value.is_finite() && (format != Precision::F16 || f16::from_f32(**value).is_finite()));
    match values.iter().find(fits) {
        None => Ok(()),
        Some(value) => Err(Error::new(Fault::ModelNonFinite, "a weight of the head is not finite")
            .record(name)
            .found(value.to_string())
            .advice(if value.is_finite() {
                "store the head with --dtype f32"
            } else {
                "training has diverged: give a recipe with a smaller learning rate, or one that standardises the inputs"
            })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn layer() -> Layer {
        Layer { inputs: 3, outputs: 2, weight: vec![0.5, -1.0, 2.0, 0.25, 3.0, -0.125], bias: vec![0.1, -7.0] }
    }

    #[test]
    fn a_folded_batch_norm_gives_what_it_gave_before() {
        let norm =
            Norm { weight: vec![1.5, 0.3], bias: vec![-0.2, 4.0], mean: vec![10.0, -3.0], variance: vec![1e-3, 40.0] };
        let (plain, folded, x) = (layer(), layer().folded(&norm, 1e-5), [1.0_f64, 4.0, -2.0]);
        let of = |layer: &Layer, output: usize| {
            let row = layer.weight[output * 3..].iter().zip(x);
            row.map(|(weight, x)| f64::from(*weight) * x).sum::<f64>() + f64::from(layer.bias[output])
        };
        for output in 0..2 {
            let normalised =
                (of(&plain, output) - f64::from(norm.mean[output])) / (f64::from(norm.variance[output]) + 1e-5).sqrt();
            let expected = normalised * f64::from(norm.weight[output]) + f64::from(norm.bias[output]);
            assert!((of(&folded, output) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{output}");
        }
    }

    #[test]
    fn the_file_holds_the_inputs_in_f32_and_the_layers_as_asked() {
        let standard = Standard { mean: vec![0.0, 1.0, 2.0], deviation: vec![1e-5, 1.0, 3.0], limit: 6.0 };
        let file = bytes(&[&[layer()], &[layer()]], Some(&standard), Precision::F16).unwrap();
        assert_eq!(file, bytes(&[&[layer()], &[layer()]], Some(&standard), Precision::F16).unwrap());
        let file = SafeTensors::deserialize(&file).unwrap();
        let mut names = file.names();
        names.sort_unstable();
        assert_eq!(names.len(), 7);
        let mean = file.tensor("input.deviation").unwrap();
        assert_eq!((mean.dtype(), &mean.data()[..4]), (Dtype::F32, &1e-5_f32.to_le_bytes()[..]));
        let weight = file.tensor("members.1.layers.0.weight").unwrap();
        assert_eq!((weight.dtype(), weight.shape()), (Dtype::F16, &[2, 3][..]));
        assert_eq!(file.tensor("input.limit").unwrap().shape(), [1]);
    }

    #[test]
    fn weights_that_a_format_cannot_hold_are_refused() {
        let with = |value: f32| Layer { bias: vec![0.0, value], ..layer() };
        let fault = |value, format| bytes(&[&[with(value)]], None, format).map_err(|error| error.fault());
        assert!(fault(1e5, Precision::F32).is_ok());
        assert_eq!(fault(1e5, Precision::F16), Err(Fault::ModelNonFinite));
        assert_eq!(fault(f32::NAN, Precision::F32), Err(Fault::ModelNonFinite));
    }
}
