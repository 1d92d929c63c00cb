//! Windows and open frames against the files that the original program wrote.

use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use virnucpro::seq::{SixFrames, windows};
use virnucpro::units::FrameRule;

/// Identifiers and sequences of a FASTA text, by the plainest rule.
fn records(text: &str) -> Vec<(&str, String)> {
    let mut records: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix('>') {
            Some(header) => records.push((header.split_whitespace().next().unwrap(), String::new())),
            None => records.last_mut().unwrap().1.push_str(line),
        }
    }
    records
}

fn open_frames_are_those_of_the_original(size: usize) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/e2e-own");
    let input = fs::read_to_string(golden.join("input.fasta")).unwrap();
    let (mut nucleotides, mut proteins) = (String::new(), String::new());
    let mut six = SixFrames::new(FrameRule::Open);
    for (id, sequence) in records(&input) {
        for window in windows(sequence.len(), NonZeroUsize::new(size).unwrap()) {
            for open in six.read(&sequence.as_bytes()[window.start..window.end]) {
                let header = format!(">{id}_chunk_{}{}", window.index, open.frame);
                writeln!(nucleotides, "{header}\n{}", str::from_utf8(open.nucleotides).unwrap()).unwrap();
                writeln!(proteins, "{header}\n{}", str::from_utf8(open.protein).unwrap()).unwrap();
            }
        }
    }
    let original = golden.join(format!("orig_{size}"));
    assert!(nucleotides == fs::read_to_string(original.join("input_identified_nucleotide.fa")).unwrap());
    assert!(proteins == fs::read_to_string(original.join("input_identified_protein.faa")).unwrap());
    assert!(proteins.lines().count() > 400);
}

#[test]
fn windows_of_500_give_the_frames_of_the_original() {
    open_frames_are_those_of_the_original(500);
}

#[test]
fn windows_of_300_give_the_frames_of_the_original() {
    open_frames_are_those_of_the_original(300);
}
