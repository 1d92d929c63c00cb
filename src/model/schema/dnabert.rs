//! DNABERT-S and DNABERT-2, any size.

use serde::{Deserialize, Serialize};

use super::{Configuration, NamedTensors, Schema, check_eps, check_only, check_sizes, gelu, head_width};
use crate::error::Result;

/// Settings of a DNABERT-2 model. By default it has none and no sizes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// Written as `bert`, never read.
    #[serde(skip_deserializing, default = "model_type")]
    pub model_type: &'static str,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Rows of the token type table; only row 0 is used.
    pub type_vocab_size: usize,
    /// Width D.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads H. No shape tells it.
    pub num_attention_heads: usize,
    /// Width F of each half of the gated unit.
    pub intermediate_size: usize,
    /// `gelu`, nothing else.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Added to the variance in each LayerNorm; 1e-12 as published.
    pub layer_norm_eps: f64,
    /// Upstream's first size of its ALiBi table, which has no effect on numbers; a model without it is a plain BERT.
    pub alibi_starting_size: usize,
}

fn model_type() -> &'static str {
    "bert"
}

impl Config {
    /// The same configuration with the sizes that the shapes of the tensors tell.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`](crate::error::Fault::ModelTensors),
    /// [`Fault::ModelShape`](crate::error::Fault::ModelShape).
    pub fn with_sizes_of(&self, tensors: &NamedTensors<'_>) -> Result<Self> {
        Ok(Self {
            vocab_size: tensors.size("embeddings.word_embeddings.weight", 0)?,
            type_vocab_size: tensors.size("embeddings.token_type_embeddings.weight", 0)?,
            hidden_size: tensors.size("embeddings.word_embeddings.weight", 1)?,
            num_hidden_layers: tensors.layers()?,
            intermediate_size: tensors.size("encoder.layer.0.mlp.wo.weight", 1)?,
            ..self.clone()
        })
    }
}

impl Configuration for Config {
    fn sizes(&self) -> [(&'static str, usize); 5] {
        [
            ("vocab_size", self.vocab_size),
            ("type_vocab_size", self.type_vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("intermediate_size", self.intermediate_size),
        ]
    }

    fn check(&self) -> Result<()> {
        check_sizes(&self.sizes())?;
        check_eps(self.layer_norm_eps)?;
        check_only("hidden_act", gelu(), self.hidden_act.clone())?;
        head_width(self.hidden_size, self.num_attention_heads).map(drop)
    }

    fn tensors(&self) -> Schema {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let mut layer = Schema::default();
        layer.add_linear("attention.self.Wqkv", 3 * d, d);
        layer.add_linear("attention.output.dense", d, d);
        layer.add_norm("attention.output.LayerNorm", d);
        // Two halves: the first is activated and multiplied by the second.
        layer.add("mlp.gated_layers.weight", &[2 * f, d]);
        layer.add_linear("mlp.wo", d, f);
        layer.add_norm("mlp.layernorm", d);
        let mut model = Schema::default();
        model.add("embeddings.word_embeddings.weight", &[self.vocab_size, d]);
        model.add("embeddings.token_type_embeddings.weight", &[self.type_vocab_size, d]);
        model.add_norm("embeddings.LayerNorm", d);
        model.add_layers(self.num_hidden_layers, &layer);
        model
    }
}
