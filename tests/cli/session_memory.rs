//! Memory of a long session; in a process of its own, because the peak is that of the whole process.

use std::fs;

use crate::support::alone;
use virnucpro::embed::lane::Lane;
use virnucpro::embed::lane::mock::{MockLane, MockMemory, Script};
use virnucpro::embed::{Batching, Count, Input, Sequence, Session};
use virnucpro::store::VectorBlock;
use virnucpro::tokenize::EsmTokenizer;
use virnucpro::units::Tokens;

#[test]
fn memory_is_flat_over_a_million_frames() {
    alone("session_memory::memory_is_flat_over_a_million_frames", measure);
}

/// Resident memory of this process now, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn measure() {
    const FRAMES: usize = 1_000_000;
    const FRAMES_OF_A_FILE: usize = 10_000;
    // One lane runs out of memory now and then, and is never as fast as the reader.
    let script = Script { limits: vec![(0, 4000), (2000, 900), (4000, 4000)], depth: 3, ..Script::default() };
    let lane = |name: &str| Box::new(MockLane::new(name, 64, script.clone(), MockMemory::default())) as Box<dyn Lane>;
    let batching = Batching { batch_tokens: Tokens(1024), prefetch: 4, workers: 2, timeout: None, dedup: true };
    let mut session = Session::new(Box::new(EsmTokenizer), vec![lane("mock:0"), lane("mock:1")], batching);
    let input = (0..FRAMES).flat_map(|frame| {
        let letters = b"MKVLAACDWY".iter().copied().cycle().skip(frame % 10).take(20 + frame % 17).collect();
        let sequence = Input::Sequence(Sequence { id: format!("x_chunk_{frame}F1"), letters, protein: None });
        let end = ((frame + 1) % FRAMES_OF_A_FILE == 0).then_some(Ok(Input::End(())));
        std::iter::once(Ok(sequence)).chain(end)
    });
    let (mut written, mut warm, mut most) = (0, 0, 0);
    session
        .embed(input, &mut |vectors: VectorBlock| {
            written += vectors.ids.len();
            if written <= FRAMES / 10 {
                warm = resident();
            }
            most = most.max(resident());
            Ok(())
        })
        .unwrap();
    assert_eq!((written, session.meter().count(Count::Sequences)), (FRAMES, FRAMES as u64));
    let grown = most.saturating_sub(warm);
    assert!(grown < 50_000_000, "{grown} bytes more than the {warm} after a tenth of the frames");
    println!("{warm} bytes after a tenth of the frames, {grown} more at most; {}", session.meter());
}
