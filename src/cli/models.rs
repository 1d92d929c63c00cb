//! Arguments of `models`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Task;
use super::options::{AnswerOptions, DeviceOptions, OUTPUT_ALIASES, window};
use crate::config;
use crate::units::{BUNDLE_NAME_RULE, WeightFormat, is_bundle_name};

/// `models`.
#[derive(Debug, Args)]
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
        let search = self.models;
        match self.command {
            ModelsCommand::List(answer) => Task::ListModels(config::ListModels { json: answer.json, search }),
            ModelsCommand::Fetch(args) => Task::FetchModels(args.settings()),
            ModelsCommand::Import(args) => Task::ImportModel(Box::new(args.settings(search))),
            ModelsCommand::Verify { model, digests_only, device } => Task::VerifyModel(config::Verify {
                model: config::BundleChoice { name: model, search },
                compute: (!digests_only).then(|| device.settings()),
            }),
            ModelsCommand::Path { model } => Task::ModelPath(config::BundleChoice { name: model, search }),
        }
    }
}

/// The commands of `models`.
#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Bundles that can be named, with what they are
    #[command(
        after_help = "Examples:\n  virnucpro models list\n  virnucpro models list --models /shared/models --json"
    )]
    List(AnswerOptions),
    /// Download published models
    #[command(
        long_about = "Download published models, and print the folder or file of each. Without NAME, list the models of the \
            catalogue.\n\n\
            Models of the hub go to its cache (HF_HUB_CACHE, HF_HOME): its own tools find them there, and what those \
            have fetched is found here. Size and digest of every file are checked. A download that breaks off is resumed. \
            HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are respected.",
        after_help = "Examples:\n  \
            virnucpro models fetch\n  \
            virnucpro models fetch dnabert-s esm2-3b virnucpro-500\n  \
            virnucpro models fetch facebook/esm2_t6_8M_UR50D --revision main\n  \
            ls \"$(virnucpro models fetch -q esm2-8m)\"\n  \
            virnucpro models fetch --url https://example.org/head.safetensors"
    )]
    Fetch(FetchArgs),
    /// Make a bundle of published files
    #[command(
        long_about = "Make a bundle of published files. Each part may be given as\n\n  \
            - a file of tensors: safetensors, or PyTorch's .pt, .pth, .bin; its content tells the format\n  \
            - an index of such files (*.index.json), all of them beside it\n  \
            - a folder: model.safetensors, pytorch_model.bin or an index of shards, else the only weights file in it\n  \
            - an entry of a model hub's cache (models--ORG--NAME), or a snapshot in it\n  \
            - a bundle or its name; its part is taken\n  \
            - a name that `models fetch` knows and has fetched, as esm2-3b\n\n\
            Names of tensors may be Hugging Face's or fair-esm's, bare or prefixed. Everything is checked: nothing may be \
            missing, of another shape or not finite, and the parts must fit together.\n\n\
            The window is that of the bundle the head comes from, or of a published head, which its content tells; both \
            stand against any other --window. Of other heads it is --window, 500 where nothing is said. A file name with \
            300 or 500 in it that says another window is refused: state --window, or rename a file that is named wrongly.",
        after_help = "Examples:\n  \
            virnucpro models import --name vnp-500 --dnabert dnabert-s --esm esm2-3b --head virnucpro-500\n  \
            virnucpro models import --name vnp-300 --window 300 \\\n    \
            --dnabert vnp-500 --esm vnp-500 --head 300_model.pth\n  \
            virnucpro models import --name small --dtype f16 --output ./small \\\n    \
            --dnabert DNABERT-S/ --esm esm2_t6_8M_UR50D.pt --head head.pth --window 500"
    )]
    Import(ImportArgs),
    /// Prove a bundle: digests of its files, and vectors that its models gave when it was made
    #[command(
        long_about = "Prove a bundle: every file has its recorded size and digest, the models load, and they give the \
            vectors and scores that were stored when the bundle was made, on the device and in the number format that \
            a run would take here.",
        after_help = "Examples:\n  \
            virnucpro models verify mini\n  \
            virnucpro models verify ./vnp-500 --device cuda --dtype f16\n  \
            virnucpro models verify vnp-500 --digests-only"
    )]
    Verify {
        /// Folder or name
        #[arg(value_name = "BUNDLE")]
        model: String,
        /// Compare digests and compute nothing
        #[arg(long)]
        digests_only: bool,
        /// Where to compute
        #[command(flatten)]
        device: DeviceOptions,
    },
    /// Print the folder of a bundle; 'mini' has none, it is part of the executable
    #[command(after_help = "Examples:\n  virnucpro models path vnp-500\n  ls \"$(virnucpro models path vnp-500)\"")]
    Path {
        /// Folder or name
        #[arg(value_name = "BUNDLE")]
        model: String,
    },
}

/// `models fetch`.
#[derive(Debug, Args)]
struct FetchArgs {
    /// Names of the catalogue, or organisation/name on the hub; @REV may follow
    #[arg(value_name = "NAME", conflicts_with = "url")]
    names: Vec<String>,
    /// Branch, tag or commit of the repositories; NAME@REV sets it for one
    #[arg(long, value_name = "REV", requires = "names", conflicts_with = "url")]
    revision: Option<String>,
    /// Address of one file, such as a head of your own
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// SHA-256 digest that the file of --url must have
    #[arg(long, value_name = "HEX", requires = "url")]
    sha256: Option<String>,
    /// Ask no server: check what is there, or say what is missing (like HF_HUB_OFFLINE=1)
    #[arg(long)]
    offline: bool,
    /// Seconds that a server may be silent
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = timeout)]
    timeout: Duration,
    /// Seconds before the second try; doubled each time, up to five tries
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = wait)]
    retry_wait: Duration,
}

impl FetchArgs {
    fn settings(self) -> config::Fetch {
        config::Fetch {
            names: self.names,
            revision: self.revision,
            url: self.url,
            sha256: self.sha256,
            offline: self.offline,
            timeout: self.timeout,
            retry_wait: self.retry_wait,
        }
    }
}

/// `models import`.
#[derive(Debug, Args)]
struct ImportArgs {
    /// Name of the bundle: letters, digits, '.', '_', '-'
    #[arg(long, value_parser = bundle_name)]
    name: String,
    /// Version of the bundle
    #[arg(long, default_value = "1")]
    version: String,
    /// Window length the head was trained on, in bases; see above
    #[arg(short, long, value_name = "N", value_parser = window)]
    window: Option<usize>,
    /// DNABERT-S: folder or file of weights, config.json and tokenizer.json beside it; or a bundle
    #[arg(long, value_name = "PATH")]
    dnabert: PathBuf,
    /// ESM-2: folder or file of weights; or a bundle
    #[arg(long, value_name = "PATH")]
    esm: PathBuf,
    /// The head: file of weights; or a bundle
    #[arg(long, value_name = "PATH")]
    head: PathBuf,
    /// Number format that encoders are stored in: keep, f32, f16 or bf16. Rotary frequencies and the head are kept
    #[arg(long, value_name = "FORMAT", default_value = "keep")]
    dtype: WeightFormat,
    /// Licence of the weights [default: what README.md beside them or their bundle says]
    #[arg(long)]
    licence: Option<String>,
    /// Where the weights come from [default: what the hub's cache or their bundle says]
    #[arg(long)]
    source: Option<String>,
    /// The weights are random: tables and messages will say so
    #[arg(long)]
    untrained: bool,
    /// Folder of the bundle; must not exist [default: $XDG_DATA_HOME/virnucpro/models/NAME, where --model NAME finds it]
    #[arg(short, long, value_name = "DIR", aliases = OUTPUT_ALIASES)]
    output: Option<PathBuf>,
}

impl ImportArgs {
    fn settings(self, search: Vec<PathBuf>) -> config::Import {
        config::Import {
            name: self.name,
            version: self.version,
            window: self.window.map(|window| window as u32), // at most 10,000
            dnabert: self.dnabert,
            esm: self.esm,
            head: self.head,
            dtype: self.dtype,
            licence: self.licence,
            source: self.source,
            untrained: self.untrained,
            output: self.output,
            search,
        }
    }
}

pub(super) fn bundle_name(name: &str) -> Result<String, String> {
    if is_bundle_name(name) { Ok(name.to_owned()) } else { Err(format!("a name has {BUNDLE_NAME_RULE}")) }
}

fn timeout(text: &str) -> Result<Duration, String> {
    seconds(text, 0.1, 3600.0)
}

fn wait(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0, 60.0)
}

fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("a number of seconds from {least} to {most} is expected")),
    }
}
