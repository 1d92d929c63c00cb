//! What a command was asked to do: complete settings, resolved once, without options left open.
//!
//! Defaults, configuration file, environment and flags are layered in `cli`; what arrives here is final.

pub mod file;
mod identity;
mod inputs;
mod sheet;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::units::{
    AttentionChoice, Auto, DeviceChoice, Duplicates, FrameRule, InputPolicy, Precision, Resume, TableFormats, Tokens,
    WeightFormat,
};

pub use inputs::{STDIN, inputs, inputs_of_sample, refuse_addresses_and_lists, sample_name, stem};

/// Window length where neither the user nor a bundle gives one, in bases.
pub const DEFAULT_WINDOW: usize = 500;
/// The shortest window that can be asked for, in bases: one codon.
pub const SHORTEST_WINDOW: usize = 3;
/// The longest window that can be asked for, in bases.
pub const LONGEST_WINDOW: usize = 10_000;
/// Frames per shard.
pub const DEFAULT_SHARD_FRAMES: usize = 10_000;

/// An input of sequences: a file, or `-` for standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Name of the sample; the file's name where neither a sample sheet nor the user gives one.
    pub sample: String,
    /// The file.
    pub path: PathBuf,
}

/// `chunk`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Files of sequences, in order.
    pub inputs: Vec<Input>,
    /// Folder of windows.
    pub output: PathBuf,
    /// Window length in bases, at least 3; none: that of the bundle.
    pub window: Option<usize>,
    /// Which frames of a window are read; none: what the bundle was trained on.
    pub frames: Option<FrameRule>,
    /// The bundle.
    pub model: BundleChoice,
    /// Frames per shard, at least 1.
    pub shard_frames: usize,
    /// Second records of one identifier.
    pub duplicates: Duplicates,
    /// How letters are read, and what counts as damage.
    pub policy: InputPolicy,
    /// Whether an input without sequences is a result.
    pub allow_empty: bool,
    /// Whether the original program's files are written too.
    pub legacy: bool,
    /// Formats of the tables.
    pub tables: TableFormats,
    /// Finished work.
    pub resume: Resume,
}

/// Why scores of windows of this length, in bases, are hardly what is wanted; none for usual lengths.
pub fn unusual_window(window: usize) -> Option<String> {
    match window {
        0..150 => Some(format!(
            "windows of {window} bases are short: heads are trained on 300 or 500 bases, and their scores of much \
                 shorter windows mean little"
        )),
        150..=3072 => None,
        _ => Some(format!(
            "windows of {window} bases are long: ESM-2 reads the first 1024 residues of a frame, which are 3072 bases"
        )),
    }
}

/// Which encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// DNABERT-S on nucleotides.
    Dnabert,
    /// ESM-2 on proteins.
    Esm,
}

/// `embed-dnabert`, `embed-esm`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// Which encoder.
    pub side: Side,
    /// FASTA files, or folders of shards.
    pub shards: Vec<PathBuf>,
    /// Folder of vectors.
    pub output: PathBuf,
    /// The bundle.
    pub model: BundleChoice,
    /// Where and how the model runs.
    pub compute: Compute,
    /// Finished work.
    pub resume: Resume,
    /// Unfinished work.
    pub checkpoints: Checkpointing,
}

/// What is kept of unfinished vector files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// Folder that outlives the output; none: a folder in the output.
    pub folder: Option<PathBuf>,
    /// Seconds after which vectors are kept.
    pub interval: u64,
}

/// Seconds after which vectors of an unfinished file are kept, where the user gives no other number.
pub const DEFAULT_CHECKPOINT_INTERVAL: u64 = 30;

impl Default for Checkpointing {
    fn default() -> Self {
        Self { folder: None, interval: DEFAULT_CHECKPOINT_INTERVAL }
    }
}

/// A bundle by name or folder, and where names are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleChoice {
    /// Name or folder.
    pub name: String,
    /// Folders that hold bundles, before the usual places.
    pub search: Vec<PathBuf>,
}

/// Where and how models run.
#[derive(Clone, Debug, PartialEq)]
pub struct Compute {
    /// Device.
    pub device: DeviceChoice,
    /// Number format of the encoders.
    pub dtype: Auto<Precision>,
    /// Threads of a computation.
    pub threads: Auto<usize>,
    /// Tokens of a batch.
    pub batch_tokens: Auto<Tokens>,
    /// Nth try of a task; divides an automatic batch by 2^(N-1).
    pub attempt: u32,
    /// Batches ready per device.
    pub prefetch: usize,
    /// Threads that tokenise.
    pub dataloader_workers: Auto<usize>,
    /// Seconds that a run waits for its input; 0 for as long as it takes.
    pub timeout: u64,
    /// Whether identical sequences are embedded once.
    pub dedup: bool,
    /// How a GPU is used.
    pub gpu: Gpu,
}

/// How a GPU is used; without effect on a CPU, but for a kernel that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Kernel for attention.
    pub attention: AttentionChoice,
    /// Whether host memory is pinned.
    pub pin_memory: Auto<bool>,
    /// Whether batches are copied while others are computed.
    pub streams: bool,
    /// Whether segments of the allocator grow.
    pub expandable_segments: bool,
    /// Batches after which cached memory is given back; 0: only when memory has run out.
    pub cache_clear_interval: usize,
}

/// Batches after which cached memory of a GPU is given back, where the user gives no other number.
pub const DEFAULT_CACHE_CLEAR_INTERVAL: usize = 100;

impl Default for Gpu {
    fn default() -> Self {
        Self {
            attention: AttentionChoice::Auto,
            pin_memory: Auto::Auto,
            streams: true,
            expandable_segments: false,
            cache_clear_interval: DEFAULT_CACHE_CLEAR_INTERVAL,
        }
    }
}

/// Batches ready per device, where the user gives no other number.
pub const DEFAULT_PREFETCH: usize = 4;

/// Seconds that a run waits for its input, where the user gives no other number.
pub const DEFAULT_TIMEOUT: u64 = 600;

impl Default for Compute {
    /// Everything automatic.
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            dtype: Auto::Auto,
            threads: Auto::Auto,
            batch_tokens: Auto::Auto,
            attempt: 1,
            prefetch: DEFAULT_PREFETCH,
            dataloader_workers: Auto::Auto,
            timeout: DEFAULT_TIMEOUT,
            dedup: true,
            gpu: Gpu::default(),
        }
    }
}

/// `merge`.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// DNABERT-S vectors: files or folders.
    pub dnabert: Vec<PathBuf>,
    /// ESM-2 vectors: files or folders.
    pub esm: Vec<PathBuf>,
    /// Folder of merged vectors.
    pub output: PathBuf,
    /// Finished work.
    pub resume: Resume,
}

/// `predict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Predict {
    /// Merged vectors: files or folders.
    pub merged: Vec<PathBuf>,
    /// Folder that `chunk` wrote: every window and record of the input.
    pub windows: PathBuf,
    /// Folder of tables.
    pub output: PathBuf,
    /// The bundle.
    pub model: BundleChoice,
    /// Where the head runs.
    pub compute: Compute,
    /// When a record is called viral.
    pub cut_offs: CutOffs,
    /// Whether the original program's files are written too.
    pub legacy: bool,
    /// Formats of the tables.
    pub tables: TableFormats,
    /// Where the sequences called viral go, if they are wanted.
    pub viral_fasta: Option<ViralFasta>,
    /// Finished work.
    pub resume: Resume,
}

/// The sequences called viral, as FASTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViralFasta {
    /// The file; its name tells the compression.
    pub path: PathBuf,
    /// What was read by `chunk`, in the same order: it is read again.
    pub inputs: Vec<Input>,
}

/// What decides the verdict per record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CutOffs {
    /// With a bundle without calibration: `viral` from this share of viral among its scored windows on.
    pub viral_share: f64,
    /// `mixed` from this share on; below: `non-viral`.
    pub mixed_share: f64,
    /// With a calibrated bundle: `viral` from this probability on.
    pub min_p: f64,
    /// With a calibrated bundle: the share of others to expect among the records called viral, in place of `min_p`.
    pub fdr: Option<f64>,
    /// Share of viruses that is expected among the records.
    pub prior: f64,
    /// What a change between viral and not costs within a record, in units of a logit.
    pub region_cost: f64,
}

impl CutOffs {
    /// Where the user gives no others.
    pub const DEFAULT: Self =
        Self { viral_share: 0.5, mixed_share: 0.1, min_p: 0.5, fdr: None, prior: 0.5, region_cost: 8.0 };
}

impl Default for CutOffs {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// `evaluate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluate {
    /// Folders that `predict` wrote.
    pub predictions: Vec<PathBuf>,
    /// Table of labels.
    pub labels: PathBuf,
    /// Folder of metrics and pictures.
    pub output: PathBuf,
    /// Whether what has no label is left out; else it is an error.
    pub ignore_unlabelled: bool,
    /// Finished work.
    pub resume: Resume,
}

/// `run`: the settings of every stage, in folders of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// `windows/`.
    pub chunk: Chunk,
    /// `dnabert/`.
    pub dnabert: Embed,
    /// `esm/`.
    pub esm: Embed,
    /// `merged/`.
    pub merge: Merge,
    /// `predictions/`.
    pub predict: Predict,
    /// Whether shards and vectors are written even where they cost less to compute than to store.
    pub keep_intermediate: bool,
    /// Whether shards and vectors are removed once the tables are proved.
    pub cleanup: bool,
}

/// `train`.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// Merged vectors: files or folders.
    pub merged: Vec<PathBuf>,
    /// Folder that `chunk` wrote.
    pub windows: PathBuf,
    /// Table of labels.
    pub labels: PathBuf,
    /// Whether vectors without a label are left out.
    pub ignore_unlabelled: bool,
    /// The bundle whose encoders made the vectors.
    pub model: BundleChoice,
    /// Folder of the new bundle.
    pub output: PathBuf,
    /// Its name.
    pub name: String,
    /// Its version, free text.
    pub version: String,
    /// Licence of its head, free text.
    pub licence: Option<String>,
    /// A built-in recipe or a file; none: the one that suits the encoders.
    pub recipe: Option<String>,
    /// Whether rows are weighed as the recipe says; otherwise each counts the same.
    pub balance: bool,
    /// Parts that groups are dealt into; none: as the recipe says.
    pub folds: Option<usize>,
    /// What random numbers follow from.
    pub seed: u64,
    /// Number format that the head is stored in.
    pub dtype: Precision,
    /// Where it is fitted.
    pub device: DeviceChoice,
    /// Members that are fitted at a time.
    pub threads: Auto<usize>,
    /// Unfinished work.
    pub checkpoints: Checkpointing,
}

/// `models fetch`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// Names of the catalogue, or `organisation/name`; either may end in `@revision`. None, and no `url`: list them.
    pub names: Vec<String>,
    /// Branch, tag or commit of the repositories; their main branch if none is given.
    pub revision: Option<String>,
    /// Address of one file of the user's own.
    pub url: Option<String>,
    /// SHA-256 that this file must have, in hexadecimal.
    pub sha256: Option<String>,
    /// Contact no server, regardless of the environment.
    pub offline: bool,
    /// How long a server may stand still.
    pub timeout: Duration,
    /// Wait before the second try; it doubles each time.
    pub retry_wait: Duration,
}

/// `models import`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle, free text.
    pub version: String,
    /// Window length of the head in bases; none: what the head itself tells.
    pub window: Option<u32>,
    /// DNABERT-S: a weights file or folder, a bundle, or a name of either.
    pub dnabert: PathBuf,
    /// ESM-2, likewise.
    pub esm: PathBuf,
    /// The head, likewise.
    pub head: PathBuf,
    /// Number format that encoders are stored in.
    pub dtype: WeightFormat,
    /// Licence of the weights, free text; none: what is stated beside them.
    pub licence: Option<String>,
    /// Where the weights come from, free text; none: what their place tells.
    pub source: Option<String>,
    /// Whether the weights are random.
    pub untrained: bool,
    /// Folder of the bundle; none: where its name finds it.
    pub output: Option<PathBuf>,
    /// Folders that hold bundles, before the usual places.
    pub search: Vec<PathBuf>,
}

/// `info`.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Whether the answer is JSON.
    pub json: bool,
    /// The bundle.
    pub model: BundleChoice,
    /// Where and how it would run.
    pub compute: Compute,
}

/// `models list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListModels {
    /// Whether the answer is JSON.
    pub json: bool,
    /// Folders that hold bundles, before the usual places.
    pub search: Vec<PathBuf>,
}

/// `bench`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bench {
    /// A published encoder by name, or another bundle; none: the encoders of `model`.
    pub shape: Option<String>,
    /// So many of its layers.
    pub layers: Option<usize>,
    /// Tokens of each sequence; none: what windows of 500 bases have.
    pub tokens: Option<usize>,
    /// Rounds.
    pub rounds: usize,
    /// About how long a round takes.
    pub duration: Duration,
    /// Whether the answer is JSON.
    pub json: bool,
    /// The bundle.
    pub model: BundleChoice,
    /// Where and how it runs.
    pub compute: Compute,
}

/// `models verify`.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// The bundle.
    pub model: BundleChoice,
    /// Where its vectors are computed; none: only digests are compared.
    pub compute: Option<Compute>,
}
