//! Parse, set up messages, run, and say how it ended. The only place that chooses an exit code.

use std::io::Write;
use std::panic;
use std::process::ExitCode;

use virnucpro::bundle::SearchPath;
use virnucpro::bundle::import::{Request, Training};
use virnucpro::cli::{self, Asked, FetchArgs, ImportArgs, LogFormat, LogLevel, ModelsCommand, Task};
use virnucpro::error::{Error, Fault, Result};
use virnucpro::hub::Patience;
use virnucpro::runtime::interrupt;
use virnucpro::runtime::logging::{self, Format};
use virnucpro::runtime::progress::Progress;
use virnucpro::stages::{chunk, embed, fetch, info, merge, models, predict, report, run, verify};

fn main() -> ExitCode {
    let mut voice = Voice { command: "virnucpro".to_owned(), format: Format::Text };
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| work(&mut voice)));
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Error::new(Fault::Bug, "the program panicked: a defect of this program").advice("please report this"))
    });
    // What a signal breaks off may fail for another reason first: the end of a pipe looks like the end of its data.
    let outcome = outcome.or_else(|error| match error.fault() {
        Fault::Interrupted | Fault::Terminated => Err(error),
        _ => interrupt::check().and(Err(error)),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // stderr may be gone; the exit code is what counts then.
            let _ = match voice.format {
                Format::Text => writeln!(std::io::stderr(), "{}\n{}", error.report(&voice.command), error.json()),
                Format::Json => writeln!(std::io::stderr(), "{}", error.json()),
            };
            ExitCode::from(error.fault().exit_code())
        }
    }
}

/// How a failure is told: what failed, in which form.
struct Voice {
    command: String,
    format: Format,
}

fn work(voice: &mut Voice) -> Result<()> {
    let (global, task) = match cli::parse(std::env::args_os().collect())? {
        Asked::Text(text) => return cli::print(&text),
        Asked::Work { global, command, task } => {
            voice.command = command;
            (global, task)
        }
    };
    voice.format = if global.log_format == LogFormat::Json { Format::Json } else { Format::Text };
    let progress = if global.quiet { Progress::Silent } else { Progress::detect() };
    let level = match global.log_level {
        _ if global.quiet => log::LevelFilter::Error,
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
    };
    logging::install(level, voice.format, progress.bars());
    if let Err(error) = interrupt::install() {
        log::warn!("signals will end the program at once: {error}");
    }
    match *task {
        Task::Run(settings) => {
            let manifest = run::run(&settings, &progress)?;
            if global.quiet { Ok(()) } else { cli::print(&report::verdicts(&settings.predict.output, &manifest)?) }
        }
        Task::Chunk(settings) => chunk::chunk(&settings, &progress).map(drop),
        Task::Embed(settings) => embed::embed(&settings, &progress).map(drop),
        Task::Merge(settings) => merge::merge(&settings, &progress).map(drop),
        Task::Predict(settings) => predict::predict(&settings, &progress).map(drop),
        Task::Info(model, compute) => cli::print(&info::info(&model, &compute)?),
        Task::Models(command, folders) => {
            let search = SearchPath::standard(folders);
            let text = match command {
                ModelsCommand::List => models::list(&search),
                ModelsCommand::Verify { model, digests_only, place } => {
                    let compute = (!digests_only).then(|| place.settings());
                    let text = verify::verify(&model, &search, compute.as_ref())?;
                    if global.quiet { String::new() } else { text }
                }
                ModelsCommand::Path { model } => models::path(&model, &search)?,
                ModelsCommand::Fetch(args) => {
                    return fetch::fetch(&wanted(args)?, &progress, &mut |line| cli::print(line));
                }
                ModelsCommand::Import(args) => {
                    let text = models::import(&request(args, &search)?, &search, &progress)?;
                    if global.quiet { String::new() } else { text }
                }
            };
            cli::print(&text)
        }
    }
}

fn request(args: ImportArgs, search: &SearchPath) -> Result<Request> {
    Ok(Request {
        out: args.output.map_or_else(|| models::folder_for(&args.name, search), Ok)?,
        name: args.name,
        version: args.version,
        training: if args.untrained { Training::Untrained } else { Training::Trained },
        licence: args.licence,
        source: args.source,
        window: args.window,
        dtype: args.dtype,
        dnabert: args.dnabert,
        esm: args.esm,
        head: args.head,
    })
}

fn wanted(args: FetchArgs) -> Result<fetch::Request> {
    let wrong = |option: &str, found: String| {
        Error::new(Fault::Usage, format!("--{option} cannot be followed")).found(found).advice("see --help")
    };
    let url = args.url.map(|url| url.parse()).transpose().map_err(|found| wrong("url", found))?;
    let digest = args.sha256.map(|hex| hex.to_lowercase().parse()).transpose();
    let digest = digest.map_err(|found| wrong("sha256", found))?;
    let revision = args.revision.map(|revision| revision.parse()).transpose();
    Ok(fetch::Request {
        names: args.names,
        revision: revision.map_err(|found| wrong("revision", found))?,
        file: url.map(|url| (url, digest)),
        offline: args.offline,
        patience: Patience { timeout: args.timeout, first_wait: args.retry_wait },
    })
}
