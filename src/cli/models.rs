//! Arguments of `models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{FetchArgs, Task};
use crate::config;

/// `models`.
#[derive(Debug, Args)]
#[command(
    long_about = "List, fetch, import, verify and find model bundles.\n\n\
        A bundle is a folder with bundle.yaml, both encoders, the tokeniser and the head. Bundles are found by name in \
        --models (or VIRNUCPRO_MODELS), $XDG_DATA_HOME/virnucpro/models, share/virnucpro/models beside the executable's \
        folder and /usr/share/virnucpro/models. 'mini' is part of the executable: random weights, for trying things.",
    after_help = "Examples:\n  \
        virnucpro models list\n  \
        virnucpro models fetch dnabert-s\n  \
        virnucpro models verify vnp-500"
)]
pub struct ModelsArgs {
    /// Folders that hold bundles, before the usual places
    #[arg(long, global = true, value_name = "DIR", value_delimiter = ':', env = "VIRNUCPRO_MODELS")]
    models: Vec<PathBuf>,
    #[command(subcommand)]
    command: ModelsCommand,
}

impl ModelsArgs {
    /// What to do.
    pub fn task(self) -> Task {
        Task::Models(self.command, self.models)
    }
}

/// The commands of `models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Bundles that can be named, with what they are
    #[command(after_help = "Examples:\n  virnucpro models list\n  virnucpro models list --models /shared/models")]
    List,
    /// Download published models
    Fetch(FetchArgs),
    /// Make a bundle of published files
    Import(ImportArgs),
    /// Compare every file of a bundle with its recorded digest
    #[command(after_help = "Examples:\n  virnucpro models verify mini\n  virnucpro models verify ./vnp-500")]
    Verify {
        /// Folder or name
        #[arg(value_name = "BUNDLE")]
        model: String,
    },
    /// Print the folder of a bundle
    #[command(after_help = "Examples:\n  virnucpro models path vnp-500\n  ls \"$(virnucpro models path vnp-500)\"")]
    Path {
        /// Folder or name
        #[arg(value_name = "BUNDLE")]
        model: String,
    },
}

/// `models import`.
#[derive(Debug, Args)]
#[command(
    long_about = "Make a bundle of published files: safetensors with names of Hugging Face or fair-esm, bare or \
        prefixed, with config.json and tokenizer.json beside them. Everything is checked: nothing may be missing, of \
        another shape or not finite, and the parts must fit together.",
    after_help = "Examples:\n  \
        virnucpro models import --name vnp-500 --window 500 --dnabert DNABERT-S/ \\\n    \
        --esm esm2_t36_3B_UR50D/ --head 500_model.safetensors -o models/vnp-500\n  \
        virnucpro models import --name test --untrained --dnabert d/ --esm e/ --head h.safetensors -o test"
)]
pub struct ImportArgs {
    /// Name of the bundle: letters, digits, '.', '_', '-'
    #[arg(long)]
    pub name: String,
    /// Version of the bundle
    #[arg(long, default_value = "1")]
    pub version: String,
    /// Window length the head was trained on, in bases
    #[arg(long, value_name = "N", default_value_t = config::DEFAULT_WINDOW as u32, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    pub window: u32,
    /// DNABERT-S: fetched name, folder with model.safetensors, config.json and tokenizer.json, or the safetensors file in it
    #[arg(long, value_name = "PATH")]
    pub dnabert: PathBuf,
    /// ESM-2: fetched name, folder with model.safetensors and config.json, or a safetensors file
    #[arg(long, value_name = "PATH")]
    pub esm: PathBuf,
    /// The head: fetched name, or a safetensors file
    #[arg(long, value_name = "FILE")]
    pub head: PathBuf,
    /// Licence of the weights
    #[arg(long, default_value = "not stated")]
    pub licence: String,
    /// Where the weights come from
    #[arg(long, default_value = "not stated")]
    pub source: String,
    /// The weights are random: tables and messages will say so
    #[arg(long)]
    pub untrained: bool,
    /// Folder of the bundle; must not exist
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}
