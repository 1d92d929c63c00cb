//! `info`: what it says of the machine, and of what does not work.

use std::process::Command;

use crate::support::{Ran, Sandbox, mock, repository};

/// Names and values of the lines.
fn lines(text: &str) -> Vec<(String, String)> {
    let parts = text.lines().map(|line| line.split_at(20.min(line.len())));
    parts.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn value(text: &str, name: &str) -> String {
    let found = lines(text).into_iter().find(|(own, _)| own == name);
    found.unwrap_or_else(|| panic!("no line {name} in\n{text}")).1
}

#[test]
fn the_readme_shows_the_lines_of_info() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let shown = readme.split_once("$ virnucpro info\n").unwrap().1.split_once("```").unwrap().0;
    let said = Sandbox::new().run(&["info", "--model", "mini"]).ok().stdout;
    let names = |text: &str| lines(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(shown), names(&said));
    for name in ["virnucpro", "model", "encoders", "device", "number format", "attention", "batch tokens", "prefetch"] {
        assert_eq!(value(shown, name), value(&said, name));
    }
    if cfg!(feature = "torch") {
        assert_eq!(value(shown, "libtorch"), value(&said, "libtorch"));
    }
    assert!(value(shown, "memory").ends_with("GB free (machine)"), "{shown}");
}

#[test]
fn memory_is_that_of_the_limit_on_the_address_space() {
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 3000000; exec \"$0\" info --model \"$1\""]);
    command.args([env!("CARGO_BIN_EXE_virnucpro"), &mock()]);
    let memory = value(&Ran::of(command).ok().stdout, "memory");
    assert!(memory.ends_with("of 3.1 GB free (ulimit -v)"), "{memory}");
}

#[test]
fn a_device_that_is_missing_is_told_with_what_to_do() {
    let said = Sandbox::new().run(&["info", "--device", "cuda:77"]).ok().stdout;
    let device = value(&said, "device");
    assert!(device.starts_with("none: ") && device.contains("; "), "{device}");
    for name in ["memory", "threads", "dataloader workers", "prefetch"] {
        assert!(!value(&said, name).is_empty(), "{said}");
    }
}

#[cfg(feature = "torch")]
#[test]
fn a_format_that_the_device_lacks_does_not_hide_the_device() {
    let said = Sandbox::new().run(&["info", "--device", "cpu", "--dtype", "f16", "--attempt", "3"]).ok().stdout;
    assert_eq!(value(&said, "device"), "cpu");
    let format = value(&said, "number format");
    for part in ["none: f16 is not available on the CPU", "expected: f32 or bf16", "give --dtype f32"] {
        assert!(format.contains(part), "{part}: {format}");
    }
    assert_eq!(value(&said, "batch tokens"), "256 (attempt 3: 1024 / 4)");
    assert!(!value(&said, "attention").contains("none"), "{said}");
}
