//! Arguments of the stages.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Task;
use super::options::{
    AnswerOptions, BundleOptions, CheckpointOptions, ComputeOptions, FileOptions, InputOptions, OutputOptions,
    VerdictOptions, WindowOptions, switch, window,
};
use crate::config::{self, Side};
use crate::error::{Error, Fault, Result};

const IN: &str = "FASTA or FASTQ, plain, gzip, bzip2, xz or zstd; - for standard input; or a sample sheet (.tsv, \
                  .csv) with the columns `sample` and `file` (or `fasta`, or `fastq_1` and `fastq_2`)";

/// What the long help says of `run`.
pub const RUN: &str = "The whole pipeline on this machine: sequences in, tables of verdicts out.\n\n\
    The output folder gets windows/, dnabert/, esm/, merged/ and predictions/, the same as the stages write one by \
    one, or of those windows/ and predictions/ alone where vectors cost less to compute than to store, as with mini, and \
    with --cleanup. Run it again and finished work is kept.";

/// `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro run contigs.fa.gz -o out\n  \
        virnucpro run contigs.fa.gz --viral-fasta viral.fa.gz -o out\n  \
        virnucpro run sample1.fq.gz sample2.fq.gz --model vnp-500 --device cuda -o out-500\n  \
        zcat reads.fq.gz | virnucpro run - --window 300 -o out-300")]
pub struct RunArgs {
    #[arg(value_name = "IN", required = true, help = IN)]
    inputs: Vec<PathBuf>,
    /// Window length in bases; the bundle's if not given
    #[arg(short, long, value_name = "N", env = "VIRNUCPRO_WINDOW", value_parser = window, help_heading = "Windows")]
    window: Option<usize>,
    #[command(flatten)]
    windows: WindowOptions,
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    /// Write shards and vectors even with a bundle like mini, whose vectors cost less to compute than to store
    #[arg(long, env = "VIRNUCPRO_KEEP_INTERMEDIATE", value_parser = switch, help_heading = "Output")]
    keep_intermediate: bool,
    /// Remove shards and vectors once the tables are proved: windows/ without shards and predictions/ stay
    #[arg(
        long,
        env = "VIRNUCPRO_CLEANUP",
        value_parser = switch,
        conflicts_with = "keep_intermediate",
        help_heading = "Output"
    )]
    cleanup: bool,
    /// Write the sequences called viral to FILE as FASTA, compressed as its name says (.gz, .zst, .bz2, .xz)
    #[arg(long, value_name = "FILE", env = "VIRNUCPRO_VIRAL_FASTA", help_heading = "Output")]
    viral_fasta: Option<PathBuf>,
    #[command(flatten)]
    checkpoints: CheckpointOptions,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    verdicts: VerdictOptions,
    #[command(flatten)]
    model: BundleOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

impl RunArgs {
    /// Settings.
    ///
    /// # Errors
    /// The arguments contradict each other, or a sample sheet cannot be read.
    pub fn settings(self) -> Result<config::Run> {
        if self.cleanup && self.keep_intermediate {
            return Err(Error::new(Fault::Usage, "cleanup removes what keep-intermediate keeps")
                .expected("one of the two")
                .advice("leave one out: they may also be set in the environment or in the configuration file"));
        }
        let (resume, root) = (self.output.resume(), &self.output.output);
        let inputs = self.input.inputs(&self.inputs)?;
        let viral_fasta = self.viral_fasta.map(|path| config::ViralFasta { path, inputs: inputs.clone() });
        let (model, compute) = (self.model.settings(), self.compute.settings());
        let embed = |side, folder: &str| config::Embed {
            side,
            shards: vec![root.join("windows")],
            output: root.join(folder),
            model: model.clone(),
            compute: compute.clone(),
            resume,
            checkpoints: self.checkpoints.settings(),
        };
        Ok(config::Run {
            dnabert: embed(Side::Dnabert, "dnabert"),
            esm: embed(Side::Esm, "esm"),
            merge: config::Merge {
                dnabert: vec![root.join("dnabert")],
                esm: vec![root.join("esm")],
                output: root.join("merged"),
                resume,
            },
            predict: config::Predict {
                merged: vec![root.join("merged")],
                windows: root.join("windows"),
                output: root.join("predictions"),
                model: model.clone(),
                compute: compute.clone(),
                cut_offs: self.verdicts.settings()?,
                legacy: self.files.legacy,
                tables: self.files.tables,
                viral_fasta,
                resume,
            },
            chunk: config::Chunk {
                inputs,
                output: root.join("windows"),
                window: self.window,
                frames: self.windows.frames,
                model,
                shard_frames: self.windows.shard_frames,
                duplicates: self.windows.duplicates,
                policy: self.input.settings(self.files.legacy)?,
                allow_empty: self.windows.allow_empty,
                legacy: self.files.legacy,
                tables: self.files.tables,
                resume,
            },
            keep_intermediate: self.keep_intermediate,
            cleanup: self.cleanup,
        })
    }
}

/// What the long help says of `chunk`.
pub const CHUNK: &str = "Cut sequences into windows and write their frames as shards.\n\n\
    Writes windows.tsv (a row for every window), inputs.tsv (a row for every record) and shards of paired FASTA: \
    shard-00001.fna with nucleotides, shard-00001.faa with proteins, the same ids in the same order. Window length \
    and frames are those that the bundle was trained on; with --window and --frames no bundle is looked at.";

/// `chunk`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro chunk contigs.fa.gz -o out/windows\n  \
        virnucpro chunk samples.tsv --window 300 --shard-frames 50000 -o windows-300\n  \
        samtools fasta reads.bam | virnucpro chunk - -o windows")]
pub struct ChunkArgs {
    #[arg(value_name = "IN", required = true, help = IN)]
    inputs: Vec<PathBuf>,
    /// Window length in bases; the bundle's if not given
    #[arg(short, long, value_name = "N", env = "VIRNUCPRO_WINDOW", value_parser = window, help_heading = "Windows")]
    window: Option<usize>,
    #[command(flatten)]
    windows: WindowOptions,
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    model: BundleOptions,
}

impl ChunkArgs {
    /// Settings.
    ///
    /// # Errors
    /// The arguments contradict each other, or a sample sheet cannot be read.
    pub fn settings(self) -> Result<config::Chunk> {
        Ok(config::Chunk {
            inputs: self.input.inputs(&self.inputs)?,
            resume: self.output.resume(),
            output: self.output.output,
            window: self.window,
            frames: self.windows.frames,
            model: self.model.settings(),
            shard_frames: self.windows.shard_frames,
            duplicates: self.windows.duplicates,
            policy: self.input.settings(self.files.legacy)?,
            allow_empty: self.windows.allow_empty,
            legacy: self.files.legacy,
            tables: self.files.tables,
        })
    }
}

/// What both embed commands take.
#[derive(Debug, Args)]
struct EmbedOptions {
    /// FASTA files, or folders that `chunk` wrote
    #[arg(value_name = "SHARD", required = true)]
    shards: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    checkpoints: CheckpointOptions,
    #[command(flatten)]
    model: BundleOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

impl EmbedOptions {
    fn settings(self, side: Side) -> Result<config::Embed> {
        config::refuse_addresses_and_lists(&self.shards)?;
        Ok(config::Embed {
            side,
            shards: self.shards,
            resume: self.output.resume(),
            output: self.output.output,
            model: self.model.settings(),
            compute: self.compute.settings(),
            checkpoints: self.checkpoints.settings(),
        })
    }
}

/// What the long help says of `embed-dnabert`.
pub const EMBED_DNABERT: &str = "DNABERT-S vectors of nucleotide sequences.\n\n\
    Writes one Parquet file per input: `id`, and `embedding` as a list of f32, the mean over all tokens of the last \
    layer. Any nucleotide FASTA is accepted.";

/// `embed-dnabert`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro embed-dnabert out/windows -o out/dnabert\n  \
        virnucpro embed-dnabert shard-00007.fna --model vnp-500 --device cuda:0 --attempt 2 -o dnabert")]
pub struct EmbedDnabertArgs {
    #[command(flatten)]
    embed: EmbedOptions,
}

impl EmbedDnabertArgs {
    /// Settings.
    ///
    /// # Errors
    /// An argument is not a path.
    pub fn settings(self) -> Result<config::Embed> {
        self.embed.settings(Side::Dnabert)
    }
}

/// What the long help says of `embed-esm`.
pub const EMBED_ESM: &str = "ESM-2 vectors of proteins.\n\n\
    Writes one Parquet file per input: `id`, and `embedding` as a list of f32, the mean over the first 1024 residues \
    of the last layer. Any protein FASTA is accepted.";

/// `embed-esm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro embed-esm out/windows -o out/esm\n  \
        virnucpro embed-esm shard-00007.faa --model vnp-500 --dtype bf16 -o esm")]
pub struct EmbedEsmArgs {
    #[command(flatten)]
    embed: EmbedOptions,
}

impl EmbedEsmArgs {
    /// Settings.
    ///
    /// # Errors
    /// An argument is not a path.
    pub fn settings(self) -> Result<config::Embed> {
        self.embed.settings(Side::Esm)
    }
}

/// What the long help says of `merge`.
pub const MERGE: &str = "Join the vectors of both sides, such as DNABERT-S and ESM-2, by id.\n\n\
    Both sides must hold the same ids, each once; their order and their shards do not matter. Writes one Parquet \
    file per file of the nucleotide side, with the vectors side by side, that side first. Vectors of a bundle that has one \
    side pass through.";

/// `merge`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro merge --dnabert out/dnabert --esm out/esm -o out/merged\n  \
        virnucpro merge --dnabert dnabert/shard-00007.parquet --esm esm/shard-00007.parquet -o merged")]
pub struct MergeArgs {
    /// Vectors of the nucleotide side: files or folders; left out for a bundle without that side
    #[arg(long, value_name = "PATH", num_args = 1..)]
    dnabert: Vec<PathBuf>,
    /// Vectors of the protein side: files or folders; left out for a bundle without that side
    #[arg(long, value_name = "PATH", num_args = 1..)]
    esm: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputOptions,
}

impl MergeArgs {
    /// Settings.
    ///
    /// # Errors
    /// An argument is not a path.
    pub fn settings(self) -> Result<config::Merge> {
        let (resume, output) = (self.output.resume(), self.output.output);
        [&self.dnabert, &self.esm].into_iter().try_for_each(|paths| config::refuse_addresses_and_lists(paths))?;
        if self.dnabert.is_empty() && self.esm.is_empty() {
            return Err(Error::new(Fault::Usage, "there are no vectors to merge")
                .expected("--dnabert, --esm or both")
                .advice("as in `virnucpro merge --dnabert out/dnabert --esm out/esm -o out/merged`"));
        }
        Ok(config::Merge { dnabert: self.dnabert, esm: self.esm, resume, output })
    }
}

/// What the long help says of `predict`.
pub const PREDICT: &str = "Score merged vectors; verdicts per frame, window and sequence.\n\n\
    Writes frames.tsv, windows.tsv, sequences.tsv and summary.json. Every window and every sequence of the input has \
    its row, those without a score with the reason.";

/// `predict`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro predict out/merged --windows out/windows -o out/predictions\n  \
        virnucpro predict merged/*.parquet --windows windows -m vnp-500 --viral-share 0.7 -o predictions")]
pub struct PredictArgs {
    /// Merged vectors: files or folders
    #[arg(value_name = "MERGED", required = true)]
    merged: Vec<PathBuf>,
    /// Folder that `chunk` wrote; `windows` beside the folder of the first MERGED if not given
    #[arg(long, value_name = "DIR", env = "VIRNUCPRO_WINDOWS")]
    windows: Option<PathBuf>,
    #[command(flatten)]
    output: OutputOptions,
    /// Write the sequences called viral to FILE as FASTA, compressed as its name says (.gz, .zst, .bz2, .xz)
    #[arg(long, value_name = "FILE", requires = "sequences", env = "VIRNUCPRO_VIRAL_FASTA", help_heading = "Output")]
    viral_fasta: Option<PathBuf>,
    /// For --viral-fasta: the files that `chunk` read, in the same order
    #[arg(long, value_name = "IN", num_args = 1.., help_heading = "Output")]
    sequences: Vec<PathBuf>,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    verdicts: VerdictOptions,
    #[command(flatten)]
    model: BundleOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

impl PredictArgs {
    /// Settings.
    ///
    /// # Errors
    /// The arguments contradict each other.
    pub fn settings(self) -> Result<config::Predict> {
        config::refuse_addresses_and_lists(&self.merged)?;
        let viral_fasta = |path| config::inputs(&self.sequences).map(|inputs| config::ViralFasta { path, inputs });
        Ok(config::Predict {
            windows: self.windows.unwrap_or_else(|| windows_beside(&self.merged)),
            merged: self.merged,
            resume: self.output.resume(),
            output: self.output.output,
            model: self.model.settings(),
            compute: self.compute.settings(),
            cut_offs: self.verdicts.settings()?,
            legacy: self.files.legacy,
            tables: self.files.tables,
            viral_fasta: self.viral_fasta.map(viral_fasta).transpose()?,
        })
    }
}

/// What the long help says of `evaluate`.
pub const EVALUATE: &str = "Measure predictions against labels: metrics, their intervals and pictures.\n\n\
    Reads windows.tsv and sequences.tsv of predictions and a table of labels, and writes metrics.tsv, metrics.json and \
    pictures (SVG): overall, per category, per length and per group, for windows and for sequences. Intervals hold 95 % of \
    1000 resamplings of groups.";

/// `evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro evaluate out/predictions --labels labels.tsv -o evaluation\n  \
        virnucpro evaluate out/predictions out-300/predictions --labels genera.tsv \\\n      \
        --ignore-unlabelled -o both")]
pub struct EvaluateArgs {
    /// Folders that `predict` wrote
    #[arg(value_name = "PREDICTIONS", required = true)]
    predictions: Vec<PathBuf>,
    /// Labels: a tab-separated table with the columns `sequence` or `id`, and `label` (virus or others); if wanted `group`
    /// (such as a genus) and `category`
    #[arg(long, value_name = "TSV", required = true, env = "VIRNUCPRO_LABELS", help_heading = "Labels")]
    labels: PathBuf,
    /// Leave out what has no label; without it that is an error
    #[arg(long, env = "VIRNUCPRO_IGNORE_UNLABELLED", value_parser = super::options::switch, help_heading = "Labels")]
    ignore_unlabelled: bool,
    #[command(flatten)]
    output: OutputOptions,
}

impl EvaluateArgs {
    /// Settings.
    ///
    /// # Errors
    /// An argument is not a path.
    pub fn settings(self) -> Result<config::Evaluate> {
        config::refuse_addresses_and_lists(&self.predictions)?;
        Ok(config::Evaluate {
            predictions: self.predictions,
            labels: self.labels,
            ignore_unlabelled: self.ignore_unlabelled,
            resume: self.output.resume(),
            output: self.output.output,
        })
    }
}

/// Where windows are as a rule: beside the folder of merged vectors.
pub(super) fn windows_beside(merged: &[PathBuf]) -> PathBuf {
    let folder = merged.first().map(|merged| match merged.extension() {
        Some(extension) if extension == "parquet" => merged.parent().unwrap_or(Path::new("")),
        _ => merged,
    });
    folder.map(|folder| folder.with_file_name("windows")).unwrap_or_default()
}

/// What the long help says of `info`.
pub const INFO: &str = "What this machine and this build offer, and what is derived from it: devices, libtorch, memory, \
    threads and workers, each with the reason.";

/// `info`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  virnucpro info\n  virnucpro info --device cuda --model vnp-500\n  virnucpro info --json"
)]
pub struct InfoArgs {
    #[command(flatten)]
    answer: AnswerOptions,
    #[command(flatten)]
    model: BundleOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

impl InfoArgs {
    /// Settings.
    pub fn task(self) -> Task {
        Task::Info(Box::new(config::Info {
            json: self.answer.json,
            model: self.model.settings(),
            compute: self.compute.settings(),
        }))
    }
}
