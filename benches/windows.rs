//! Speed of the first stage in memory: windows and six frames.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::num::NonZeroUsize;
use virnucpro::seq::{SixFrames, windows};
fn six(c: &mut Criterion) {
    let mut state = 1u64;
    let dna: Vec<u8> = (0..10_000_000)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            b"ACGT"[(state >> 60) as usize & 3]
        })
        .collect();
    let mut g = c.benchmark_group("six");
    g.throughput(Throughput::Bytes(dna.len() as u64));
    g.bench_function("random", |b| {
        let mut six = SixFrames::new();
        b.iter(|| {
            let mut n = 0;
            for w in windows(dna.len(), NonZeroUsize::new(500).unwrap()) {
                n += six.read(&dna[w.start..w.end]).map(|f| f.protein.len()).sum::<usize>();
            }
            black_box(n)
        })
    });
}
criterion_group!(b, six);
criterion_main!(b);
