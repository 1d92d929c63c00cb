//! The session under scripted lanes: how it ends, whatever happens to which lane and when.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::alone;
use virnucpro::embed::lane::Lane;
use virnucpro::embed::lane::mock::{MockLane, MockMemory, Script};
use virnucpro::embed::{Batching, Count, Input, Sequence, Session, Sink, Work};
use virnucpro::error::{Error, Fault, Result};
use virnucpro::model::Encoder;
use virnucpro::model::mock::MockEncoder;
use virnucpro::pack::TokenBatch;
use virnucpro::runtime::memory;
use virnucpro::store::{ProteinDigest, VectorBlock};
use virnucpro::tokenize::{EsmTokenizer, Tokenize};
use virnucpro::units::Tokens;

const DIM: usize = 3;

/// Files of sequences with the given numbers of tokens. Each file ends with its number.
#[derive(Clone, Debug)]
struct Files(Vec<Vec<usize>>);

impl Files {
    fn input(&self) -> Vec<Result<Input<usize>>> {
        let mut input = Vec::new();
        for (file, lengths) in self.0.iter().enumerate() {
            for (row, &tokens) in lengths.iter().enumerate() {
                let letters: Vec<u8> = (0..tokens - 2).map(|place| b"MKVLAACDW"[(place * 7 + row) % 9]).collect();
                let protein = (row % 2 == 0).then(|| ProteinDigest::of(&letters));
                input.push(Ok(Input::Sequence(Sequence {
                    id: format!("{file}.{row}"),
                    letters,
                    protein,
                    known: None,
                })));
            }
            input.push(Ok(Input::End(file)));
        }
        input
    }

    fn longest(&self) -> usize {
        self.0.iter().flatten().copied().max().unwrap_or(0)
    }
}

/// What came out, file by file.
#[derive(Clone, Debug, Default, PartialEq)]
struct Written {
    files: Vec<VectorBlock>,
    open: VectorBlock,
    embedded: u64,
}

impl Sink<usize> for Written {
    fn rows(&mut self, vectors: VectorBlock, _: usize) -> Result<()> {
        self.open.ids.extend(vectors.ids);
        self.open.values.extend(vectors.values);
        self.open.proteins.extend(vectors.proteins);
        Ok(())
    }

    fn end(&mut self, file: usize) -> Result<()> {
        assert_eq!(file, self.files.len());
        self.files.push(std::mem::take(&mut self.open));
        Ok(())
    }

    fn embedded(&mut self, sequences: u64) {
        self.embedded += sequences;
    }

    fn explain(&self, file: usize, error: Error) -> Error {
        error.file(format!("file {file}"))
    }
}

fn batching(tokens: usize) -> Batching {
    Batching { batch_tokens: Tokens(tokens), prefetch: 2, workers: 1, timeout: None, dedup: true }
}

/// Lanes of one memory each.
fn lanes(scripts: &[Script]) -> Vec<Box<dyn Lane>> {
    let lane =
        |(i, script): (usize, &Script)| MockLane::new(&format!("mock:{i}"), DIM, script.clone(), MockMemory::default());
    scripts.iter().enumerate().map(|lane_of| Box::new(lane(lane_of)) as Box<dyn Lane>).collect()
}

/// A session with these lanes, and what it wrote or why it stopped.
fn run(files: &Files, lanes: Vec<Box<dyn Lane>>, batching: Batching) -> (Session, Result<Written>) {
    let mut session = Session::new(Box::new(EsmTokenizer), lanes, batching);
    let mut written = Written::default();
    let outcome = session.embed(files.input().into_iter(), &mut written);
    (session, outcome.map(|_| written))
}

/// The vector of a sequence alone.
fn mock_vector(letters: &[u8]) -> Vec<f32> {
    MockEncoder::new(DIM).embed(&TokenBatch::of([EsmTokenizer.encode(letters).unwrap()])).unwrap()
}

/// What must come out: the vector of each sequence alone.
fn undisturbed(files: &Files) -> Written {
    let mut written = Written::default();
    for input in files.input() {
        match input.unwrap() {
            Input::Sequence(Sequence { id, letters, protein, .. }) => {
                let values = mock_vector(&letters);
                written.rows(VectorBlock { ids: vec![id], values, proteins: vec![protein] }, 0).unwrap();
                written.embedded(1);
            }
            Input::End(file) => written.end(file).unwrap(),
        }
    }
    written
}

fn files(count: usize) -> Files {
    Files((0..count).map(|file| (0..(file * 37) % 90).map(|row| 3 + (row * 7 + file) % 23).collect()).collect())
}

#[test]
fn files_come_out_whole_and_in_order_whatever_the_lanes_the_workers_the_budget_and_the_prefetch() {
    let files = files(12);
    let expected = undisturbed(&files);
    assert_eq!(expected.files.len(), 12);
    assert_eq!(expected.files[1].ids.len(), 37);
    assert_eq!((&*expected.files[1].ids[0], expected.files[1].proteins[1]), ("1.0", None));
    for lane_count in [1, 3] {
        for depth in [1, 3] {
            for (workers, prefetch, tokens) in [(1, 1, 1), (2, 4, 64), (8, 100, 30), (3, 2, 100_000)] {
                let script = Script { depth, latency: Duration::from_micros(5), ..Script::default() };
                let batching = Batching { workers, prefetch, ..batching(tokens) };
                let (session, written) = run(&files, lanes(&vec![script; lane_count]), batching);
                assert_eq!(
                    written.unwrap(),
                    expected,
                    "{lane_count} lanes, depth {depth}, {workers} workers, {tokens}"
                );
                assert_eq!(session.meter().count(Count::Sequences), expected.embedded);
            }
        }
    }
}

#[test]
fn a_batch_has_sequences_of_one_file_only() {
    // So that a file has the same batches in any run: each is 8 tokens, and the budget is 16.
    let files = Files(vec![vec![8; 3]; 5]);
    let (session, written) = run(&files, lanes(&[Script::default()]), Batching { dedup: false, ..batching(16) });
    assert_eq!(written.unwrap(), undisturbed(&files));
    assert_eq!(session.meter().count(Count::Batches), 10);
}

fn letters(input: Result<Input<usize>>) -> Option<Vec<u8>> {
    match input.unwrap() {
        Input::Sequence(sequence) => Some(sequence.letters),
        Input::End(_) => None,
    }
}

#[test]
fn identical_sequences_are_embedded_once_and_come_out_as_if_each_had_been() {
    let mut files = files(12);
    files.0.push(vec![20; 500]); // nine different ones
    for tokens in [16, 10_000] {
        let (once, with) = run(&files, lanes(&[Script::default(), Script::default()]), batching(tokens));
        let (each, without) = run(&files, lanes(&[Script::default()]), Batching { dedup: false, ..batching(tokens) });
        assert_eq!(with.unwrap(), without.unwrap());
        let distinct = |session: &Session| {
            let meter = session.meter();
            meter.count(Count::Sequences) - meter.count(Count::Copies)
        };
        assert_eq!(distinct(&each), each.meter().count(Count::Sequences));
        let kinds: HashSet<Vec<u8>> = files.input().into_iter().filter_map(letters).collect();
        assert_eq!(distinct(&once), kinds.len() as u64);
    }
}

#[test]
fn nothing_in_nothing_out() {
    for files in [Files(vec![]), Files(vec![vec![], vec![]])] {
        assert_eq!(run(&files, lanes(&[Script::default()]), batching(64)).1.unwrap(), undisturbed(&files));
    }
}

#[test]
fn batches_that_do_not_fit_are_halved_and_counted() {
    let files = files(6);
    for (depth, tells_late) in [(1, false), (1, true), (3, false), (3, true)] {
        let script = Script { limits: vec![(0, 40)], depth, tells_late, ..Script::default() };
        let (session, written) = run(&files, lanes(&[script]), batching(200));
        assert_eq!(written.unwrap(), undisturbed(&files), "depth {depth}, told late: {tells_late}");
        assert!(session.meter().count(Count::Retries) > 0);
    }
}

#[test]
fn a_budget_is_raised_again_when_memory_is_back() {
    let files = Files(vec![vec![10; 3000]]);
    let script = Script { limits: vec![(3, 20), (60, 100_000)], ..Script::default() };
    let (session, written) = run(&files, lanes(&[script]), Batching { dedup: false, ..batching(200) });
    assert_eq!(written.unwrap(), undisturbed(&files));
    // 150 batches without the shortage. With batches of 20 to the end there would be 1500. One raise comes too early, so that
    // the later ones take twice as long.
    let batches = session.meter().count(Count::Batches);
    assert!((400..600).contains(&batches), "{batches}");
}

fn fault_of(files: &Files, scripts: &[Script], tokens: usize) -> Error {
    run(files, lanes(scripts), batching(tokens)).1.unwrap_err()
}

#[test]
fn a_sequence_that_does_not_fit_alone_is_named_with_the_memory() {
    let limited = |tokens| Script { limits: vec![(0, tokens)], ..Script::default() };
    let short = fault_of(&Files(vec![vec![10; 4], vec![10, 50, 10]]), &[limited(30)], 100);
    assert_eq!(short.fault(), Fault::HostMemory);
    let long = fault_of(&Files(vec![vec![10; 4], vec![10, 5000, 10]]), &[limited(3000)], 100);
    assert_eq!(long.fault(), Fault::TooLong);
    for (error, parts) in [(short, ["1.1", "50 tokens"]), (long, ["1.1", "5000 tokens"])] {
        let report = error.report("v");
        for part in [parts[0], parts[1], "file 1", "memory: ", "to do:"] {
            assert!(report.contains(part), "{part}: {report}");
        }
    }
}

#[test]
fn memory_that_held_more_before_is_worth_a_smaller_start() {
    let files = Files(vec![vec![10; 40]]);
    let script = Script { limits: vec![(3, 5)], ..Script::default() };
    let error = fault_of(&files, &[script], 20);
    assert_eq!((error.fault(), error.fault().exit_code()), (Fault::OutOfMemory, 4));
    for part in [
        "memory: ",
        "a batch of 20 tokens was computed before",
        "or leave it out and",
        "--attempt",
        "--batch-tokens",
        "--dtype",
    ] {
        assert!(error.report("v").contains(part), "{part}: {}", error.report("v"));
    }
}

#[test]
fn what_a_memory_held_before_is_known_to_all_its_lanes() {
    // Nothing fits into one lane, which is slow to say so; by then the other one has computed batches of 20.
    let files = Files(vec![vec![10; 40]]);
    let slow =
        Script { limits: vec![(0, 5)], latency: Duration::from_millis(50), tells_late: true, ..Script::default() };
    let memory = MockMemory::default();
    let lane = |script| Box::new(MockLane::new("mock", DIM, script, Arc::clone(&memory))) as Box<dyn Lane>;
    let lanes = vec![lane(slow), lane(Script::default())];
    let error = run(&files, lanes, Batching { dedup: false, ..batching(20) }).1.unwrap_err();
    assert_eq!(error.fault(), Fault::OutOfMemory, "{}", error.report("v"));
}

#[test]
fn lanes_of_one_memory_make_room_for_a_sequence_that_fits_alone_only() {
    let files = Files(vec![vec![30; 60]]);
    for _ in 0..20 {
        let memory = MockMemory::default();
        let script = Script { limits: vec![(0, 30)], latency: Duration::from_micros(20), ..Script::default() };
        let lane = || Box::new(MockLane::new("mock", DIM, script.clone(), Arc::clone(&memory))) as Box<dyn Lane>;
        let (_, written) = run(&files, vec![lane(), lane(), lane()], batching(60));
        assert_eq!(written.unwrap(), undisturbed(&files));
        assert_eq!(memory.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn the_others_do_the_work_of_a_device_that_dies_and_the_last_one_is_an_error() {
    let files = files(6);
    let dies = |at| Script { dies_at: Some(at), depth: 3, ..Script::default() };
    for (first, second) in [(0, 0), (0, 5), (2, 2)] {
        let (_, written) = run(&files, lanes(&[dies(first), Script::default(), dies(second)]), batching(20));
        assert_eq!(written.unwrap(), undisturbed(&files));
    }
    let error = fault_of(&files, &[dies(1), dies(4)], 20);
    assert_eq!((error.fault(), error.fault().exit_code()), (Fault::DeviceLost, 69));
    for part in ["mock:", "no other device is left", "the mock device has died", "to do:"] {
        assert!(error.report("v").contains(part), "{part}: {}", error.report("v"));
    }
}

#[test]
fn a_lost_vector_is_a_defect_and_any_other_failure_is_told_as_it_is() {
    let files = files(6);
    assert_eq!(fault_of(&files, &[Script { loses_at: Some(3), ..Script::default() }], 20).fault(), Fault::Count);
    for fault in [Fault::Torch, Fault::NonFinite, Fault::DeviceUnavailable] {
        let slow = Script { latency: Duration::from_micros(50), ..Script::default() };
        let fails = Script { fails_at: Some((2, fault)), ..slow.clone() };
        assert_eq!(fault_of(&files, &[fails, slow.clone(), slow], 20).fault(), fault);
    }
}

#[test]
fn a_failing_input_or_sink_stops_everybody() {
    let mut session =
        Session::new(Box::new(EsmTokenizer), lanes(&[Script::default(), Script::default()]), batching(20));
    let mut input = files(9).input();
    input.push(Err(Error::new(Fault::InputCharacter, "planted")));
    let error = session.embed(input.into_iter(), &mut Written::default()).unwrap_err();
    assert!(error.fault() == Fault::InputCharacter && error.report("v").contains("file 9"), "{error}");
    let mut refuse = |_: VectorBlock| Err(Error::new(Fault::NoSpace, "planted"));
    let error = session.embed(files(60).input().into_iter(), &mut refuse).unwrap_err();
    assert_eq!(error.fault(), Fault::NoSpace);
    // It can be used again.
    let mut written = Written::default();
    session.embed(files(9).input().into_iter(), &mut written).unwrap();
    assert_eq!(written, undisturbed(&files(9)));
}

#[test]
fn batches_under_way_at_a_failure_do_not_reach_the_next_input() {
    let script = Script { depth: 3, latency: Duration::from_micros(50), ..Script::default() };
    let fails = Script { fails_at: Some((4, Fault::Torch)), ..script.clone() };
    for fails in [fails, Script { loses_at: Some(4), ..script }] {
        let mut session = Session::new(Box::new(EsmTokenizer), lanes(&[fails]), batching(20));
        session.embed(files(9).input().into_iter(), &mut Written::default()).unwrap_err();
        let mut written = Written::default();
        session.embed(files(6).input().into_iter(), &mut written).unwrap();
        assert_eq!(written, undisturbed(&files(6)));
    }
}

#[test]
fn smaller_batches_can_help_as_long_as_a_session_lasts() {
    alone("schedules::smaller_batches_can_help_as_long_as_a_session_lasts", || {
        assert!(!memory::can_be_smaller());
        let mut session = Session::new(Box::new(EsmTokenizer), lanes(&[Script::default()]), batching(20));
        let mut seen = Vec::new();
        let mut see = |_: VectorBlock| {
            seen.push(memory::can_be_smaller());
            Ok(())
        };
        session.embed(Files(vec![vec![10; 4], vec![30]]).input().into_iter(), &mut see).unwrap();
        assert_eq!(seen, [true, true]);
        let failed = Err(Error::new(Fault::InputCharacter, "planted"));
        session.embed([failed].into_iter(), &mut Written::default()).unwrap_err();
        assert!(!memory::can_be_smaller());
    });
}

#[test]
fn an_input_that_gives_nothing_is_told_and_not_waited_for() {
    let (give, given) = mpsc::channel::<Result<Input<usize>>>();
    files(3).input().into_iter().for_each(|input| give.send(input).unwrap());
    let stalled = Batching { timeout: Some(Duration::from_millis(300)), ..batching(20) };
    let mut session = Session::new(Box::new(EsmTokenizer), lanes(&[Script::default()]), stalled);
    let mut written = Written::default();
    let error = session.embed(given.into_iter(), &mut written).unwrap_err();
    assert_eq!((error.fault(), error.fault().exit_code()), (Fault::Stalled, 1));
    for part in ["0.3 s, and everything else waits for it", "file 3", "--timeout"] {
        assert!(error.report("v").contains(part), "{part}: {}", error.report("v"));
    }
    assert_eq!(written.files, undisturbed(&files(3)).files);
    drop(give);
}

#[test]
fn the_time_that_lanes_wait_for_the_writer_is_told() {
    let distinct = Batching { dedup: false, ..batching(20) };
    let mut session = Session::new(Box::new(EsmTokenizer), lanes(&[Script::default()]), distinct);
    let mut slow = |_: VectorBlock| {
        thread::sleep(Duration::from_millis(40));
        Ok(())
    };
    session.embed(Files(vec![vec![10; 1000]]).input().into_iter(), &mut slow).unwrap();
    let behind = session.meter().spent(Work::Behind);
    assert!(behind > Duration::from_millis(40), "{behind:?}");
}

#[test]
fn slow_lanes_are_not_taken_for_a_stalled_input() {
    let slow = Script { latency: Duration::from_millis(400), ..Script::default() };
    let batching = Batching { timeout: Some(Duration::from_millis(150)), ..batching(100) };
    let files = Files(vec![vec![50; 4]]);
    assert_eq!(run(&files, lanes(&[slow]), batching).1.unwrap(), undisturbed(&files));
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn maybe(&mut self, times: usize, limit: usize) -> Option<u64> {
        self.once_in(times).then(|| self.below(limit) as u64)
    }
}

/// One case: an input, lanes and what happens to them.
#[derive(Debug)]
struct Schedule {
    files: Files,
    scripts: Vec<Script>,
    /// Whether all lanes share one memory.
    shared: bool,
    batching: Batching,
    /// First sequences of each file whose vectors an earlier run has computed.
    known: usize,
    /// Where the first input fails, and at which of its calls the first sink does.
    input_fails_at: Option<usize>,
    sink_fails_at: Option<usize>,
}

/// A sink that fails at a call.
struct Failing {
    written: Written,
    calls_left: Option<usize>,
}

impl Failing {
    fn call(&mut self) -> Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(Error::new(Fault::NoSpace, "planted")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Sink<usize> for Failing {
    fn rows(&mut self, vectors: VectorBlock, _: usize) -> Result<()> {
        self.call()?;
        self.written.rows(vectors, 0)
    }

    fn end(&mut self, file: usize) -> Result<()> {
        self.call()?;
        self.written.end(file)
    }

    fn embedded(&mut self, sequences: u64) {
        Sink::<usize>::embedded(&mut self.written, sequences);
    }
}

impl Schedule {
    fn of(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let files: Vec<Vec<usize>> =
            (0..1 + dice.below(4)).map(|_| (0..dice.below(16)).map(|_| 3 + dice.below(30)).collect()).collect();
        // Half of the schedules have a memory that every sequence fits in alone.
        let least = if dice.once_in(2) { 33 } else { 4 };
        let scripts = (0..1 + dice.below(4)).map(|_| Self::script(&mut dice, least)).collect();
        let batching = Batching {
            batch_tokens: Tokens([1, 10, 40, 100, 1000][dice.below(5)]),
            prefetch: 1 + dice.below(4),
            workers: [1, 1, 1, 2][dice.below(4)],
            timeout: Some(Duration::from_secs(60)),
            dedup: dice.once_in(2),
        };
        let files = Files(files);
        let shared = dice.once_in(4);
        let known = if dice.once_in(3) { dice.below(12) } else { 0 };
        let input_fails_at = dice.once_in(12).then(|| dice.below(files.input().len() + 1));
        let sink_fails_at = dice.once_in(12).then(|| dice.below(12));
        Self { files, scripts, shared, batching, known, input_fails_at, sink_fails_at }
    }

    fn script(dice: &mut Dice, least: usize) -> Script {
        let mut from = 0;
        let limits = (0..dice.below(4)).map(|_| {
            from += dice.below(8) as u64;
            (from, least + dice.below(80))
        });
        Script {
            limits: limits.collect(),
            latency: Duration::from_micros(if dice.once_in(3) { dice.below(30) as u64 } else { 0 }),
            depth: 1 + dice.below(3),
            tells_late: dice.once_in(2),
            dies_at: dice.maybe(4, 10),
            fails_at: dice.maybe(20, 10).map(|at| (at, Fault::Torch)),
            loses_at: dice.maybe(20, 10),
        }
    }

    fn lanes(&self) -> Vec<Box<dyn Lane>> {
        let memory = MockMemory::default();
        let lane = |(i, script): (usize, &Script)| match self.shared {
            true => MockLane::new("mock", DIM, script.clone(), Arc::clone(&memory)),
            false => MockLane::new(&format!("mock:{i}"), DIM, script.clone(), Arc::new(AtomicUsize::new(0))),
        };
        self.scripts.iter().enumerate().map(|lane_of| Box::new(lane(lane_of)) as Box<dyn Lane>).collect()
    }

    /// Runs it, and after a failure once more on the same session, where input and sink are sound. Gives both ends.
    fn run(&self, seed: u64) -> Vec<Option<Fault>> {
        let mut session = Session::new(Box::new(EsmTokenizer), self.lanes(), self.batching);
        let mut input = self.files.input();
        if let Some(at) = self.input_fails_at {
            input.insert(at, Err(Error::new(Fault::InputCharacter, "planted")));
        }
        let first = self.embed(&mut session, input, self.sink_fails_at);
        let mut ends = vec![self.judge(seed, first, [self.input_fails_at, self.sink_fails_at].map(|at| at.is_some()))];
        if ends[0].is_some() {
            let second = self.embed(&mut session, self.files.input(), None);
            ends.push(self.judge(seed, second, [false, false]));
        }
        ends
    }

    fn embed(
        &self,
        session: &mut Session,
        input: Vec<Result<Input<usize>>>,
        fails_at: Option<usize>,
    ) -> Result<Written> {
        let mut sink = Failing { written: Written::default(), calls_left: fails_at };
        let mut row = 0;
        let input: Vec<_> =
            input.into_iter().map(|input| input.map(|input| self.with_known(input, &mut row))).collect();
        session.embed(input.into_iter(), &mut sink).map(|_| sink.written)
    }

    /// Gives the first sequences of a file their vectors.
    fn with_known(&self, input: Input<usize>, row: &mut usize) -> Input<usize> {
        let Input::Sequence(sequence) = input else {
            *row = 0;
            return input;
        };
        *row += 1;
        let known = (*row <= self.known).then(|| mock_vector(&sequence.letters));
        Input::Sequence(Sequence { known, ..sequence })
    }

    /// The fault that a run ended with, which must be one that was planned.
    fn judge(&self, seed: u64, outcome: Result<Written>, [input_fails, sink_fails]: [bool; 2]) -> Option<Fault> {
        let any = |happens: fn(&Script) -> bool| self.scripts.iter().any(happens);
        let enough =
            self.scripts.iter().flat_map(|script| &script.limits).all(|(_, most)| *most >= self.files.longest());
        let all_die = self.scripts.iter().all(|script| script.dies_at.is_some());
        let error = match outcome {
            Ok(written) => {
                assert!(!input_fails, "seed {seed}: {self:?}");
                assert_eq!(written, undisturbed(&self.files), "seed {seed}: {self:?}");
                return None;
            }
            Err(error) => error,
        };
        let may = match error.fault() {
            Fault::OutOfMemory | Fault::HostMemory => !enough && error.report("v").contains("record:"),
            Fault::DeviceLost => all_die,
            Fault::Torch => any(|script| script.fails_at.is_some()),
            Fault::Count => any(|script| script.loses_at.is_some()),
            Fault::InputCharacter => input_fails,
            Fault::NoSpace => sink_fails,
            _ => false,
        };
        assert!(may, "seed {seed}: {}\n{self:?}", error.report("v"));
        Some(error.fault())
    }
}

/// Schedules that the test tries.
const SCHEDULES: u64 = 10_000;
/// The longest that a single one may take.
const WATCHDOG: Duration = Duration::from_secs(30);

#[test]
fn each_schedule_ends_with_the_same_vectors_or_with_the_failure_that_was_planned() {
    let (tell, told) = mpsc::channel();
    let runs = thread::spawn(move || (0..SCHEDULES).for_each(|seed| tell.send(Schedule::of(seed).run(seed)).unwrap()));
    let mut ends: Vec<Vec<Option<Fault>>> = Vec::new();
    loop {
        match told.recv_timeout(WATCHDOG) {
            Ok(end) => ends.push(end),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("seed {} hangs: {:?}", ends.len(), Schedule::of(ends.len() as u64))
            }
        }
    }
    runs.join().unwrap();
    // Every end is met, and most often the good one; also by a session that has failed before.
    let count = |end| ends.iter().filter(|found| found[0] == end).count();
    assert!(count(None) > ends.len() / 2, "{} of {}", count(None), ends.len());
    let faults = [Fault::OutOfMemory, Fault::HostMemory, Fault::DeviceLost, Fault::Torch, Fault::Count];
    for fault in faults.into_iter().chain([Fault::InputCharacter, Fault::NoSpace]) {
        assert!(count(Some(fault)) > 20, "{fault}: {}", count(Some(fault)));
    }
    let again = ends.iter().filter(|found| found.get(1) == Some(&None)).count();
    assert!(again > 500, "{again}");
}
