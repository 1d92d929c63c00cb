//! The tour of README.md: every command is run as written, in order, and prints what is shown.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Sandbox, repository};

/// A command and the lines that are shown below it.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The blocks of the tour that hold commands.
fn blocks(readme: &str) -> Vec<Vec<Shown>> {
    let tour = readme.split("## A tour in five minutes").nth(1).unwrap();
    let tour = tour.split("### All commands").next().unwrap();
    let blocks = tour.split("```").skip(1).step_by(2).filter(|block| block.starts_with("\n$ "));
    let shown = |block: &str| {
        let mut shown: Vec<Shown> = Vec::new();
        for line in block.lines().skip(1) {
            match line.strip_prefix("$ ") {
                Some(command) => shown.push(Shown { command: command.to_owned(), output: Vec::new() }),
                None => shown.last_mut().unwrap().output.push(line.to_owned()),
            }
        }
        shown
    };
    blocks.map(shown).collect()
}

/// What each command of a block prints, on both streams; they run in one shell.
fn printed(sandbox: &Sandbox, block: &[Shown]) -> Vec<Vec<String>> {
    const END: &str = "--- end of a command ---\n";
    let mut script = String::new();
    for shown in block {
        script += &format!("{}\ncode=$?; printf '%s' '{END}'; (exit $code)\n", shown.command);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_virnucpro")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("exec 2>&1\n{script}")).current_dir(sandbox.folder()).env("PATH", path);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VIRNUCPRO_")) {
        command.env_remove(name);
    }
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let parts = output.split(END).map(|part| part.lines().map(str::to_owned).collect());
    parts.take(block.len()).collect()
}

/// A line without what changes from run to run and from machine to machine: times, processors, memory, the last digits.
fn lasting(line: &str) -> String {
    const OF_THE_MACHINE: [&str; 6] = ["cpus ", "memory ", "threads ", "dataloader workers ", "device ", "libtorch "];
    if let Some(name) = OF_THE_MACHINE.iter().find(|name| line.starts_with(**name)) {
        return (*name).to_owned();
    }
    let line = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((time, message)) if time.len() == 8 => message,
        _ => line,
    };
    let threads = |word: &str| word.parse::<u32>().is_ok();
    let words: Vec<&str> = line.split(' ').collect();
    let word = |(place, word): (usize, &&str)| match word.split_once('.') {
        Some(("0", digits)) if digits.len() > 4 => format!("0.{}", &digits[..4]),
        _ if threads(word) && words.get(place + 1).is_some_and(|next| next.starts_with("thread")) => "N".to_owned(),
        _ => (*word).to_owned(),
    };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_of_the_tour_prints_what_is_shown() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("examples")).unwrap();
    fs::copy(repository().join("examples/demo.fa"), sandbox.path("examples/demo.fa")).unwrap();
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    assert!(blocks.len() >= 10, "{} blocks", blocks.len());
    let mut wrong = String::new();
    for block in &blocks {
        for (shown, printed) in block.iter().zip(printed(&sandbox, block)) {
            let cut = shown.output.iter().position(|line| line == "...").unwrap_or(shown.output.len());
            let expected: Vec<String> = shown.output[..cut].iter().map(|line| lasting(line)).collect();
            let mut found: Vec<String> = printed.iter().map(|line| lasting(line)).collect();
            if cut < shown.output.len() || (shown.output.is_empty() && shown.command.starts_with("virnucpro ")) {
                found.truncate(cut); // not all of it, or nothing, is shown
            }
            if expected != found {
                wrong +=
                    &format!("$ {}\n{}\nis not\n{}\n\n", shown.command, printed.join("\n"), shown.output.join("\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "README.md shows something else:\n{wrong}");
}
