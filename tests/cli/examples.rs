//! The examples of every help page work as they are written, one after the other, in one folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::help::{commands, examples, help};
use crate::support::{Ran, Random, Sandbox, mock, repository};

/// Examples that need the hub: that they parse is tested with the others.
const FROM_THE_HUB: [&str; 6] = [
    "virnucpro models fetch dnabert-s",
    "virnucpro models fetch facebook/",
    "virnucpro models fetch --url https://",
    "virnucpro models fetch -q",
    "--dnabert dnabert-s --esm esm2-3b",
    "models fetch esm2",
];

/// Examples that compute with large models of random weights: that they parse is tested with the others.
const LARGE: &str = "--shape esm2-";

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

fn fastq(seed: u64) -> String {
    let mut random = Random::new(seed);
    (1..=3).map(|n| format!("@r{n}\n{}\n+\n{}\n", random.dna(600), "F".repeat(600))).collect()
}

/// A copy of a bundle of the repository under another name.
fn bundle(sandbox: &Sandbox, original: &str, folder: &str, name: &str) {
    for (file, mut bytes) in crate::support::files_of(&repository().join("bundles").join(original)) {
        if file == "bundle.yaml" {
            let yaml = String::from_utf8(bytes).unwrap();
            bytes = yaml.replace(&format!("name: {original}\n"), &format!("name: {name}\n")).into_bytes();
        }
        sandbox.write(&format!("{folder}/{file}"), bytes);
    }
}

/// The files that the examples name, except those that earlier examples write.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    let fasta = |seed: u64| Random::new(seed).fasta(12, 700);
    sandbox.write("contigs.fa.gz", gzip(&fasta(1)));
    sandbox.write("reads.fq.gz", gzip(&fastq(2).replace("@r", "@q")));
    sandbox.write("sample1.fq.gz", gzip(&fastq(3)));
    sandbox.write("sample2.fq.gz", gzip(&fastq(4)));
    sandbox.write("samples.tsv", "sample\tfile\ngut\tcontigs.fa.gz\n");
    sandbox.write("reads.bam", fasta(5));
    let label = |number| format!("r{number}\t{}\n", if number % 3 == 1 { "virus" } else { "others" });
    sandbox.write("labels.tsv", format!("sequence\tlabel\n{}", (1..=12).map(label).collect::<String>()));
    sandbox.write("genera.tsv", "sequence\tlabel\tgroup\nr1\tvirus\tLambdavirus\nr2\tothers\tBacillus\n");
    let samtools = sandbox.write("bin/samtools", "#!/bin/sh\n[ \"$1\" = fasta ] && cat \"$2\"\n");
    fs::set_permissions(samtools, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(env!("CARGO_BIN_EXE_virnucpro"), sandbox.path("bin/virnucpro")).unwrap();
    // Encoders without libtorch for what runs; tensors for what is imported.
    bundle(&sandbox, "mock", "models/vnp-500", "vnp-500");
    bundle(&sandbox, "untrained", "published/vnp-500", "vnp-500");
    let copy = |from: &str, to: &str| {
        let bytes = fs::read(repository().join("bundles/untrained").join(from)).unwrap();
        sandbox.write(to, bytes);
    };
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        copy(&format!("dnabert/{file}"), &format!("DNABERT-S/{file}"));
    }
    copy("esm/model.safetensors", "esm2_t6_8M_UR50D.pt");
    copy("head.safetensors", "head.pth");
    copy("head.safetensors", "300_model.pth");
    sandbox
}

/// Runs a line in a shell.
fn shell(sandbox: &Sandbox, line: &str) -> Ran {
    let mut command = Command::new("sh");
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VIRNUCPRO_")) {
        command.env_remove(name);
    }
    let models = if line.contains("models import") { "published" } else { "models" };
    command.args(["-c", line]).current_dir(sandbox.folder()).stdin(Stdio::null());
    command.env("PATH", path).env("VIRNUCPRO_MODELS", sandbox.path(models)).env("VIRNUCPRO_MODEL", mock());
    command.env("VIRNUCPRO_ROUNDS", "1").env("VIRNUCPRO_ROUND_SECONDS", "0.05");
    command
        .env("HOME", sandbox.path("home"))
        .env("XDG_DATA_HOME", sandbox.path("data"))
        .env("HF_HOME", sandbox.path("hub"));
    Ran::of(command)
}

#[test]
fn every_example_of_every_help_page_works_as_written() {
    let sandbox = prepared();
    let mut ran = Vec::new();
    for command in commands() {
        if command == ["embed-dnabert"] {
            // The shard that a workflow engine would hand over; the examples name it as the seventh of many.
            for ending in ["fna", "faa"] {
                let name = |folder: &str, number: u32| sandbox.path(&format!("{folder}shard-0000{number}.{ending}"));
                fs::copy(name("windows/", 1), name("", 7)).unwrap();
            }
        }
        if command == ["models", "verify"] {
            bundle(&sandbox, "mock", "vnp-500", "vnp-500"); // not before: import would take it for the one it names
        }
        for line in examples(&help(&command)) {
            if FROM_THE_HUB.iter().chain([&LARGE]).any(|part| line.contains(part)) {
                continue;
            }
            let outcome = shell(&sandbox, &line);
            let is_absent = ["cuda", "virnucpro train"].iter().any(|part| line.contains(part)) && outcome.code == 69;
            assert!(outcome.code == 0 || is_absent, "{line}\n{}", outcome.told());
            let is_told = !outcome.stdout.is_empty() || !outcome.stderr.is_empty();
            assert!(is_told || line.contains("> "), "{line}");
            ran.push(line);
        }
    }
    assert!(ran.len() >= 22, "{ran:#?}");
    for made in
        ["out/predictions", "out-500/predictions", "out-300/predictions", "windows-300", "merged", "predictions"]
    {
        assert!(sandbox.path(made).join("manifest.json").exists(), "{made}");
    }
    assert!(sandbox.text("virnucpro.fish").contains("complete "));
    assert!(sandbox.path("home/.local/share/man/man1/virnucpro-run.1").exists());
    for made in ["small", "data/virnucpro/models/vnp-300"] {
        assert!(Path::new(&sandbox.path(made)).join("bundle.yaml").exists(), "{made}");
    }
}

#[test]
fn no_line_of_a_help_page_is_wider_than_120() {
    let sandbox = Sandbox::new();
    for command in commands() {
        for flag in ["-h", "--help"] {
            let words: Vec<&str> = command.iter().map(String::as_str).chain([flag]).collect();
            let text = sandbox.run(&words).ok().stdout;
            let wide = text.lines().find(|line| line.chars().count() > 120);
            assert_eq!(wide, None, "{command:?} {flag}");
        }
    }
}
