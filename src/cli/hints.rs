//! What was probably meant, where a command line is not understood.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::error::{Error, Fault};

/// What people type for the inputs, which have no flag.
const INPUTS: [&str; 9] =
    ["-i", "--in", "--input", "--inputs", "--infile", "--fasta", "--fastq", "--reads", "--contigs"];

/// What people type for options that have another name, and how they are written here.
const MEANT: [(&[&str], &str); 9] = [
    (&["-j", "-p", "--cpus", "--cores", "--jobs", "--nthreads", "--num-threads"], "--threads N"),
    (&["-g", "--gpu", "--gpus", "--cuda"], "--device cuda"),
    (&["--cpu"], "--device cpu"),
    (&["-v", "--verbose", "--debug"], "--log-level debug"),
    (&["--silent"], "--quiet"),
    (&["-b", "--batch", "--batch-size"], "--batch-tokens N"),
    (&["--precision", "--half", "--fp16", "--bf16"], "--dtype FORMAT"),
    (&["--db", "--database", "--weights"], "--model BUNDLE"),
    (&["--restart", "--fresh"], "--no-resume"),
];

/// Endings of files that `run` reads.
const SEQUENCES: [&str; 14] =
    ["fa", "fna", "fasta", "fas", "fq", "fastq", "gz", "bgz", "bz2", "xz", "zst", "tsv", "csv", "bam"];

/// Variables that are read when the program is built.
const BUILD_VARIABLES: [&str; 1] = ["TORCH"];

/// Start of the names of this program's variables.
const OWN: &str = "VIRNUCPRO_";

/// A command line that is not understood.
pub struct Hints<'a> {
    root: &'a Command,
    arguments: &'a [OsString],
    /// The command that it is for, and its name with those above it.
    command: &'a Command,
    name: String,
}

impl<'a> Hints<'a> {
    /// Finds the command among the arguments of a process. `root` is built.
    pub fn new(root: &'a Command, arguments: &'a [OsString]) -> Self {
        let (mut command, mut name) = (root, root.get_name().to_owned());
        for word in arguments.iter().skip(1).take_while(|word| *word != "--") {
            if let Some(below) = command.get_subcommands().find(|below| word == below.get_name()) {
                name = format!("{name} {}", below.get_name());
                command = below;
            }
        }
        Self { root, arguments, command, name }
    }

    /// The arguments of the process, its name first.
    pub fn arguments(&self) -> &'a [OsString] {
        self.arguments
    }

    /// clap's message as an error of the contract: usage is 64, not clap's 2.
    pub fn explain(&self, error: &clap::Error) -> Error {
        let word = |kind| match error.get(kind) {
            Some(ContextValue::String(word)) => word.clone(),
            _ => String::new(),
        };
        match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => self.no_command(),
            ErrorKind::InvalidSubcommand => self.unknown_command(&word(ContextKind::InvalidSubcommand)),
            ErrorKind::UnknownArgument => self.unknown_argument(&word(ContextKind::InvalidArg)),
            _ => self.other(error, &word(ContextKind::InvalidArg)),
        }
    }

    /// A word such as `false` after a switch: clap takes it for an input.
    pub fn stray_value(&self) -> Option<Error> {
        let arguments = self.arguments.iter().map(|word| word.to_str().unwrap_or_default());
        let arguments: Vec<&str> = arguments.take_while(|word| *word != "--").collect();
        arguments.windows(2).find_map(|pair| {
            let &[flag, value] = pair else { return None };
            let switch = self.option(flag).filter(|option| is_switch(option))?;
            let on = said(value).filter(|_| !Path::new(value).exists())?;
            Some(self.refused(format!("'{value}' after {flag} is not its value"), switch_advice(switch, on)))
        })
    }

    /// Every variable of the environment that looks like one of this program and is not, with the nearest that is.
    pub fn unknown_variables(&self) -> Vec<String> {
        let mut known: BTreeSet<&str> =
            variables(self.root).into_iter().filter_map(|name| name.strip_prefix(OWN)).collect();
        known.extend(BUILD_VARIABLES);
        let set = std::env::vars_os().filter_map(|(name, _)| Some(name.to_str()?.strip_prefix(OWN)?.to_owned()));
        let unknown: BTreeSet<String> = set.filter(|name| !known.contains(name.as_str())).collect();
        let told = unknown.iter().map(|name| {
            let near = nearest(name, known.iter().copied());
            let near: Vec<String> = near.into_iter().map(|name| format!("{OWN}{name}")).collect();
            let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", any_of(&near)) };
            format!("the environment variable {OWN}{name} is not known and is ignored{hint}")
        });
        told.collect()
    }

    fn no_command(&self) -> Error {
        if self.command.get_name() == self.root.get_name() {
            return Error::new(Fault::Usage, "no command was given")
                .expected(format!("a command, as in {}", self.example("run")))
                .advice(
                    "`virnucpro --help` lists the commands, `virnucpro COMMAND --help` explains one with examples",
                );
        }
        Error::new(Fault::Usage, format!("`{}` needs a command after it", self.name))
            .expected(any_of(&names(self.command)))
            .advice(format!("as in {}; {}", self.example(""), self.see()))
    }

    fn unknown_command(&self, word: &str) -> Error {
        let refused = |advice: String| self.refused(format!("'{word}' is not a command of {}", self.name), advice);
        let path = Path::new(word);
        let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).unwrap_or_default();
        if path.exists() || word == "-" || word.contains('/') || SEQUENCES.contains(&ending.as_str()) {
            return refused(format!("to find viral sequences in a file: `virnucpro run {word} -o out`"));
        }
        let near = nearest(word, names(self.command).into_iter());
        let below = self.command.get_subcommands().filter(|command| names(command).contains(&word));
        let mut meant: Vec<String> = below.map(|above| format!("{} {} {word}", self.name, above.get_name())).collect();
        meant.extend(near.iter().map(|near| format!("{} {near}", self.name)));
        match meant.is_empty() {
            true => refused(format!("the commands are {}", all_of(&names(self.command)))),
            false => refused(format!("did you mean `{}`?", meant.join("` or `"))),
        }
    }

    fn unknown_argument(&self, word: &str) -> Error {
        if !word.starts_with('-') {
            let message = format!("'{word}' is not expected by {}", self.name);
            return self.refused(message, format!("as in {}", self.example("")));
        }
        let message = match self.command.get_name() == self.root.get_name() {
            true => format!("'{word}' is not an option that stands before a command"),
            false => format!("'{word}' is not an option of {}", self.name),
        };
        let hints = self.meant(word);
        self.refused(message, if hints.is_empty() { format!("as in {}", self.example("")) } else { hints.join("; ") })
    }

    /// What an unknown option may be.
    fn meant(&self, word: &str) -> Vec<String> {
        let file = self.arguments.iter().filter_map(|argument| argument.to_str());
        let mut file = file.filter(|argument| argument.starts_with(word) && Path::new(argument).is_file());
        if let Some(file) = file.next() {
            return vec![format!("if the file {file} is meant, write ./{file}")];
        }
        if INPUTS.contains(&word) && self.command.get_positionals().next().is_some() {
            return vec![format!("inputs are given without a flag, as in {}", self.example(""))];
        }
        let told = MEANT.iter().find(|(words, _)| words.contains(&word)).map(|(_, meant)| *meant);
        let told = told.filter(|meant| meant.split(' ').next().is_some_and(|option| self.option(option).is_some()));
        if let Some(meant) = told {
            return vec![format!("did you mean {meant}?")];
        }
        let longs = self.command.get_arguments().filter_map(Arg::get_long);
        let near = match word.strip_prefix("--") {
            Some(long) => nearest(long, longs),
            None => longs.filter(|name| name.starts_with(word.trim_start_matches('-'))).collect(),
        };
        let near: Vec<String> = near.into_iter().map(|name| format!("--{name}")).collect();
        let mut hints = Vec::new();
        if !near.is_empty() {
            hints.push(format!("did you mean {}?", any_of(&near)));
        }
        hints.extend(self.of_other_commands(word));
        hints
    }

    /// Which commands have an option that this one does not have.
    fn of_other_commands(&self, word: &str) -> Option<String> {
        if self.command.get_name() == self.root.get_name() {
            let known = commands(self.root).iter().any(|(_, command)| find_option(command, word).is_some());
            return known.then(|| format!("the command comes first, as in {}", self.example("run")));
        }
        if find_option(self.root, word).is_some() {
            return Some(format!("it stands alone: `{} {word}`", self.root.get_name()));
        }
        let others = commands(self.root).into_iter();
        let others: Vec<String> =
            others.filter(|(_, command)| find_option(command, word).is_some()).map(|(name, _)| name).collect();
        (!others.is_empty()).then(|| format!("{word} is an option of {}", all_of(&others)))
    }

    fn other(&self, error: &clap::Error, argument: &str) -> Error {
        let (message, tip) = message_and_tip(error);
        let flag = argument.split(['=', ' ']).next().unwrap_or_default();
        if let Some(switch) = self.option(flag).filter(|option| is_switch(option))
            && let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
            && let Some(on) = said(value)
        {
            return self.refused(message, switch_advice(switch, on));
        }
        match (error.kind(), tip) {
            (ErrorKind::MissingRequiredArgument, _) => {
                let example = self.example_with(&message);
                self.refused(message, format!("as in {example}"))
            }
            (_, Some(tip)) => self.refused(message, tip),
            _ => self.refused(message, String::new()),
        }
    }

    /// Usage that is refused, with what to do, where to read on, and variables that may be the reason.
    fn refused(&self, message: String, advice: String) -> Error {
        let mut advice: Vec<String> = Some(advice).into_iter().filter(|advice| !advice.is_empty()).collect();
        advice.push(self.see());
        advice.extend(self.unknown_variables());
        Error::new(Fault::Usage, message).advice(advice.join("; ").replace("?; ", "? "))
    }

    fn see(&self) -> String {
        format!("see `{} --help`", self.name)
    }

    /// The option of the command that a user writes as `flag`.
    fn option(&self, flag: &str) -> Option<&'a Arg> {
        find_option(self.command, flag)
    }

    /// First example of the help of a command below this one, or of this one's own.
    fn example(&self, below: &str) -> String {
        let command = self.command.find_subcommand(below).unwrap_or(self.command);
        format!("`{}`", examples(command).first().map_or("virnucpro run contigs.fa -o out", String::as_str))
    }

    /// The example that shows an option which a message names, else the first.
    fn example_with(&self, message: &str) -> String {
        let options: Vec<&str> = message.split(' ').filter(|word| word.starts_with("--")).collect();
        let mut examples = examples(self.command).into_iter();
        let shown = examples.find(|example| example.split(' ').any(|word| options.contains(&word)));
        shown.map_or_else(|| self.example(""), |shown| format!("`{shown}`"))
    }
}

/// clap's message on one line, and its tip.
pub fn message_and_tip(error: &clap::Error) -> (String, Option<String>) {
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ");
    let message = text.split("\n\n").next().unwrap_or(text).split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    (message, tip.map(str::to_owned))
}

/// The names that a word was probably meant to be: all that are equally near, none that is far.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let names: Vec<(usize, &str)> = names.map(|name| (distance(word, name), name)).collect();
    let least = names.iter().map(|(distance, _)| *distance).min().unwrap_or(usize::MAX);
    let near = names.into_iter().filter(|(distance, _)| *distance == least && least <= 1 + word.len() / 4);
    near.map(|(_, name)| name).collect()
}

/// How far a word is from a name: letters to change, add, leave out or exchange. The start of a name is near it.
pub fn distance(word: &str, name: &str) -> usize {
    let (word, name) = (word.to_ascii_lowercase(), name.to_ascii_lowercase());
    if word.len() >= 3 && name.starts_with(&word) { 1 } else { strsim::osa_distance(&word, &name) }
}

/// Examples in the help of a command that take one line and nothing but this program.
fn examples(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    lines.filter(|line| line.starts_with("virnucpro ") && !line.ends_with('\\')).map(str::to_owned).collect()
}

/// Names of the commands right below one.
fn names(command: &Command) -> Vec<&str> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .map(Command::get_name)
        .filter(|name| *name != "help")
        .collect()
}

/// Every command with its name, as `models fetch`, the inner ones for those that hold others.
fn commands(root: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for below in root.get_subcommands().filter(|below| below.get_name() != "help") {
        found.push((below.get_name().to_owned(), below));
        let inner = commands(below).into_iter();
        found.extend(inner.map(|(name, command)| (format!("{} {name}", below.get_name()), command)));
    }
    found
}

/// Environment variables of a command and of all below it.
fn variables(command: &Command) -> Vec<&str> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

fn find_option<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let mut options = command.get_arguments().filter(|argument| !argument.is_positional());
    match flag.strip_prefix("--") {
        Some(long) => options.find(|option| option.get_long() == Some(long)),
        None => {
            let mut letters = flag.strip_prefix('-')?.chars();
            let letter = letters.next().filter(|_| letters.next().is_none())?;
            options.find(|option| option.get_short() == Some(letter))
        }
    }
}

/// Whether an option is on where it stands alone.
fn is_switch(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::SetTrue) || option.is_require_equals_set()
}

/// What a word for yes or no says.
fn said(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn switch_advice(switch: &Arg, on: bool) -> String {
    let name = switch.get_long().unwrap_or_default();
    match (switch.is_require_equals_set(), on) {
        (true, true) => format!("write --{name}"),
        (true, false) => format!("write --{name}=false or --no-{name}"),
        (false, true) => format!("--{name} takes no value: write it alone"),
        (false, false) => format!("--{name} takes no value: leave it out"),
    }
}

fn any_of<S: AsRef<str>>(words: &[S]) -> String {
    joined(words, "or")
}

fn all_of<S: AsRef<str>>(words: &[S]) -> String {
    joined(words, "and")
}

fn joined<S: AsRef<str>>(words: &[S], last: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match &words[..] {
        [words @ .., end] if !words.is_empty() => format!("{} {last} {end}", words.join(", ")),
        words => words.concat(),
    }
}
