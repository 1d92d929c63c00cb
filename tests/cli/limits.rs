//! Limits that clusters set: each ends a run with words and an exit code of the contract, or is no reason to end it.

use std::process::Command;

#[cfg(feature = "torch")]
use crate::support::untrained_folder;
use crate::support::{Ran, Random, Sandbox, mock};

/// Runs a shell script as a user whose limits hold: nothing limits the processes of root. The program is `$VIRNUCPRO`, the
/// mock bundle `$MOCK`.
fn limited(sandbox: &Sandbox, script: &str) -> Option<Ran> {
    let am_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = Command::new("timeout");
    command.arg("120");
    if am_root {
        if !Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success()) {
            println!("skipped: root has no such limits, and setpriv is not here");
            return None;
        }
        command.args(["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups"]);
        let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(sandbox.folder()).status().unwrap();
        assert!(opened.success());
    }
    command.args(["bash", "-c", script]).current_dir(sandbox.folder());
    // The executable and the bundle may lie where that user cannot look.
    for (from, to) in [(env!("CARGO_BIN_EXE_virnucpro").to_owned(), "program"), (mock(), "bundle")] {
        let to = sandbox.path(to);
        if !to.exists() {
            assert!(Command::new("cp").arg("-r").args([&from]).arg(&to).status().unwrap().success());
        }
    }
    command.env("VIRNUCPRO", sandbox.path("program")).env("MOCK", sandbox.path("bundle"));
    Some(Ran::of(command))
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("x.fa", Random::new(31).fasta(50, 3000));
    sandbox
}

#[test]
fn a_limit_on_processes_is_an_error_in_words() {
    let sandbox = sandbox();
    let run = "$VIRNUCPRO run x.fa -q -m $MOCK --threads 16 --dataloader-workers 64 -f -o out";
    let mut refused = 0;
    for limit in [1, 2, 3, 5, 8] {
        let Some(ran) = limited(&sandbox, &format!("ulimit -u {limit}; exec {run}")) else { return };
        if ran.code != 0 {
            refused += 1;
            ran.fails(1, "VN-SYS-THREADS");
            ran.says(&["ulimit -u", "--threads"]);
        }
    }
    assert!(refused >= 2, "the limit was met {refused} times only");
    limited(&sandbox, &format!("exec {run}")).unwrap().ok();
}

#[test]
fn a_limit_on_file_sizes_is_an_error_in_words() {
    let sandbox = sandbox();
    let run = "$VIRNUCPRO run x.fa -q -m $MOCK -o out";
    let Some(ran) = limited(&sandbox, &format!("ulimit -f 40; exec {run}")) else { return };
    ran.fails(1, "VN-IO-FILESIZE");
    ran.says(&["ulimit -f", "out/"]);
    let left: Vec<String> = sandbox.files("out").into_keys().filter(|name| name.ends_with(".partial")).collect();
    assert!(left.is_empty(), "{left:?}");
    limited(&sandbox, &format!("exec {run}")).unwrap().ok();
}

#[test]
fn a_limit_on_open_files_is_an_error_in_words() {
    let sandbox = sandbox();
    let run = "$VIRNUCPRO run x.fa -q -m $MOCK -o out";
    let mut refused = 0;
    for limit in [4, 6, 8, 10, 12] {
        let Some(ran) = limited(&sandbox, &format!("ulimit -n {limit}; exec {run}")) else { return };
        if ran.code != 0 && !ran.stderr.contains("error while loading") {
            refused += 1;
            ran.fails(1, "VN-SYS-FILES");
            ran.says(&["ulimit -n"]);
        }
    }
    assert!(refused >= 1, "the limit was met {refused} times only");
    limited(&sandbox, &format!("exec {run}")).unwrap().ok();
}

#[test]
fn a_limit_on_memory_is_an_error_in_words() {
    let sandbox = sandbox();
    // One record of 80 million bases, which are held in memory.
    sandbox.write("large.fa", format!(">x\n{}\n", "ACGTTGCA".repeat(10_000_000)));
    let chunk = "$VIRNUCPRO chunk large.fa -q -o out";
    let mut refused = 0;
    for megabytes in [60, 100, 140, 180, 450, 500, 550, 600, 2000] {
        let limit = 1024 * megabytes;
        let Some(ran) = limited(&sandbox, &format!("ulimit -v {limit}; exec {chunk}")) else { return };
        // libtorch is large: below some limit the system does not even load it.
        if ran.code != 0 && !ran.stderr.contains("error while loading") {
            refused += 1;
            assert_eq!(ran.code, 1, "{}", ran.told());
            let json = ran.stderr.lines().last().unwrap_or_default();
            assert!(json.contains("VN-SYS-MEMORY") || json.contains("VN-SYS-THREADS"), "{}", ran.told());
            ran.says(&["ulimit -v", "to do:"]);
        }
    }
    assert!(refused >= 2, "the limit was met {refused} times only");
    limited(&sandbox, &format!("exec {chunk}")).unwrap().ok();
}

/// A batch of 64k tokens takes 300 MB or more with the embedded bundle.
#[cfg(feature = "torch")]
#[test]
fn where_memory_is_short_batches_are_halved_or_the_next_attempt_succeeds_with_the_same_vectors() {
    use virnucpro::store::VectorReader;

    let sandbox = Sandbox::new();
    let mut random = Random::new(32);
    // Each of another length.
    let mut protein =
        |length| -> String { (0..length).map(|_| char::from(b"ACDEFGHIKLMNPQRSTVWY"[random.below(20)])).collect() };
    let proteins: String = (0..150).map(|n| format!(">p{n}\n{}\n", protein(50 + 6 * n))).collect();
    sandbox.write("x.faa", proteins);
    let bundle = untrained_folder().display().to_string();
    let embed = format!("embed-esm x.faa -m {bundle} --device cpu --threads 2 --dataloader-workers 2");
    sandbox.run(&[&embed.split(' ').collect::<Vec<_>>()[..], &["-q", "-o", "unlimited"]].concat()).ok();
    let vectors = |folder: &str| {
        let reader = VectorReader::open(&sandbox.path(folder).join("x.parquet")).unwrap();
        let rows: Vec<usize> = (0..reader.rows()).collect();
        (reader.ids().unwrap(), reader.take(&rows).unwrap().values)
    };
    let (ids, expected) = vectors("unlimited");
    let (mut short, mut same) = (0, 0);
    for megabytes in [560, 650, 700, 800, 1200] {
        let limit = 1024 * megabytes;
        let first = format!("ulimit -v {limit}; exec $VIRNUCPRO {embed} --batch-tokens 64k -o out-{megabytes}");
        let Some(ran) = limited(&sandbox, &first) else { return };
        match ran.code {
            0 => short += usize::from(ran.stderr.contains("not enough memory for a batch")),
            4 => {
                short += 1;
                ran.says(&["VN-OOM", "--attempt", "to do:", "found:"]);
                let second = format!("ulimit -v {limit}; exec $VIRNUCPRO {embed} --attempt 2 -o out-{megabytes}");
                let again = limited(&sandbox, &second).unwrap();
                // What hardly holds libtorch holds no batch either.
                if again.code == 4 && megabytes < 800 {
                    continue;
                }
                again.ok();
            }
            // There is not even room for the model, or for one sequence.
            _ => {
                assert!(megabytes < 800, "{}", ran.told());
                ran.says(&["to do:", "memory"]);
                continue;
            }
        }
        let (found_ids, found) = vectors(&format!("out-{megabytes}"));
        assert_eq!(found_ids, ids);
        let largest = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let allowed = if virnucpro::device::products::rows_are_independent() { 0.0 } else { 1e-4 };
        assert!(largest <= allowed, "{megabytes} MB: vectors differ by {largest}");
        same += 1;
    }
    assert!(short >= 1 && same >= 1, "memory was short {short} times, and the vectors came {same} times");
}
