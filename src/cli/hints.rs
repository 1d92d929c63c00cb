//! What was probably meant, where a command line is not understood.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::names::{
    commands, find_option, is_inputs, is_switch, meant, names, near_options, near_settings, with_variables,
};
use super::options::yes_or_no;
use crate::error::{Error, Fault, printable, shell_word};
use crate::nearest::{all_of, any_of, nearest};

/// Endings of files that `run` reads.
const SEQUENCES: [&str; 14] =
    ["fa", "fna", "fasta", "fas", "fq", "fastq", "gz", "bgz", "bz2", "xz", "zst", "tsv", "csv", "bam"];

/// What people ask `models fetch` for, whose models have one place.
const FOLDERS: [&str; 8] =
    ["-o", "--output", "--out", "--outdir", "--out-dir", "--output-dir", "--cache-dir", "--local-dir"];

/// Variables that are read when the program is built.
const BUILD_VARIABLES: [&str; 1] = ["VIRNUCPRO_TORCH"];

/// Start of the names of this program's variables.
const OWN: &str = "VIRNUCPRO_";

/// Dashes that word processors make of one or two hyphens.
const LONG_DASHES: [char; 5] = ['\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}', '\u{2212}'];

/// A command line that is not understood.
pub struct Hints<'a> {
    root: &'a Command,
    arguments: &'a [OsString],
    /// The command that it is for, and its name with those above it.
    command: &'a Command,
    name: String,
    /// Where the words of its name stand among the arguments.
    places: Vec<usize>,
}

impl<'a> Hints<'a> {
    /// Finds the command among the arguments of a process. `root` is built.
    pub fn new(root: &'a Command, arguments: &'a [OsString]) -> Self {
        let (mut command, mut name, mut places) = (root, root.get_name().to_owned(), Vec::new());
        for (place, word) in arguments.iter().enumerate().skip(1).take_while(|(_, word)| *word != "--") {
            if let Some(below) = command.get_subcommands().find(|below| word == below.get_name()) {
                name = format!("{name} {}", below.get_name());
                command = below;
                places.push(place);
            }
        }
        Self { root, arguments, command, name, places }
    }

    /// The arguments of the process, its name first.
    pub fn arguments(&self) -> &'a [OsString] {
        self.arguments
    }

    /// The command that is used.
    pub fn command(&self) -> &'a Command {
        self.command
    }

    /// Where the command `help` stands among the arguments.
    pub fn place_of_help(&self) -> Option<usize> {
        self.places.iter().copied().find(|place| self.arguments.get(*place).is_some_and(|word| word == "help"))
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
            let on = yes_or_no(value).filter(|_| !Path::new(value).exists())?;
            Some(self.refused(format!("'{value}' after {flag} is not its value"), switch_advice(switch, on)))
        })
    }

    /// An option behind a long dash: clap takes it for an input.
    pub fn long_dash(&self) -> Option<Error> {
        let words = self.arguments.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
        let mut words = words.take_while(|word| *word != "--").filter(|word| !Path::new(word).exists());
        let word = words.find(|word| word.starts_with(LONG_DASHES))?;
        let name = word.trim_start_matches(LONG_DASHES).trim_start_matches('-');
        let dashes = if name.split('=').next().is_some_and(|name| name.chars().count() > 1) { "--" } else { "-" };
        let message = format!("'{}' starts with a long dash, as word processors write it", printable(word, 100));
        Some(self.refused(message, format!("write {dashes}{name}")))
    }

    /// Every variable of the environment that looks like one of this program and is not, with the nearest that is.
    pub fn unknown_variables(&self) -> Vec<String> {
        let options = with_variables(self.root);
        let variable = |option: &Arg| option.get_env().and_then(OsStr::to_str).map(str::to_owned);
        let mut known: BTreeSet<String> = options.iter().filter_map(|option| variable(option)).collect();
        known.extend(BUILD_VARIABLES.map(str::to_owned));
        let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let unknown: BTreeSet<String> = set.filter(|name| name.starts_with(OWN) && !known.contains(name)).collect();
        let told = unknown.iter().map(|name| {
            let near = near_settings(name.trim_start_matches(OWN), &options);
            let of = |long: &str| {
                options.iter().find(|option| option.get_long() == Some(long)).and_then(|one| variable(one))
            };
            let near: Vec<String> = near.into_iter().filter_map(of).collect();
            let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", any_of(&near)) };
            format!("the environment variable {name} is not known and is ignored{hint}")
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
        let refused =
            |advice: String| self.refused(format!("'{word}' is not a command of {}", self.explained()), advice);
        let path = Path::new(word);
        let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).unwrap_or_default();
        if path.exists() || word == "-" || word.contains('/') || SEQUENCES.contains(&ending.as_str()) {
            return refused(format!("to find viral sequences in a file: `virnucpro run {word} -o out`"));
        }
        let near = nearest(word, names(self.command));
        let below = self.command.get_subcommands().filter(|command| names(command).contains(&word));
        let mut meant: Vec<String> = below.map(|above| format!("{} {} {word}", self.name, above.get_name())).collect();
        if meant.is_empty() {
            meant.extend(near.iter().map(|near| format!("{} {near}", self.name)));
        }
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
        if let Some(line) = self.put_right(word) {
            let command = self.name.split_once(' ').map_or("", |(_, command)| command);
            let message = format!("'{word}' stands before its command, {command}");
            return self.refused(message, format!("options of {command} come after it: `{line}`"));
        }
        let message = match self.command.get_name() == self.root.get_name() {
            true => format!("'{word}' is not an option that stands before a command"),
            false => format!("'{word}' is not an option of {}", self.name),
        };
        let hints = self.meant(word);
        self.refused(message, if hints.is_empty() { format!("as in {}", self.example("")) } else { hints.join("; ") })
    }

    /// The command line with the command first, if an option of this command stands before it.
    fn put_right(&self, word: &str) -> Option<String> {
        let is_it = |argument: &OsString| {
            let rest = argument.to_str().and_then(|argument| argument.strip_prefix(word));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || !word.starts_with("--"))
        };
        let stands = self.arguments.iter().skip(1).position(is_it)? + 1;
        if stands > *self.places.last()? || self.option(word).is_none() {
            return None;
        }
        let rest = self.arguments.iter().enumerate().skip(1).filter(|(place, _)| !self.places.contains(place));
        let rest = rest.map(|(_, argument)| shell_word(&argument.to_string_lossy()));
        Some([self.name.clone()].into_iter().chain(rest).collect::<Vec<_>>().join(" "))
    }

    /// What an unknown option may be.
    fn meant(&self, word: &str) -> Vec<String> {
        let file = self.arguments.iter().filter_map(|argument| argument.to_str());
        let mut file = file.filter(|argument| argument.starts_with(word) && Path::new(argument).is_file());
        if let Some(file) = file.next() {
            return vec![format!("if the file {file} is meant, write ./{file}")];
        }
        if self.command.get_name() == "fetch" && FOLDERS.contains(&word) {
            return vec![
                "models go to the hub's cache: set HF_HUB_CACHE for another folder; `virnucpro models fetch` without \
                 names shows where heads go"
                    .to_owned(),
            ];
        }
        if is_inputs(word) && self.command.get_positionals().next().is_some() {
            return vec![format!("inputs are given without a flag, as in {}", self.example(""))];
        }
        let told =
            meant(word).filter(|meant| meant.split(' ').next().is_some_and(|option| self.option(option).is_some()));
        if let Some(meant) = told {
            return vec![format!("did you mean {meant}?")];
        }
        let options: Vec<&Arg> = self.command.get_arguments().collect();
        let near = match word.strip_prefix("--") {
            Some(long) => near_options(long, &options),
            None => {
                let longs = options.into_iter().filter_map(Arg::get_long);
                longs.filter(|name| name.starts_with(word.trim_start_matches('-'))).collect()
            }
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
            && let Some(on) = yes_or_no(value)
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
        format!("see `{} --help`", self.explained())
    }

    /// The command that is asked about: `models` in `help models`, as `help` has nothing to say of itself.
    fn explained(&self) -> String {
        self.name.replacen(" help", "", 1)
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

/// Examples in the help of a command that take one line and nothing but this program.
fn examples(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    lines.filter(|line| line.starts_with("virnucpro ") && !line.ends_with('\\')).map(str::to_owned).collect()
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
