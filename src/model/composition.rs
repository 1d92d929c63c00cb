//! Features of windows in the place of a language model's vectors: nothing is learnt, and a vector does not depend on its
//! batch.

use std::cell::RefCell;

use crate::composition::{FEATURES, Features};
use crate::error::Result;
use crate::model::Encoder;
use crate::pack::TokenBatch;

/// The features of [`crate::composition`], from the numbers of bases.
#[derive(Default)]
pub struct Composition {
    features: RefCell<Features>,
}

impl Encoder for Composition {
    fn dim(&self) -> usize {
        FEATURES
    }

    fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let mut features = self.features.borrow_mut();
        let mut vectors = vec![0.0; batch.len() * FEATURES];
        for (window, row) in vectors.as_chunks_mut().0.iter_mut().enumerate() {
            features.of_bases(batch.sequence(window).iter().map(|&base| base as u8), row);
        }
        Ok(vectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::base::number;

    #[test]
    fn a_vector_is_that_of_its_window_whatever_the_batch() {
        let windows = [&b"ATGGCCTAA"[..], b"", b"NNACGTACGT"];
        let batch = TokenBatch::of(
            windows.map(|window| window.iter().map(|&letter| u32::from(number(letter))).collect::<Vec<_>>()),
        );
        let vectors = Composition::default().embed(&batch).unwrap();
        for (window, vector) in windows.iter().zip(vectors.chunks(FEATURES)) {
            let mut expected = [0.0; FEATURES];
            Features::new().of(window, &mut expected);
            assert_eq!(vector, expected);
        }
    }
}
