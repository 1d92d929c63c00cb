//! ESM-2, any size from 8 million to 15 billion parameters.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Configuration, NamedTensors, Schema, check_eps, check_only, check_sizes, gelu, head_width, refuse};
use crate::error::{Error, Fault, Result};

/// Settings of an ESM-2 model. By default it has none and no sizes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// Written as `esm`, never read.
    #[serde(skip_deserializing, default = "model_type")]
    pub model_type: &'static str,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width D.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads H.
    pub num_attention_heads: usize,
    /// Width F between the two matrices of the feed-forward half.
    pub intermediate_size: usize,
    /// Added to the variance in each LayerNorm; 1e-5 as published.
    pub layer_norm_eps: f64,
    /// `rotary`, nothing else.
    pub position_embedding_type: String,
    /// False, nothing else.
    #[serde(default, deserialize_with = "null_is_false")]
    pub emb_layer_norm_before: bool,
    /// Whether embeddings are scaled for the masking in training: true, nothing else.
    pub token_dropout: bool,
    /// Id of `<mask>`: 32.
    #[serde(default = "mask_token_id")]
    pub mask_token_id: u32,
    /// Id of `<pad>`: 1.
    #[serde(default = "pad_token_id")]
    pub pad_token_id: u32,
    /// `gelu`, nothing else.
    #[serde(skip_serializing, default = "gelu")]
    pub hidden_act: String,
    /// False, nothing else.
    #[serde(skip_serializing, default, deserialize_with = "null_is_false")]
    pub is_folding_model: bool,
}

fn model_type() -> &'static str {
    "esm"
}

fn mask_token_id() -> u32 {
    32
}

fn pad_token_id() -> u32 {
    1
}

fn null_is_false<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(false))
}

impl Config {
    /// The configuration that the shapes of the tensors tell.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`], [`Fault::ModelShape`]; [`Fault::ModelConfig`] for sizes out of bounds.
    pub fn of(tensors: &NamedTensors<'_>) -> Result<Self> {
        const WORDS: &str = "embeddings.word_embeddings.weight";
        const FREQUENCIES: &str = "encoder.layer.0.attention.self.rotary_embeddings.inv_freq";
        let hidden_size = tensors.size(WORDS, 1)?;
        // One frequency per pair of numbers of a head.
        let frequencies = tensors.size(FREQUENCIES, 0)?;
        if !hidden_size.is_multiple_of(2 * frequencies) {
            return Err(Error::new(Fault::ModelShape, "the rotary frequencies do not fit the width of the model")
                .record(FREQUENCIES)
                .expected(format!("half the width of a head, of which {hidden_size} is a multiple"))
                .found(format!("{frequencies} frequencies")));
        }
        let config = Self {
            model_type: model_type(),
            vocab_size: tensors.size(WORDS, 0)?,
            hidden_size,
            num_hidden_layers: tensors.layers()?,
            num_attention_heads: hidden_size / (2 * frequencies),
            intermediate_size: tensors.size("encoder.layer.0.intermediate.dense.weight", 0)?,
            // fair-esm 2.0.0: the default of torch.nn.LayerNorm.
            layer_norm_eps: 1e-5,
            position_embedding_type: "rotary".to_owned(),
            emb_layer_norm_before: false,
            token_dropout: true,
            mask_token_id: mask_token_id(),
            pad_token_id: pad_token_id(),
            hidden_act: gelu(),
            is_folding_model: false,
        };
        config.check().map(|()| config)
    }

    /// Width K of a head.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }
}

impl Configuration for Config {
    fn sizes(&self) -> [(&'static str, usize); 5] {
        [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
        ]
    }

    fn check(&self) -> Result<()> {
        check_sizes(&self.sizes())?;
        check_eps(self.layer_norm_eps)?;
        check_only("hidden_act", gelu(), self.hidden_act.clone())?;
        check_only("position_embedding_type", "rotary", &self.position_embedding_type)?;
        check_only("emb_layer_norm_before", false, self.emb_layer_norm_before)?;
        check_only("is_folding_model", false, self.is_folding_model)?;
        check_only("token_dropout", true, self.token_dropout)?;
        check_only("mask_token_id", mask_token_id(), self.mask_token_id)?;
        check_only("pad_token_id", pad_token_id(), self.pad_token_id)?;
        match head_width(self.hidden_size, self.num_attention_heads)? {
            width if width % 2 == 0 => Ok(()),
            width => Err(refuse("num_attention_heads", "heads of even width", format!("width {width}"))),
        }
    }

    fn tensors(&self) -> Schema {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let mut layer = Schema::default();
        layer.add_norm("attention.LayerNorm", d);
        layer.add("attention.self.rotary_embeddings.inv_freq", &[self.head_width() / 2]);
        layer.add_linear("attention.self.query", d, d);
        layer.add_linear("attention.self.key", d, d);
        layer.add_linear("attention.self.value", d, d);
        layer.add_linear("attention.output.dense", d, d);
        layer.add_norm("LayerNorm", d);
        layer.add_linear("intermediate.dense", f, d);
        layer.add_linear("output.dense", d, f);
        let mut model = Schema::default();
        model.add("embeddings.word_embeddings.weight", &[self.vocab_size, d]);
        model.add_layers(self.num_hidden_layers, &layer);
        model.add_norm("encoder.emb_layer_norm_after", d);
        model
    }
}
