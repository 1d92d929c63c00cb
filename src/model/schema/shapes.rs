//! Published encoders by name, and the arithmetic of any: what a machine would do with a model can be told before the model
//! is there.

use super::{Configuration, Schema, dnabert, esm2};
use crate::units::Precision;

/// Names that [`published`] knows, with layers, width and heads; ESM-2 (Lin et al. 2023), DNABERT-S (Zhou et al. 2024).
const PUBLISHED: &[(&str, [usize; 3])] = &[
    ("esm2-8m", [6, 320, 20]),
    ("esm2-35m", [12, 480, 20]),
    ("esm2-150m", [30, 640, 20]),
    ("esm2-650m", [33, 1280, 20]),
    ("esm2-3b", [36, 2560, 40]),
    ("esm2-15b", [48, 5120, 40]),
    ("dnabert-s", [12, 768, 12]),
];

/// The configuration of an encoder.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Reads proteins.
    Esm2(esm2::Config),
    /// Reads nucleotides.
    Dnabert(dnabert::Config),
}

impl Shape {
    /// That of a published encoder, in capitals or not.
    pub fn published(name: &str) -> Option<Self> {
        let (name, [layers, width, heads]) = PUBLISHED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(match name.strip_prefix("esm2-") {
            Some(_) => Self::Esm2(esm2::Config {
                model_type: "esm",
                vocab_size: 33,
                hidden_size: *width,
                num_hidden_layers: *layers,
                num_attention_heads: *heads,
                intermediate_size: 4 * width,
                layer_norm_eps: 1e-5,
                position_embedding_type: "rotary".to_owned(),
                token_dropout: true,
                mask_token_id: 32,
                pad_token_id: 1,
                hidden_act: "gelu".to_owned(),
                ..esm2::Config::default()
            }),
            None => Self::Dnabert(dnabert::Config {
                model_type: "bert",
                vocab_size: 4096,
                type_vocab_size: 2,
                hidden_size: *width,
                num_hidden_layers: *layers,
                num_attention_heads: *heads,
                intermediate_size: 4 * width,
                hidden_act: "gelu".to_owned(),
                layer_norm_eps: 1e-12,
                alibi_starting_size: 512,
            }),
        })
    }

    /// The names of published encoders.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PUBLISHED.iter().map(|(name, _)| *name)
    }

    /// The same with so many layers, at most as many as it has.
    pub fn cut(mut self, layers: usize) -> Self {
        let own = match &mut self {
            Self::Esm2(config) => &mut config.num_hidden_layers,
            Self::Dnabert(config) => &mut config.num_hidden_layers,
        };
        *own = layers.clamp(1, *own);
        self
    }

    /// How many layers it has.
    pub fn layers(&self) -> usize {
        match self {
            Self::Esm2(config) => config.num_hidden_layers,
            Self::Dnabert(config) => config.num_hidden_layers,
        }
    }

    /// Bytes of its tensors in a number format.
    pub fn bytes(&self, precision: Precision) -> u64 {
        let values: u64 =
            self.tensors().shapes().map(|(_, shape)| shape.iter().map(|&size| size as u64).product::<u64>()).sum();
        values * precision.bytes()
    }

    /// The tensors it is made of.
    pub fn tensors(&self) -> Schema {
        match self {
            Self::Esm2(config) => config.tensors(),
            Self::Dnabert(config) => config.tensors(),
        }
    }

    /// What a pass through it computes.
    pub fn arithmetic(&self) -> Arithmetic {
        let (d, f, layers, gated) = match self {
            Self::Esm2(config) => (config.hidden_size, config.intermediate_size, config.num_hidden_layers, false),
            Self::Dnabert(config) => (config.hidden_size, config.intermediate_size, config.num_hidden_layers, true),
        };
        let mut products = vec![[d, 3 * d], [d, d], [d, f], [f, d]];
        if gated {
            products.push([d, f]);
        }
        Arithmetic { products, layers, width: d }
    }
}

/// The matrix products of an encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// Inputs and outputs of each product of a layer with weights.
    pub products: Vec<[usize; 2]>,
    /// Number of layers.
    pub layers: usize,
    /// Width D.
    pub width: usize,
}

impl Arithmetic {
    /// Floating-point operations for one token of a sequence of `length` tokens: products with weights, and of queries with
    /// keys and weights with values. Embedding, norms and pooling are not counted.
    pub fn per_token(&self, length: usize) -> f64 {
        let weights: usize = self.products.iter().map(|[inputs, outputs]| 2 * inputs * outputs).sum();
        (self.layers * (weights + 4 * length * self.width)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_shapes_are_accepted_and_have_their_published_sizes() {
        // Millions of parameters, without pooler, language head and contact head.
        for (name, millions) in [("esm2-8m", 7.4), ("esm2-650m", 649.8), ("esm2-3b", 2835.0), ("dnabert-s", 116.5)] {
            let shape = Shape::published(name).unwrap();
            match &shape {
                Shape::Esm2(config) => config.check(),
                Shape::Dnabert(config) => config.check(),
            }
            .unwrap();
            let schema = shape.tensors();
            let count: usize = schema.shapes().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert!((count as f64 / 1e6 / millions - 1.0).abs() < 0.01, "{name}: {count}");
        }
        assert!(Shape::published("esm2").is_none());
        assert_eq!(Shape::published("ESM2-650M").unwrap().layers(), 33);
        assert_eq!(Shape::published("DNABERT-S").unwrap().layers(), 12);
        assert_eq!(Shape::names().count(), 7);
    }

    #[test]
    fn a_shape_needs_four_or_two_bytes_for_each_value() {
        let shape = Shape::published("esm2-15b").unwrap();
        let [full, half] = [Precision::F32, Precision::Bf16].map(|precision| shape.bytes(precision));
        assert_eq!(full, 2 * half);
        // 15.1 billion parameters.
        assert!((60.3e9..60.8e9).contains(&(full as f64)), "{full}");
    }

    #[test]
    fn operations_are_those_of_the_formulas() {
        let of = |name: &str, length| Shape::published(name).unwrap().arithmetic().per_token(length);
        // layers (24 D^2 + 4 T D), and 12 (8 D^2 + 6 D F + 4 T D)
        assert_eq!(of("esm2-650m", 168), 33.0 * (24.0 * 1280.0 * 1280.0 + 4.0 * 168.0 * 1280.0));
        assert_eq!(of("dnabert-s", 100), 12.0 * (8.0 * 768.0 * 768.0 + 6.0 * 768.0 * 3072.0 + 4.0 * 100.0 * 768.0));
        let cut = Shape::published("esm2-3b").unwrap().cut(2).arithmetic();
        assert_eq!((cut.layers, cut.width, cut.products.len()), (2, 2560, 4));
    }
}
