//! What a model is made of, without any of its numbers: its configuration, and the names, shapes and rules of its
//! tensors. `models import` checks published weights against it, loading checks a bundle's against the very same.

pub mod dnabert;
pub mod esm2;
pub mod head;
pub mod shapes;

use std::collections::{BTreeMap, BTreeSet};

use safetensors::Dtype;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Fault, Result};
use crate::units::counted;
use crate::weights::{TensorInfo, first_ten};

/// The tensors of a model by name.
#[derive(Clone, Debug, Default)]
pub struct Schema(BTreeMap<String, TensorSpec>);

/// What a tensor must be. Its values are always finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Whether a root is taken of its values: none may be below zero.
    pub is_variance: bool,
}

/// What comes before the number of a layer.
const LAYERS: &str = "encoder.layer.";

const ADVICE: &str = "the file is damaged or belongs to another model: import or fetch the model again";

impl Schema {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&TensorSpec> {
        self.0.get(name)
    }

    /// Names and shapes of all tensors, in order of the names.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.0.iter().map(|(name, spec)| (name.as_str(), spec.shape.as_slice()))
    }

    /// Whether a model of this kind, with any number of layers, has a tensor of this name. The schema itself needs at least
    /// one layer.
    pub fn knows(&self, name: &str) -> bool {
        match numbered(name, LAYERS) {
            Some((_, rest)) => self.0.contains_key(&format!("{LAYERS}0.{rest}")),
            None => self.0.contains_key(name),
        }
    }

    /// Compares names, shapes and number formats.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`] for tensors that are missing, left over or not floating-point; [`Fault::ModelShape`].
    pub fn check(&self, tensors: &NamedTensors<'_>) -> Result<()> {
        let missing: Vec<_> = self.0.keys().map(String::as_str).filter(|name| !tensors.0.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(missing_tensors(&missing));
        }
        let extra = tensors.0.iter().filter(|(name, _)| !self.0.contains_key(**name));
        let extra: Vec<_> = extra.map(|(_, tensor)| tensor.name.as_str()).collect();
        if !extra.is_empty() {
            let message = format!("tensors without a place in the model: {}", extra.len());
            return Err(Error::new(Fault::ModelTensors, message)
                .expected(counted(self.0.len() as u64, "tensor"))
                .found(format!("also {}", first_ten(&extra)))
                .advice(ADVICE));
        }
        self.0.iter().try_for_each(|(name, spec)| spec.check(tensors.get(name)?))
    }

    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), TensorSpec { shape: shape.to_vec(), is_variance: false });
    }

    fn add_variance(&mut self, name: &str, width: usize) {
        self.0.insert(name.to_owned(), TensorSpec { shape: vec![width], is_variance: true });
    }

    /// `weight` and `bias` [width] of a norm.
    fn add_norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), &[width]);
        self.add(format!("{name}.bias"), &[width]);
    }

    /// `weight` [outputs, inputs] and `bias` [outputs].
    fn add_linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.add(format!("{name}.weight"), &[outputs, inputs]);
        self.add(format!("{name}.bias"), &[outputs]);
    }

    /// The tensors of one layer, as many times as there are layers.
    fn add_layers(&mut self, count: usize, one: &Schema) {
        for index in 0..count {
            self.0.extend(one.0.iter().map(|(name, spec)| (format!("{LAYERS}{index}.{name}"), spec.clone())));
        }
    }
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

    /// The error for a value that is not allowed: the one at `place`, row-major, that is to be stored or computed with in
    /// `format`.
    pub fn refuse(&self, value: f64, format: &str, tensor: &TensorInfo, place: usize) -> Error {
        const DAMAGED: &str = "the weights file is damaged or its training failed: take another";
        let refused = |message: &str| {
            Error::new(Fault::ModelNonFinite, message)
                .record(format!("{}, value {place} of shape {:?}", tensor.name, tensor.shape))
                .found(value.to_string())
        };
        if !value.is_finite() {
            refused("a tensor holds a value that is not finite").expected("finite numbers").advice(DAMAGED)
        } else if self.is_variance && value < 0.0 {
            refused("a variance is below zero").expected("0 or more").advice(DAMAGED)
        } else {
            refused(&format!("a tensor holds a value that {format} cannot hold"))
                .expected(format!("numbers that stay finite in {format}"))
                .advice("choose a wider --dtype: bf16 reaches as far as f32")
        }
    }
}

/// Tensors of a file, without their values, under the names that a model gives them.
pub struct NamedTensors<'a>(BTreeMap<&'a str, &'a TensorInfo>);

impl<'a> FromIterator<(&'a str, &'a TensorInfo)> for NamedTensors<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a TensorInfo)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl<'a> NamedTensors<'a> {
    fn get(&self, name: &str) -> Result<&'a TensorInfo> {
        self.0.get(name).copied().ok_or_else(|| missing_tensors(&[name]))
    }

    /// Size of a tensor along `axis`, which must not be 0.
    fn size(&self, name: &str, axis: usize) -> Result<usize> {
        let tensor = self.get(name)?;
        let size = tensor.shape.get(axis).copied().filter(|&size| size > 0);
        size.ok_or_else(|| misshapen(tensor, &format!("at least {} dimensions, none of them 0", axis + 1)))
    }

    /// Number of layers: counted from 0 without a gap.
    fn layers(&self) -> Result<usize> {
        let layers: BTreeSet<usize> = self.0.keys().filter_map(|name| Some(numbered(name, LAYERS)?.0)).collect();
        let missing = (0..).find(|layer| !layers.contains(layer)).unwrap_or_default();
        match missing == layers.len() && missing > 0 {
            true => Ok(missing),
            false => Err(missing_tensors(&[&format!("{LAYERS}{missing}")])),
        }
    }
}

/// The number after `prefix`, and what follows it: 7 and `output.dense.weight` of `encoder.layer.7.output.dense.weight`.
pub fn numbered<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (digits, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some((number, rest))
}

fn missing_tensors(names: &[&str]) -> Error {
    let advice = if names.iter().any(|name| name.ends_with("inv_freq")) {
        "rotary frequencies (inv_freq) must come from the weights file: they are rounded as in training and never \
         recomputed, which would change every vector; take a file that holds them"
    } else {
        ADVICE
    };
    Error::new(Fault::ModelTensors, format!("missing tensors: {}, {}", names.len(), first_ten(names))).advice(advice)
}

fn misshapen(tensor: &TensorInfo, expected: &str) -> Error {
    let many = tensor.shape.get(..9).map(|start| format!("{} dimensions: {start:?} …", tensor.shape.len()));
    Error::new(Fault::ModelShape, "a tensor has another shape than the rest of the model asks for")
        .record(&tensor.name)
        .expected(expected)
        .found(many.unwrap_or_else(|| format!("{:?}", tensor.shape)))
        .advice(ADVICE)
}

/// The configuration of an encoder: Hugging Face's `config.json`, as far as it matters.
pub trait Configuration: Serialize + DeserializeOwned {
    /// The sizes that the shapes of the tensors tell too, by their name in `config.json`.
    fn sizes(&self) -> [(&'static str, usize); 5];

    /// Whether this program follows the configuration exactly.
    ///
    /// # Errors
    /// [`Fault::ModelConfig`].
    fn check(&self) -> Result<()>;

    /// The tensors of the model.
    fn tensors(&self) -> Schema;

    /// Reads and checks the text of a `config.json`. Names that are not asked for are ignored.
    ///
    /// # Errors
    /// [`Fault::ModelConfig`] for anything this program does not follow exactly.
    fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|error| {
            Error::new(Fault::ModelConfig, "the model's configuration cannot be read")
                .line(error.line() as u64)
                .found(error.to_string())
                .advice("use the config.json that was published with the weights")
        })?;
        config.check().map(|()| config)
    }

    /// The text of a `config.json`, a line end last.
    ///
    /// # Errors
    /// None but a defect of this program.
    fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(Fault::Bug, "a configuration cannot be written").caused_by(error))?;
        text.push(b'\n');
        Ok(text)
    }
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

/// A setting that must have one value.
fn check_only<T: PartialEq + ToString>(name: &str, only: T, found: T) -> Result<()> {
    if found == only { Ok(()) } else { Err(refuse(name, &only.to_string(), found)) }
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

/// The small number that a LayerNorm adds to the variance.
fn check_eps(eps: f64) -> Result<()> {
    if eps > 0.0 && eps < 0.1 { Ok(()) } else { Err(refuse("layer_norm_eps", "a number above 0 and below 0.1", eps)) }
}

/// Width of an attention head.
fn head_width(hidden_size: usize, heads: usize) -> Result<usize> {
    match hidden_size.checked_div(heads) {
        Some(width) if width * heads == hidden_size => Ok(width),
        _ => Err(refuse("num_attention_heads", &format!("a divisor of hidden_size, {hidden_size}"), heads)),
    }
}

/// The only activation that both encoders were trained with, and what a missing `hidden_act` means.
fn gelu() -> String {
    "gelu".to_owned()
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
        let schema = esm2::Config { num_hidden_layers: 2, hidden_size: 8, ..Default::default() }.tensors();
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
        let schema = head::Config::Published { hidden: 2, inputs: 3 }.tensors();
        let mut tensors = file(&schema);
        for number in 0..12 {
            let name = format!("extra{number:02}");
            tensors.push(TensorInfo { name, dtype: Dtype::F32, shape: vec![1] });
        }
        let report = check(&schema, &tensors).unwrap_err().report("import");
        assert!(report.contains("model: 12") && report.contains("extra09") && !report.contains("extra10"), "{report}");
        assert!(report.contains("and 2 more"), "{report}");
    }

    #[test]
    fn names_are_known_whatever_the_layer() {
        let schema = dnabert::Config { num_hidden_layers: 1, ..Default::default() }.tensors();
        for name in ["embeddings.LayerNorm.bias", "encoder.layer.0.mlp.wo.bias", "encoder.layer.77.mlp.wo.bias"] {
            assert!(schema.knows(name), "{name}");
        }
        for name in ["encoder.layer.mlp.wo.bias", "encoder.layer.07.mlp.wo.bias", "encoder.layer.0.wo", "x", ""] {
            assert!(!schema.knows(name), "{name}");
        }
        assert_eq!(numbered("encoder.layer.12.mlp.wo.bias", LAYERS), Some((12, "mlp.wo.bias")));
    }

    fn is_written_as_it_was_read<C: Configuration>(json: &str) {
        assert_eq!(C::from_json(json).unwrap().to_json().unwrap(), json.as_bytes());
    }

    #[test]
    fn a_configuration_is_written_as_it_was_read() {
        is_written_as_it_was_read::<esm2::Config>(include_str!("../../../bundles/untrained/esm/config.json"));
        is_written_as_it_was_read::<dnabert::Config>(include_str!("../../../bundles/untrained/dnabert/config.json"));
    }
}
