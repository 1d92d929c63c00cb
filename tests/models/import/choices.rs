//! What the user chooses for a bundle, and what is chosen where nothing is said: number format, window, folder; and how
//! the result is told.

use std::fs;

use crate::support::Sandbox;
use crate::support::bundle_parts::{BundleParts, DNABERT, ESM, HEAD, Tensors};
use half::{bf16, f16};
use safetensors::Dtype;
use virnucpro::bundle::Bundle;
use virnucpro::bundle::import::{ImportRequest, import, stage};
use virnucpro::error::{Error, Fault, Result};
use virnucpro::units::{Precision, WeightFormat};

fn rounded(values: &[u8], to: Dtype) -> Vec<u8> {
    let values = values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
    match to {
        Dtype::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
        _ => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
    }
}

#[test]
fn encoders_are_converted_and_frequencies_and_heads_are_not() {
    for (precision, dtype, name) in [(Precision::F16, Dtype::F16, "f16"), (Precision::Bf16, Dtype::BF16, "bf16")] {
        let parts = BundleParts::new();
        let report = import(&ImportRequest { dtype: WeightFormat::To(precision), ..parts.request() }).unwrap();
        for (model, file) in report.models.iter().zip([DNABERT, ESM, HEAD]) {
            let (before, after) = (parts.tensors(file), Tensors::read(&report.folder.join(file)));
            assert_eq!(before.0.keys().collect::<Vec<_>>(), after.0.keys().collect::<Vec<_>>());
            for (tensor, (stored, shape, bytes)) in before.0 {
                let kept = file == HEAD || tensor.ends_with("inv_freq");
                let expected = if kept { (stored, shape, bytes) } else { (dtype, shape, rounded(&bytes, dtype)) };
                assert!(after.0[&tensor] == expected, "{tensor} of {file}");
            }
            let told = if file == HEAD { "f32" } else { name };
            assert_eq!((model.stored.as_str(), model.dtype.as_str()), ("f32", told));
            assert_eq!(model.frequencies.as_deref(), (file == ESM).then_some("f32"));
        }
        Bundle::open_folder(&report.folder).unwrap().verify(&|| Ok(())).unwrap();
        // Widened again, nothing is lost: the same numbers, and so a third digest.
        let esm = report.folder.clone();
        let wide =
            ImportRequest { esm, dtype: WeightFormat::To(Precision::F32), out: parts.path("wide"), ..parts.request() };
        let wide = Tensors::read(&import(&wide).unwrap().folder.join(ESM));
        for (tensor, (stored, _, bytes)) in wide.0 {
            assert_eq!(stored, Dtype::F32);
            let narrow = &Tensors::read(&report.folder.join(ESM)).0[&tensor];
            assert!(narrow.0 == Dtype::F32 || rounded(&bytes, dtype) == narrow.2, "{tensor}");
        }
    }
}

#[test]
fn a_value_that_the_format_cannot_hold_is_refused_and_named() {
    const BIAS: &str = "encoder.layer.1.output.dense.bias";
    for (value, precision, report) in [
        (65519.0, Precision::F16, None),
        (65520.0, Precision::F16, Some("65520")),
        (-1e30, Precision::F16, Some("f16 cannot hold")),
        (-1e30, Precision::Bf16, None),
        (f32::MAX, Precision::Bf16, Some("bf16 cannot hold")),
        (f32::MAX, Precision::F32, None),
    ] {
        let parts = BundleParts::new();
        parts.change_tensors(ESM, |tensors| tensors.value(BIAS, 7, value));
        let made = import(&ImportRequest { dtype: WeightFormat::To(precision), ..parts.request() });
        match report {
            None => assert!(made.is_ok(), "{value}"),
            Some(part) => {
                let error = made.unwrap_err();
                assert_eq!(error.fault(), Fault::ModelNonFinite);
                let report = error.report("import");
                assert!(report.contains(part) && report.contains(&format!("{BIAS}, value 7")), "{report}");
                assert!(!parts.path("out").exists());
            }
        }
    }
}

#[test]
fn a_head_named_for_another_window_is_refused() {
    let window = |name: &str, window: Option<u32>| -> Result<u32> {
        let parts = BundleParts::new();
        fs::rename(parts.path(HEAD), parts.path(name)).unwrap();
        let request = ImportRequest { head: parts.path(name), window, ..parts.request() };
        import(&request).map(|report| report.spec.window)
    };
    assert_eq!(window("300_model.pth", Some(300)).unwrap(), 300);
    assert_eq!(window("500_model.pth", None).unwrap(), 500);
    assert_eq!(window("head.pth", None).unwrap(), 500);
    assert_eq!(window("head.pth", Some(300)).unwrap(), 300);
    for (name, asked) in [("300_model.pth", None), ("300_model.pth", Some(500)), ("500_model.pth", Some(300))] {
        let error = window(name, asked).unwrap_err();
        assert_eq!((error.fault(), error.path().unwrap().ends_with(name)), (Fault::ModelMismatch, true), "{name}");
    }
}

/// The program's `models import`, with a home of its own.
fn program(sandbox: &Sandbox, parts: &BundleParts, args: &[&str]) -> crate::support::Ran {
    let path = |name: &str| parts.path(name).to_str().unwrap().to_owned();
    let (dnabert, esm, head) = (path("dnabert"), path("esm"), path(HEAD));
    let given = ["models", "import", "--untrained", "--dnabert", &dnabert, "--esm", &esm, "--head", &head];
    let mut command = sandbox.command(&[&given, args].concat());
    command.env("XDG_DATA_HOME", sandbox.path("data"));
    crate::support::Ran::of(command)
}

#[test]
fn without_a_folder_the_bundle_goes_where_its_name_finds_it() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    let ran = program(&sandbox, &parts, &["--name", "tiny"]).ok();
    let folder = sandbox.path("data/virnucpro/models/tiny");
    assert!(Bundle::open_folder(&folder).unwrap().verify(&|| Ok(())).is_ok());
    assert!(ran.stdout.contains("virnucpro run IN.fa --model tiny -o OUT"), "{}", ran.stdout);
    let mut command = sandbox.command(&["models", "path", "tiny"]);
    command.env("XDG_DATA_HOME", sandbox.path("data"));
    assert_eq!(crate::support::Ran::of(command).ok().stdout.trim(), folder.to_str().unwrap());

    // A second one of the name, and the name that means the embedded one.
    program(&sandbox, &parts, &["--name", "tiny"]).fails(1, "VN-OUT-FOREIGN");
    program(&sandbox, &parts, &["--name", "mini"]).fails(64, "VN-USAGE");
    program(&sandbox, &parts, &["--name", "../tiny"]).fails(64, "VN-USAGE");
    // A name that leads to another bundle is not given as the way to this one.
    let ran = program(&sandbox, &parts, &["--name", "tiny", "-o", "here"]).ok();
    assert!(ran.stdout.contains("--model ./here -o OUT"), "{}", ran.stdout);
    let left: Vec<_> = sandbox.path("data/virnucpro/models").read_dir().unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn the_name_of_a_bundle_means_its_model() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    program(&sandbox, &parts, &["--name", "tiny", "--window", "300"]).ok();
    let args =
        ["models", "import", "--name", "next", "--dnabert", "tiny", "--esm", "tiny", "--head", "tiny", "-o", "out"];
    let mut command = sandbox.command(&args);
    command.env("XDG_DATA_HOME", sandbox.path("data"));
    crate::support::Ran::of(command).ok();
    let (next, mini) = (Bundle::open_folder(&sandbox.path("out")).unwrap(), crate::support::untrained());
    assert_eq!((&next.spec().files, next.spec().window, next.spec().trained), (&mini.spec().files, 300, false));
}

#[test]
fn work_that_is_stopped_leaves_nothing_behind() {
    for tensors in [0, 1, 60] {
        let (parts, left) = (BundleParts::new(), std::cell::Cell::new(tensors));
        let before = parts.folder.path().read_dir().unwrap().count();
        let stopped = stage(&parts.request(), &|_| match left.replace(left.get() - 1) {
            0 => Err(Error::new(Fault::Interrupted, "stopped by SIGINT")),
            _ => Ok(()),
        });
        assert_eq!(stopped.err().map(|error| error.fault()), Some(Fault::Interrupted));
        assert_eq!(parts.folder.path().read_dir().unwrap().count(), before, "after {tensors} tensors");
    }
}

#[test]
fn the_report_fits_a_terminal_and_tells_what_was_found() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    let unneeded = ["lm_head.bias", "lm_head.dense.weight", "esm.contact_head.regression.bias"];
    parts.change_tensors(ESM, |tensors| unneeded.iter().fold(tensors, |tensors, name| tensors.with(name, &[1])));
    let args = ["--name", "tiny", "--dtype", "bf16", "--licence", "MIT", "--source", "here", "-o", "out"];
    let text = program(&sandbox, &parts, &args).ok().stdout;
    // Paths are as long as they are.
    let lines = || text.lines().filter(|line| !line.contains('/'));
    assert!(lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{text}");
    for line in [
        "DNABERT-S",
        "  format    safetensors",
        "  model     3 layers, width 48, 12 heads, vocabulary 4096",
        "  model     3 layers, width 64, 4 heads, vocabulary 33",
        "  model     112 inputs",
        "  tensors   54 used, 3 not needed: contact_head.regression.bias, lm_head.* (2)",
        "  numbers   f32, written as bf16; rotary frequencies f32",
        "  numbers   f32, written as bf16",
        "  numbers   f32",
        "tiny, version 1, window 500 bp, UNTRAINED: random weights",
        "  licence   MIT",
        "  source    here",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let bundle = Bundle::open_folder(&sandbox.path("out")).unwrap();
    let written = bundle.spec().files.iter().filter(|(name, _)| name.ends_with(".safetensors"));
    let digests = written.map(|(_, record)| record.sha256.to_string()).chain([bundle.digest().to_string()]);
    for digest in digests.chain(
        [DNABERT, ESM, HEAD]
            .map(|file| virnucpro::fs::digest::Digest::of(&fs::read(parts.path(file)).unwrap()).to_string()),
    ) {
        assert!(
            text.contains(&format!("            {digest}\n")) || text.contains(&format!("digest    {digest}")),
            "{digest}"
        );
    }
}

#[test]
fn names_from_files_cannot_move_the_cursor_of_a_terminal() {
    let (sandbox, parts) = (Sandbox::new(), BundleParts::new());
    parts.change_tensors(ESM, |tensors| tensors.with("lm_head.\u{1b}[2J\n", &[1]));
    let text = program(&sandbox, &parts, &["--name", "tiny", "-o", "out"]).ok().stdout;
    assert!(text.contains("\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
}
