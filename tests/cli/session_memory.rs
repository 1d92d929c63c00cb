//! Memory of a long session; in a process of its own, because the peak is that of the whole process.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::alone;
use virnucpro::embed::lane::Lane;
use virnucpro::embed::lane::mock::{MockLane, MockMemory, Script};
use virnucpro::embed::{Batching, Count, Input, Sequence, Session};
use virnucpro::store::VectorBlock;
use virnucpro::tokenize::EsmTokenizer;
use virnucpro::units::Tokens;

const FRAMES: usize = 1_000_000;

#[test]
fn memory_is_flat_over_a_million_frames() {
    alone("session_memory::memory_is_flat_over_a_million_frames", || {
        let session = measure(false, FRAMES / 10);
        let [batches, retries] = [Count::Batches, Count::Retries].map(|count| session.meter().count(count));
        assert!(batches > 10_000 && retries > 6, "batches: {batches}, retries: {retries}");
        // Two lanes warn three times each at most.
        let warnings = WARNINGS.load(Ordering::Relaxed);
        assert!((1..=6).contains(&warnings), "{warnings} warnings of {retries} retries");
    });
}

#[test]
fn memory_is_flat_once_as_many_vectors_are_kept_for_repeats_as_may_be() {
    alone("session_memory::memory_is_flat_once_as_many_vectors_are_kept_for_repeats_as_may_be", || {
        let session = measure(true, FRAMES / 3);
        assert_eq!(session.meter().count(Count::Copies), 0);
    });
}

/// Counts warnings.
struct Warnings;

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

impl log::Log for Warnings {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        WARNINGS.fetch_add(usize::from(record.level() == log::Level::Warn), Ordering::Relaxed);
    }

    fn flush(&self) {}
}

/// Resident memory of this process now, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Letters that no other frame has.
fn letters(frame: usize) -> Vec<u8> {
    let letter = |place: u32| b"ACDEFGHIKLMNPQRSTVWY"[frame / 20_usize.pow(place % 5) % 20];
    (0..20 + frame as u32 % 17).map(letter).collect()
}

/// Embeds all frames in a process of its own; the resident memory must not grow after the first `warm_up` of them.
fn measure(dedup: bool, warm_up: usize) -> Session {
    const FRAMES_OF_A_FILE: usize = 10_000;
    log::set_logger(&Warnings).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    // Memory runs out again and again, and no lane is as fast as the reader.
    let script = Script { limits: vec![(0, 4000), (2000, 900), (4000, 2500)], depth: 3, ..Script::default() };
    let lane = |name: &str| Box::new(MockLane::new(name, 64, script.clone(), MockMemory::default())) as Box<dyn Lane>;
    let batching = Batching { batch_tokens: Tokens(1024), prefetch: 4, workers: 2, timeout: None, dedup };
    let mut session = Session::new(Box::new(EsmTokenizer), vec![lane("mock:0"), lane("mock:1")], batching);
    let input = (0..FRAMES).flat_map(|frame| {
        let id = format!("x_chunk_{frame}F1");
        let sequence = Input::Sequence(Sequence { id, letters: letters(frame), protein: None, known: None });
        let end = ((frame + 1) % FRAMES_OF_A_FILE == 0).then_some(Ok(Input::End(())));
        std::iter::once(Ok(sequence)).chain(end)
    });
    let (mut written, mut warm, mut most) = (0, 0, 0);
    session
        .embed(input, &mut |vectors: VectorBlock| {
            written += vectors.ids.len();
            if written <= warm_up {
                warm = resident();
            }
            most = most.max(resident());
            Ok(())
        })
        .unwrap();
    assert_eq!((written, session.meter().count(Count::Sequences)), (FRAMES, FRAMES as u64));
    let grown = most.saturating_sub(warm);
    assert!(grown < 50_000_000, "{grown} bytes more than the {warm} after {warm_up} frames");
    println!("{warm} bytes after {warm_up} frames, {grown} more at most; {}", session.meter());
    session
}
