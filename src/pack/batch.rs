//! A batch of tokenised sequences as flat arrays.

use std::ops::Range;

/// Tokenised sequences, one behind the other, without padding.
///
/// Sequence `i` is `ids[offsets[i]..offsets[i + 1]]`; `rows[i]` is its place in the block it was taken
/// from, so that vectors find their way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    offsets: Vec<usize>,
    rows: Vec<usize>,
}

/// Sequences of one length that stand together in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthGroup<'a> {
    /// Token ids, row-major [sequences, length].
    pub ids: &'a [u32],
    /// Number of sequences.
    pub sequences: usize,
    /// Tokens of each, special tokens included; at least 1.
    pub length: usize,
}

impl TokenBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self { ids: Vec::new(), offsets: vec![0], rows: Vec::new() }
    }

    /// A batch of the given sequences, rows counted from 0.
    pub fn of<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> Self {
        let mut batch = Self::new();
        for (row, ids) in sequences.into_iter().enumerate() {
            batch.push(row, ids.as_ref());
        }
        batch
    }

    /// Appends a sequence that stands at `row` of its block.
    pub fn push(&mut self, row: usize, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len());
        self.rows.push(row);
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of tokens of all sequences, special tokens included.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Token ids of all sequences, one behind the other.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Places of the sequences in their block, in batch order.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Token ids of sequence `i`.
    pub fn sequence(&self, i: usize) -> &[u32] {
        &self.ids[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Two batches in order, the first of about so many tokens; none where there are no two sequences.
    pub fn cut(&self, tokens: usize) -> Option<(Self, Self)> {
        if self.len() < 2 {
            return None;
        }
        let before = self.offsets.partition_point(|&end| end < tokens);
        let cut = before.clamp(1, self.len() - 1);
        Some((self.part(0..cut), self.part(cut..self.len())))
    }

    /// The same sequences in batches of at most `budget` tokens, in order: halved until they fit. A longer sequence stands
    /// alone.
    pub fn split(self, budget: usize) -> Vec<Self> {
        match self.cut(self.tokens().div_ceil(2)) {
            Some((first, second)) if self.tokens() > budget => {
                first.split(budget).into_iter().chain(second.split(budget)).collect()
            }
            _ => vec![self],
        }
    }

    /// The sequences in `range` of the batch; they keep their rows.
    fn part(&self, range: Range<usize>) -> Self {
        let (start, end) = (self.offsets[range.start], self.offsets[range.end]);
        Self {
            ids: self.ids[start..end].to_vec(),
            offsets: self.offsets[range.start..=range.end].iter().map(|offset| offset - start).collect(),
            rows: self.rows[range].to_vec(),
        }
    }

    /// Stretches of neighbouring sequences of one length: what attention runs without padding or mask. The planner sorts by
    /// length, so that a batch has few of them.
    pub fn groups(&self) -> impl Iterator<Item = LengthGroup<'_>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            let length = self.sequence_length(first)?;
            while self.sequence_length(next) == Some(length) {
                next += 1;
            }
            let ids = &self.ids[self.offsets[first]..self.offsets[next]];
            Some(LengthGroup { ids, sequences: next - first, length })
        })
    }

    fn sequence_length(&self, i: usize) -> Option<usize> {
        Some(self.offsets.get(i + 1)? - self.offsets[i])
    }
}

impl Default for TokenBatch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn groups_cover_the_batch_in_order() {
        let batch = TokenBatch::of([vec![1, 2], vec![3, 4], vec![5], vec![6, 7]]);
        let runs: Vec<_> = batch.groups().map(|group| (group.ids.to_vec(), group.sequences, group.length)).collect();
        assert_eq!(runs, [(vec![1, 2, 3, 4], 2, 2), (vec![5], 1, 1), (vec![6, 7], 1, 2)]);
        assert_eq!((batch.tokens(), batch.len(), batch.sequence(2)), (7, 4, &[5][..]));
        assert_eq!(TokenBatch::new().groups().count(), 0);
    }

    #[test]
    fn halves_have_about_as_many_tokens_and_keep_rows() {
        let mut batch = TokenBatch::new();
        for (row, length) in [(7, 6), (3, 2), (9, 2), (1, 2)] {
            batch.push(row, &vec![row as u32; length]);
        }
        let (first, second) = batch.cut(batch.tokens().div_ceil(2)).unwrap();
        assert_eq!((first.rows(), second.rows()), (&[7][..], &[3, 9, 1][..]));
        assert_eq!((first.sequence(0), second.sequence(2)), (&[7; 6][..], &[1; 2][..]));
        assert_eq!(TokenBatch::of([[1]]).cut(1), None);
        assert_eq!(TokenBatch::new().cut(1), None);
    }

    proptest! {
        #[test]
        fn a_split_batch_holds_the_same_sequences_in_order_within_the_budget(
            lengths in prop::collection::vec(1usize..30, 0..60), budget in 1usize..100
        ) {
            let batch = TokenBatch::of(lengths.iter().enumerate().map(|(i, &length)| vec![i as u32; length]));
            let parts = batch.clone().split(budget);
            let mut joined = TokenBatch::new();
            for part in &parts {
                prop_assert!(part.tokens() <= budget || part.len() == 1);
                (0..part.len()).for_each(|i| joined.push(part.rows()[i], part.sequence(i)));
            }
            prop_assert_eq!(joined, batch);
        }
    }
}
