//! The parts of a bundle, what each can be, and the files of each.

use serde::{Deserialize, Serialize};

/// Name of a model's configuration.
pub const CONFIG_JSON: &str = "config.json";
/// Name of a tokeniser.
pub const TOKENIZER_JSON: &str = "tokenizer.json";

/// Kind of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// DNABERT-2 and DNABERT-S; `dnabert` in format 1.
    #[serde(alias = "dnabert")]
    Dnabert2,
    /// ESM-2, any size.
    Esm2,
    /// What a sequence is made of, counted: no weights, no files, no libtorch.
    Composition,
    /// Linear layers with ReLU between them, one or more such networks.
    Mlp,
    /// Numbers derived from the input without any weights: for tests and for builds without libtorch.
    Mock,
}

impl Family {
    /// Whether its vectors cost less to compute than to store.
    pub fn is_cheap(self) -> bool {
        self == Self::Composition
    }

    /// Whether it computes on libtorch.
    pub fn needs_libtorch(self) -> bool {
        matches!(self, Self::Dnabert2 | Self::Esm2)
    }

    /// Whether its vectors are those of one layer, pooled over its tokens.
    pub fn is_pooled(self) -> bool {
        matches!(self, Self::Dnabert2 | Self::Esm2 | Self::Mock)
    }
}

/// A part of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The encoder of the nucleotide side: DNABERT-S in published bundles.
    Dnabert,
    /// The encoder of the protein side: ESM-2 in published bundles.
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

    /// What it can be.
    pub fn families(self) -> &'static [Family] {
        match self {
            Self::Dnabert => &[Family::Dnabert2, Family::Composition, Family::Mock],
            Self::Esm => &[Family::Esm2, Family::Mock],
            Self::Head => &[Family::Mlp, Family::Mock],
        }
    }

    /// What published weights make of it.
    pub fn published(self) -> Family {
        match self {
            Self::Dnabert => Family::Dnabert2,
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

    /// Paths, in a bundle, of all files of this part where it is of such a family.
    pub fn files(self, family: Family) -> Vec<String> {
        let beside: &[&str] = match family {
            Family::Dnabert2 => &[CONFIG_JSON, TOKENIZER_JSON],
            Family::Esm2 => &[CONFIG_JSON],
            Family::Mlp => &[],
            Family::Composition | Family::Mock => return Vec::new(),
        };
        beside.iter().map(|name| self.file(name)).chain([self.weights()]).collect()
    }
}
