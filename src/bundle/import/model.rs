//! A model that was read and checked against its schema: what its tensors must be, and what goes with them.

use std::path::Path;

use super::convert;
use super::selection::Selection;
use super::source::ImportSource;
use crate::bundle::component::{CONFIG_JSON, Component, TOKENIZER_JSON};
use crate::error::{Error, Fault, Result};
use crate::model::schema::{self, Schema, dnabert, esm2, head};
use crate::tokenize::{ALPHABET, DnabertTokenizer, EsmTokenizer, Tokenize};
use crate::units::WeightFormat;
use crate::weights::{Layout, ModelBytes, TensorInfo, Weights, bytes};

/// A model of which everything but the values of its tensors was checked.
pub(super) struct CheckedModel<'a> {
    pub(super) source: &'a ImportSource,
    pub(super) tensors: Selection<'a>,
    pub(super) schema: Schema,
    /// The tensors as they will be written.
    pub(super) layout: Layout,
    /// What is written beside the tensors, by name.
    pub(super) beside: Vec<(&'static str, Vec<u8>)>,
    /// Its size for people, as `3 layers, width 64, 4 heads, vocabulary 33`.
    pub(super) size: String,
    /// Width of a vector: of the output of an encoder, of the input of the head.
    pub(super) width: u32,
    /// Transformer layers; 0 for the head.
    pub(super) layers: u32,
}

impl<'a> CheckedModel<'a> {
    /// Reads and checks a model of any size, whose encoders are to be stored in the number format `dtype`.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], [`Fault::ModelTensors`], [`Fault::ModelShape`], [`Fault::ModelConfig`],
    /// [`Fault::ModelTokenizer`].
    pub(super) fn read(source: &'a ImportSource, dtype: WeightFormat) -> Result<Self> {
        match source.component {
            Component::Dnabert => Self::dnabert(source, dtype),
            Component::Esm => Self::esm(source, dtype),
            Component::Head => Self::head(source),
        }
    }

    fn dnabert(source: &'a ImportSource, dtype: WeightFormat) -> Result<Self> {
        let (weights, tensors) = (&source.weights, Selection::of(source)?);
        let file = weights.beside(CONFIG_JSON);
        let json = required_beside(weights, CONFIG_JSON)?;
        let config = dnabert::Config::from_json(bytes::text(&json, &file)?).map_err(|error| error.file(&file))?;
        let found = config.with_sizes_of(&tensors.tensors()).map_err(|error| error.file(weights.path()))?;
        agree(&config.sizes(), &found.sizes(), &file)?;
        let tokenizer = ("tokenizer.json", dnabert_tokenizer(weights, config.vocab_size)?);
        let size = [config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size];
        let model = Self::checked(source, tensors, config.tensors(), dtype)?;
        Ok(Self { beside: vec![(CONFIG_JSON, schema::to_json(&config)?), tokenizer], ..model.of_size(size) })
    }

    /// fair-esm publishes no configuration: it is derived from the shapes. Where Hugging Face's `config.json` is beside the
    /// tensors, both must say the same.
    fn esm(source: &'a ImportSource, dtype: WeightFormat) -> Result<Self> {
        let (weights, tensors) = (&source.weights, Selection::of(source)?);
        let found = esm2::Config::of(&tensors.tensors()).map_err(|error| error.file(weights.path()))?;
        let model = Self::checked(source, tensors, found.tensors(), dtype)?;
        check_alphabet(weights, found.vocab_size)?;
        let config = match weights.read_beside(CONFIG_JSON)? {
            None => found,
            Some(json) => {
                let file = weights.beside(CONFIG_JSON);
                let config = esm2::Config::from_json(bytes::text(&json, &file)?).map_err(|error| error.file(&file))?;
                agree(&config.sizes(), &found.sizes(), &file)?;
                config
            }
        };
        let size = [config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size];
        Ok(Self { beside: vec![(CONFIG_JSON, schema::to_json(&config)?)], ..model.of_size(size) })
    }

    fn head(source: &'a ImportSource) -> Result<Self> {
        let tensors = Selection::of(source)?;
        let config = head::Config::of(&tensors.tensors()).map_err(|error| error.file(source.weights.path()))?;
        let model = Self::checked(source, tensors, config.tensors(), WeightFormat::Keep)?;
        Ok(Self { width: number(config.inputs), size: format!("{} inputs", config.inputs), ..model })
    }

    fn checked(source: &'a ImportSource, tensors: Selection<'a>, schema: Schema, dtype: WeightFormat) -> Result<Self> {
        schema.check(&tensors.tensors()).map_err(|error| error.file(source.weights.path()))?;
        let written = |(name, info): (&str, &TensorInfo)| TensorInfo {
            name: name.to_owned(),
            dtype: convert::target(name, info.dtype, dtype),
            shape: info.shape.clone(),
        };
        let layout = Layout::of(tensors.iter().map(written).collect())?;
        Ok(Self { source, tensors, schema, layout, beside: Vec::new(), size: String::new(), width: 0, layers: 0 })
    }

    fn of_size(self, [layers, width, heads, vocabulary]: [usize; 4]) -> Self {
        let size = format!("{layers} layers, width {width}, {heads} heads, vocabulary {vocabulary}");
        Self { size, width: number(width), layers: number(layers), ..self }
    }
}

/// A size, which the schema has bounded.
fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Refuses a configuration whose sizes are not those of the tensors.
fn agree(said: &[(&str, usize)], found: &[(&str, usize)], file: &Path) -> Result<()> {
    match said.iter().zip(found).find(|(said, found)| said != found) {
        None => Ok(()),
        Some(((name, said), (_, found))) => {
            Err(Error::new(Fault::ModelConfig, format!("the configuration says another {name} than the tensors"))
                .file(file)
                .record(*name)
                .expected(found.to_string())
                .found(said.to_string())
                .advice("take config.json and tensors of one and the same published model"))
        }
    }
}

/// The tokeniser as published, if it belongs to a model of so many embedding rows.
fn dnabert_tokenizer(weights: &Weights, rows: usize) -> Result<Vec<u8>> {
    let file = weights.beside(TOKENIZER_JSON);
    let json = required_beside(weights, TOKENIZER_JSON)?;
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

fn required_beside(weights: &Weights, name: &str) -> Result<ModelBytes> {
    weights.read_beside(name)?.ok_or_else(|| {
        Error::new(Fault::ModelMissing, format!("{name} is missing beside {}", weights.path().display()))
            .file(weights.beside(name))
            .advice(format!("download the {name} that was published with the model into the same folder"))
    })
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
