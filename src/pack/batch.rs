//! A batch of tokenised sequences as flat arrays.

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

    /// Stretches of neighbouring sequences of one length: what a model runs without padding or mask.
    /// The planner makes batches of a single run.
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

    #[test]
    fn groups_cover_the_batch_in_order() {
        let batch = TokenBatch::of([vec![1, 2], vec![3, 4], vec![5], vec![6, 7]]);
        let runs: Vec<_> = batch.groups().map(|group| (group.ids.to_vec(), group.sequences, group.length)).collect();
        assert_eq!(runs, [(vec![1, 2, 3, 4], 2, 2), (vec![5], 1, 1), (vec![6, 7], 1, 2)]);
        assert_eq!((batch.tokens(), batch.len(), batch.sequence(2)), (7, 4, &[5][..]));
        assert_eq!(TokenBatch::new().groups().count(), 0);
    }
}
