//! A model that was read and checked against its schema: what its tensors must be, and what goes with them.

use std::path::Path;

use super::convert;
use super::selection::Selection;
use super::source::ImportSource;
use crate::bundle::component::{CONFIG_JSON, Component, TOKENIZER_JSON};
use crate::error::{Error, Fault, Result};
use crate::model::schema::{Configuration, NamedTensors, Schema, dnabert, esm2, head};
use crate::tokenize::{ALPHABET, DnabertTokenizer, EsmTokenizer, Tokenize};
use crate::units::WeightFormat;
use crate::weights::{Layout, ModelBytes, TensorInfo, Weights, bytes};

/// A model of which everything but the values of its tensors was checked.
pub(super) struct CheckedModel<'a> {
    pub(super) source: &'a ImportSource,
    pub(super) tensors: Selection<'a>,
    /// The tensors as they will be written.
    pub(super) layout: Layout,
    pub(super) description: Description,
}

/// What a model is made of.
pub(super) struct Description {
    pub(super) schema: Schema,
    /// What is written beside the tensors, by name.
    pub(super) beside: Vec<(&'static str, Vec<u8>)>,
    /// Transformer layers; 0 for the head.
    pub(super) layers: usize,
    /// Width of a vector: of the output of an encoder, of the input of the head.
    pub(super) width: usize,
    /// Its size for people, as `3 layers, width 64, 4 heads, vocabulary 33`.
    pub(super) size: String,
}

impl<'a> CheckedModel<'a> {
    /// Reads and checks a model of any size; encoders are to be stored in the number format `dtype`.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], [`Fault::ModelTensors`], [`Fault::ModelShape`], [`Fault::ModelConfig`],
    /// [`Fault::ModelTokenizer`].
    pub(super) fn read(source: &'a ImportSource, dtype: WeightFormat) -> Result<Self> {
        let (weights, tensors) = (&source.weights, Selection::of(source)?);
        let (description, dtype) = match source.component {
            Component::Dnabert => (Description::of_dnabert(weights, &tensors.tensors())?, dtype),
            Component::Esm => (Description::of_esm(weights, &tensors.tensors())?, dtype),
            Component::Head => (Description::of_head(weights, &tensors.tensors())?, WeightFormat::Keep),
        };
        description.schema.check(&tensors.tensors()).map_err(|error| error.file(weights.path()))?;
        let written = |(name, info): (&str, &TensorInfo)| TensorInfo {
            name: name.to_owned(),
            dtype: convert::target(name, info.dtype, dtype),
            shape: info.shape.clone(),
        };
        let layout = Layout::of(tensors.iter().map(written).collect())?;
        Ok(Self { source, tensors, layout, description })
    }
}

impl Description {
    fn of_dnabert(weights: &Weights, tensors: &NamedTensors<'_>) -> Result<Self> {
        let config: dnabert::Config = configuration(weights)?.ok_or_else(|| missing_beside(weights, CONFIG_JSON))?;
        let found = config.with_sizes_of(tensors).map_err(|error| error.file(weights.path()))?;
        agree(&config, &found, weights)?;
        let tokenizer = (TOKENIZER_JSON, dnabert_tokenizer(weights, config.vocab_size)?);
        let sizes = [config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size];
        Self::of_encoder(&config, sizes, Some(tokenizer))
    }

    /// fair-esm publishes no configuration: it is derived from the shapes. Where Hugging Face's `config.json` is beside the
    /// tensors, both must say the same.
    fn of_esm(weights: &Weights, tensors: &NamedTensors<'_>) -> Result<Self> {
        let found = esm2::Config::of(tensors).map_err(|error| error.file(weights.path()))?;
        check_alphabet(weights, found.vocab_size)?;
        let config = configuration(weights)?.unwrap_or_else(|| found.clone());
        agree(&config, &found, weights)?;
        let sizes = [config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size];
        Self::of_encoder(&config, sizes, None)
    }

    fn of_head(weights: &Weights, tensors: &NamedTensors<'_>) -> Result<Self> {
        let config = head::Config::of(tensors).map_err(|error| error.file(weights.path()))?;
        let (schema, size) = (config.tensors(), format!("{} inputs", config.inputs()));
        Ok(Self { schema, beside: Vec::new(), layers: 0, width: config.inputs(), size })
    }

    fn of_encoder(
        config: &impl Configuration,
        [layers, width, heads, vocabulary]: [usize; 4],
        tokenizer: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Self> {
        let beside = [(CONFIG_JSON, config.to_json()?)].into_iter().chain(tokenizer).collect();
        let size = format!("{layers} layers, width {width}, {heads} heads, vocabulary {vocabulary}");
        Ok(Self { schema: config.tensors(), beside, layers, width, size })
    }
}

/// The published configuration, if there is one beside the tensors.
fn configuration<C: Configuration>(weights: &Weights) -> Result<Option<C>> {
    let (file, json) = (weights.beside(CONFIG_JSON), weights.read_beside(CONFIG_JSON)?);
    let read = |json: ModelBytes| C::from_json(bytes::text(&json, &file)?).map_err(|error| error.file(&file));
    json.map(read).transpose()
}

/// Refuses a configuration whose sizes are not those found in the tensors.
fn agree<C: Configuration>(config: &C, found: &C, weights: &Weights) -> Result<()> {
    match config.sizes().into_iter().zip(found.sizes()).find(|(said, found)| said != found) {
        None => Ok(()),
        Some(((name, said), (_, found))) => {
            Err(Error::new(Fault::ModelConfig, format!("the configuration says another {name} than the tensors"))
                .file(weights.beside(CONFIG_JSON))
                .record(name)
                .expected(found.to_string())
                .found(said.to_string())
                .advice("take config.json and tensors of one and the same published model"))
        }
    }
}

/// The tokeniser as published, if it belongs to a model of so many embedding rows.
fn dnabert_tokenizer(weights: &Weights, rows: usize) -> Result<Vec<u8>> {
    let file = weights.beside(TOKENIZER_JSON);
    let json = weights.read_beside(TOKENIZER_JSON)?.ok_or_else(|| missing_beside(weights, TOKENIZER_JSON))?;
    let json = bytes::text(&json, &file)?.as_bytes();
    let tokenizer = DnabertTokenizer::from_bytes(json, &file)?;
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
    Error::new(Fault::ModelMissing, format!("{name} is missing beside {}", weights.path().display()))
        .file(weights.beside(name))
        .advice(format!("download the {name} that was published with the model into the same folder"))
}

/// The tokeniser of ESM-2 is built in, so the model must have its alphabet.
fn check_alphabet(weights: &Weights, rows: usize) -> Result<()> {
    let refused = |file: &Path| {
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
