//! Outputs that end, fill up or cannot be written: pipes, devices, small disks.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::{Ran, Random, Sandbox, assert_same_files, mock};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(10).fasta(40, 900));
    sandbox
}

/// Runs a shell command with the program as `$VIRNUCPRO` and the mock bundle as `$MOCK`.
fn shell(sandbox: &Sandbox, script: &str) -> Ran {
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(sandbox.folder()).stdin(Stdio::null());
    command.env("VIRNUCPRO", env!("CARGO_BIN_EXE_virnucpro")).env("MOCK", mock());
    Ran::of(command)
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sandbox = sandbox();
    let model = mock();
    for args in [
        vec!["--help"],
        vec!["run", "--help"],
        vec!["models", "list"],
        vec!["run", "x.fa", "-o", "o", "--print-config"],
        vec!["run", "x.fa", "--model", &model, "--log-level", "error", "-o", "out"],
    ] {
        let mut command = sandbox.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take()); // closed before anything is written
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    assert!(sandbox.path("out/predictions/sequences.tsv").exists());
}

#[test]
fn a_pipe_into_head_ends_quietly_with_0() {
    let script = "set -o pipefail; $VIRNUCPRO run x.fa -m $MOCK --log-level error -o out | head -1";
    let ran = shell(&sandbox(), script).ok();
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (1, ""));
}

#[test]
fn a_full_stdout_is_an_error_and_the_results_are_kept() {
    let sandbox = sandbox();
    let model = mock();
    for args in [vec!["--help"], vec!["run", "x.fa", "-m", &model, "-o", "out"]] {
        let mut command = sandbox.command(&args);
        command.stdout(File::create("/dev/full").unwrap()).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let ran = Ran::from_output(format!("{args:?} > /dev/full"), output);
        let json = ran.fails(1, "VN-IO-NOSPACE");
        assert_eq!(json["file"], "stdout");
    }
    assert_eq!(sandbox.table("out/predictions/sequences.tsv").rows.len(), 40);
}

#[test]
fn a_full_or_closed_stderr_changes_neither_result_nor_exit_code() {
    let sandbox = sandbox();
    let expected = {
        sandbox.run(&["run", "x.fa", "-m", &mock(), "-o", "out"]).ok();
        sandbox.files("out")
    };
    for (script, code) in [
        ("$VIRNUCPRO run x.fa -m $MOCK -o full 2> /dev/full", 0),
        ("$VIRNUCPRO run x.fa -m $MOCK -o closed 2>&-", 0),
        ("$VIRNUCPRO run x.fa -m $MOCK --log-format json -o json 2> /dev/full", 0),
        ("$VIRNUCPRO run gone.fa -o x 2> /dev/full", 66),
        ("$VIRNUCPRO run gone.fa -o x 2>&-", 66),
        ("$VIRNUCPRO run x.fa -m $MOCK -o all <&- >&- 2>&-", 0),
    ] {
        let ran = shell(&sandbox, script);
        assert_eq!(ran.code, code, "{script}\n{}", ran.told());
    }
    for out in ["full", "closed", "json", "all"] {
        assert_same_files(&expected, &sandbox.files(out), out);
    }
}

#[test]
fn a_sample_sheet_in_a_pipe_is_told_as_one() {
    let sandbox = Sandbox::new();
    for sheet in ["sample\tfile\ngut\tx.fa\n", "sample,file\ngut,x.fa\n"] {
        let ran = sandbox.run_with_stdin(&["chunk", "-", "-o", "out"], sheet.as_bytes());
        let json = ran.fails(65, "VN-IN-SHEET");
        assert_eq!(json["file"], "standard input");
        ran.says(&["save it as a file that ends in .tsv or .csv"]);
    }
}

/// Runs a script where `small/` is a file system of its own with the given options; nothing where that is not permitted.
fn with_mount(sandbox: &Sandbox, options: &str, script: &str) -> Option<Ran> {
    for flags in ["-m", "-Urm"] {
        let probe = format!("unshare {flags} sh -c 'mount -t tmpfs -o size=100k none small' 2>/dev/null");
        if shell(sandbox, &format!("mkdir -p small; {probe}")).code == 0 {
            let inner = format!("mount -t tmpfs -o {options} none small && {script}");
            let ran = shell(sandbox, &format!("unshare {flags} bash -c '{inner}'"));
            return Some(ran);
        }
    }
    println!("skipped: file systems cannot be mounted here");
    None
}

#[test]
fn a_full_disk_is_an_error_at_every_size_and_the_run_completes_once_there_is_space() {
    let whole = sandbox();
    let run = "$VIRNUCPRO run x.fa -m $MOCK --shard-frames 50 -q -o small/out";
    shell(&whole, &format!("mkdir small; {run}")).ok();
    let bytes: usize = whole.files("small/out").values().map(Vec::len).sum();
    let mut failures = 0;
    for tenths in [2, 5, 8] {
        let sandbox = sandbox();
        let size = bytes * tenths / 10;
        // The failed run, room, the same run again; then the result is taken out of the small file system.
        let script = format!(
            "{run} 2>&1 | grep -F -e VN-IO-NOSPACE -e panicked | head -1 1>&2; code=${{PIPESTATUS[0]}}; \
             find small -name \"*.partial\" 1>&2; mount -o remount,size=50m none small; \
             {run} && cp -r small/out result && exit $code"
        );
        let Some(ran) = with_mount(&sandbox, &format!("size={size}"), &script) else { return };
        assert!([0, 1].contains(&ran.code), "size {size}: {}", ran.told());
        assert!(!ran.stderr.contains(".partial"), "size {size}: {}", ran.told());
        if ran.code == 1 {
            failures += 1;
            ran.says(&["VN-IO-NOSPACE"]);
        }
        assert_same_files(&whole.files("small/out"), &sandbox.files("result"), &format!("size {size} of {bytes}"));
    }
    assert!(failures >= 2, "only {failures} of the sizes were too small");
}

#[test]
fn a_read_only_file_system_is_an_error_that_names_the_folder() {
    let sandbox = sandbox();
    let script = "$VIRNUCPRO run x.fa -m $MOCK -o small/out";
    let Some(ran) = with_mount(&sandbox, "size=100k,ro", script) else { return };
    let json = ran.fails(1, "VN-IO-WRITE");
    assert!(json["file"].as_str().unwrap().starts_with("small/out"), "{}", ran.told());
    ran.says(&["can write to"]);
}

#[test]
fn a_pipe_that_stays_open_and_gives_nothing_ends_the_wait_in_words() {
    let sandbox = Sandbox::new();
    let some = "printf '>a\\nACGTACGTAC\\n>b\\nACG'";
    for (what, writes) in [("nothing", "sleep 20"), ("something", &*format!("{{ {some}; sleep 20; }}"))] {
        let script = format!(
            "mkfifo {what}; {writes} > {what} & writer=$!; \
             timeout 15 $VIRNUCPRO embed-dnabert {what} -m $MOCK --timeout 1 -q -o out; code=$?; kill $writer; exit $code"
        );
        let ran = shell(&sandbox, &script);
        let json = ran.fails(1, "VN-IN-STALLED");
        assert!(json["file"].as_str().unwrap().ends_with(what), "{json}");
        ran.says(&["for 1 s", "--timeout"]);
        assert!(!sandbox.path("out/manifest.json").exists());
    }
    // The user may wait for ever.
    let slow = "{ printf '>a\\nACGTACGTAC\\n'; sleep 1.5; printf '>b\\nACG\\n'; }";
    shell(&sandbox, &format!("{slow} | $VIRNUCPRO embed-dnabert - -m $MOCK --timeout 0 -q -o slow")).ok();
}
