//! Signals in the middle of a run, and the same command again.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock, send};

/// Long enough that a run is still busy when the signal comes.
const RECORDS: usize = 400;

fn input() -> String {
    Random::new(9).fasta(RECORDS, 2000)
}

fn args(model: &str) -> Vec<&str> {
    vec!["run", "x.fa", "--shard-frames", "400", "--model", model, "-o", "out"]
}

/// Starts a run, waits until `seen` is there, sends the signal, and gives how it ended.
fn interrupted(sandbox: &Sandbox, signal: libc::c_int, seen: &str) -> Ran {
    let model = mock();
    let mut command = sandbox.command(&args(&model));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_for(&sandbox.path(seen), &mut child);
    send(&child, signal);
    let sent = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(sent.elapsed() < Duration::from_secs(10), "it took {:?} to stop", sent.elapsed());
    Ran::from_output(format!("run, signal {signal} at {seen}"), output)
}

fn wait_for(path: &Path, child: &mut Child) {
    let started = Instant::now();
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before {} was there", path.display());
        assert!(started.elapsed() < Duration::from_secs(60), "{} never came", path.display());
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_signal_ends_a_run_cleanly_and_the_same_command_completes_it() {
    let undisturbed = Sandbox::new();
    undisturbed.write("x.fa", input());
    undisturbed.run(&args(&mock())).ok();
    let expected = undisturbed.files("out");
    for (signal, code, fault, seen) in [
        (libc::SIGINT, 130, "VN-INTERRUPTED", "out/windows"),
        (libc::SIGTERM, 143, "VN-TERMINATED", "out/dnabert/manifest.json"),
        (libc::SIGHUP, 143, "VN-TERMINATED", "out/esm/manifest.json"),
        (libc::SIGINT, 130, "VN-INTERRUPTED", "out/merged/manifest.json"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("x.fa", input());
        let ran = interrupted(&sandbox, signal, seen);
        let json = ran.fails(code, fault);
        assert_eq!(json["retryable"], true);
        ran.says(&["run the same command again"]);
        assert!(!sandbox.path("out/predictions/sequences.tsv").exists(), "{seen}: it was not in the middle of the run");
        let left: Vec<String> = sandbox.files("out").into_keys().filter(|name| name.ends_with(".partial")).collect();
        assert!(left.is_empty(), "{seen}: half-written files are left: {left:?}");
        sandbox.run(&args(&mock())).ok();
        assert_same_files(&expected, &sandbox.files("out"), &format!("after signal {signal} at {seen}"));
    }
}

/// Asserts how a process that was asked to stop has ended: code, last line, and nothing half-written.
#[track_caller]
fn ended_cleanly(sandbox: &Sandbox, child: Child) {
    let ran = Ran::from_output("asked to stop".to_owned(), child.wait_with_output().unwrap());
    ran.fails(143, "VN-TERMINATED");
    assert_eq!(ran.stderr.matches("exit_error").count(), 1, "{}", ran.told());
    let left: Vec<String> = sandbox.files("out").into_keys().filter(|name| name.ends_with(".partial")).collect();
    assert!(left.is_empty(), "half-written files are left: {left:?}");
}

#[test]
fn two_signals_at_once_are_one_request() {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", input());
    let model = mock();
    let mut command = sandbox.command(&args(&model));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_for(&sandbox.path("out/dnabert"), &mut child);
    send(&child, libc::SIGTERM);
    send(&child, libc::SIGTERM);
    ended_cleanly(&sandbox, child);
}

#[test]
fn a_process_that_waits_for_its_input_ends_soon_and_at_a_second_request_at_once() {
    for requests in [1, 2] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(&["chunk", "-", "-o", "out"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input().as_bytes()).unwrap();
        wait_for(&sandbox.path("out"), &mut child);
        sleep(Duration::from_secs(1)); // it has read all there is
        let asked = Instant::now();
        send(&child, libc::SIGTERM);
        if requests == 2 {
            sleep(Duration::from_millis(550));
            if child.try_wait().unwrap().is_none() {
                send(&child, libc::SIGTERM);
            }
        }
        ended_cleanly(&sandbox, child);
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
        drop(stdin);
    }
}
