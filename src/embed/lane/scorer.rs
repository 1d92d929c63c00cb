//! Encoder and head as one: logits in the place of vectors.

use std::sync::Arc;

use crate::error::Result;
use crate::model::{Encoder, Head};
use crate::pack::TokenBatch;

/// An encoder whose vectors go to a head at once.
pub struct Scorer {
    /// What computes vectors.
    pub encoder: Box<dyn Encoder>,
    /// What takes them.
    pub head: Arc<dyn Head>,
}

impl Encoder for Scorer {
    fn dim(&self) -> usize {
        1
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let scores = self.head.score(&self.encoder.embed(batch)?)?;
        Ok(scores.into_iter().map(|score| score.logit).collect())
    }
}
