//! Names of commands, options and variables: those there are, and what people write for them.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::nearest::nearest;

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

/// Whether a flag is one that people type before inputs.
pub fn is_inputs(flag: &str) -> bool {
    INPUTS.contains(&flag)
}

/// How an option with another name elsewhere is written here.
pub fn meant(flag: &str) -> Option<&'static str> {
    MEANT.iter().find(|(flags, _)| flags.contains(&flag)).map(|(_, meant)| *meant)
}

/// Long names of the options that a word was probably meant to be, told by these names and by their aliases.
pub fn near_options<'a>(word: &str, options: &[&'a Arg]) -> Vec<&'a str> {
    let spellings = |option: &&'a Arg| {
        let long = option.get_long()?;
        Some((long, option.get_all_aliases().unwrap_or_default().into_iter().chain([long])))
    };
    let known: Vec<(&str, Vec<&str>)> =
        options.iter().filter_map(spellings).map(|(long, spelt)| (long, spelt.collect())).collect();
    let near = nearest(word, known.iter().flat_map(|(_, spelt)| spelt.iter().copied()));
    let mut longs: Vec<&str> = Vec::new();
    for (long, spelt) in known {
        if spelt.iter().any(|name| near.contains(name)) && !longs.contains(&long) {
            longs.push(long);
        }
    }
    longs
}

/// The same for a word without a dash, also by what other programs call an option.
pub fn near_settings<'a>(word: &str, options: &[&'a Arg]) -> Vec<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    let told = meant(&format!("--{word}")).and_then(|meant| meant.split(' ').next()?.strip_prefix("--"));
    let told = told.and_then(|long| options.iter().find_map(|option| option.get_long().filter(|name| *name == long)));
    told.map_or_else(|| near_options(&word, options), |long| vec![long])
}

/// Names of the commands right below one.
pub fn names(command: &Command) -> Vec<&str> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .map(Command::get_name)
        .filter(|name| *name != "help")
        .collect()
}

/// Every command with its name, as `models fetch`, the inner ones for those that hold others.
pub fn commands(root: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for below in root.get_subcommands().filter(|below| below.get_name() != "help") {
        found.push((below.get_name().to_owned(), below));
        let inner = commands(below).into_iter();
        found.extend(inner.map(|(name, command)| (format!("{} {name}", below.get_name()), command)));
    }
    found
}

/// Options of a command and of all below it that a variable of the environment sets.
pub fn with_variables(command: &Command) -> Vec<&Arg> {
    let own = command.get_arguments().filter(|argument| argument.get_env().is_some());
    own.chain(command.get_subcommands().flat_map(with_variables)).collect()
}

/// The option of a command that a user writes as `flag`.
pub fn find_option<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
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
pub fn is_switch(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::SetTrue) || option.is_require_equals_set()
}

/// Whether an option of a command stands among the arguments, in any of its forms: `--model`, `--model=x`, `-m`, `-mx`,
/// `-qm`.
pub fn is_typed(option: &Arg, command: &Command, arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1).take_while(|word| *word != "--").filter_map(|word| word.to_str());
    let aliases = option.get_all_aliases().unwrap_or_default();
    let longs: Vec<&str> = option.get_long().into_iter().chain(aliases).collect();
    let is_short = |letters: &str| {
        let mut before = letters.chars().take_while(|letter| Some(*letter) != option.get_short());
        letters.contains(|letter| Some(letter) == option.get_short())
            && before.all(|letter| find_option(command, &format!("-{letter}")).is_some_and(is_switch))
    };
    words.any(|word| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => longs.contains(&long.split('=').next().unwrap_or(long)),
        (None, Some(letters)) => is_short(letters),
        (None, None) => false,
    })
}
