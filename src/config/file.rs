//! The configuration file: options by their long names, in YAML. The only use of serde_yaml for settings.

use std::collections::BTreeMap;
use std::path::Path;

use serde_yaml::Value;

use crate::error::{Error, Fault, Result};
use crate::fs::text;

/// Options and their values as text, as a user would type them.
pub type Options = BTreeMap<String, Vec<String>>;

/// Reads a configuration file.
///
/// # Errors
/// The file is missing, or does not map names to plain values or lists of them.
pub fn read(path: &Path) -> Result<Options> {
    let text = text::read(path, Fault::Config).map_err(|error| Error::reading(path, error))??;
    let wrong = |message: String| {
        Error::new(Fault::Config, message)
            .file(path)
            .expected("lines of `option: value`, with the long names of options")
            .advice("`virnucpro COMMAND --print-config` prints such a file")
    };
    let value: Value = serde_yaml::from_str(&text).map_err(|error| {
        let line = error.location().map(|place| place.line() as u64);
        let wrong = wrong("the configuration file cannot be read".to_owned());
        line.into_iter().fold(wrong, Error::line).caused_by(error)
    })?;
    let mapping = match value {
        Value::Null => return Ok(Options::new()),
        Value::Mapping(mapping) => mapping,
        _ => return Err(wrong("the configuration file is not a list of options".to_owned())),
    };
    let mut options = Options::new();
    for (key, value) in mapping {
        let Value::String(key) = key else { return Err(wrong("an option's name is not text".to_owned())) };
        let values = match &value {
            Value::Sequence(items) => items.iter().map(plain).collect(),
            value => plain(value).map(|value| vec![value]),
        };
        let values = values.ok_or_else(|| wrong(format!("option {key} needs a plain value")))?;
        options.insert(key, values);
    }
    Ok(options)
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
