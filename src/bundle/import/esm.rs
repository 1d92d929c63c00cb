//! ESM-2: what its tensors must be, and the configuration that goes with them.
//!
//! fair-esm publishes no configuration: it is derived from the shapes. Where Hugging Face's `config.json` stands
//! beside the tensors, both must say the same.

use serde::{Deserialize, Serialize};

use super::config::{self, Setting};
use super::selection::Selection;
use super::{Dims, Model, names, size};
use crate::error::{Error, Fault, Result};
use crate::tokenize::{ALPHABET, EsmTokenizer, Tokenize};
use crate::units::WeightFormat;
use crate::weights::{Weights, bytes};

/// Reads and checks an ESM-2 weights file of any size.
///
/// # Errors
/// [`Fault::ModelTensors`], [`Fault::ModelShape`], [`Fault::ModelConfig`], [`Fault::ModelTokenizer`].
pub(super) fn read(weights: &Weights, dtype: WeightFormat) -> Result<Model<'_>> {
    let tensors = Selection::choose(weights, names::ESM, names::esm)?;
    let shape = Shape::of(&tensors)?;
    tensors.require(&shape.tensors())?;
    check_alphabet(weights, shape.vocabulary)?;
    let config = Config::new(&shape, weights)?;
    let file = weights.path();
    let dims = Dims {
        layers: Some(size(shape.layers, "number of layers", file)?),
        width: size(shape.hidden, "width", file)?,
        heads: Some(size(shape.heads, "number of heads", file)?),
        vocabulary: Some(size(shape.vocabulary, "vocabulary", file)?),
    };
    Ok(Model { tensors, dims, files: vec![("config.json", super::write::json(&config)?)], dtype })
}

/// The numbers that the shapes tell.
struct Shape {
    layers: usize,
    hidden: usize,
    heads: usize,
    intermediate: usize,
    vocabulary: usize,
}

impl Shape {
    fn of(tensors: &Selection<'_>) -> Result<Self> {
        let (vocabulary, hidden) = tensors.matrix("embeddings.word_embeddings.weight")?;
        let layers = tensors.layers()?;
        let (intermediate, _) = tensors.matrix("encoder.layer.0.intermediate.dense.weight")?;
        // One frequency per pair of numbers of a head.
        let frequencies = tensors.vector("encoder.layer.0.attention.self.rotary_embeddings.inv_freq")?;
        let head = frequencies.saturating_mul(2);
        if hidden % head != 0 {
            return Err(Error::new(Fault::ModelShape, "the rotary frequencies do not fit the width of the model")
                .file(tensors.path())
                .expected(format!("half the width of a head, of which {hidden} is a multiple"))
                .found(format!("{frequencies} frequencies")));
        }
        Ok(Self { layers, hidden, heads: hidden / head, intermediate, vocabulary })
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (d, f) = (self.hidden, self.intermediate);
        let mut tensors = vec![
            ("embeddings.word_embeddings.weight".to_owned(), vec![self.vocabulary, d]),
            ("encoder.emb_layer_norm_after.weight".to_owned(), vec![d]),
            ("encoder.emb_layer_norm_after.bias".to_owned(), vec![d]),
        ];
        for layer in 0..self.layers {
            let mut add = |name: &str, shape: &[usize]| {
                tensors.push((format!("encoder.layer.{layer}.{name}"), shape.to_vec()));
            };
            add("attention.self.rotary_embeddings.inv_freq", &[d / self.heads / 2]);
            for norm in ["attention.LayerNorm", "LayerNorm"] {
                add(&format!("{norm}.weight"), &[d]);
                add(&format!("{norm}.bias"), &[d]);
            }
            for (linear, outputs, inputs) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", f, d),
                ("output.dense", d, f),
            ] {
                add(&format!("{linear}.weight"), &[outputs, inputs]);
                add(&format!("{linear}.bias"), &[outputs]);
            }
        }
        tensors
    }
}

/// The configuration of a bundle: Hugging Face's names.
#[derive(Serialize)]
struct Config {
    model_type: &'static str,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    layer_norm_eps: f64,
    position_embedding_type: &'static str,
    emb_layer_norm_before: bool,
    token_dropout: bool,
    mask_token_id: u32,
    pad_token_id: u32,
}

/// What a published configuration may say.
#[derive(Deserialize)]
struct Published {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    position_embedding_type: Option<String>,
    emb_layer_norm_before: Option<bool>,
    token_dropout: Option<bool>,
    mask_token_id: Option<u32>,
    pad_token_id: Option<u32>,
    is_folding_model: Option<bool>,
}

impl Config {
    fn new(shape: &Shape, weights: &Weights) -> Result<Self> {
        let mut derived = Self {
            model_type: "esm",
            vocab_size: shape.vocabulary,
            hidden_size: shape.hidden,
            num_hidden_layers: shape.layers,
            num_attention_heads: shape.heads,
            intermediate_size: shape.intermediate,
            // fair-esm 2.0.0: the default of torch.nn.LayerNorm.
            layer_norm_eps: 1e-5,
            position_embedding_type: "rotary",
            emb_layer_norm_before: false,
            token_dropout: true,
            mask_token_id: 32,
            pad_token_id: 1,
        };
        let Some(json) = weights.read_beside("config.json")? else { return Ok(derived) };
        let file = weights.beside("config.json");
        let published: Published = config::read(&json, &file)?;
        let settings = [
            Setting::new("hidden_size", published.hidden_size, derived.hidden_size),
            Setting::new("num_hidden_layers", published.num_hidden_layers, derived.num_hidden_layers),
            Setting::new("num_attention_heads", published.num_attention_heads, derived.num_attention_heads),
            Setting::new("intermediate_size", published.intermediate_size, derived.intermediate_size),
            Setting::new("vocab_size", published.vocab_size, derived.vocab_size),
            // Hugging Face's defaults differ from ESM-2: what is absent here is not what is wanted.
            Setting::new("position_embedding_type", published.position_embedding_type.as_deref(), "rotary"),
            Setting::new("token_dropout", published.token_dropout, true),
            Setting::new("emb_layer_norm_before", published.emb_layer_norm_before.or(Some(false)), false),
            Setting::new("is_folding_model", published.is_folding_model.or(Some(false)), false),
            Setting::new("mask_token_id", published.mask_token_id.or(Some(32)), 32),
            Setting::new("pad_token_id", published.pad_token_id.or(Some(1)), 1),
        ];
        settings.iter().try_for_each(|setting| setting.check(&file))?;
        derived.layer_norm_eps = config::epsilon(published.layer_norm_eps, &file)?;
        Ok(derived)
    }
}

/// The tokeniser is built in, so the weights file must have its alphabet.
fn check_alphabet(weights: &Weights, rows: usize) -> Result<()> {
    let refused = |file: &std::path::Path| {
        Error::new(Fault::ModelTokenizer, "the alphabet of this model is not that of ESM-2")
            .file(file)
            .advice("take an ESM-2 model; ESM-1b, ESM-3 and others are not read")
    };
    if rows != EsmTokenizer.vocabulary() {
        return Err(refused(weights.path())
            .expected(format!("{} embedding rows", EsmTokenizer.vocabulary()))
            .found(format!("{rows} rows")));
    }
    let Some(vocabulary) = weights.read_beside("vocab.txt")? else { return Ok(()) };
    let file = weights.beside("vocab.txt");
    let symbols: Vec<_> = bytes::text(&vocabulary, &file)?.lines().map(str::trim).collect();
    let differ = (0..symbols.len().max(ALPHABET.len())).find(|&id| symbols.get(id) != ALPHABET.get(id));
    match differ {
        None => Ok(()),
        Some(id) => Err(refused(&file)
            .line(id as u64 + 1)
            .expected(ALPHABET.get(id).copied().unwrap_or("the end of the file"))
            .found(symbols.get(id).copied().unwrap_or("the end of the file"))),
    }
}
