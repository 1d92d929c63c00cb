//! Arguments of `bench`.

use std::time::Duration;

use clap::Args;

use super::options::{BundleOptions, ComputeOptions, in_range};
use super::words::words;
use crate::config;

/// What the long help says of `bench`.
pub const BENCH: &str = "How fast this machine embeds, and what share that is of what it could do.\n\n\
    Rounds of a whole session - tokenising, encoder, writing - take turns with rounds of the bare matrix products of the \
    same shapes. With --shape and a published encoder the weights are random: nothing has to be downloaded to know what a \
    machine would do with it.";

/// `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro bench\n  \
        virnucpro bench --shape esm2-650m --dtype bf16 --threads 2\n  \
        virnucpro bench --shape esm2-3b --layers 4 --json")]
pub struct BenchArgs {
    /// A published encoder with random weights: esm2-8m, esm2-35m, esm2-150m, esm2-650m, esm2-3b, esm2-15b or dnabert-s; or a
    /// bundle, by name or folder, with its own weights; the encoders of --model if not given
    #[arg(long, value_name = "NAME", env = "VIRNUCPRO_SHAPE", conflicts_with = "model", help_heading = "Measurement", hide_possible_values = true, value_parser = words::<String>(&["esm2-8m", "esm2-35m", "esm2-150m", "esm2-650m", "esm2-3b", "esm2-15b", "dnabert-s"]))]
    shape: Option<String>,
    /// Only so many layers of that published encoder: the share is nearly the same, and less memory and time are needed
    #[arg(long, value_name = "N", env = "VIRNUCPRO_LAYERS", value_parser = layers, requires = "shape", help_heading = "Measurement")]
    layers: Option<usize>,
    /// Tokens of each sequence; 100 for DNABERT-S and 168 for ESM-2 if not given, as windows of 500 bases have
    #[arg(long, value_name = "N", env = "VIRNUCPRO_TOKENS", value_parser = tokens, help_heading = "Measurement")]
    tokens: Option<usize>,
    /// Rounds
    #[arg(long, value_name = "N", default_value = "5", env = "VIRNUCPRO_ROUNDS", value_parser = rounds, help_heading = "Measurement")]
    rounds: usize,
    /// About how long a round of the session takes
    #[arg(long, value_name = "SECONDS", default_value = "3", env = "VIRNUCPRO_ROUND_SECONDS", value_parser = seconds, help_heading = "Measurement")]
    round_seconds: Duration,
    /// Answer in JSON, every round by itself
    #[arg(long, env = "VIRNUCPRO_JSON", value_parser = super::options::switch, help_heading = "Measurement")]
    json: bool,
    #[command(flatten)]
    model: BundleOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

impl BenchArgs {
    /// Settings.
    pub fn settings(self) -> config::Bench {
        config::Bench {
            shape: self.shape,
            layers: self.layers,
            tokens: self.tokens,
            rounds: self.rounds,
            duration: self.round_seconds,
            json: self.json,
            model: self.model.settings(),
            compute: self.compute.settings(),
        }
    }
}

fn layers(text: &str) -> Result<usize, String> {
    in_range(text, 1, 1000)
}

fn tokens(text: &str) -> Result<usize, String> {
    in_range(text, 3, 4096)
}

fn rounds(text: &str) -> Result<usize, String> {
    in_range(text, 1, 10_000)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.05 to 3600 is expected".to_owned()),
    }
}
