//! Defaults < configuration file < environment < flags, resolved here and nowhere else.
//!
//! clap knows defaults, environment and flags. Values of the configuration file become defaults before it
//! parses, so they pass the same checks and give the same messages.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::hints::{Hints, message_and_tip};
use super::names::{commands, find_option, is_inputs, is_switch, is_typed, near_settings};
use super::options::Global;
use crate::config::file::{self, Options};
use crate::error::{Error, Fault, Result};
use crate::nearest::any_of;

/// Options that say how to parse, not what to do; not part of a configuration.
const NOT_SETTINGS: [&str; 6] = ["config", "print-config", "help", "version", "no-resume", "no-cuda-streams"];

/// Commands whose own options are flags alone: a `window` or `output` meant for runs must not get into a bundle.
const BY_FLAG: [&str; 3] = ["import", "fetch", "train"];

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
    let arguments = without_help_of_help(&known, arguments);
    let from_file = match config_path(&arguments) {
        Some(path) => file::read(&path).map(|options| Some((path, options)))?,
        None => None,
    };
    if let Some((path, options)) = &from_file {
        check_known(&known, options).map_err(|error| error.file(path))?;
    }
    let hints = Hints::new(&known, &arguments);
    if let Some(error) = hints.stray_value().or_else(|| hints.long_dash()) {
        return Err(error);
    }
    let nothing = Options::new();
    let options = from_file.as_ref().map_or(&nothing, |(_, options)| options);
    let mut command = each(Cli::command(), &|command| {
        let outranked = outranked(&command, &arguments);
        let options = options.iter().filter(|(name, _)| !outranked.contains(name));
        let options = options.map(|(name, setting)| (name.clone(), setting.clone())).collect();
        blind_to_variables(with_file(command, &options), &outranked)
    });
    if arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--print-config") {
        command = without_requirements(command);
    }
    let matches = match command.try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // The help names variables that are set to nothing, too.
            let command = each(Cli::command(), &|command| with_file(command, options));
            return Ok(Asked::Text(help(&command.try_get_matches_from(&arguments).err().unwrap_or(error))));
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

/// `help --help` asks for what `help` prints.
fn without_help_of_help(known: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(help) = Hints::new(known, &arguments).place_of_help() else { return arguments };
    let words = arguments.into_iter().enumerate();
    words.filter(|(place, word)| *place <= help || (word != "--help" && word != "-h")).map(|(_, word)| word).collect()
}

/// Help as text: with bold and underlined words on a terminal, plain in a file or a pipe.
fn help(answer: &clap::Error) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = answer.render();
    if io::stdout().is_terminal() && !plain { text.ansi().to_string() } else { text.to_string() }
}

/// What clap refuses, naming the variable or the file that a wrong value stands in.
fn misused(error: &clap::Error, hints: &Hints<'_>, from_file: Option<&(PathBuf, Options)>) -> Error {
    let (command, arguments) = (hints.command(), hints.arguments());
    if error.kind() == ErrorKind::InvalidUtf8 {
        return not_unicode(hints);
    }
    let value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg).filter(|_| value) else {
        return hints.explain(error);
    };
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    let Some(option) = find_option(command, flag).filter(|option| !is_typed(option, command, arguments)) else {
        return hints.explain(error);
    };
    let (message, _) = message_and_tip(error);
    if let Some(variable) =
        option.get_env().filter(|variable| std::env::var_os(variable).is_some_and(|set| !set.is_empty()))
    {
        return in_variable(message, &variable.to_string_lossy());
    }
    let name = option.get_long().unwrap_or_default();
    match from_file.and_then(|(path, options)| Some((path, options.get(name)?))) {
        Some((path, setting)) => {
            let error = Error::new(Fault::Config, message)
                .file(path)
                .advice(format!("change the line of {name} in this file; see --help for what is allowed"));
            setting.line.into_iter().fold(error, Error::line)
        }
        None => hints.explain(error),
    }
}

fn in_variable(message: String, variable: &str) -> Error {
    Error::new(Fault::Config, message)
        .found(format!("in the environment variable {variable}"))
        .advice(format!("change or unset {variable}; see --help for what is allowed"))
}

/// A value that is not text; clap does not say which.
fn not_unicode(hints: &Hints<'_>) -> Error {
    let (command, arguments) = (hints.command(), hints.arguments());
    let text = |option: &&Arg| option.get_value_parser().type_id() != TypeId::of::<PathBuf>();
    let unseen = command.get_arguments().filter(text).filter(|option| !is_typed(option, command, arguments));
    let mut variables = unseen.filter_map(Arg::get_env);
    let wrong = |variable: &&OsStr| std::env::var_os(variable).is_some_and(|value| value.to_str().is_none());
    match variables.find(wrong) {
        Some(variable) => in_variable("a value is not text in UTF-8".to_owned(), &variable.to_string_lossy()),
        None => {
            let word = arguments.iter().find(|word| word.to_str().is_none());
            Error::new(Fault::Usage, "an argument is not text in UTF-8")
                .found(word.map(|word| word.to_string_lossy().into_owned()).unwrap_or_default())
                .advice("only paths may hold other bytes")
        }
    }
}

/// Whether a failure to parse these arguments is to be told as JSON: a flag or the environment says so.
pub fn is_json_asked_for(arguments: &[OsString]) -> bool {
    before_parsing(arguments, "--log-format", "VIRNUCPRO_LOG_FORMAT")
        .is_some_and(|format| format.eq_ignore_ascii_case("json"))
}

/// The configuration file named on the command line, or else in the environment.
fn config_path(arguments: &[OsString]) -> Option<PathBuf> {
    before_parsing(arguments, "--config", "VIRNUCPRO_CONFIG").map(PathBuf::from)
}

/// The value of an option that counts before the arguments are parsed: that of the flag, or else of the variable.
fn before_parsing(arguments: &[OsString], flag: &str, variable: &str) -> Option<OsString> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == flag {
            return arguments.next().cloned();
        }
        let value = argument.to_str().and_then(|text| text.strip_prefix(flag)?.strip_prefix('='));
        if let Some(value) = value {
            return Some(value.into());
        }
    }
    std::env::var_os(variable).filter(|value| !value.is_empty())
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
    for (name, setting) in options {
        let one = |argument: &&Arg| {
            argument.get_value_delimiter().is_none()
                && argument.get_num_args().is_none_or(|range| range.max_values() <= 1)
        };
        let error = match known.get(name.as_str()) {
            None => Error::new(Fault::Config, format!("the configuration file has an unknown option: {name}"))
                .found(name.clone())
                .advice(format!(
                    "{}`virnucpro run --print-config` prints all options",
                    meant_by(name, command, &known.values().copied().collect::<Vec<_>>())
                )),
            Some(argument) if setting.values.len() != 1 && one(argument) => {
                Error::new(Fault::Config, format!("option {name} of the configuration file takes one value"))
                    .expected("one value")
                    .found(format!("a list of {}", setting.values.len()))
                    .advice("write it as `option: value`")
            }
            Some(_) => continue,
        };
        return Err(setting.line.into_iter().fold(error, Error::line));
    }
    Ok(())
}

/// What to do about a name that is not an option of the file.
fn meant_by(name: &str, root: &Command, known: &[&Arg]) -> String {
    let flag = format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
    let by_flag = commands(root)
        .into_iter()
        .find(|(_, command)| BY_FLAG.contains(&command.get_name()) && find_option(command, &flag).is_some());
    let plain = flag.trim_start_matches('-');
    match plain {
        "no-resume" => "write `resume: false`; ".to_owned(),
        "no-cuda-streams" => "write `cuda-streams: false`; ".to_owned(),
        "config" => "it cannot stand in the file that it names: give --config or VIRNUCPRO_CONFIG; ".to_owned(),
        _ if NOT_SETTINGS.contains(&plain) => format!("{flag} is given on the command line alone; "),
        _ if is_inputs(&flag) => "inputs are named on the command line, not in the file; ".to_owned(),
        _ if known.iter().any(|option| option.get_long() == Some(plain)) => format!("did you mean {plain}? "),
        _ => match (&near_settings(name, known)[..], by_flag) {
            (_, Some((command, _))) => format!("{flag} is an option of {command}, given on the command line alone; "),
            ([], None) => String::new(),
            (near, None) => format!("did you mean {}? ", any_of(near)),
        },
    }
}

/// A command and all below it, changed.
fn each(command: Command, change: &dyn Fn(Command) -> Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(change(command), |command, name| command.mut_subcommand(name, |sub| each(sub, change)))
}

/// A command with the file's values as defaults.
fn with_file(mut command: Command, options: &Options) -> Command {
    let of_file: Vec<(String, Vec<String>)> = settings(&command)
        .filter_map(|(name, argument)| Some((argument.get_id().to_string(), options.get(name)?.values.clone())))
        .collect();
    for (id, values) in of_file {
        command = command.mut_arg(id, |argument| argument.required(false).default_values(values));
    }
    // What is set may be long, or nobody's business. A number below 0 is a wrong value, not an unknown option.
    command.mut_args(|argument| {
        let number = takes_one_word(&argument);
        argument.hide_env_values(true).allow_negative_numbers(number)
    })
}

/// Whether an option takes one value that is neither a path nor free text.
fn takes_one_word(argument: &Arg) -> bool {
    let kind = argument.get_value_parser().type_id();
    !argument.is_positional()
        && !is_switch(argument)
        && argument.get_num_args().is_none_or(|range| range.max_values() <= 1)
        && kind != TypeId::of::<PathBuf>()
        && kind != TypeId::of::<String>()
}

/// The options that a typed one excludes: what a variable or the file says of them does not count.
fn outranked(command: &Command, arguments: &[OsString]) -> Vec<String> {
    let pairs = command
        .get_arguments()
        .flat_map(|one| command.get_arg_conflicts_with(one).into_iter().map(move |two| (one, two)));
    let weaker = pairs.filter_map(|(one, two)| match [one, two].map(|option| is_typed(option, command, arguments)) {
        [true, false] => Some(two),
        [false, true] => Some(one),
        _ => None,
    });
    weaker.filter_map(Arg::get_long).map(str::to_owned).collect()
}

/// A command to which variables of these options, and those that are set to nothing, are not set.
fn blind_to_variables(mut command: Command, options: &[String]) -> Command {
    let unset = |argument: &&Arg| {
        argument.get_long().is_some_and(|name| options.iter().any(|option| option == name))
            || argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
    };
    let empty: Vec<String> = command.get_arguments().filter(unset).map(|arg| arg.get_id().to_string()).collect();
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
fn without_requirements(command: Command) -> Command {
    each(command, &|command| command.subcommand_required(false).mut_args(|argument| argument.required(false)))
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
