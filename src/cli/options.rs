//! Groups of options that several commands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::gpu::GpuOptions;
use super::words::words;
use crate::config::{self, CutOffs};
use crate::error::{Error, Fault, Result as Outcome};
use crate::units::{
    AttentionChoice, Auto, DeviceChoice, Duplicates, FrameRule, InputPolicy, Precision, Resume, TableFormats, Tokens,
    UnknownLetters, Uracil,
};

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages and configuration")]
pub struct Global {
    /// YAML file of options by their long names; weaker than the environment and flags
    #[arg(long, global = true, value_name = "FILE", env = "VIRNUCPRO_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print every option with its value and where it comes from, as a configuration file, and stop
    #[arg(long, global = true)]
    pub print_config: bool,
    /// Least severe messages shown
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true,
        env = "VIRNUCPRO_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// Form of messages on stderr
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        ignore_case = true,
        env = "VIRNUCPRO_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
    /// Seconds between two lines of progress in a log that is not a terminal or is JSON; 0: no such lines
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value = "30",
        env = "VIRNUCPRO_PROGRESS_SECONDS",
        value_parser = seconds
    )]
    pub progress_seconds: u64,
    /// No progress, no messages but errors, no table on stdout
    #[arg(short, long, global = true, env = "VIRNUCPRO_QUIET", value_parser = switch)]
    pub quiet: bool,
}

/// Severity of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Things to look at.
    Warn,
    /// What is done.
    Info,
    /// How it is done.
    Debug,
}

/// Form of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for a person.
    Text,
    /// One JSON object per line.
    Json,
}

/// Other names for `--output`, as other programs call it; not shown in the help.
pub const OUTPUT_ALIASES: [&str; 4] = ["out", "outdir", "out-dir", "output-dir"];

/// Where results go and what happens to finished work there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Folder to write to; made if it is not there
    #[arg(short, long, value_name = "DIR", env = "VIRNUCPRO_OUTPUT", aliases = OUTPUT_ALIASES)]
    pub output: PathBuf,
    /// Keep finished work of the same input, settings and model
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = switch,
        env = "VIRNUCPRO_RESUME",
        overrides_with = "no_resume"
    )]
    resume: bool,
    /// Do all work again (as --resume=false); to replace other work, --overwrite is needed as well
    #[arg(long, overrides_with = "resume")]
    no_resume: bool,
    /// Replace finished work of another input, other settings or another model; without it that is an error
    #[arg(short = 'f', long, alias = "force", env = "VIRNUCPRO_OVERWRITE", value_parser = switch)]
    overwrite: bool,
}

impl OutputOptions {
    /// What to do with finished work.
    pub fn resume(&self) -> Resume {
        Resume { keep: self.resume && !self.no_resume, overwrite: self.overwrite }
    }
}

/// What is kept of unfinished work.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct CheckpointOptions {
    /// Folder for unfinished work - vectors of unfinished files, heads in training - which outlives the output; tasks, samples
    /// and tries may share it. A command removes what it kept there when it is complete. If not given: in the output, or
    /// beside it
    #[arg(long, value_name = "DIR", env = "VIRNUCPRO_CHECKPOINT_DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// Seconds after which unfinished work is kept for another try
    #[arg(long, value_name = "SECONDS", default_value_t = config::DEFAULT_CHECKPOINT_INTERVAL, env = "VIRNUCPRO_CHECKPOINT_INTERVAL", value_parser = seconds)]
    checkpoint_interval: u64,
}

impl CheckpointOptions {
    /// Settings.
    pub fn settings(&self) -> config::Checkpointing {
        config::Checkpointing { folder: self.checkpoint_dir.clone(), interval: self.checkpoint_interval }
    }
}

/// Which bundle.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct BundleOptions {
    /// Model bundle: a folder, or a name that `virnucpro models list` shows
    #[arg(short, long, value_name = "BUNDLE", default_value = "mini", env = "VIRNUCPRO_MODEL")]
    model: String,
    /// Folders that hold bundles, before the usual places
    #[arg(long, value_name = "DIR", value_delimiter = ':', env = "VIRNUCPRO_MODELS")]
    models: Vec<PathBuf>,
}

impl BundleOptions {
    /// Settings.
    pub fn settings(&self) -> config::BundleChoice {
        config::BundleChoice { name: self.model.clone(), search: self.models.clone() }
    }
}

/// On which device, and on how many threads.
#[derive(Debug, Args)]
#[command(next_help_heading = "Compute")]
pub struct PlaceOptions {
    /// auto, cpu, cuda, cuda:1 or cuda:0,2
    #[arg(long, default_value = "auto", env = "VIRNUCPRO_DEVICE", hide_possible_values = true, value_parser = words::<DeviceChoice>(&["auto", "cpu", "cuda"]))]
    pub device: DeviceChoice,
    /// Threads of a computation; auto: the processors this job may use
    #[arg(short, long, value_name = "N", default_value = "auto", env = "VIRNUCPRO_THREADS", value_parser = at_least_one)]
    pub threads: Auto<usize>,
}

/// Where models run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Compute")]
pub struct DeviceOptions {
    #[command(flatten)]
    place: PlaceOptions,
    /// Number format of the encoders' matrix products: auto (f32 on a CPU, f16 on a GPU), f32, bf16 (on a CPU: with
    /// AVX512-BF16 or AMX) or f16 (on a GPU)
    #[arg(long, default_value = "auto", env = "VIRNUCPRO_DTYPE", hide_possible_values = true, value_parser = words::<Auto<Precision>>(&["auto", "f32", "bf16", "f16"]))]
    dtype: Auto<Precision>,
    /// Kernel for attention on a GPU: auto (the first that serves), flash, efficient or math; one that does not serve is an
    /// error
    #[arg(long, value_name = "KERNEL", default_value = "auto", env = "VIRNUCPRO_ATTENTION", hide_possible_values = true, value_parser = words::<AttentionChoice>(&["auto", "flash", "efficient", "math"]))]
    attention: AttentionChoice,
}

impl DeviceOptions {
    /// Settings, the rest automatic.
    pub fn settings(&self) -> config::Compute {
        config::Compute {
            device: self.place.device.clone(),
            dtype: self.dtype,
            threads: self.place.threads,
            gpu: config::Gpu { attention: self.attention, ..config::Gpu::default() },
            ..config::Compute::default()
        }
    }
}

/// Where and how models run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Compute")]
pub struct ComputeOptions {
    #[command(flatten)]
    place: DeviceOptions,
    /// Tokens per batch, as 4096 or 16k; auto: 1024 on a CPU; on a GPU as many as fit beside the model
    #[arg(long, value_name = "TOKENS", default_value = "auto", env = "VIRNUCPRO_BATCH_TOKENS")]
    batch_tokens: Auto<Tokens>,
    /// Nth try of this task: an automatic batch is divided by 2^(N-1); --batch-tokens overrides it
    #[arg(long, value_name = "N", default_value = "1", env = "VIRNUCPRO_ATTEMPT", value_parser = attempt)]
    attempt: u32,
    /// Batches kept ready per device
    #[arg(long, value_name = "N", default_value_t = config::DEFAULT_PREFETCH, env = "VIRNUCPRO_PREFETCH", value_parser = small_count)]
    prefetch: usize,
    /// Threads that tokenise; auto: processors per GPU, at most 8
    #[arg(long, value_name = "N", default_value = "auto", env = "VIRNUCPRO_DATALOADER_WORKERS", value_parser = at_least_one)]
    dataloader_workers: Auto<usize>,
    /// Longest wait of an embed stage for its input, such as a pipe, that gives nothing; 0: no limit
    #[arg(long, value_name = "SECONDS", default_value_t = config::DEFAULT_TIMEOUT, env = "VIRNUCPRO_TIMEOUT", value_parser = seconds)]
    timeout: u64,
    /// Embed identical sequences again each time instead of copying their vectors
    #[arg(long, env = "VIRNUCPRO_NO_DEDUP", value_parser = switch)]
    no_dedup: bool,
    #[command(flatten)]
    gpu: GpuOptions,
}

impl ComputeOptions {
    /// Settings.
    pub fn settings(&self) -> config::Compute {
        config::Compute {
            batch_tokens: self.batch_tokens,
            attempt: self.attempt,
            prefetch: self.prefetch,
            dataloader_workers: self.dataloader_workers,
            timeout: self.timeout,
            dedup: !self.no_dedup,
            gpu: self.gpu.settings(self.place.attention),
            ..self.place.settings()
        }
    }
}

/// In which form a question is answered.
#[derive(Debug, Args)]
pub struct AnswerOptions {
    /// Answer in JSON: one document on stdout
    #[arg(long, env = "VIRNUCPRO_JSON", value_parser = switch)]
    pub json: bool,
}

/// How sequences are cut.
#[derive(Debug, Args)]
#[command(next_help_heading = "Windows")]
pub struct WindowOptions {
    /// Frames of a window that are read: 'open' (all without a stop codon) or 'longest' (the one with the longest run
    /// without one); what the bundle was trained on if not given
    #[arg(long, value_name = "RULE", env = "VIRNUCPRO_FRAMES", hide_possible_values = true, value_parser = words::<FrameRule>(&["open", "longest"]))]
    pub frames: Option<FrameRule>,
    /// Frames per shard, the unit that workflows scatter
    #[arg(long, value_name = "N", default_value_t = config::DEFAULT_SHARD_FRAMES, env = "VIRNUCPRO_SHARD_FRAMES", value_parser = shard_frames)]
    pub shard_frames: usize,
    /// Second record of one id: 'rename' it (x__2) or make it an 'error'
    #[arg(long, value_name = "POLICY", default_value = "rename", env = "VIRNUCPRO_DUPLICATES", hide_possible_values = true, value_parser = words::<Duplicates>(&["rename", "error"]))]
    pub duplicates: Duplicates,
    /// An input without sequences gives empty tables instead of an error
    #[arg(long, env = "VIRNUCPRO_ALLOW_EMPTY", value_parser = switch)]
    pub allow_empty: bool,
}

/// How sequences are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct InputOptions {
    /// Name of the sample that all inputs belong to; the name of each file if not given, 'stdin' for standard input. Not with
    /// a sample sheet, which names its own
    #[arg(long, value_name = "NAME", env = "VIRNUCPRO_SAMPLE", value_parser = sample_name)]
    sample: Option<String>,
    /// U, as in RNA: 't' reads it as T, 'drop' leaves its codons out as the original program does; t if not given, drop
    /// with --legacy
    #[arg(long, value_name = "POLICY", env = "VIRNUCPRO_URACIL", hide_possible_values = true, value_parser = words::<Uracil>(&["t", "drop"]))]
    uracil: Option<Uracil>,
    /// Letters that are not nucleotide codes: 'strict' makes them an error, 'mask' reads them as N
    #[arg(long, value_name = "POLICY", default_value = "strict", env = "VIRNUCPRO_LETTERS", hide_possible_values = true, value_parser = words::<UnknownLetters>(&["strict", "mask"]))]
    letters: UnknownLetters,
    /// Refuse an input with a sign of damage, which otherwise gives a warning: no final line break, no BGZF end block,
    /// the name of another compression, a header that ends in a sequence, a FASTQ separator with another name
    #[arg(long, env = "VIRNUCPRO_STRICT_INPUT", value_parser = switch)]
    strict_input: bool,
}

impl InputOptions {
    /// The inputs that `paths` name, with their samples.
    ///
    /// # Errors
    /// Those of [`config::inputs`] and [`config::inputs_of_sample`].
    pub fn inputs(&self, paths: &[PathBuf]) -> Outcome<Vec<config::Input>> {
        match &self.sample {
            Some(sample) => config::inputs_of_sample(sample, paths),
            None => config::inputs(paths),
        }
    }

    /// Settings; those of the original program's files where these are written.
    ///
    /// # Errors
    /// The original program's files are asked for with U read as T, which that program does not do.
    pub fn settings(&self, legacy: bool) -> Outcome<InputPolicy> {
        let uracil = match self.uracil {
            Some(Uracil::T) if legacy => {
                return Err(Error::new(Fault::Usage, "--uracil t and --legacy contradict each other")
                    .expected("--uracil drop, or none, with --legacy")
                    .advice("the original program does not read U as T: leave out one of the two"));
            }
            None if legacy => Uracil::Drop,
            uracil => uracil.unwrap_or_default(),
        };
        Ok(InputPolicy { uracil, letters: self.letters, strict: self.strict_input })
    }
}

/// Which files are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct FileOptions {
    /// Formats of tables: tsv, or tsv,parquet for typed copies beside the text
    #[arg(long, value_name = "FORMATS", default_value = "tsv", env = "VIRNUCPRO_TABLES", hide_possible_values = true, value_parser = words::<TableFormats>(&["tsv", "tsv,parquet"]))]
    pub tables: TableFormats,
    /// Write the original program's files too
    #[arg(long, env = "VIRNUCPRO_LEGACY", value_parser = switch)]
    pub legacy: bool,
}

/// Cut-offs of the verdict per sequence.
#[derive(Debug, Args)]
#[command(next_help_heading = "Verdicts")]
pub struct VerdictOptions {
    /// With a bundle without calibration: a sequence is 'viral' from this share of viral windows on
    #[arg(long, value_name = "SHARE", default_value = "0.5", env = "VIRNUCPRO_VIRAL_SHARE", value_parser = share)]
    viral_share: f64,
    /// It is 'mixed' from this share on, below it 'non-viral'; 0.1 if not given, or --viral-share if that is less
    #[arg(long, value_name = "SHARE", env = "VIRNUCPRO_MIXED_SHARE", value_parser = share)]
    mixed_share: Option<f64>,
    /// With a calibrated bundle: a sequence is 'viral' from this probability on
    #[arg(long, value_name = "P", default_value = "0.5", env = "VIRNUCPRO_MIN_P", value_parser = share)]
    min_p: f64,
    /// With a calibrated bundle, in place of --min-p: as many sequences are 'viral' as possible while the expected share of
    /// others among them is at most this
    #[arg(long, value_name = "SHARE", env = "VIRNUCPRO_FDR", value_parser = share, conflicts_with = "min_p")]
    fdr: Option<f64>,
    /// With a calibrated bundle: share of viruses to expect among the sequences, above 0 and below 1
    #[arg(long, value_name = "SHARE", default_value = "0.5", env = "VIRNUCPRO_PRIOR", value_parser = prior)]
    prior: f64,
    /// What a change between viral and not costs within a sequence, in units of a window's logit: the larger, the fewer and
    /// the longer regions
    #[arg(long, value_name = "COST", default_value = "8", env = "VIRNUCPRO_REGION_COST", value_parser = region_cost)]
    region_cost: f64,
}

impl VerdictOptions {
    /// Settings.
    ///
    /// # Errors
    /// The cut-offs are in the wrong order.
    pub fn settings(&self) -> Outcome<CutOffs> {
        let Self { viral_share: viral, min_p, fdr, prior, region_cost, .. } = *self;
        let settings = |mixed_share| Ok(CutOffs { viral_share: viral, mixed_share, min_p, fdr, prior, region_cost });
        match self.mixed_share {
            None => settings(CutOffs::DEFAULT.mixed_share.min(viral)),
            Some(mixed) if mixed <= viral => settings(mixed),
            Some(mixed) => Err(Error::new(Fault::Usage, "--mixed-share is larger than --viral-share")
                .expected(format!("at most {viral}"))
                .found(mixed.to_string())
                .advice(
                    "a sequence is mixed from the smaller share on and viral from the larger: lower --mixed-share",
                )),
        }
    }
}

/// What a word for yes or no says.
pub fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "y" | "t" => Some(true),
        "false" | "no" | "off" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    yes_or_no(text).ok_or_else(|| "true, yes, on or 1 is expected, or false, no, off or 0".to_owned())
}

/// A window's length in bases.
pub fn window(text: &str) -> Result<usize, String> {
    let (least, most) = (config::SHORTEST_WINDOW, config::LONGEST_WINDOW);
    in_range(text, least, most).map_err(|wrong| {
        format!("{wrong}; heads are made for 300 or 500 bases, and ESM-2 reads 1024 residues (3072 bases) of a frame")
    })
}

fn sample_name(text: &str) -> Result<String, String> {
    config::sample_name(text).map(str::to_owned).map_err(|wrong| format!("the name of a sample {wrong}"))
}

fn shard_frames(text: &str) -> Result<usize, String> {
    in_range(text, 1, 10_000_000)
}

fn small_count(text: &str) -> Result<usize, String> {
    in_range(text, 1, 1024)
}

fn seconds(text: &str) -> Result<u64, String> {
    in_range(text, 0, 1_000_000).map(|number| number as u64)
}

fn attempt(text: &str) -> Result<u32, String> {
    in_range(text, 1, 20).map(|number| number as u32)
}

fn at_least_one(text: &str) -> Result<Auto<usize>, String> {
    match text {
        _ if text.eq_ignore_ascii_case("auto") => Ok(Auto::Auto),
        _ => in_range(text, 1, 1024).map(Auto::Value).map_err(|wrong| wrong.replacen("a whole", "auto or a whole", 1)),
    }
}

pub(super) fn in_range(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("a whole number from {least} to {most} is expected")),
    }
}

fn prior(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a number between 0 and 1 is expected, neither of them included".to_owned()),
    }
}

fn region_cost(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(cost) if (0.0..=1000.0).contains(&cost) => Ok(cost),
        _ => Err("a number from 0 to 1000 is expected".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}
