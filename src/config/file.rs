//! The configuration file: options by their long names, in YAML. The only use of serde_yaml for settings.

use std::collections::BTreeMap;
use std::path::Path;

use serde_yaml::Value;

use crate::error::{Error, Fault, Result};
use crate::fs::text;

/// Options by their long names.
pub type Options = BTreeMap<String, Setting>;

/// What the file says of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The values as text, as a user would type them.
    pub values: Vec<String>,
    /// The line of the option, counted from 1; none where the file is not written in lines.
    pub line: Option<u64>,
}

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
        let line = line_of(&text, &key);
        let values = values
            .ok_or_else(|| line.into_iter().fold(wrong(format!("option {key} needs a plain value")), Error::line))?;
        options.insert(key, Setting { values, line });
    }
    Ok(options)
}

/// The line that starts with a name and a colon.
fn line_of(text: &str, name: &str) -> Option<u64> {
    let starts = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        let after = line.strip_prefix(name).map(|rest| rest.trim_start_matches(['"', '\'']).trim_start());
        after.is_some_and(|rest| rest.starts_with(':'))
    };
    text.lines().position(starts).map(|place| place as u64 + 1)
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
