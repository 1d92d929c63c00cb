//! What the program says of itself: help with examples that work, version, and messages in the form asked for.

use std::ffi::OsString;
use std::fs;

use crate::support::{Random, Sandbox, mock, repository};
use clap::{Command, CommandFactory};
use serde_json::Value;
use virnucpro::cli::{self, Asked, Cli};

/// Every command that can be asked for, as the words after the program's name.
pub fn commands() -> Vec<Vec<String>> {
    fn collect(command: &Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            collect(sub, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    collect(&Cli::command(), &[], &mut found);
    assert!(found.len() >= 11, "{found:?}");
    found
}

fn parse(words: &[String]) -> Result<Asked, String> {
    let words = ["virnucpro".to_owned()].iter().chain(words).map(OsString::from).collect();
    cli::parse(words).map_err(|error| error.report("virnucpro"))
}

pub fn help(command: &[String]) -> String {
    match parse(&[command, &["--help".to_owned()]].concat()) {
        Ok(Asked::Text(text)) => text,
        other => panic!("{command:?}: {other:?}"),
    }
}

/// Command lines under `Examples:`, without their indentation; one that is continued is one.
pub fn examples(help: &str) -> Vec<String> {
    let after = help.split("Examples:\n").nth(1).unwrap_or_default();
    let lines: Vec<&str> = after.lines().take_while(|line| !line.is_empty()).collect();
    assert!(lines.iter().all(|line| line.starts_with("  ")), "a line of the examples was wrapped: {lines:?}");
    let text: Vec<&str> = lines.into_iter().map(str::trim).collect();
    text.join("\n").replace("\\\n", "").lines().map(str::to_owned).collect()
}

/// Words of a call of the program in a line of a shell: up to a pipe, a redirection or a closing bracket.
fn call(line: &str) -> Option<Vec<String>> {
    let call = line.split_once("virnucpro ")?.1;
    let call = call.split(['|', '>', ')', ';', '&']).next()?;
    Some(call.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect())
}

#[test]
fn every_command_has_examples_of_itself() {
    for command in commands() {
        let help = help(&command);
        let start = format!("virnucpro {}", command.join(" "));
        assert!(examples(&help).iter().any(|line| line.starts_with(&start)), "{start}: {:?}", examples(&help));
    }
}

#[test]
fn every_example_is_a_command_line_that_the_program_accepts() {
    let mut parsed = 0;
    for command in commands() {
        let help = help(&command);
        for line in examples(&help) {
            let call = call(&line).unwrap_or_else(|| panic!("no call of the program in: {line}"));
            // The files of the examples are not here: asked for its configuration, the program opens none.
            let outcome = parse(&[&call[..], &["--print-config".to_owned()]].concat());
            assert!(matches!(outcome, Ok(Asked::Text(_))), "{line}\n{outcome:?}");
            parsed += 1;
        }
    }
    assert!(parsed >= 15, "{parsed} examples");
}

#[test]
fn a_call_is_found_in_a_line_of_a_shell() {
    let words = |line: &str| call(line).map(|words| words.join(" "));
    assert_eq!(words("zcat a | virnucpro run - -o out | head").as_deref(), Some("run - -o out"));
    assert_eq!(words("ls \"$(virnucpro models path x)\"").as_deref(), Some("models path x"));
    assert_eq!(words("samtools fasta x.bam"), None);
}

#[test]
fn the_short_help_fits_and_says_where_the_long_one_is() {
    let sandbox = Sandbox::new();
    for command in ["run", "chunk", "merge"] {
        let text = sandbox.run(&[command, "-h"]).ok().stdout;
        assert!(text.contains("--help"), "{command}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{command}: {text}");
    }
}

#[test]
fn the_readme_shows_the_help_of_today() {
    let path = repository().join("README.md");
    let readme = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let shown = block(&readme).expect("README.md has a block from <!-- help:begin --> to <!-- help:end -->");
    let help = Sandbox::new().run(&["--help"]).ok().stdout;
    assert!(shown.trim() == help.trim(), "README.md shows\n{shown}\n`virnucpro --help` prints\n{help}");
}

/// Text between the marks, without the fence around it.
fn block(readme: &str) -> Option<String> {
    let inner = readme.split_once("<!-- help:begin -->")?.1.split_once("<!-- help:end -->")?.0;
    Some(inner.lines().filter(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect())
}

#[test]
fn a_block_without_its_marks_is_not_found() {
    let readme = "a\n<!-- help:begin -->\n```text\nUsage: x\n```\n<!-- help:end -->\nb";
    assert_eq!(block(readme).as_deref(), Some("\nUsage: x\n"));
    assert_eq!(block("a\n<!-- help:begin -->\nb"), None);
}

#[test]
fn the_version_is_that_of_the_package() {
    let sandbox = Sandbox::new();
    for flag in ["--version", "-V"] {
        let text = sandbox.run(&[flag]).ok().stdout;
        assert!(text.starts_with(concat!("virnucpro ", env!("CARGO_PKG_VERSION"))), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", format!("{}>rna\nACGUACGU\n", Random::new(15).fasta(3, 900)));
    sandbox
}

#[test]
fn what_is_not_for_a_terminal_holds_no_escape_codes() {
    let sandbox = sandbox();
    let model = mock();
    for args in [
        vec!["--help"],
        vec!["run", "--help"],
        vec!["run", "-h"],
        vec!["--version"],
        vec!["models", "list"],
        vec!["run", "x.fa", "--model", &model, "-o", "out"],
        vec!["run", "x.fa", "--no-such-flag"],
        vec!["run", "x.fa", "-o", "o", "--device", "gpu"],
        vec!["chunk", "gone.fa", "-o", "o"],
    ] {
        for (name, value) in [("TERM", "xterm-256color"), ("NO_COLOR", "1"), ("CLICOLOR", "1")] {
            let mut command = sandbox.command(&args);
            let output = command.env(name, value).output().unwrap();
            let escapes = |bytes: &[u8]| bytes.contains(&0x1b);
            let text = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
            assert!(!escapes(&output.stdout) && !escapes(&output.stderr), "{args:?} {name}: {text:?}");
            if name == "TERM" && args.len() < 3 {
                break; // the variables change nothing more where there is no run
            }
        }
    }
}

#[test]
fn quiet_prints_nothing_and_errors_all_the_same() {
    let sandbox = sandbox();
    let ran = sandbox.run(&["run", "x.fa", "--quiet", "--model", &mock(), "-o", "out"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(sandbox.path("out/predictions/sequences.tsv").exists());
    let ran = sandbox.run(&["chunk", "gone.fa", "-q", "-o", "o"]);
    ran.fails(66, "VN-IN-MISSING");
    assert!(ran.stderr.starts_with("virnucpro chunk: error["), "{}", ran.told());
}

fn json_lines(stderr: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\nin\n{stderr}"));
    stderr.lines().map(parse).collect()
}

#[test]
fn every_line_of_a_json_log_is_json() {
    let sandbox = sandbox();
    let run = ["run", "x.fa", "--log-format", "json", "--model", &mock(), "-o", "out"];
    let lines = json_lines(&sandbox.run(&run).ok().stderr);
    assert!(lines.len() >= 4, "{lines:?}");
    for line in &lines {
        let said = if line["message_type"] == "log" { "message" } else { "stage" };
        assert!(["log", "progress"].map(Value::from).contains(&line["message_type"]), "{line}");
        assert!(line["time"].as_f64().is_some() && line[said].as_str().is_some(), "{line}");
    }
    let levels: Vec<&str> = lines.iter().filter_map(|line| line["level"].as_str()).collect();
    assert!(levels.contains(&"warn") && levels.contains(&"info"), "{levels:?}");

    let ran = sandbox.run(&["chunk", "gone.fa", "--log-format", "json", "-o", "o"]);
    assert_eq!(ran.code, 66, "{}", ran.told());
    let lines = json_lines(&ran.stderr);
    let last = lines.last().unwrap();
    assert_eq!((last["message_type"].as_str(), last["code"].as_str()), (Some("exit_error"), Some("VN-IN-MISSING")));
}

#[test]
fn the_log_level_chooses_which_messages_come() {
    let sandbox = sandbox();
    let model = mock();
    let messages = |level: &str| {
        let out = format!("out-{level}");
        sandbox.run(&["run", "x.fa", "--log-level", level, "--model", &model, "-o", &out]).ok().stderr
    };
    assert_eq!(messages("error"), "");
    let (warn, info) = (messages("warn"), messages("info"));
    assert!(warn.contains("RNA: 2 U read as T"), "{warn}");
    assert!(!warn.contains("info:") && info.contains("info:") && info.contains("warn:"), "{warn}\n{info}");
}

#[test]
fn the_help_is_at_most_100_columns_wide() {
    let sandbox = Sandbox::new();
    for command in commands() {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let mut ran = sandbox.command(&words);
        let output = ran.env("COLUMNS", "200").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (options, _) = text.split_once("Examples:").unwrap();
        assert!(options.lines().all(|line| line.chars().count() <= 100), "{command:?}: {text}");
    }
}

#[test]
fn the_help_of_inputs_names_every_column_of_a_sheet() {
    for command in ["run", "chunk"] {
        let text = help(&[command.to_owned()]).split_whitespace().collect::<Vec<_>>().join(" ");
        for column in ["`sample`", "`file`", "`fasta`", "`fastq_1`", "`fastq_2`"] {
            assert!(text.contains(column), "{column}: {text}");
        }
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_told_in_the_form_asked_for() {
    let sandbox = Sandbox::new();
    let lines = |set: &[(&str, &str)], args: &[&str]| {
        let mut command = sandbox.command(args);
        command.envs(set.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (set, args) in [
        (&[("VIRNUCPRO_LOG_FORMAT", "json")][..], &["run", "--frobnicate"][..]),
        (&[("VIRNUCPRO_LOG_FORMAT", "JSON")], &["run"]),
        (&[], &["run", "--log-format", "json"]),
        (&[("VIRNUCPRO_LOG_FORMAT", "text")], &["run", "--log-format=json"]),
    ] {
        let text = lines(set, args);
        assert_eq!((text.lines().count(), json_lines(&text)[0]["code"].as_str()), (1, Some("VN-USAGE")), "{text}");
    }
    let text = lines(&[("VIRNUCPRO_LOG_FORMAT", "json")], &["run", "--log-format", "text"]);
    assert!(text.starts_with("virnucpro: error[VN-USAGE]") && text.lines().count() > 2, "{text}");
}

#[test]
fn debug_messages_tell_settings_and_what_was_done_and_why() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", crate::support::Random::new(3).fasta(5, 1200));
    let model = crate::support::mock();
    let run = |level: &str| sandbox.run(&["run", "x.fa", "-o", "out", "--model", &model, "--log-level", level]).ok();
    let debug = run("debug");
    debug.says(&[
        "debug: shard-frames: 10000  # default",
        "debug: output: out  # flag",
        "FASTA, not compressed",
        "5 records",
        "batches: ",
        "joined row by row",
        "shard-00001.parquet is written: ",
    ]);
    run("debug").says(&["is kept: it has the recorded digest"]);
    assert!(!run("info").stderr.contains("debug"));
}
