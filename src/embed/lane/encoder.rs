//! A lane around an encoder that computes when it is called.

use std::collections::VecDeque;

use super::Lane;
use crate::error::{Error, Fault, Result};
use crate::model::Encoder;
use crate::pack::TokenBatch;
use crate::runtime::memory;
use crate::runtime::picture::MemoryPicture;

/// One encoder; `submit` computes, `collect` hands over.
pub struct EncoderLane {
    name: String,
    encoder: Box<dyn Encoder>,
    exact: bool,
    ready: VecDeque<Vec<f32>>,
}

impl EncoderLane {
    /// A lane in the memory of `name`. `exact` says whether a vector is the same to the last bit whatever else is in its batch.
    pub fn new(name: &str, encoder: Box<dyn Encoder>, exact: bool) -> Self {
        Self { name: name.to_owned(), encoder, exact, ready: VecDeque::new() }
    }
}

impl Lane for EncoderLane {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        self.encoder.dim()
    }

    fn is_exact(&self) -> bool {
        self.exact
    }

    fn submit(&mut self, batch: &TokenBatch) -> Result<()> {
        self.ready.push_back(self.encoder.embed(batch)?);
        Ok(())
    }

    fn collect(&mut self) -> Result<Vec<f32>> {
        self.ready.pop_front().ok_or_else(|| Error::new(Fault::Bug, "vectors of no batch were asked for"))
    }

    fn clear_cache(&mut self) {
        memory::release();
    }

    fn memory(&self) -> Option<MemoryPicture> {
        Some(MemoryPicture::host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mock::MockEncoder;

    #[test]
    fn vectors_come_in_the_order_of_the_batches() {
        let mut lane = EncoderLane::new("cpu", Box::new(MockEncoder::new(3)), true);
        let batches = [TokenBatch::of([[1, 2]]), TokenBatch::of([[3], [4]])];
        batches.iter().for_each(|batch| lane.submit(batch).unwrap());
        for batch in &batches {
            assert_eq!(lane.collect().unwrap(), MockEncoder::new(3).embed(batch).unwrap());
        }
        assert_eq!(lane.collect().unwrap_err().fault(), Fault::Bug);
        lane.clear_cache();
        assert!(lane.memory().unwrap().free.is_some());
    }
}
