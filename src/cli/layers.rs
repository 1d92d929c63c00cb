//! Defaults < configuration file < environment < flags, resolved here and nowhere else.
//!
//! clap knows defaults, environment and flags. Values of the configuration file become defaults before it
//! parses, so they pass the same checks and give the same messages.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::hints::{Hints, distance, message_and_tip};
use super::options::Global;
use crate::config::file::{self, Options};
use crate::error::{Error, Fault, Result};

/// Options that say how to parse, not what to do; not part of a configuration.
const NOT_SETTINGS: [&str; 5] = ["config", "print-config", "help", "version", "no-resume"];

/// Commands whose own options are flags alone: a `window` or `output` meant for runs must not get into a bundle.
const BY_FLAG: [&str; 2] = ["import", "fetch"];

/// What the user wants.
#[derive(Debug)]
pub enum Asked {
    /// Text for stdout and nothing else: help, version, configuration.
    Text(String),
    /// Work.
    Work {
        /// Options of every command.
        global: Global,
        /// Name of the command, as `virnucpro models list`.
        name: String,
        /// What to do.
        command: Box<super::Command>,
        /// What may be wrong with the environment.
        warnings: Vec<String>,
        /// Every option with its value and where it comes from, a line each.
        settings: String,
    },
}

/// Parses the arguments of a process, its name first.
///
/// # Errors
/// [`Fault::Usage`] for arguments, [`Fault::Config`] for a configuration file that cannot be followed.
pub fn parse(arguments: Vec<OsString>) -> Result<Asked> {
    let mut known = Cli::command();
    known.build();
    let from_file = match config_path(&arguments) {
        Some(path) => file::read(&path).map(|options| Some((path, options)))?,
        None => None,
    };
    if let Some((path, options)) = &from_file {
        check_known(&known, options).map_err(|error| error.file(path))?;
    }
    let hints = Hints::new(&known, &arguments);
    if let Some(error) = hints.stray_value() {
        return Err(error);
    }
    let nothing = Options::new();
    let mut command = layered(Cli::command(), from_file.as_ref().map_or(&nothing, |(_, options)| options));
    if arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--print-config") {
        command = without_requirements(command);
    }
    let matches = match command.try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Asked::Text(help(&error)));
        }
        Err(error) => return Err(misused(&error, &hints, from_file.as_ref())),
    };
    // Defaults from a file move options about: the order is that of the command without them.
    let options = from_file.map(|(_, options)| options).unwrap_or_default();
    let settings = listing(&known, &matches, &options);
    if matches.get_flag("print_config") {
        let warnings: String = hints.unknown_variables().iter().map(|warning| format!("# {warning}\n")).collect();
        return Ok(Asked::Text(settings + &warnings));
    }
    let Cli { global, command } = Cli::from_arg_matches(&matches).map_err(|error| hints.explain(&error))?;
    let name = name_of(&matches);
    Ok(Asked::Work { global, name, command: Box::new(command), warnings: hints.unknown_variables(), settings })
}

/// Help as text: with bold and underlined words on a terminal, plain in a file or a pipe.
fn help(answer: &clap::Error) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = answer.render();
    if io::stdout().is_terminal() && !plain { text.ansi().to_string() } else { text.to_string() }
}

/// What clap refuses, naming the variable or the file that a wrong value stands in.
fn misused(error: &clap::Error, hints: &Hints<'_>, from_file: Option<&(PathBuf, Options)>) -> Error {
    let value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg).filter(|_| value) else {
        return hints.explain(error);
    };
    let name: String =
        argument.trim_start_matches('-').chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let flag = format!("--{name}");
    let typed = |argument: &OsString| {
        argument
            .to_str()
            .and_then(|text| text.strip_prefix(&flag))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if hints.arguments().iter().any(typed) {
        return hints.explain(error);
    }
    let (message, _) = message_and_tip(error);
    let command = Cli::command();
    let mut all = all_settings(&command).into_iter();
    let variable = all.find(|(long, _)| *long == name);
    let variable = variable.and_then(|(_, argument)| argument.get_env().map(OsStr::to_owned));
    if let Some(variable) = variable.filter(|variable| std::env::var_os(variable).is_some()) {
        let variable = variable.to_string_lossy();
        return Error::new(Fault::Config, message)
            .found(format!("in the environment variable {variable}"))
            .advice(format!("change or unset {variable}; see --help for what is allowed"));
    }
    match from_file {
        Some((path, options)) if options.contains_key(&name) => Error::new(Fault::Config, message)
            .file(path)
            .advice(format!("change the line of {name} in this file; see --help for what is allowed")),
        _ => hints.explain(error),
    }
}

/// The configuration file named on the command line, or else in the environment.
fn config_path(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    std::env::var_os("VIRNUCPRO_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The options of a command that a configuration file can hold, by long name.
fn settings(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = command.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument)));
    let by_flag = BY_FLAG.contains(&command.get_name());
    named.filter(move |(name, argument)| {
        !NOT_SETTINGS.contains(name) && (!by_flag || argument.get_env().is_some() || argument.is_global_set())
    })
}

/// Those of a command and of all commands below it.
fn all_settings(command: &Command) -> Vec<(&str, &Arg)> {
    settings(command).chain(command.get_subcommands().flat_map(all_settings)).collect()
}

/// One file serves all commands: an option must be known to one of them.
fn check_known(command: &Command, options: &Options) -> Result<()> {
    let known: BTreeMap<&str, &Arg> = all_settings(command).into_iter().collect();
    for (name, values) in options {
        let one = |argument: &&&Arg| {
            argument.get_value_delimiter().is_none()
                && argument.get_num_args().is_none_or(|range| range.max_values() <= 1)
        };
        if values.len() != 1 && known.get(name.as_str()).filter(one).is_some() {
            return Err(Error::new(Fault::Config, format!("option {name} of the configuration file takes one value"))
                .expected("one value")
                .found(format!("a list of {}", values.len()))
                .advice("write it as `option: value`"));
        }
    }
    let Some(unknown) = options.keys().find(|name| !known.contains_key(name.as_str())) else { return Ok(()) };
    let spelt = known.iter().flat_map(|(name, argument)| {
        let aliases = argument.get_all_aliases().unwrap_or_default();
        aliases.into_iter().chain([*name]).map(move |spelt| (distance(unknown, spelt), *name))
    });
    let nearest = spelt.min().map_or("", |(_, name)| name);
    Err(Error::new(Fault::Config, format!("the configuration file has an unknown option: {unknown}"))
        .found(unknown.clone())
        .advice(format!("did you mean {nearest}? `virnucpro run --print-config` prints all options")))
}

/// The command line with the file's values as defaults, and blind to variables that are set to nothing.
fn layered(mut command: Command, options: &Options) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    command = apply(command, options);
    for name in names {
        command = command.mut_subcommand(name, |sub| layered(sub, options));
    }
    command
}

fn apply(mut command: Command, options: &Options) -> Command {
    let of_file: Vec<(String, Vec<String>)> = settings(&command)
        .filter_map(|(name, argument)| Some((argument.get_id().to_string(), options.get(name)?.clone())))
        .collect();
    let unset = |argument: &&Arg| argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let empty: Vec<String> = command.get_arguments().filter(unset).map(|arg| arg.get_id().to_string()).collect();
    for (id, values) in of_file {
        command = command.mut_arg(id, |argument| argument.required(false).default_values(values));
    }
    command = command.mut_args(|argument| argument.hide_env_values(true)); // they may be long, or nobody's business
    for id in empty {
        command = command.mut_arg(id, |argument| argument.env(Resettable::Reset));
    }
    command
}

/// Name of the command that was used, with those above it.
fn name_of(matches: &ArgMatches) -> String {
    let (mut name, mut matches) = ("virnucpro".to_owned(), matches);
    while let Some((below, inner)) = matches.subcommand() {
        name = format!("{name} {below}");
        matches = inner;
    }
    name
}

/// A command that can print its configuration: nothing must be given for that.
fn without_requirements(mut command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    command = command.subcommand_required(false).mut_args(|argument| argument.required(false));
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_requirements))
}

/// Every option of the command used, as a configuration file with the source of each value.
fn listing(command: &Command, matches: &ArgMatches, from_file: &Options) -> String {
    let (mut command, mut matches, mut names) = (command, matches, vec!["virnucpro"]);
    while let Some((name, below)) = matches.subcommand()
        && let Some(found) = command.find_subcommand(name)
    {
        names.push(name);
        (command, matches) = (found, below);
    }
    let mut text = format!("# {}: value of every option, and where it comes from\n", names.join(" "));
    for (name, argument) in settings(command) {
        let id = argument.get_id().as_str();
        let values: Vec<String> =
            matches.try_get_raw(id).ok().flatten().map(|values| values.map(quoted).collect()).unwrap_or_default();
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ if from_file.contains_key(name) => "file",
            _ => "default",
        };
        match &values[..] {
            [] => text.push_str(&format!("# {name}: not set\n")),
            [value] => text.push_str(&format!("{name}: {value}  # {source}\n")),
            values => text.push_str(&format!("{name}: [{}]  # {source}\n", values.join(", "))),
        }
    }
    text
}

/// A value as YAML: quoted unless it is read back as the same text beyond doubt.
fn quoted(value: &OsStr) -> String {
    let value = value.to_string_lossy();
    let word = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["null", "yes", "no", "on", "off", "y", "n"].contains(&value.to_lowercase().as_str())
        && (!["true", "false"].contains(&value.to_lowercase().as_str()) || value == value.to_lowercase());
    // Not 007, 1e3 or 1.50: a number is written back in its shortest form.
    let number = value.parse::<u64>().is_ok_and(|number| number.to_string() == value)
        || value.parse::<f64>().is_ok_and(|number| number.to_string() == value && value.contains('.'));
    if word || number { value.into_owned() } else { format!("'{}'", value.replace('\'', "''")) }
}
