//! The three models of a bundle, and the files of each.

use serde::{Deserialize, Serialize};

/// Name of a model's configuration.
pub const CONFIG_JSON: &str = "config.json";
/// Name of a tokeniser.
pub const TOKENIZER_JSON: &str = "tokenizer.json";

/// Kind of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// DNABERT-2 and DNABERT-S.
    Dnabert,
    /// ESM-2, any size.
    Esm2,
    /// Linear, BatchNorm, ReLU, Linear.
    Mlp,
    /// Numbers derived from the input without any weights: for tests and for builds without libtorch.
    Mock,
}

/// A model of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The nucleotide encoder, DNABERT-S.
    Dnabert,
    /// The protein encoder, ESM-2.
    Esm,
    /// The classifier.
    Head,
}

impl Component {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 3] = [Self::Dnabert, Self::Esm, Self::Head];

    /// Its name in paths, options and `bundle.yaml`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Dnabert => "dnabert",
            Self::Esm => "esm",
            Self::Head => "head",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Dnabert => "DNABERT-S",
            Self::Esm => "ESM-2",
            Self::Head => "head",
        }
    }

    /// What it is in a bundle that is not a mock.
    pub fn family(self) -> Family {
        match self {
            Self::Dnabert => Family::Dnabert,
            Self::Esm => Family::Esm2,
            Self::Head => Family::Mlp,
        }
    }

    /// Path, in a bundle, of a file beside the weights: `esm/config.json`.
    pub fn file(self, name: &str) -> String {
        format!("{}/{name}", self.key())
    }

    /// Path, in a bundle, of the weights.
    pub fn weights(self) -> String {
        if self == Self::Head { "head.safetensors".to_owned() } else { self.file("model.safetensors") }
    }

    /// Paths, in a bundle, of all its files.
    pub fn files(self) -> Vec<String> {
        let beside: &[&str] = match self {
            Self::Dnabert => &[CONFIG_JSON, TOKENIZER_JSON],
            Self::Esm => &[CONFIG_JSON],
            Self::Head => &[],
        };
        beside.iter().map(|name| self.file(name)).chain([self.weights()]).collect()
    }
}
