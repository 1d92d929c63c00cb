//! Parse, set up messages, run, and say how it ended. The only place that chooses an exit code.

use std::panic;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use virnucpro::cli::{self, Asked, Global, LogFormat, LogLevel, Task};
use virnucpro::commands::{bench, evaluation_table, fetch, import, info, man, models, verdict_table, verify};
use virnucpro::error::{Error, Fault, Result};
use virnucpro::fs::partial;
use virnucpro::runtime::logging::{self, MessageFormat};
use virnucpro::runtime::progress::Progress;
use virnucpro::runtime::{interrupt, memory};
use virnucpro::seq;
use virnucpro::stages::{chunk, embed, evaluate, merge, predict, run, train};

#[global_allocator]
static ALLOCATOR: memory::Reporting = memory::Reporting;

fn main() -> ExitCode {
    let outcome = panic::catch_unwind(work);
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Error::new(Fault::Bug, "the program panicked; this is a bug").advice("please report this"))
    });
    // What a signal breaks off may fail for another reason first: the end of a pipe looks like the end of its data.
    let outcome = outcome.or_else(|error| match error.fault() {
        Fault::Interrupted | Fault::Terminated => Err(error),
        _ => interrupt::check().and(Err(error)),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            last_words(&error);
            ExitCode::from(error.fault().exit_code())
        }
    }
}

/// How a failure is told: what failed, in which form.
struct Voice {
    command: String,
    format: MessageFormat,
}

static VOICE: OnceLock<Voice> = OnceLock::new();

/// A failure in words.
fn told(error: &Error) -> String {
    let Voice { command, format } = VOICE.get_or_init(|| {
        let arguments: Vec<_> = std::env::args_os().collect();
        let format = if cli::is_json_asked_for(&arguments) { MessageFormat::Json } else { MessageFormat::Text };
        Voice { command: "virnucpro".to_owned(), format }
    });
    match format {
        MessageFormat::Text => format!("{}\n{}", error.report(command), error.json()),
        MessageFormat::Json => error.json(),
    }
}

/// Says why the process ends, once: its work and the watch over signals may end it at the same time.
fn last_words(error: &Error) {
    static SAID: Mutex<bool> = Mutex::new(false);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut said, true) {
        partial::discard_all();
        logging::last_line(&told(error));
    }
}

fn work() -> Result<()> {
    let (global, name, command, warnings, settings) = match cli::parse(std::env::args_os().collect())? {
        Asked::Text(text) => return cli::print(&text),
        Asked::Work { global, name, command, warnings, settings } => (global, name, command, warnings, settings),
    };
    let format = if global.log_format == LogFormat::Json { MessageFormat::Json } else { MessageFormat::Text };
    let every = Duration::from_secs(global.progress_seconds);
    let progress = if global.quiet { Progress::Silent } else { Progress::detect(format, every) };
    logging::install(level(&global), format, progress.bars());
    let _ = VOICE.set(Voice { command: name, format });
    memory::prepare(told, partial::discard_all);
    if let Err(error) = interrupt::install(interrupt::Work { is_waiting: seq::is_waiting, last_words }) {
        log::warn!("signals will end the program at once: {error}");
    }
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    settings.lines().filter(|line| !line.starts_with('#')).for_each(|line| log::debug!("{line}"));
    dispatch(command.task()?, &progress, &Stdout { quiet: global.quiet })
}

fn level(global: &Global) -> log::LevelFilter {
    match global.log_level {
        _ if global.quiet => log::LevelFilter::Error,
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
    }
}

/// Runs a command; what it has to say goes to stdout.
fn dispatch(task: Task, progress: &Progress, stdout: &Stdout) -> Result<()> {
    match task {
        Task::Run(settings) => {
            let manifest = run::run(&settings, progress)?;
            stdout.comment(|| verdict_table::text(&settings.predict.output, &manifest))
        }
        Task::Chunk(settings) => chunk::chunk(&settings, progress).map(drop),
        Task::Embed(settings) => embed::embed(&settings, progress).map(drop),
        Task::Merge(settings) => merge::merge(&settings, progress).map(drop),
        Task::Predict(settings) => predict::predict(&settings, progress).map(drop),
        Task::Evaluate(settings) => {
            evaluate::evaluate(&settings, progress)?;
            stdout.comment(|| evaluation_table::text(&settings.output))
        }
        Task::Train(settings) => {
            let folder = train::train(&settings, progress)?;
            stdout.comment(|| Ok(format!("{}\n", folder.display())))
        }
        Task::PrintRecipe { recipe, model } => stdout.answer(&train::recipe_text(recipe.as_deref(), &model)?),
        Task::Bench(settings) => stdout.answer(&bench::bench(&settings)?),
        Task::Info(settings) => stdout.answer(&info::info(&settings)?),
        Task::ListModels(settings) => stdout.answer(&models::list(settings)),
        Task::FetchModels(settings) => fetch::fetch(&settings, progress, &mut |line| stdout.answer(line)),
        Task::ImportModel(settings) => {
            let report = import::import(&settings, progress)?;
            stdout.comment(|| Ok(report))
        }
        Task::VerifyModel(settings) => {
            let report = verify::verify(&settings)?;
            stdout.comment(|| Ok(report))
        }
        Task::ModelPath(model) => stdout.answer(&models::path(&model)?),
        Task::Completions(script) => stdout.answer(&script),
        Task::Man(folder, pages) => {
            man::write(&folder, pages.iter().map(|page| (page.name.as_str(), &page.source[..])))?;
            log::info!("{} manual pages are in {}", pages.len(), folder.display());
            Ok(())
        }
    }
}

/// What `--quiet` silences on stdout, and what it does not.
struct Stdout {
    quiet: bool,
}

impl Stdout {
    /// What was asked for.
    fn answer(&self, text: &str) -> Result<()> {
        cli::print(text)
    }

    /// What is said about work that was done.
    fn comment(&self, text: impl FnOnce() -> Result<String>) -> Result<()> {
        if self.quiet { Ok(()) } else { cli::print(&text()?) }
    }
}
