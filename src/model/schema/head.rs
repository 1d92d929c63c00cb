//! The head: linear layers with ReLU between them. Two layouts of its file are read.

use super::{NamedTensors, Schema, check_sizes, numbered};
use crate::error::Result;

/// Classes: 0 others, 1 virus.
pub const CLASSES: usize = 2;

/// Sizes of a head. No file holds them: they are those of its matrices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Linear, BatchNorm, ReLU, Linear: the heads that were published.
    Published {
        /// Width D of the input: the encoders side by side.
        inputs: usize,
        /// Width C of the hidden layer.
        hidden: usize,
    },
    /// Networks of linear layers; the head gives the mean of their logits.
    Members {
        /// Whether inputs are standardised first.
        standardised: bool,
        /// Number of networks.
        members: usize,
        /// Widths from the input to the output of each, which is 1 (virus) or [`CLASSES`].
        widths: Vec<usize>,
    },
}

/// What comes before the number of a network.
const MEMBERS: &str = "members.";
/// What comes before the number of a layer of the first network.
const LAYERS: &str = "members.0.layers.";

impl Config {
    /// The sizes that the shapes of the tensors tell.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`](crate::error::Fault::ModelTensors),
    /// [`Fault::ModelShape`](crate::error::Fault::ModelShape);
    /// [`Fault::ModelConfig`](crate::error::Fault::ModelConfig) for sizes out of bounds.
    pub fn of(tensors: &NamedTensors<'_>) -> Result<Self> {
        let members = tensors.numbers(MEMBERS);
        if members == 0 {
            let [hidden, inputs] = [0, 1].map(|axis| tensors.size("hidden_layer.weight", axis));
            let (hidden, inputs) = (hidden?, inputs?);
            check_sizes(&[("hidden layer", hidden), ("width", inputs)])?;
            return Ok(Self::Published { inputs, hidden });
        }
        let mut widths = vec![tensors.size(&format!("{LAYERS}0.weight"), 1)?];
        for layer in 0..tensors.numbers(LAYERS) {
            widths.push(tensors.size(&format!("{LAYERS}{layer}.weight"), 0)?);
        }
        widths.iter().try_for_each(|&width| check_sizes(&[("width of a layer", width)]))?;
        check_sizes(&[("members", members)])?;
        let outputs = widths.last().copied().unwrap_or_default();
        if outputs > CLASSES {
            return Err(super::refuse("outputs", "1 or 2", outputs));
        }
        Ok(Self::Members { standardised: tensors.has(MEAN), members, widths })
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Published { inputs, .. } => *inputs,
            Self::Members { widths, .. } => widths.first().copied().unwrap_or_default(),
        }
    }

    /// The tensors of the head.
    pub fn tensors(&self) -> Schema {
        let mut head = Schema::default();
        match self {
            Self::Published { inputs, hidden } => {
                head.add_linear("hidden_layer", *hidden, *inputs);
                head.add_norm("bn1", *hidden);
                head.add("bn1.running_mean", &[*hidden]);
                head.add_variance("bn1.running_var", *hidden);
                head.add_linear("output_layer", CLASSES, *hidden);
            }
            Self::Members { standardised, members, widths } => {
                if *standardised {
                    head.add(MEAN, &[self.inputs()]);
                    head.add_variance(DEVIATION, self.inputs());
                    head.add_variance(LIMIT, 1);
                }
                for member in 0..*members {
                    for (layer, pair) in widths.windows(2).enumerate() {
                        head.add_linear(&layer_name(member, layer), pair[1], pair[0]);
                    }
                }
            }
        }
        head
    }
}

/// Mean of each input, `[D]`.
pub const MEAN: &str = "input.mean";
/// Deviation of each input, `[D]`.
pub const DEVIATION: &str = "input.deviation";
/// How far from 0 a standardised input may be, `[1]`.
pub const LIMIT: &str = "input.limit";

/// Name of a layer, whose tensors are its `weight`, `[outputs, inputs]`, and `bias`, `[outputs]`.
pub fn layer_name(member: usize, layer: usize) -> String {
    format!("{MEMBERS}{member}.layers.{layer}")
}

impl NamedTensors<'_> {
    /// One more than the largest number after `prefix`.
    fn numbers(&self, prefix: &str) -> usize {
        self.0.keys().filter_map(|name| Some(numbered(name, prefix)?.0.saturating_add(1))).max().unwrap_or(0)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;
    use crate::weights::TensorInfo;
    use safetensors::Dtype;

    fn file(config: &Config) -> Vec<TensorInfo> {
        let tensor = |(name, shape): (&str, &[usize])| TensorInfo {
            name: name.to_owned(),
            dtype: Dtype::F16,
            shape: shape.to_vec(),
        };
        config.tensors().shapes().map(tensor).collect()
    }

    fn config(tensors: &[TensorInfo]) -> Result<Config> {
        let named: NamedTensors<'_> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let config = Config::of(&named)?;
        config.tensors().check(&named).map(|()| config)
    }

    #[test]
    fn the_shapes_tell_what_a_head_is_made_of() {
        for head in [
            Config::Published { inputs: 5, hidden: 3 },
            Config::Members { standardised: true, members: 12, widths: vec![5, 4, 3, 1] },
            Config::Members { standardised: false, members: 1, widths: vec![5, 2] },
        ] {
            assert_eq!(config(&file(&head)).unwrap(), head);
        }
    }

    #[test]
    fn a_network_or_layer_that_is_missing_and_outputs_that_are_no_classes_are_refused() {
        let whole = file(&Config::Members { standardised: true, members: 3, widths: vec![5, 4, 1] });
        for missing in
            ["input.limit", "members.1.layers.0.bias", "members.2.layers.1.weight", "members.0.layers.0.weight"]
        {
            let fewer: Vec<_> = whole.iter().filter(|tensor| tensor.name != missing).cloned().collect();
            assert_eq!(config(&fewer).unwrap_err().fault(), Fault::ModelTensors, "{missing}");
        }
        let three = file(&Config::Members { standardised: false, members: 1, widths: vec![5, 3] });
        assert_eq!(config(&three).unwrap_err().fault(), Fault::ModelConfig);
    }
}
