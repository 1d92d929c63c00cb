//! How fast an encoder runs on this machine, and what share that is of what the machine could do.
//!
//! Rounds of the session, over sequences made up for it, take turns with rounds of the bare matrix products at the same
//! shapes: both see the same machine, whatever else it does.

use std::time::{Duration, Instant};

use super::load::{self, Model};
use super::{Count, Input, Sequence, Session, Work};
use crate::config::{self, Side};
use crate::error::{Error, Fault, Result};
use crate::model::schema::shapes::Arithmetic;
use crate::store::{VectorBlock, VectorWriter};
use crate::units::Bytes;

/// Tokens of a sequence where none are asked for: those of a frame of 500 bases.
const USUAL_TOKENS: [usize; 2] = [100, 168];
/// Most sequences of a round.
const MOST_SEQUENCES: usize = 1 << 20;
/// Most bytes of the vectors of a round, which are written to a temporary file.
const MOST_BYTES: u64 = 256_000_000;

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    /// Tokens of each sequence, special tokens included; none: 100 for DNABERT-S, 168 for ESM-2.
    pub tokens: Option<usize>,
    /// How many rounds.
    pub count: usize,
    /// About how long each takes.
    pub duration: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The encoder.
    pub title: String,
    /// Where it ran.
    pub place: String,
    /// Whether that is a GPU.
    pub on_gpu: bool,
    /// Lanes of the session.
    pub lanes: usize,
    /// Tokens of a batch.
    pub batch_tokens: usize,
    /// Tokens of each sequence.
    pub tokens: usize,
    /// Width of a vector.
    pub dim: usize,
    /// Floating-point operations for one token; none for an encoder without weights.
    pub operations: Option<f64>,
    /// Each round.
    pub rounds: Vec<Round>,
}

/// One round of a session, and of the bare products beside it.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// How long it took.
    pub seconds: f64,
    /// Sequences, those that took the vector of another one included.
    pub sequences: u64,
    /// Those.
    pub copies: u64,
    /// Tokens that were computed.
    pub tokens: u64,
    /// Batches that were halved after memory ran out.
    pub retries: u64,
    /// Seconds of the threads of each kind, in the order of [`Work::ALL`].
    pub spent: [f64; Work::ALL.len()],
    /// Floating-point operations per second of the bare products.
    pub bare: Option<f64>,
}

impl Round {
    /// Seconds that threads spent on a kind of work.
    pub fn spent(&self, kind: Work) -> f64 {
        self.spent[kind as usize]
    }
}

impl Measured {
    /// The share of the bare products' rate that a round reached.
    pub fn share(&self, round: &Round) -> Option<f64> {
        Some(self.rate(round)? / round.bare?)
    }

    /// Floating-point operations per second of a round.
    pub fn rate(&self, round: &Round) -> Option<f64> {
        Some(self.operations? * round.tokens as f64 / round.seconds)
    }
}

/// Measures an encoder.
///
/// # Errors
/// As for [`load::session`]; memory runs out; a signal.
pub fn measure(model: &Model<'_>, compute: &config::Compute, rounds: &Rounds) -> Result<Measured> {
    let tokens = rounds.tokens.unwrap_or(USUAL_TOKENS[usize::from(model.side() == Side::Esm)]);
    let arithmetic = load::arithmetic(model)?;
    // Short sequences repeat; each is to be computed.
    let compute = &config::Compute { dedup: false, ..compute.clone() };
    let mut session = load::session(model, compute)?;
    let lanes = session.lanes();
    let batch = session.batch_tokens();
    let bare = arithmetic.as_ref().map(|arithmetic| bare_rate(arithmetic, batch, tokens, compute)).transpose()?;
    let mut sequences = Sequences { side: model.side(), tokens, seed: 1, made: 0 };
    // The first pass prepares kernels; the second says how many sequences fill a round.
    let most = most_sequences(session.dim());
    let least = (lanes * batch.div_ceil(tokens).max(1)).min(most);
    let mut pass = |count| {
        let made = sequences.make(&session, count)?;
        once(&mut session, made).map_err(of_temporary_file)
    };
    let _ = pass(least)?;
    let trial = pass(least)?;
    let rate = trial.sequences as f64 / trial.seconds;
    let count = ((rate * rounds.duration.as_secs_f64()) as usize).clamp(least, most);
    let mut measured = Vec::with_capacity(rounds.count);
    for _ in 0..rounds.count {
        let products = bare.as_ref().map(|bare| bare(lanes, rounds.duration / 2)).transpose()?;
        let round = pass(count)?;
        measured.push(Round { bare: products, ..round });
    }
    Ok(Measured {
        title: model.title(),
        on_gpu: session.place().starts_with("cuda"),
        place: session.place().to_owned(),
        lanes,
        batch_tokens: batch,
        tokens,
        dim: session.dim(),
        operations: arithmetic.map(|arithmetic| arithmetic.per_token(tokens)),
        rounds: measured,
    })
}

/// The bare products over as many rows as a full batch of sequences of `tokens` tokens has.
fn bare_rate(
    arithmetic: &Arithmetic,
    batch: usize,
    tokens: usize,
    compute: &config::Compute,
) -> Result<load::BareProducts> {
    load::bare_products(arithmetic, (batch / tokens).max(1) * tokens, compute)
}

/// Most sequences of a round whose vectors are of this width.
fn most_sequences(dim: usize) -> usize {
    ((MOST_BYTES / (4 * dim.max(1) as u64)) as usize).clamp(1, MOST_SEQUENCES)
}

/// Says where the vectors of a round are written: the user has not named that place.
fn of_temporary_file(error: Error) -> Error {
    match error.fault() {
        Fault::Write | Fault::NoSpace | Fault::Quota | Fault::FileSize => error.advice(format!(
            "the vectors of a round, up to {}, are written to {}: set TMPDIR to a folder with room for them",
            Bytes(MOST_BYTES),
            std::env::temp_dir().display()
        )),
        _ => error,
    }
}

/// One pass over `sequences`, whose vectors are written to a file that is removed.
fn once(session: &mut Session, sequences: Vec<Sequence>) -> Result<Round> {
    let folder = tempfile::tempdir().map_err(|error| Error::writing(&std::env::temp_dir(), error))?;
    let mut writer = VectorWriter::create(&folder.path().join("vectors.parquet"), session.dim())?;
    let before = Counters::of(session);
    let started = Instant::now();
    let input = sequences.into_iter().map(|sequence| Ok(Input::Sequence(sequence)));
    let end = std::iter::once_with(|| Ok(Input::End(())));
    session.embed(input.chain(end), &mut |vectors: VectorBlock| writer.push(vectors))?;
    writer.commit(&Default::default())?;
    Ok(Counters::of(session).since(&before, started.elapsed().as_secs_f64()))
}

/// The counters of a session at one moment.
struct Counters {
    counts: [u64; 4],
    spent: [f64; Work::ALL.len()],
}

impl Counters {
    fn of(session: &Session) -> Self {
        let meter = session.meter();
        let kinds = [Count::Sequences, Count::Copies, Count::Tokens, Count::Retries];
        let spent = Work::ALL.map(|kind| meter.spent(kind).as_secs_f64());
        Self { counts: kinds.map(|kind| meter.count(kind)), spent }
    }

    fn since(&self, before: &Self, seconds: f64) -> Round {
        let [sequences, copies, tokens, retries] = [0, 1, 2, 3].map(|i| self.counts[i] - before.counts[i]);
        let spent = std::array::from_fn(|i| self.spent[i] - before.spent[i]);
        Round { seconds, sequences, copies, tokens, retries, spent, bare: None }
    }
}

/// Sequences of one number of tokens, each another one.
struct Sequences {
    side: Side,
    tokens: usize,
    seed: u64,
    made: usize,
}

/// Bases of a token, on average.
const BASES_PER_TOKEN: usize = 5;

impl Sequences {
    /// So many more.
    fn make(&mut self, session: &Session, count: usize) -> Result<Vec<Sequence>> {
        (0..count).map(|_| self.next(session)).collect()
    }

    fn next(&mut self, session: &Session) -> Result<Sequence> {
        self.made += 1;
        let letters = match self.side {
            Side::Esm => (2..self.tokens.max(3)).map(|_| self.letter(b"ACDEFGHIKLMNPQRSTVWY")).collect(),
            Side::Dnabert => self.nucleotides(session)?,
        };
        Ok(Sequence { id: format!("s{}", self.made), letters, protein: None, known: None })
    }

    /// Random bases that are `tokens` tokens, or as near to that as a few tries come.
    fn nucleotides(&mut self, session: &Session) -> Result<Vec<u8>> {
        let wanted = self.tokens.max(3);
        let mut letters: Vec<u8> = (0..BASES_PER_TOKEN * (wanted - 2)).map(|_| self.letter(b"ACGT")).collect();
        for _ in 0..32 {
            match session.tokens(&letters)? {
                found if found < wanted => letters.extend((found..wanted).map(|_| self.letter(b"ACGT"))),
                found if found > wanted => letters.truncate(letters.len().saturating_sub(found - wanted).max(1)),
                _ => break,
            }
        }
        Ok(letters)
    }

    fn letter(&mut self, of: &[u8]) -> u8 {
        // Knuth's linear congruential generator: reproducible, and random enough for letters.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        of[(self.seed >> 33) as usize % of.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;

    #[test]
    fn the_vectors_of_a_round_are_of_256_mb_at_most() {
        for (dim, sequences) in [(5120, 12_500), (1280, 50_000), (3, MOST_SEQUENCES), (usize::MAX / 8, 1)] {
            assert_eq!(most_sequences(dim), sequences, "{dim}");
        }
    }

    /// The bundle of tiny encoders for tests.
    fn untrained() -> Bundle {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/untrained");
        Bundle::open_folder(&folder).unwrap()
    }

    #[cfg(not(feature = "torch"))]
    #[test]
    fn a_build_without_libtorch_does_not_measure_encoders() {
        let rounds = Rounds { tokens: None, count: 1, duration: Duration::from_millis(1) };
        let model = Model::Bundled(&untrained(), Side::Esm);
        let error = measure(&model, &config::Compute::default(), &rounds).unwrap_err();
        assert_eq!(error.fault(), crate::error::Fault::DeviceUnavailable);
    }

    #[cfg(feature = "torch")]
    #[test]
    fn both_encoders_of_a_bundle_are_measured_at_the_tokens_asked_for() {
        let bundle = untrained();
        for side in [Side::Dnabert, Side::Esm] {
            let rounds = Rounds { tokens: Some(40), count: 2, duration: Duration::from_millis(50) };
            let compute = config::Compute { threads: crate::units::Auto::Value(2), ..config::Compute::default() };
            let measured = measure(&Model::Bundled(&bundle, side), &compute, &rounds).unwrap();
            assert_eq!((measured.rounds.len(), measured.lanes, measured.tokens), (2, 2, 40));
            for round in &measured.rounds {
                assert!(round.copies == 0 && round.retries == 0 && round.sequences >= 2 * 25);
                let mean = round.tokens as f64 / round.sequences as f64;
                assert!((39.5..40.5).contains(&mean), "{mean}");
                assert!(measured.share(round).unwrap() > 0.0 && round.spent(Work::Compute) > 0.0);
            }
        }
    }
}
