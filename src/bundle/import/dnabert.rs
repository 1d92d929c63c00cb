//! DNABERT-2 and DNABERT-S: what the tensors must be, the configuration and the tokeniser that go with them.

use serde::{Deserialize, Serialize};

use super::config::{self, Setting};
use super::selection::Selection;
use super::{Dims, Model, names, size, write};
use crate::error::{Error, Fault, Result};
use crate::tokenize::{DnabertTokenizer, Tokenize};
use crate::units::WeightFormat;
use crate::weights::{Weights, bytes};

/// Reads and checks a DNABERT-2 style model of any size.
///
/// # Errors
/// [`Fault::ModelMissing`], [`Fault::ModelTensors`], [`Fault::ModelShape`], [`Fault::ModelConfig`],
/// [`Fault::ModelTokenizer`].
pub(super) fn read(weights: &Weights, dtype: WeightFormat) -> Result<Model<'_>> {
    let tensors = Selection::choose(weights, names::DNABERT, names::dnabert)?;
    let config = Config::new(&tensors, weights)?;
    tensors.require(&config.tensors())?;
    let tokenizer = read_tokenizer(weights, config.vocab_size)?;
    let file = weights.path();
    let dims = Dims {
        layers: Some(size(config.num_hidden_layers, "number of layers", file)?),
        width: size(config.hidden_size, "width", file)?,
        heads: Some(size(config.num_attention_heads, "number of heads", file)?),
        vocabulary: Some(size(config.vocab_size, "vocabulary", file)?),
    };
    let files = vec![("config.json", write::json(&config)?), ("tokenizer.json", tokenizer)];
    Ok(Model { tensors, dims, files, dtype })
}

/// The configuration of a bundle: Hugging Face's names.
#[derive(Serialize)]
struct Config {
    model_type: &'static str,
    vocab_size: usize,
    type_vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: &'static str,
    layer_norm_eps: f64,
    alibi_starting_size: usize,
}

/// What a published configuration may say.
#[derive(Deserialize)]
struct Published {
    vocab_size: Option<usize>,
    type_vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    alibi_starting_size: Option<usize>,
}

impl Config {
    /// The published configuration, as far as the tensors agree. The number of heads stands nowhere else.
    fn new(tensors: &Selection<'_>, weights: &Weights) -> Result<Self> {
        let file = weights.beside("config.json");
        let json = weights.read_beside("config.json")?.ok_or_else(|| missing_beside(weights, "config.json"))?;
        let published: Published = config::read(&json, &file)?;
        let (vocab_size, hidden_size) = tensors.matrix("embeddings.word_embeddings.weight")?;
        let (type_vocab_size, _) = tensors.matrix("embeddings.token_type_embeddings.weight")?;
        let (_, intermediate_size) = tensors.matrix("encoder.layer.0.mlp.wo.weight")?;
        let num_hidden_layers = tensors.layers()?;
        let settings = [
            Setting::new("hidden_size", published.hidden_size, hidden_size),
            Setting::new("num_hidden_layers", published.num_hidden_layers, num_hidden_layers),
            Setting::new("intermediate_size", published.intermediate_size, intermediate_size),
            Setting::new("vocab_size", published.vocab_size, vocab_size),
            // Defaults of Hugging Face's BertConfig.
            Setting::new("type_vocab_size", published.type_vocab_size.or(Some(2)), type_vocab_size),
            Setting::new("hidden_act", Some(published.hidden_act.as_deref().unwrap_or("gelu")), "gelu"),
        ];
        settings.iter().try_for_each(|setting| setting.check(&file))?;
        let heads = published.num_attention_heads.filter(|&heads| heads > 0 && hidden_size % heads == 0);
        let heads = heads.ok_or_else(|| {
            Error::new(Fault::ModelConfig, "the configuration says no usable num_attention_heads")
                .file(&file)
                .record("num_attention_heads")
                .expected(format!("a divisor of the width {hidden_size}"))
                .found(published.num_attention_heads.map_or_else(|| "nothing".to_owned(), |heads| heads.to_string()))
        })?;
        Ok(Self {
            model_type: "bert",
            vocab_size,
            type_vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads: heads,
            intermediate_size,
            hidden_act: "gelu",
            layer_norm_eps: config::epsilon(published.layer_norm_eps.or(Some(1e-12)), &file)?,
            // The length up to which the authors' code computes its table of biases in advance: no effect on values.
            alibi_starting_size: published.alibi_starting_size.unwrap_or(512),
        })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let mut tensors = vec![
            ("embeddings.word_embeddings.weight".to_owned(), vec![self.vocab_size, d]),
            ("embeddings.token_type_embeddings.weight".to_owned(), vec![self.type_vocab_size, d]),
            ("embeddings.LayerNorm.weight".to_owned(), vec![d]),
            ("embeddings.LayerNorm.bias".to_owned(), vec![d]),
        ];
        for layer in 0..self.num_hidden_layers {
            let mut add = |name: &str, shape: &[usize]| {
                tensors.push((format!("encoder.layer.{layer}.{name}"), shape.to_vec()));
            };
            add("attention.self.Wqkv.weight", &[3 * d, d]);
            add("attention.self.Wqkv.bias", &[3 * d]);
            add("attention.output.dense.weight", &[d, d]);
            add("attention.output.dense.bias", &[d]);
            // Two halves: the first is activated and multiplied by the second.
            add("mlp.gated_layers.weight", &[2 * f, d]);
            add("mlp.wo.weight", &[d, f]);
            add("mlp.wo.bias", &[d]);
            for norm in ["attention.output.LayerNorm", "mlp.layernorm"] {
                add(&format!("{norm}.weight"), &[d]);
                add(&format!("{norm}.bias"), &[d]);
            }
        }
        tensors
    }
}

/// The tokeniser as published, if it belongs to a model of so many embedding rows.
fn read_tokenizer(weights: &Weights, rows: usize) -> Result<Vec<u8>> {
    let file = weights.beside("tokenizer.json");
    let json = weights.read_beside("tokenizer.json")?.ok_or_else(|| missing_beside(weights, "tokenizer.json"))?;
    bytes::text(&json, &file)?;
    let tokenizer = DnabertTokenizer::from_bytes(&json, &file)?;
    if tokenizer.vocabulary() == rows {
        return Ok(json.to_vec());
    }
    Err(Error::new(Fault::ModelTokenizer, "this tokeniser belongs to another model")
        .file(&file)
        .expected(format!("{rows} tokens, as the model has embeddings"))
        .found(format!("{} tokens", tokenizer.vocabulary()))
        .advice("take tokenizer.json and tensors of one and the same published model"))
}

fn missing_beside(weights: &Weights, name: &str) -> Error {
    Error::new(Fault::ModelMissing, format!("there is no {name} beside {}", weights.path().display()))
        .file(weights.beside(name))
        .advice(format!("download the {name} that was published with the model into the same folder"))
}
