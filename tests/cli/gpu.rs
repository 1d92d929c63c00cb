//! What can be shown of GPUs without one: what is refused, and that the script for a GPU machine finds what is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Sandbox, repository};

#[test]
fn an_attention_kernel_for_gpus_is_refused_on_a_cpu() {
    let sandbox = Sandbox::new();
    sandbox.write("x.faa", ">a\nMKVLAARNDW\n");
    for kernel in ["flash", "efficient", "math"] {
        let embed = ["embed-esm", "x.faa", "-o", "out", "--device", "cpu", "--attention", kernel];
        let ran = sandbox.run(&embed);
        ran.fails(64, "VN-USAGE");
        ran.says(&[&format!("--attention {kernel} is not possible: it is a choice for GPUs")]);
        let info = sandbox.run(&["info", "--device", "cpu", "--attention", kernel]).ok().stdout;
        assert!(info.contains("is a choice for GPUs"), "{info}");
    }
}

/// The script on the CPU, with an executable in place of the program's own; nothing where there is no Python.
fn gpu_check(executable: &Path, minutes: &str) -> Option<Output> {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(repository().join("scripts/gpu_check")).args(["--cpu", "--minutes", minutes, "--virnucpro"]);
    Some(command.arg(executable).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap())
}

#[test]
fn the_script_for_gpu_machines_finds_all_well_on_a_cpu() {
    let Some(output) = gpu_check(Path::new(env!("CARGO_BIN_EXE_virnucpro")), "0.1") else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let speed =
        if cfg!(feature = "torch") { "% of the bare products'" } else { "not measured: this build has no libtorch" };
    for part in ["ok   f32, 700 frames: DNABERT-S", "ok   bf16, ", "scores from", speed, "all well"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn the_script_for_gpu_machines_ends_with_wrong_numbers() {
    let sandbox = Sandbox::new();
    // An executable whose vectors are off in f32.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*verify*f32*) echo 'DNABERT-S 3e-4, ESM-2 1e-6, scores 1e-6 apart';;\n*) exec '{}' \"$@\";;\nesac\n",
        env!("CARGO_BIN_EXE_virnucpro")
    );
    sandbox.write("virnucpro", script);
    let program = sandbox.path("virnucpro");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let Some(output) = gpu_check(&program, "1") else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL f32, 700 frames: DNABERT-S 3.0e-04"), "{text}");
    assert!(text.contains("speed and memory: not measured"), "{text}");
}
