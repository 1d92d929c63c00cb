//! Identical sequences are embedded once and their vectors copied.
//!
//! The planner finds repeats by the digests of their tokens, the writer keeps the vectors that may be wanted again. Both number
//! distinct sequences in input order and forget the oldest at the same numbers, so that neither has to ask the other.

use std::collections::{HashMap, VecDeque};

use super::tokens::Tokenised;

/// Bytes of vectors that are kept.
const KEPT_BYTES: usize = 256 << 20;
/// Most vectors that are kept, however narrow.
const MOST_KEPT: usize = 1 << 18;

/// How many distinct sequences back a repeat is recognised, for vectors of width `dim`.
pub fn reach(dim: usize) -> usize {
    (KEPT_BYTES / (size_of::<f32>() * dim.max(1))).min(MOST_KEPT)
}

/// A row that takes the vector of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The row of its block.
    pub row: usize,
    /// The other one.
    pub from: Original,
}

/// Where a vector was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// In the same block: its row.
    Row(usize),
    /// In an earlier block: its number among distinct sequences.
    Earlier(u64),
}

/// The first 128 bits of a BLAKE3 digest.
type Key = [u8; 16];

/// The planner's part: which sequences have been met.
pub struct Finder {
    reach: usize,
    /// Number of each distinct sequence within reach.
    met: HashMap<Key, u64>,
    /// Their keys, the oldest first.
    order: VecDeque<Key>,
    next: u64,
}

impl Finder {
    /// One that looks so many distinct sequences back; none at all for 0.
    pub fn new(reach: usize) -> Self {
        Self { reach, met: HashMap::new(), order: VecDeque::new(), next: 0 }
    }

    /// The rows of the next block that repeat an earlier sequence.
    pub fn repeats(&mut self, block: &[Tokenised]) -> Vec<Copied> {
        let (mut copies, mut own) = (Vec::new(), HashMap::new());
        for (row, sequence) in block.iter().enumerate().filter(|_| self.reach > 0) {
            let key = key(&sequence.tokens);
            let known = own.get(&key).map(|&row| Original::Row(row));
            match known.or_else(|| self.met.get(&key).map(|&number| Original::Earlier(number))) {
                Some(from) => copies.push(Copied { row, from }),
                None => {
                    own.insert(key, row);
                    self.order.push_back(key);
                }
            }
        }
        let first = self.order.len() - own.len();
        for key in self.order.iter().skip(first) {
            self.met.insert(*key, self.next);
            self.next += 1;
        }
        for key in self.order.drain(..self.order.len().saturating_sub(self.reach)) {
            self.met.remove(&key);
        }
        copies
    }

    /// Forgets what it has met: the vectors of the next file must not depend on this one.
    pub fn forget(&mut self) {
        self.met.clear();
        self.order.clear();
    }
}

fn key(tokens: &[u32]) -> Key {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = [0; 1024];
    for part in tokens.chunks(bytes.len() / 4) {
        for (four, token) in bytes.chunks_exact_mut(4).zip(part) {
            four.copy_from_slice(&token.to_le_bytes());
        }
        hasher.update(&bytes[..4 * part.len()]);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

/// The writer's part: the vectors that may be wanted again.
pub struct Keeper {
    reach: usize,
    dim: usize,
    /// The last vectors, each at its number modulo `reach`.
    vectors: Vec<f32>,
    next: u64,
}

impl Keeper {
    /// One that keeps so many vectors of width `dim`.
    pub fn new(reach: usize, dim: usize) -> Self {
        Self { reach, dim, vectors: Vec::new(), next: 0 }
    }

    /// Copies vectors to the rows of a block that repeat others, and keeps those of the rows that do not. None: a vector is
    /// wanted that is not there.
    pub fn complete(&mut self, values: &mut [f32], copies: &[Copied]) -> Option<()> {
        let dim = self.dim;
        for &Copied { row, from } in copies {
            match from {
                Original::Row(original) => values.copy_within(original * dim..(original + 1) * dim, row * dim),
                Original::Earlier(number) => {
                    let vector = self.vectors.get(self.place(number)..)?.get(..dim)?;
                    values.get_mut(row * dim..)?.get_mut(..dim)?.copy_from_slice(vector);
                }
            }
        }
        if self.reach == 0 {
            return Some(());
        }
        let mut copied = copies.iter().map(|copied| copied.row).peekable();
        for (row, vector) in values.chunks_exact(dim.max(1)).enumerate() {
            if copied.next_if_eq(&row).is_none() {
                self.keep(vector);
            }
        }
        Some(())
    }

    fn keep(&mut self, vector: &[f32]) {
        let place = self.place(self.next);
        match self.vectors.get_mut(place..place + self.dim) {
            Some(old) => old.copy_from_slice(vector),
            None => self.vectors.extend_from_slice(vector),
        }
        self.next += 1;
    }

    fn place(&self, number: u64) -> usize {
        (number % self.reach.max(1) as u64) as usize * self.dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(sequences: &[u32]) -> Vec<Tokenised> {
        sequences
            .iter()
            .map(|&id| Tokenised { id: String::new(), protein: None, known: None, tokens: vec![id; 700] })
            .collect()
    }

    fn copied(row: usize, from: Original) -> Copied {
        Copied { row, from }
    }

    #[test]
    fn repeats_are_found_in_a_block_and_in_earlier_ones_within_reach() {
        let mut finder = Finder::new(3);
        assert_eq!(finder.repeats(&block(&[7, 8, 7, 9])), [copied(2, Original::Row(0))]);
        assert_eq!(finder.repeats(&block(&[9, 1])), [copied(0, Original::Earlier(2))]);
        // 7 is four distinct sequences back.
        assert_eq!(finder.repeats(&block(&[7])), []);
        finder.forget();
        assert_eq!(finder.repeats(&block(&[1])), []);
        assert_eq!(Finder::new(0).repeats(&block(&[5, 5])), []);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        assert_eq!(reach(2560), (256 << 20) / (4 * 2560));
        assert_eq!(reach(1), 1 << 18);
    }

    proptest! {
        #[test]
        fn every_row_gets_the_vector_of_its_own_sequence(
            blocks in prop::collection::vec(prop::collection::vec(0u32..12, 0..9), 0..20),
            reach in 0usize..9,
        ) {
            let (mut finder, mut keeper) = (Finder::new(reach), Keeper::new(reach, 2));
            for sequences in blocks {
                let copies = finder.repeats(&block(&sequences));
                let expected: Vec<f32> = sequences.iter().flat_map(|&id| [id as f32, 0.5]).collect();
                let mut values = expected.clone();
                for copied in &copies {
                    values[2 * copied.row..2 * copied.row + 2].fill(f32::NAN);
                }
                keeper.complete(&mut values, &copies).unwrap();
                prop_assert_eq!(values, expected);
            }
        }
    }
}
