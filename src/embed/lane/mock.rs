//! A scripted lane: how long a batch takes, what fits in memory, and what goes wrong when. Its vectors are those of
//! [`model::mock`](crate::model::mock), so that every run that ends well ends with the same.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Lane;
use crate::error::{Error, Fault, Result};
use crate::model::Encoder;
use crate::model::mock::MockEncoder;
use crate::pack::TokenBatch;
use crate::runtime::picture::MemoryPicture;

/// What a lane does. Times of events are counted in batches that were submitted before.
#[derive(Clone, Debug)]
pub struct Script {
    /// How long a batch takes.
    pub latency: Duration,
    /// Batches under way.
    pub depth: usize,
    /// Tokens that fit in memory from a batch on; before the first, as many as there are.
    pub limits: Vec<(u64, usize)>,
    /// Whether `collect` tells of a lack of memory, not `submit`.
    pub tells_late: bool,
    /// The batch at which the device dies.
    pub dies_at: Option<u64>,
    /// The batch that fails, and how.
    pub fails_at: Option<(u64, Fault)>,
    /// The batch that loses its last vector.
    pub loses_at: Option<u64>,
}

impl Default for Script {
    /// Nothing goes wrong, at once.
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            depth: 1,
            limits: Vec::new(),
            tells_late: false,
            dies_at: None,
            fails_at: None,
            loses_at: None,
        }
    }
}

/// Memory of mock lanes: tokens in use. Lanes that share it take it from each other.
pub type MockMemory = Arc<AtomicUsize>;

/// A lane that follows a script.
pub struct MockLane {
    name: String,
    encoder: MockEncoder,
    script: Script,
    memory: MockMemory,
    submitted: u64,
    under_way: VecDeque<(usize, Result<Vec<f32>>)>,
    dead: bool,
}

impl MockLane {
    /// A lane of vectors of width `dim` in a memory called `name`.
    pub fn new(name: &str, dim: usize, script: Script, memory: MockMemory) -> Self {
        let encoder = MockEncoder::new(dim);
        Self { name: name.to_owned(), encoder, script, memory, submitted: 0, under_way: VecDeque::new(), dead: false }
    }

    fn limit(&self) -> usize {
        let past = self.script.limits.iter().rev().find(|(from, _)| *from <= self.submitted);
        past.map_or(usize::MAX, |(_, tokens)| *tokens)
    }

    /// What is under way is lost, and its memory free.
    fn die(&mut self) {
        self.dead = true;
        self.under_way.iter_mut().for_each(|(tokens, _)| {
            self.memory.fetch_sub(std::mem::take(tokens), Ordering::SeqCst);
        });
    }

    fn alive(&self) -> Result<()> {
        if self.dead { Err(Error::new(Fault::DeviceLost, "the mock device has died")) } else { Ok(()) }
    }

    /// The vectors of a batch, or what happens instead.
    fn compute(&self, batch: &TokenBatch, number: u64) -> Result<Vec<f32>> {
        if let Some((_, fault)) = self.script.fails_at.filter(|(at, _)| *at == number) {
            return Err(Error::new(fault, "the mock device fails as planned"));
        }
        let mut values = self.encoder.embed(batch)?;
        if self.script.loses_at == Some(number) {
            values.truncate(values.len() - self.encoder.dim());
        }
        Ok(values)
    }

    fn wait(&self) {
        let started = Instant::now();
        while started.elapsed() < self.script.latency {
            std::thread::yield_now();
        }
    }
}

impl Lane for MockLane {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    fn depth(&self) -> usize {
        self.script.depth
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn submit(&mut self, batch: &TokenBatch) -> Result<()> {
        let (number, limit) = (self.submitted, self.limit());
        self.submitted += 1;
        if self.script.dies_at == Some(number) {
            self.die();
        }
        self.alive()?;
        let tokens = batch.tokens();
        let used = self.memory.fetch_add(tokens, Ordering::SeqCst);
        if used + tokens > limit {
            self.memory.fetch_sub(tokens, Ordering::SeqCst);
            let error = Error::new(Fault::OutOfMemory, "the mock device has too little memory");
            if !self.script.tells_late {
                return Err(error);
            }
            self.under_way.push_back((0, Err(error)));
            return Ok(());
        }
        let outcome = self.compute(batch, number);
        self.under_way.push_back((tokens, outcome));
        Ok(())
    }

    fn collect(&mut self) -> Result<Vec<f32>> {
        let oldest = self.under_way.pop_front();
        self.wait();
        let (tokens, outcome) = oldest.ok_or_else(|| Error::new(Fault::Bug, "vectors of no batch were asked for"))?;
        self.memory.fetch_sub(tokens, Ordering::SeqCst);
        self.alive()?;
        outcome
    }

    fn memory(&self) -> Option<MemoryPicture> {
        let [allocated, total] = [self.memory.load(Ordering::SeqCst), self.limit()].map(|tokens| Some(tokens as u64));
        Some(MemoryPicture { allocated, total, ..MemoryPicture::default() })
    }
}
