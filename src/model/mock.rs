//! Stand-ins for the models where libtorch is absent or not wanted: fast, and the same on every machine.
//!
//! A vector depends on the token ids of its sequence and on nothing else, a score on its vector: what the
//! tests of batching, resuming and joining need. The numbers have no biological meaning.

use crate::error::{Error, Fault, Result};
use crate::model::{Encoder, Head, Score};
use crate::pack::TokenBatch;

/// An encoder whose vectors are a hash of the token ids.
#[derive(Clone, Debug)]
pub struct MockEncoder {
    dim: usize,
}

impl MockEncoder {
    /// An encoder of vectors of width `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl Encoder for MockEncoder {
    fn dim(&self) -> usize {
        self.dim
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let mut vectors = Vec::with_capacity(batch.len() * self.dim);
        for i in 0..batch.len() {
            let sequence =
                batch.sequence(i).iter().fold(batch.sequence(i).len() as u64, |hash, &id| mix(hash ^ u64::from(id)));
            vectors.extend((0..self.dim as u64).map(|place| unit(mix(sequence.wrapping_add(place)))));
        }
        Ok(vectors)
    }
}

/// A head whose score is a smooth function of the vector.
#[derive(Clone, Debug)]
pub struct MockHead {
    dim: usize,
}

impl MockHead {
    /// A head of merged vectors of width `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl Head for MockHead {
    fn dim(&self) -> usize {
        self.dim
    }

    fn score(&self, vectors: &[f32]) -> Result<Vec<Score>> {
        if self.dim == 0 || !vectors.len().is_multiple_of(self.dim) {
            return Err(Error::new(Fault::ModelMismatch, "vectors of another width than the head takes")
                .expected(format!("rows of {} values", self.dim))
                .found(format!("{} values in all", vectors.len())));
        }
        let score = |row: &[f32]| {
            let sum: f32 = row.iter().zip(0u64..).map(|(value, place)| value * unit(mix(place))).sum();
            Score::of(sum)
        };
        Ok(vectors.chunks_exact(self.dim).map(score).collect())
    }
}

/// The finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2714064.2660195).
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A number in [-1, 1) from the upper 24 bits of a hash, which f32 holds exactly.
pub(super) fn unit(hash: u64) -> f32 {
    (hash >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sequences_get_equal_vectors_whatever_the_batch() {
        let encoder = MockEncoder::new(8);
        let alone = encoder.embed(&TokenBatch::of([[1, 2, 3]])).unwrap();
        let mixed = encoder.embed(&TokenBatch::of([vec![9], vec![1, 2, 3], vec![3, 2, 1]])).unwrap();
        assert_eq!(mixed.len(), 24);
        assert_eq!(alone, mixed[8..16]);
        assert!(mixed.iter().all(|value| (-1.0..=1.0).contains(value)));
        for (a, b) in [(0, 8), (8, 16), (0, 16)] {
            assert_ne!(mixed[a..a + 8], mixed[b..b + 8]);
        }
    }

    #[test]
    fn order_and_length_of_the_tokens_count() {
        let encoder = MockEncoder::new(4);
        let vectors = encoder.embed(&TokenBatch::of([vec![0], vec![0, 0], vec![0, 1], vec![1, 0]])).unwrap();
        let rows: Vec<_> = vectors.chunks(4).collect();
        for (i, row) in rows.iter().enumerate() {
            assert!(!rows[..i].contains(row), "{i}");
        }
    }

    #[test]
    fn scores_are_probabilities_that_follow_the_vector() {
        let head = MockHead::new(2);
        let scores = head.score(&[0.0, 0.0, 1.0, 1.0, -1.0, -1.0]).unwrap();
        assert_eq!(scores.len(), 3);
        assert_eq!(scores[0].virus, 0.5);
        assert!(scores.iter().all(|score| (score.others + score.virus - 1.0).abs() < 1e-6));
        assert_ne!(scores[1], scores[2]);
        assert_eq!(head.score(&[1.0]).unwrap_err().fault(), Fault::ModelMismatch);
    }
}
