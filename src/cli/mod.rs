//! What a user types, turned into settings. No work is done here.

mod bench;
mod gpu;
mod hints;
mod layers;
mod models;
mod names;
mod options;
mod output;
mod pages;
mod stages;
mod train;
mod words;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config;
use crate::error::Result;

pub use layers::{Asked, is_json_asked_for, parse};
pub use options::{Global, LogFormat, LogLevel};
pub use output::print;
pub use pages::Page;

/// The command line as typed.
#[derive(Debug, Parser)]
#[command(
    name = "virnucpro",
    version,
    max_term_width = 100,
    about = "Finds viral DNA in metagenomic reads and contigs",
    long_about = "Finds viral DNA in metagenomic reads and contigs.\n\n\
        Each sequence is cut into windows of 300 or 500 bp, and each window is read in six frames. A model bundle says \
        which frames count and what becomes of them: the published ones embed open frames as nucleotides (DNABERT-S) and \
        as protein (ESM-2), `mini`, which is part of the executable, counts what a window is made of. A classifier scores \
        the vectors. `run` does it all on one machine; the other commands are its stages, for workflow engines.",
    after_help = "Exit codes: 0 complete, 1 failure, 3 checkpoint, 4 out of memory (retry smaller), 64 usage, 65 bad \
        input, 66 input missing, 69 device unavailable, 78 bad model or configuration, 130/143 interrupted (resumable)"
)]
pub struct Cli {
    #[command(flatten)]
    global: options::Global,
    #[command(subcommand)]
    command: Command,
}

/// The commands, with their options as typed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole pipeline on this machine: sequences in, tables of verdicts out
    #[command(long_about = stages::RUN)]
    Run(stages::RunArgs),
    /// Cut sequences into windows and write their frames as shards
    #[command(long_about = stages::CHUNK)]
    Chunk(stages::ChunkArgs),
    /// DNABERT-S vectors of nucleotide sequences
    #[command(long_about = stages::EMBED_DNABERT)]
    EmbedDnabert(stages::EmbedDnabertArgs),
    /// ESM-2 vectors of proteins
    #[command(long_about = stages::EMBED_ESM)]
    EmbedEsm(stages::EmbedEsmArgs),
    /// Join DNABERT-S and ESM-2 vectors by id
    #[command(long_about = stages::MERGE)]
    Merge(stages::MergeArgs),
    /// Score merged vectors; verdicts per frame, window and sequence
    #[command(long_about = stages::PREDICT)]
    Predict(stages::PredictArgs),
    /// Measure predictions against labels: metrics, their intervals and pictures
    #[command(long_about = stages::EVALUATE)]
    Evaluate(stages::EvaluateArgs),
    /// Fit a head to labelled vectors; a bundle with its calibration
    #[command(long_about = train::TRAIN)]
    Train(train::TrainArgs),
    /// Fetch, import, verify and list models
    #[command(
        long_about = "List, fetch, import, verify and find model bundles.\n\n\
            A bundle is a folder with bundle.yaml, both encoders, the tokeniser and the head. Bundles are found by name in \
            --models (or VIRNUCPRO_MODELS), $XDG_DATA_HOME/virnucpro/models, share/virnucpro/models beside the executable's \
            folder and /usr/share/virnucpro/models. 'mini', small and trained, is part of the executable.",
        after_help = "Examples:\n  \
            virnucpro models list\n  \
            virnucpro models fetch dnabert-s\n  \
            virnucpro models verify vnp-500"
    )]
    Models(models::ModelsArgs),
    /// What this machine and this build offer, and what is derived from it
    #[command(long_about = stages::INFO)]
    Info(stages::InfoArgs),
    /// How fast this machine embeds, and what share that is of what it could do
    #[command(long_about = bench::BENCH)]
    Bench(bench::BenchArgs),
    /// Print what a shell needs to complete commands and options
    #[command(
        long_about = "Print what a shell needs to complete commands and options.\n\n\
            It is read from ~/.local/share/bash-completion/completions/virnucpro by bash, from _virnucpro in a folder of \
            $fpath by zsh, and from ~/.config/fish/completions/virnucpro.fish by fish.",
        after_help = "Examples:\n  \
            virnucpro completions bash > virnucpro\n  \
            virnucpro completions zsh > _virnucpro\n  \
            virnucpro completions fish > virnucpro.fish"
    )]
    Completions {
        /// Which shell
        shell: pages::Shell,
    },
    /// Write the manual pages: one for each command
    #[command(after_help = "Examples:\n  virnucpro man ~/.local/share/man/man1\n  virnucpro man share/man/man1")]
    Man {
        /// Folder to write to; made if it is not there. Pages that are there are replaced
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// A command with its final settings.
#[derive(Debug)]
pub enum Task {
    /// `run`.
    Run(Box<config::Run>),
    /// `chunk`.
    Chunk(config::Chunk),
    /// `embed-dnabert`, `embed-esm`.
    Embed(config::Embed),
    /// `merge`.
    Merge(config::Merge),
    /// `predict`.
    Predict(config::Predict),
    /// `evaluate`.
    Evaluate(config::Evaluate),
    /// `train`.
    Train(Box<config::Train>),
    /// `train --print-recipe`.
    PrintRecipe {
        /// Its name or file; that which suits the bundle if not given.
        recipe: Option<String>,
        /// The bundle that would be trained on.
        model: config::BundleChoice,
    },
    /// `models list`.
    ListModels(config::ListModels),
    /// `models fetch`.
    FetchModels(config::Fetch),
    /// `models import`.
    ImportModel(Box<config::Import>),
    /// `models verify`.
    VerifyModel(config::Verify),
    /// `models path`.
    ModelPath(config::BundleChoice),
    /// `info`.
    Info(Box<config::Info>),
    /// `bench`.
    Bench(Box<config::Bench>),
    /// `completions`, as text.
    Completions(String),
    /// `man`: the folder, and what is written to it.
    Man(PathBuf, Vec<Page>),
}

impl Command {
    /// What to do, with its final settings. Sample sheets are read here.
    ///
    /// # Errors
    /// The options contradict each other, or a sample sheet cannot be read.
    pub fn task(self) -> Result<Task> {
        Ok(match self {
            Self::Run(args) => Task::Run(Box::new(args.settings()?)),
            Self::Chunk(args) => Task::Chunk(args.settings()?),
            Self::EmbedDnabert(args) => Task::Embed(args.settings()?),
            Self::EmbedEsm(args) => Task::Embed(args.settings()?),
            Self::Merge(args) => Task::Merge(args.settings()?),
            Self::Predict(args) => Task::Predict(args.settings()?),
            Self::Evaluate(args) => Task::Evaluate(args.settings()?),
            Self::Train(args) => args.task()?,
            Self::Models(args) => args.task(),
            Self::Info(args) => args.task(),
            Self::Bench(args) => Task::Bench(Box::new(args.settings())),
            Self::Completions { shell } => Task::Completions(pages::completions(shell)?),
            Self::Man { folder } => Task::Man(folder, pages::manual()?),
        })
    }
}
