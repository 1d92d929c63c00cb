//! What a model is made of, without any of its numbers: its configuration, and the names, shapes and rules of its
//! tensors. `models import` checks published weights against it, loading checks a bundle's against the very same.

pub mod dnabert;
pub mod esm2;
pub mod head;

use std::collections::{BTreeMap, BTreeSet};

use safetensors::Dtype;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Fault, Result};
use crate::weights::{TensorInfo, first_ten};

/// The tensors of a model by name.
#[derive(Clone, Debug, Default)]
pub struct Schema(BTreeMap<String, TensorSpec>);

/// What a tensor must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Which values it may have.
    pub values: Values,
}

impl TensorSpec {
    fn check(&self, tensor: &TensorInfo) -> Result<()> {
        if !matches!(tensor.dtype, Dtype::F64 | Dtype::F32 | Dtype::BF16 | Dtype::F16) {
            return Err(Error::new(Fault::ModelTensors, "a tensor does not hold floating-point numbers")
                .record(&tensor.name)
                .expected("f32, bf16, f16 or f64")
                .found(format!("{:?}", tensor.dtype).to_lowercase())
                .advice("quantised weights files are not read: take the one they were made from"));
        }
        if tensor.shape == self.shape { Ok(()) } else { Err(misshapen(tensor, &format!("{:?}", self.shape))) }
    }
}

/// Which values a tensor may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Finite numbers.
    Finite,
    /// Finite numbers, none below zero: a root is taken of them.
    Variance,
}

impl Values {
    /// The error for a value that is not allowed: the one at `place`, row-major, which is to be stored or computed with in
    /// `format`.
    pub fn refuse(self, value: f64, format: &str, tensor: &TensorInfo, place: usize) -> Error {
        const DAMAGED: &str = "the weights file is damaged or its training failed: take another";
        let refused = |message: &str| {
            Error::new(Fault::ModelNonFinite, message)
                .record(format!("{}, value {place} of shape {:?}", tensor.name, tensor.shape))
                .found(value.to_string())
        };
        if !value.is_finite() {
            refused("a tensor holds a value that is not finite").expected("finite numbers").advice(DAMAGED)
        } else if self == Self::Variance && value < 0.0 {
            refused("a variance is below zero").expected("0 or more").advice(DAMAGED)
        } else {
            refused(&format!("a tensor holds a value that {format} cannot hold"))
                .expected(format!("numbers that stay finite in {format}"))
                .advice("choose a wider --dtype: bf16 reaches as far as f32")
        }
    }
}

impl Schema {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&TensorSpec> {
        self.0.get(name)
    }

    /// Whether a model of this kind, of whatever number of layers, can have a tensor of this name. The schema must be that
    /// of at least one layer.
    pub fn knows(&self, name: &str) -> bool {
        match layer_of(name) {
            Some((_, rest)) => self.0.contains_key(&format!("{LAYERS}0.{rest}")),
            None => self.0.contains_key(name),
        }
    }

    /// Compares names, shapes and number formats.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`] for tensors that are missing, left over or not floating-point; [`Fault::ModelShape`].
    pub fn check(&self, tensors: &Tensors<'_>) -> Result<()> {
        let missing: Vec<_> = self.0.keys().map(String::as_str).filter(|name| !tensors.0.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(missing_tensors(&missing));
        }
        let has_place = |name: &str| self.0.contains_key(name);
        let extra: Vec<_> =
            tensors.0.iter().filter(|(name, _)| !has_place(name)).map(|(_, info)| &*info.name).collect();
        if !extra.is_empty() {
            let message = format!("{} tensors of the file have no place in the model", extra.len());
            return Err(Error::new(Fault::ModelTensors, message)
                .expected(format!("{} tensors", self.0.len()))
                .found(format!("also {}", first_ten(&extra)))
                .advice(ADVICE));
        }
        self.0.iter().try_for_each(|(name, spec)| spec.check(tensors.get(name)?))
    }

    fn add_tensor(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), TensorSpec { shape: shape.to_vec(), values: Values::Finite });
    }

    /// The variance of a BatchNorm, [width].
    fn add_variance(&mut self, name: &str, width: usize) {
        self.0.insert(name.to_owned(), TensorSpec { shape: vec![width], values: Values::Variance });
    }

    /// `weight` and `bias` [width] of a LayerNorm.
    fn add_norm(&mut self, name: &str, width: usize) {
        self.add_tensor(format!("{name}.weight"), &[width]);
        self.add_tensor(format!("{name}.bias"), &[width]);
    }

    /// `weight` [outputs, inputs] and `bias` [outputs].
    fn add_linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.add_tensor(format!("{name}.weight"), &[outputs, inputs]);
        self.add_tensor(format!("{name}.bias"), &[outputs]);
    }

    /// The tensors of one layer, as many times as there are layers.
    fn add_layers(&mut self, count: usize, one: &Schema) {
        for index in 0..count {
            self.0.extend(one.0.iter().map(|(name, spec)| (format!("{LAYERS}{index}.{name}"), spec.clone())));
        }
    }
}

/// What stands before the number of a layer.
const LAYERS: &str = "encoder.layer.";

const ADVICE: &str = "the file is damaged or belongs to another model: import or fetch the model again";

/// Number of the layer that a tensor belongs to, and its name there.
fn layer_of(name: &str) -> Option<(usize, &str)> {
    numbered(name, LAYERS)
}

/// The number after `prefix`, and what follows it: 7 and `output.dense.weight` of `encoder.layer.7.output.dense.weight`.
pub fn numbered<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (digits, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some((number, rest))
}

/// Tensors of a file, without their values, under the names that a model gives them.
pub struct Tensors<'a>(BTreeMap<&'a str, &'a TensorInfo>);

impl<'a> FromIterator<(&'a str, &'a TensorInfo)> for Tensors<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a TensorInfo)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl<'a> Tensors<'a> {
    fn get(&self, name: &str) -> Result<&'a TensorInfo> {
        self.0.get(name).copied().ok_or_else(|| missing_tensors(&[name]))
    }

    /// Length of a tensor of one dimension.
    fn vector(&self, name: &str) -> Result<usize> {
        let info = self.get(name)?;
        match *info.shape {
            [length] if length > 0 => Ok(length),
            _ => Err(misshapen(info, "one dimension that is not 0")),
        }
    }

    /// Rows and columns of a tensor of two dimensions.
    fn matrix(&self, name: &str) -> Result<(usize, usize)> {
        let info = self.get(name)?;
        match *info.shape {
            [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
            _ => Err(misshapen(info, "two dimensions, neither of them 0")),
        }
    }

    /// Number of layers: counted from 0 without a gap.
    fn layers(&self) -> Result<usize> {
        let layers: BTreeSet<usize> = self.0.keys().filter_map(|name| Some(layer_of(name)?.0)).collect();
        match layers.iter().enumerate().find(|&(place, &layer)| place != layer) {
            None if !layers.is_empty() => Ok(layers.len()),
            gap => Err(missing_tensors(&[&format!("{LAYERS}{}", gap.map_or(0, |(place, _)| place))])),
        }
    }
}

/// The error for tensors that are not there.
fn missing_tensors(names: &[&str]) -> Error {
    let advice = if names.iter().any(|name| name.ends_with("inv_freq")) {
        "rotary frequencies (inv_freq) must come from the weights file: they are rounded as in training and never \
         recomputed, which would change every vector; take a file that holds them"
    } else {
        ADVICE
    };
    Error::new(Fault::ModelTensors, format!("{} tensors are missing: {}", names.len(), first_ten(names))).advice(advice)
}

/// The error for a tensor of another shape.
fn misshapen(tensor: &TensorInfo, expected: &str) -> Error {
    Error::new(Fault::ModelShape, "a tensor has another shape than the rest of the model asks for")
        .record(&tensor.name)
        .expected(expected)
        .found(match tensor.shape.get(..9) {
            Some(start) => format!("{} dimensions: {start:?} …", tensor.shape.len()),
            None => format!("{:?}", tensor.shape),
        })
        .advice(ADVICE)
}

/// The text of a `config.json`, a line end last.
///
/// # Errors
/// None but a defect of this program.
pub fn to_json(config: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(config)
        .map_err(|error| Error::new(Fault::Bug, "a configuration cannot be written").caused_by(error))?;
    text.push(b'\n');
    Ok(text)
}

/// Parses the text of a `config.json`. Names that are not asked for are ignored.
fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(Fault::ModelConfig, "the model's configuration cannot be read")
            .line(error.line() as u64)
            .found(error.to_string())
            .advice("use the config.json that was published with the weights")
    })
}

/// A setting that this program cannot follow exactly.
fn refuse(name: &str, expected: &str, found: impl ToString) -> Error {
    Error::new(Fault::ModelConfig, format!("the model's configuration has a '{name}' that is not supported"))
        .record(name)
        .expected(expected)
        .found(found.to_string())
        .advice(
            "use the config.json that was published with the weights; other variants of the model are not supported",
        )
}

/// Sizes that every shape is made of: bounded, so that arithmetic on them cannot overflow and lists of tensors stay short.
fn check_sizes(sizes: &[(&str, usize)]) -> Result<()> {
    for (name, size) in sizes {
        let most = if *name == "num_hidden_layers" { 1 << 10 } else { 1 << 24 };
        if !(1..=most).contains(size) {
            return Err(refuse(name, &format!("1 to {most}"), size));
        }
    }
    Ok(())
}

/// A setting that must have one value.
fn check_only<T: PartialEq + ToString>(name: &str, only: T, found: T) -> Result<()> {
    if found == only { Ok(()) } else { Err(refuse(name, &only.to_string(), found)) }
}

/// Width of an attention head.
fn head_width(hidden_size: usize, heads: usize) -> Result<usize> {
    match hidden_size.checked_div(heads) {
        Some(width) if width * heads == hidden_size => Ok(width),
        _ => Err(refuse("num_attention_heads", &format!("a divisor of hidden_size, {hidden_size}"), heads)),
    }
}

/// The small number that a LayerNorm adds to the variance.
fn check_eps(eps: f64) -> Result<()> {
    if eps > 0.0 && eps < 0.1 { Ok(()) } else { Err(refuse("layer_norm_eps", "a number above 0 and below 0.1", eps)) }
}

/// The only activation that both encoders were trained with, and what a missing `hidden_act` stands for.
const GELU: &str = "gelu";

fn gelu() -> String {
    GELU.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tensors of a schema as a file might hold them.
    fn file(schema: &Schema) -> Vec<TensorInfo> {
        let tensor = |(name, spec): (&String, &TensorSpec)| TensorInfo {
            name: name.clone(),
            dtype: Dtype::F32,
            shape: spec.shape.clone(),
        };
        schema.0.iter().map(tensor).collect()
    }

    fn check(schema: &Schema, tensors: &[TensorInfo]) -> Result<()> {
        schema.check(&tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect())
    }

    #[test]
    fn the_tensors_of_a_model_are_those_that_are_named_and_no_others() {
        let config =
            esm2::Config { num_hidden_layers: 2, hidden_size: 8, num_attention_heads: 2, ..Default::default() };
        let schema = config.tensors();
        let whole = file(&schema);
        assert_eq!(whole.len(), 3 + 2 * 17);
        check(&schema, &whole).unwrap();
        for (change, fault, named) in [
            (0, Fault::ModelTensors, "encoder.layer.1.output.dense.weight"),
            (1, Fault::ModelTensors, "encoder.layer.2.output.dense.weight"),
            (2, Fault::ModelShape, "[1, 8]"),
            (3, Fault::ModelTensors, "i64"),
        ] {
            let mut tensors = whole.clone();
            let last = tensors.last_mut().unwrap();
            assert_eq!(last.name, "encoder.layer.1.output.dense.weight");
            match change {
                0 => drop(tensors.pop()),
                1 => {
                    let extra = TensorInfo { name: "encoder.layer.2.output.dense.weight".to_owned(), ..last.clone() };
                    tensors.push(extra);
                }
                2 => last.shape = vec![1, 8],
                _ => last.dtype = Dtype::I64,
            }
            let error = check(&schema, &tensors).unwrap_err();
            assert_eq!(error.fault(), fault, "{named}");
            assert!(error.report("import").contains(named), "{}", error.report("import"));
        }
    }

    #[test]
    fn up_to_ten_names_are_listed() {
        let schema = head::Config { hidden: 2, inputs: 3 }.tensors();
        let mut tensors = file(&schema);
        for number in 0..12 {
            let name = format!("extra{number:02}");
            tensors.push(TensorInfo { name, dtype: Dtype::F32, shape: vec![1] });
        }
        let report = check(&schema, &tensors).unwrap_err().report("import");
        assert!(report.contains("12 tensors") && report.contains("extra09") && !report.contains("extra10"), "{report}");
        assert!(report.contains("and 2 more"), "{report}");
    }

    #[test]
    fn names_are_known_whatever_the_layer() {
        let schema = dnabert::Config::default().tensors();
        for name in ["embeddings.LayerNorm.bias", "encoder.layer.0.mlp.wo.bias", "encoder.layer.77.mlp.wo.bias"] {
            assert!(schema.knows(name), "{name}");
        }
        for name in ["encoder.layer.mlp.wo.bias", "encoder.layer.07.mlp.wo.bias", "encoder.layer.0.wo", "x", ""] {
            assert!(!schema.knows(name), "{name}");
        }
        assert_eq!(layer_of("encoder.layer.12.mlp.wo.bias"), Some((12, "mlp.wo.bias")));
    }

    #[test]
    fn a_configuration_is_the_same_when_written_and_read() {
        let config = esm2::Config { vocab_size: 33, hidden_size: 64, num_attention_heads: 4, ..Default::default() };
        let json = to_json(&config).unwrap();
        let read = esm2::Config::from_json(str::from_utf8(&json).unwrap()).unwrap();
        assert_eq!((to_json(&read).unwrap(), read.sizes()), (json, config.sizes()));
        let config = dnabert::Config { hidden_size: 48, num_attention_heads: 12, ..Default::default() };
        let json = to_json(&config).unwrap();
        let read = dnabert::Config::from_json(str::from_utf8(&json).unwrap()).unwrap();
        assert_eq!((to_json(&read).unwrap(), read.sizes()), (json, config.sizes()));
    }
}
