//! Reading a model's `config.json`: what both encoders check.

use serde::de::DeserializeOwned;

use crate::error::{Error, Fault, Result};

/// Parses the text of a `config.json`. Names that are not asked for are ignored.
pub(super) fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(Fault::ModelConfig, "the model's configuration cannot be read")
            .line(error.line() as u64)
            .found(error.to_string())
            .advice("use the config.json that was published with the weights")
    })
}

/// A setting this program cannot follow exactly.
pub(super) fn refuse(name: &str, expected: &str, found: impl ToString) -> Error {
    Error::new(Fault::ModelConfig, format!("the model's configuration has a '{name}' that is not supported"))
        .record(name)
        .expected(expected)
        .found(found.to_string())
        .advice(
            "use the config.json that was published with the weights; other variants of the model are not supported",
        )
}

/// Only the exact GELU, which both models were trained with.
pub(super) fn check_activation(name: &str) -> Result<()> {
    match name {
        "gelu" => Ok(()),
        other => Err(refuse("hidden_act", "gelu", other)),
    }
}

/// Sizes that every weight shape is made of.
pub(super) fn check_sizes(sizes: &[(&str, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, size)| !(1..=1 << 24).contains(size)) {
        None => Ok(()),
        Some((name, size)) => Err(refuse(name, "1 to 16777216", size)),
    }
}

/// Width of a head: `hidden_size` divided by the number of heads.
pub(super) fn head_width(hidden_size: usize, heads: usize) -> Result<usize> {
    match hidden_size.checked_div(heads) {
        Some(width) if width * heads == hidden_size => Ok(width),
        _ => Err(refuse("num_attention_heads", &format!("a divisor of hidden_size, {hidden_size}"), heads)),
    }
}

/// The small number that a LayerNorm adds to the variance.
pub(super) fn check_eps(eps: f64) -> Result<()> {
    match eps > 0.0 && eps < 1.0 {
        true => Ok(()),
        false => Err(refuse("layer_norm_eps", "a small positive number", eps)),
    }
}

/// The value that a missing `hidden_act` stands for.
pub(super) fn gelu() -> String {
    "gelu".to_owned()
}
