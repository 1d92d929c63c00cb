//! What shells complete, and the manual pages: made of the definition that the help is made of.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Cli;
use crate::error::{Error, Result};

pub use clap_complete::Shell;

/// A manual page.
#[derive(Debug)]
pub struct Page {
    /// Name of its file, as `virnucpro-run.1`.
    pub name: String,
    /// Its source, for `man`.
    pub source: Vec<u8>,
}

/// What a shell needs to complete commands and options.
///
/// # Errors
/// Memory has run out.
pub fn completions(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "virnucpro", &mut script);
    String::from_utf8(script).map_err(|error| unwritten(io::Error::other(error)))
}

/// The manual: a page for the program, and one for each command.
///
/// # Errors
/// Memory has run out.
pub fn manual() -> Result<Vec<Page>> {
    fn of(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
        pages.push(page(command.clone())?);
        command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| of(below, pages))
    }
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    of(&root, &mut pages).map_err(unwritten)?;
    Ok(pages)
}

fn page(mut command: Command) -> io::Result<Page> {
    // Every option would stand in the synopsis; the usage of the help is enough.
    let usage = command.render_usage().to_string();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let has_commands = command.has_subcommands();
    let manual = Man::new(command).manual("virnucpro").source(concat!("virnucpro ", env!("CARGO_PKG_VERSION")));
    let mut source = Vec::new();
    manual.render_title(&mut source)?;
    manual.render_name_section(&mut source)?;
    manual.render_synopsis_section(&mut source)?;
    manual.render_description_section(&mut source)?;
    manual.render_options_section(&mut source)?;
    if has_commands {
        manual.render_subcommands_section(&mut source)?;
    }
    closing(&after).to_writer(&mut source)?;
    Ok(Page { name: manual.get_filename(), source })
}

/// What stands below the options in the help: examples, line by line, or a paragraph behind its title.
fn closing(after: &str) -> Roff {
    let mut roff = Roff::default();
    let (title, text) = after.split_once(':').unwrap_or_default();
    if !title.is_empty() {
        roff.control("SH", [title.to_uppercase().as_str()]);
        let is_lines = text.starts_with('\n');
        if is_lines {
            roff.control("nf", []);
        }
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            roff.text([roman(line)]);
        }
        if is_lines {
            roff.control("fi", []);
        }
    }
    roff
}

fn unwritten(error: io::Error) -> Error {
    Error::writing(Path::new("memory"), error)
}
