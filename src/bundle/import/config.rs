//! Published configurations compared with what the tensors say.

use std::fmt::Display;
use std::path::Path;

use crate::error::{Error, Fault, Result};

/// A setting as it stands in a `config.json`, and as it must be.
pub(super) struct Setting {
    name: &'static str,
    published: Option<String>,
    wanted: String,
}

impl Setting {
    /// A setting that must be there and be `wanted`.
    pub(super) fn new(name: &'static str, published: Option<impl Display>, wanted: impl Display) -> Self {
        Self { name, published: published.map(|value| value.to_string()), wanted: wanted.to_string() }
    }

    /// # Errors
    /// [`Fault::ModelConfig`] when it is absent or another.
    pub(super) fn check(&self, file: &Path) -> Result<()> {
        if self.published.as_deref() == Some(&self.wanted) {
            return Ok(());
        }
        Err(Error::new(
            Fault::ModelConfig,
            format!("the configuration says another {} than this model needs", self.name),
        )
        .file(file)
        .record(self.name)
        .expected(&self.wanted)
        .found(self.published.as_deref().unwrap_or("nothing"))
        .advice("take config.json and tensors of one and the same published model"))
    }
}

/// The small number of a LayerNorm, which must be there.
///
/// # Errors
/// [`Fault::ModelConfig`].
pub(super) fn epsilon(published: Option<f64>, file: &Path) -> Result<f64> {
    published.filter(|eps| *eps > 0.0 && *eps < 0.1).ok_or_else(|| {
        Error::new(Fault::ModelConfig, "the configuration says no usable layer_norm_eps")
            .file(file)
            .record("layer_norm_eps")
            .expected("a number above 0 and below 0.1")
            .found(published.map_or_else(|| "nothing".to_owned(), |eps| eps.to_string()))
    })
}

/// Reads a `config.json`.
///
/// # Errors
/// [`Fault::ModelConfig`], [`Fault::ModelPointer`], [`Fault::ModelFormat`].
pub(super) fn read<T: serde::de::DeserializeOwned>(json: &[u8], file: &Path) -> Result<T> {
    serde_json::from_str(crate::weights::bytes::text(json, file)?).map_err(|error| {
        let unreadable = Error::new(Fault::ModelConfig, "this config.json cannot be read").file(file);
        unreadable.line(error.line() as u64).caused_by(error)
    })
}
