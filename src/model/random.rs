//! Weights made up for a schema: what a machine would do with a model can be measured before the model is there.
//!
//! The same numbers on every machine. Scales are such that activations keep their size through any number of layers, as
//! those of trained models do; vectors mean nothing.

use std::borrow::Cow;

use safetensors::Dtype;

use crate::error::Result;
use crate::model::mock::{mix, unit};
use crate::model::schema::Schema;
use crate::weights::{ModelBytes, TensorInfo, TensorSource};

/// Tensors of f32, computed when they are asked for: nothing but one of them is in memory at a time.
pub struct RandomWeights {
    tensors: Vec<TensorInfo>,
}

impl RandomWeights {
    /// All tensors of a schema.
    pub fn of(schema: &Schema) -> Self {
        let tensor = |(name, shape): (&str, &[usize])| TensorInfo {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
        };
        Self { tensors: schema.shapes().map(tensor).collect() }
    }
}

impl TensorSource for RandomWeights {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let values = self.tensors.get(index).map(|tensor| values(tensor, index as u64));
        Ok(values.unwrap_or_default().into())
    }

    fn release(&self, _: usize) {}

    fn format(&self) -> &'static str {
        "random numbers"
    }

    fn maps(&self) -> Vec<&ModelBytes> {
        Vec::new()
    }
}

/// Values of a tensor: a matrix keeps the length of a vector, a LayerNorm leaves it, frequencies are those of the paper.
fn values(tensor: &TensorInfo, seed: u64) -> Vec<u8> {
    let count = tensor.shape.iter().product::<usize>();
    let seed = mix(seed);
    let spread = match tensor.shape.as_slice() {
        [_, inputs] => (3.0 / *inputs as f32).sqrt(), // of uniform numbers with variance 1 / inputs
        _ => 0.02,
    };
    let is_norm = tensor.shape.len() == 1 && tensor.name.ends_with("weight");
    let value = |place: usize| match () {
        () if tensor.name.ends_with("inv_freq") => 10_000f32.powf(-(place as f32) / count as f32),
        () if is_norm => 1.0,
        () => spread * unit(mix(seed.wrapping_add(place as u64))),
    };
    (0..count).flat_map(|place| value(place).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::head::Config;

    #[test]
    fn every_tensor_of_the_schema_is_there_and_alike_each_time() {
        let schema = Config::Published { hidden: 64, inputs: 48 }.tensors();
        let [once, again] = [RandomWeights::of(&schema), RandomWeights::of(&schema)];
        assert_eq!(once.tensors().len(), schema.shapes().count());
        for (index, tensor) in once.tensors().iter().enumerate() {
            let bytes = once.bytes(index).unwrap();
            assert_eq!((bytes.len() as u64, &bytes), (tensor.bytes(), &again.bytes(index).unwrap()), "{}", tensor.name);
        }
        let weight = once.bytes(once.find("hidden_layer.weight").unwrap()).unwrap();
        let values = weight.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
        let variance = values.map(|value| value * value).sum::<f32>() / (64.0 * 48.0);
        assert!((0.9..1.1).contains(&(variance * 48.0)), "{variance}");
    }
}
