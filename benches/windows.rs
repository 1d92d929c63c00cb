//! Speed of the first stage in memory: windows and six frames; and of reading records from a file.

#![allow(missing_docs)]
#![allow(clippy::expect_used, clippy::print_stderr)]

use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use virnucpro::composition::{FEATURES, Features};
use virnucpro::seq::{Alphabet, Letters, Limits, Names, Reader, SixFrames, windows};
use virnucpro::units::{Duplicates, FrameRule};

const BASES: usize = 20_000_000;

/// Bases without structure, the same at each run.
fn random_bases() -> Vec<u8> {
    let mut state = 1u64;
    let mut base = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        b"ACGT"[(state >> 62) as usize]
    };
    (0..BASES).map(|_| base()).collect()
}

/// Bases of real genomes, where the data are there.
fn real_bases() -> Option<Vec<u8>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("VIRNUCPRO_SHARED").map_or_else(beside, PathBuf::from);
    let file = fs::File::open(shared.join("genomes/train/viral.fna.gz")).ok()?;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('>'));
    Some(lines.flat_map(|line| line.bytes()).take(BASES).collect())
}

fn six_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("windows and six frames");
    let mut inputs = vec![("random", random_bases())];
    match real_bases() {
        Some(bases) => inputs.push(("real genomes", bases)),
        None => eprintln!("no real genomes here: only random bases are measured"),
    }
    for (name, bases) in &inputs {
        group.throughput(Throughput::Bytes(bases.len() as u64));
        for size in [500, 300] {
            let size = NonZeroUsize::new(size).expect("not zero");
            let mut six = SixFrames::new(FrameRule::Open);
            group.bench_function(format!("{name}, {size} bp"), |bencher| {
                bencher.iter(|| {
                    let mut residues = 0;
                    for window in windows(bases.len(), size) {
                        let open = six.read(&bases[window.start..window.end]);
                        residues += open.map(|frame| frame.protein.len()).sum::<usize>();
                    }
                    black_box(residues)
                });
            });
        }
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let bases = random_bases();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, length: usize, record: &dyn Fn(usize, &[u8]) -> Vec<u8>| {
        let text: Vec<u8> = bases.chunks(length).enumerate().flat_map(|(i, part)| record(i, part)).collect();
        let path = folder.path().join(name);
        fs::write(&path, text).expect("room for the input");
        path
    };
    let wrapped = |i: usize, part: &[u8]| {
        let mut text = format!(">contig_{i}\n").into_bytes();
        for line in part.chunks(60) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text
    };
    let read = |i: usize, part: &[u8]| {
        let mut text = format!("@read_{i}\n").into_bytes();
        text.extend_from_slice(part);
        text.extend_from_slice(b"\n+\n");
        text.resize(text.len() + part.len(), b'I');
        text.push(b'\n');
        text
    };
    let mut inputs = vec![
        ("FASTA, one record", write("one.fa", BASES, &wrapped)),
        ("FASTA, contigs of 10 kbp", write("contigs.fa", 10_000, &wrapped)),
        ("FASTQ, reads of 150 bp", write("reads.fq", 150, &read)),
    ];
    let packed = folder.path().join("contigs.fa.gz");
    let mut encoder = flate2::write::GzEncoder::new(fs::File::create(&packed).expect("a file"), Default::default());
    encoder.write_all(&fs::read(&inputs[1].1).expect("written above")).expect("room for the input");
    encoder.finish().expect("room for the input");
    inputs.push(("FASTA, contigs of 10 kbp, gzip", packed));

    let mut group = criterion.benchmark_group("reading");
    group.throughput(Throughput::Bytes(BASES as u64));
    for (name, path) in &inputs {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let mut names = Names::new(Duplicates::Rename);
                let mut reader = Reader::open(&path.as_path().into(), Alphabet::Nucleotide, Limits::default())?;
                let mut letters = Letters::default();
                while let Some(record) = reader.next(&mut names) {
                    letters += record?.letters();
                }
                Ok::<_, virnucpro::error::Error>(black_box(letters))
            });
        });
    }
    group.finish();
}

/// Features of windows: `composition`.
fn features(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("features of windows");
    let (bases, mut features) = (random_bases(), Features::new());
    for size in [500, 300] {
        let size = NonZeroUsize::new(size).expect("not zero");
        let places: Vec<_> = windows(size.get() * 1000, size).collect();
        group.throughput(Throughput::Elements(places.len() as u64));
        group.bench_function(format!("{size} bp"), |bencher| {
            bencher.iter(|| {
                let mut sum = 0.0;
                for window in &places {
                    let mut values = [0.0; FEATURES];
                    features.of(&bases[window.start..window.end], &mut values);
                    sum += values[FEATURES - 1];
                }
                black_box(sum)
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = six_frames, features, reading
}
criterion_main!(benches);
