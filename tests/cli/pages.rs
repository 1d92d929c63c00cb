//! Shell completions and manual pages.

use std::process::Command;

use crate::help::commands;
use crate::support::{Ran, Sandbox};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

#[test]
fn every_shell_gets_a_script_that_knows_every_command() {
    let sandbox = Sandbox::new();
    for shell in SHELLS {
        let ran = sandbox.run(&["completions", shell, "--quiet"]).ok();
        assert_eq!(ran.stderr, "", "{shell}");
        for command in commands() {
            assert!(ran.stdout.contains(command.last().unwrap()), "{shell}: {command:?}");
        }
        for option in ["shard-frames", "allow-empty", "attempt"] {
            assert!(ran.stdout.contains(option), "{shell}: {option}");
        }
    }
    sandbox.run(&["completions", "tcsh"]).fails(64, "VN-USAGE");
}

#[test]
fn bash_completes_commands_options_and_words() {
    let sandbox = Sandbox::new();
    sandbox.write("script", sandbox.run(&["completions", "bash"]).ok().stdout);
    for (words, before, completed) in [
        ("virnucpro embed-e", "virnucpro", "embed-esm"),
        ("virnucpro chunk --shard", "chunk", "--shard-frames"),
        ("virnucpro run --dtype b", "--dtype", "bf16"),
        ("virnucpro chunk --letters m", "--letters", "mask"),
    ] {
        let script = format!(
            ". ./script; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _virnucpro virnucpro \"${{COMP_WORDS[COMP_CWORD]}}\" {before}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(sandbox.folder());
        assert_eq!(Ran::of(bash).ok().stdout, format!("{completed}\n"));
    }
}

#[test]
fn every_command_has_a_manual_page_with_its_options_and_examples() {
    let sandbox = Sandbox::new();
    sandbox.write("man/virnucpro-run.1", "an old one");
    sandbox.write("man/other.1", "of another program");
    sandbox.run(&["man", "man"]).ok();
    assert_eq!(sandbox.text("man/other.1"), "of another program");
    let pages = sandbox.files("man");
    assert_eq!(pages.len(), commands().len() + 2, "{:?}", pages.keys());
    for command in commands() {
        let name = format!("virnucpro-{}.1", command.join("-"));
        let page = sandbox.text(&format!("man/{name}"));
        for part in [".TH", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", "virnucpro 0."] {
            assert!(page.contains(part), "{name} lacks {part}");
        }
        // The lines of examples stay lines.
        assert!(command == ["help"] || page.contains(".SH EXAMPLES\n.nf\n"), "{name}: {page}");
    }
    let page = sandbox.text("man/virnucpro-chunk.1");
    for part in ["\\-\\-shard\\-frames", "VIRNUCPRO_SHARD_FRAMES", "no bundle is looked at.", "[default: 10000]"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(sandbox.text("man/virnucpro.1").contains("virnucpro\\-models(1)"));
}

#[test]
fn groff_has_nothing_to_complain_of() {
    if Command::new("groff").arg("--version").output().is_err() {
        println!("skipped: groff is not here");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["man", "."]).ok();
    for page in sandbox.files("").keys() {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-z", page]).current_dir(sandbox.folder());
        let ran = Ran::of(groff).ok();
        assert_eq!(ran.stderr, "", "{page}");
    }
}
