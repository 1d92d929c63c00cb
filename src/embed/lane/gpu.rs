//! A lane on a GPU: batches go there while others are computed, nobody waits before vectors are asked for, and nothing but
//! vectors comes back.

use super::Lane;
use super::cpu::one_thread;
use crate::device::caught;
use crate::device::staging::Staging;
use crate::device::transfer::{TensorTransport, Transfer};
use crate::error::{Error, Fault, Result};
use crate::model::TensorEncoder;
use crate::model::input::DeviceBatch;
use crate::pack::TokenBatch;
use crate::runtime::picture::MemoryPicture;

/// How a lane uses its GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The GPU, as `cuda:1`.
    pub name: String,
    /// Batches under way, and buffers for them.
    pub depth: usize,
    /// Batches after which cached memory is given back; 0: only when memory has run out.
    pub clear_after: u64,
}

/// An encoder on a GPU.
pub struct GpuLane<E, T: TensorTransport = Transfer> {
    usage: Usage,
    // Dropped before the encoder: it waits for the computations that read weights.
    staging: Staging<T>,
    encoder: E,
    submitted: u64,
}

impl<E: TensorEncoder, T: TensorTransport> GpuLane<E, T> {
    /// A lane around an encoder that was loaded to the device of `transport`.
    ///
    /// # Errors
    /// The device has failed.
    pub fn new(encoder: E, transport: T, usage: Usage) -> Result<Self> {
        let staging = Staging::new(transport, usage.depth)?;
        Ok(Self { usage, staging, encoder, submitted: 0 })
    }

    /// A failure here - that of another GPU among them, since all are emptied - is told where memory is asked for.
    fn empty_cache(&self) {
        if let Err(error) = self.staging.transport().empty_cache() {
            log::debug!("{}: cached memory was not given back: {error}", self.usage.name);
        }
    }
}

impl<E: TensorEncoder, T: TensorTransport> Lane for GpuLane<E, T> {
    fn name(&self) -> &str {
        &self.usage.name
    }

    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    fn depth(&self) -> usize {
        self.usage.depth
    }

    fn submit(&mut self, batch: &TokenBatch) -> Result<()> {
        one_thread();
        let words = self.encoder.words(batch)?;
        self.submitted += 1;
        if self.usage.clear_after > 0 && self.submitted.is_multiple_of(self.usage.clear_after) {
            self.empty_cache();
        }
        let encoder = &self.encoder;
        // Caught inside: what was started before a failure still reads the buffer, which must be recorded.
        self.staging.submit(&words, |words| caught(|| encoder.pool(&DeviceBatch::of(batch, words)?)))
    }

    fn collect(&mut self) -> Result<Vec<f32>> {
        self.staging.collect()?.ok_or_else(|| Error::new(Fault::Bug, "vectors of no batch were asked for"))
    }

    fn clear_cache(&mut self) {
        if let Err(error) = self.staging.shrink() {
            log::debug!("{}: buffers were not given up: {error}", self.usage.name);
        }
        self.empty_cache();
    }

    fn memory(&self) -> Option<MemoryPicture> {
        self.staging.transport().memory().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Placement;
    use crate::device::attention::Kernel;
    use crate::device::transfer::AtOnce;
    use crate::embed::lane::EncoderLane;
    use crate::embed::{Batching, Count, Input, Sequence, Session};
    use crate::model::Encoder;
    use crate::model::esm2::Esm2;
    use crate::model::random::RandomWeights;
    use crate::model::schema::shapes::Shape;
    use crate::store::VectorBlock;
    use crate::tokenize::EsmTokenizer;
    use crate::units::Tokens;

    /// An encoder that has memory for so many tokens.
    struct Limited {
        encoder: Esm2,
        most: usize,
    }

    impl Encoder for Limited {
        fn dim(&self) -> usize {
            self.encoder.dim()
        }

        fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
            self.encoder.embed(batch)
        }
    }

    impl TensorEncoder for Limited {
        fn words(&self, batch: &TokenBatch) -> Result<Vec<i32>> {
            self.encoder.words(batch)
        }

        fn pool(&self, batch: &DeviceBatch<'_>) -> Result<<AtOnce as crate::device::staging::Transport>::Pooled> {
            if batch.tokens() > self.most {
                // As tch does where it cannot pass an error on.
                let report = "CUDA out of memory. Tried to allocate 1 MiB";
                panic!("called `Result::unwrap()` on an `Err` value: Torch(\"{report}\\n\")");
            }
            self.encoder.pool(batch)
        }

        fn set_attention(&mut self, kernel: Kernel) {
            self.encoder.set_attention(kernel);
        }
    }

    fn encoder() -> Esm2 {
        let Some(Shape::Esm2(config)) = Shape::published("esm2-8m").map(|shape| shape.cut(1)) else {
            panic!("it is published");
        };
        let weights = RandomWeights::of(&Shape::Esm2(config.clone()).tensors());
        Esm2::load(&weights, &config, &Placement::CPU, &|| Ok(())).unwrap()
    }

    fn lane(most: usize, clear_after: u64) -> GpuLane<Limited, AtOnce> {
        let usage = Usage { name: "cuda:1".to_owned(), depth: 3, clear_after };
        GpuLane::new(Limited { encoder: encoder(), most }, AtOnce::default(), usage).unwrap()
    }

    fn batches() -> Vec<TokenBatch> {
        (3..11)
            .map(|length| TokenBatch::of(vec![vec![0, 5, 9, 7, 4, 6, 8, 3, 5, 2][..length].to_vec(); length]))
            .collect()
    }

    #[test]
    fn vectors_come_back_in_the_order_of_the_batches() {
        let (mut lane, encoder, batches) = (lane(usize::MAX, 0), encoder(), batches());
        assert_eq!((lane.name(), lane.depth(), lane.dim(), lane.is_exact()), ("cuda:1", 3, 320, false));
        for three in batches.chunks(3) {
            three.iter().for_each(|batch| lane.submit(batch).unwrap());
            for batch in three {
                assert_eq!(lane.collect().unwrap(), encoder.embed(batch).unwrap());
            }
        }
        assert_eq!(lane.collect().unwrap_err().fault(), Fault::Bug);
    }

    #[test]
    fn a_lack_of_memory_leaves_the_lane_as_it_was() {
        let (mut lane, encoder, batches) = (lane(30, 0), encoder(), batches());
        lane.submit(&batches[0]).unwrap();
        assert_eq!(lane.submit(&batches[7]).unwrap_err().fault(), Fault::OutOfMemory);
        lane.submit(&batches[1]).unwrap();
        assert_eq!(lane.collect().unwrap(), encoder.embed(&batches[0]).unwrap());
        assert_eq!(lane.collect().unwrap(), encoder.embed(&batches[1]).unwrap());
        lane.clear_cache();
        assert_eq!(lane.staging.transport().emptied(), 1);
        lane.submit(&batches[2]).unwrap();
        assert_eq!(lane.collect().unwrap(), encoder.embed(&batches[2]).unwrap());
    }

    /// Vectors of 200 sequences of many lengths, in a session over these lanes.
    fn session(lanes: Vec<Box<dyn Lane>>) -> (Vec<f32>, u64) {
        let batching = Batching { batch_tokens: Tokens(400), prefetch: 2, workers: 1, timeout: None, dedup: false };
        let mut session = Session::new(Box::new(EsmTokenizer), lanes, batching);
        let letters = |i: usize| b"ACDEFGHIKLMNPQRSTVWY".iter().cycle().skip(i % 20).step_by(1 + i % 7).copied();
        let sequence = move |i| {
            let letters = letters(i).take(1 + (i * 31) % 60).collect();
            Ok(Input::Sequence(Sequence { id: i.to_string(), letters, protein: None, known: None }))
        };
        let input = (0..200).map(sequence).chain([Ok(Input::End(()))]);
        let mut values = Vec::new();
        session
            .embed(input, &mut |vectors: VectorBlock| {
                values.extend(vectors.values);
                Ok(())
            })
            .unwrap();
        (values, session.meter().count(Count::Retries))
    }

    #[test]
    fn two_gpus_short_of_memory_end_with_the_vectors_of_a_processor() {
        let (expected, retries) = session(vec![Box::new(EncoderLane::new("cpu", Box::new(encoder()), true))]);
        assert_eq!((expected.len(), retries), (200 * 320, 0));
        let gpus = [90, 250].map(|most| Box::new(lane(most, 5)) as Box<dyn Lane>);
        let (found, retries) = session(gpus.into());
        assert!(retries > 0 && found.len() == expected.len());
        assert!(found.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 1e-5));
    }

    #[test]
    fn the_cache_is_emptied_every_so_many_batches() {
        for (clear_after, emptied) in [(0, 0), (1, 8), (3, 2), (9, 0)] {
            let mut lane = lane(usize::MAX, clear_after);
            for batch in batches() {
                lane.submit(&batch).unwrap();
                lane.collect().unwrap();
            }
            assert_eq!(lane.staging.transport().emptied(), emptied, "every {clear_after}");
        }
    }

    #[test]
    fn what_the_model_cannot_take_never_reaches_the_device() {
        let mut lane = lane(usize::MAX, 0);
        assert_eq!(lane.submit(&TokenBatch::of([vec![0, 99, 2]])).unwrap_err().fault(), Fault::ModelTokenizer);
        assert_eq!(lane.collect().unwrap_err().fault(), Fault::Bug);
    }
}
