//! The window layout: where a sequence is cut.
//!
//! Pure arithmetic, as in the original's `split_fasta_chunk`: as many windows as are needed to cover the
//! sequence, the surplus spread over the overlaps. It allocates nothing and holds for any length.

use std::iter::FusedIterator;
use std::num::NonZeroUsize;

/// A piece of a sequence, half-open, in bases from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Number within the sequence, from 1: the `k` of `{seq}_chunk_{k}`.
    pub index: usize,
    /// First base.
    pub start: usize,
    /// One past the last base.
    pub end: usize,
}

/// The windows of a sequence of `length` bases, each of at most `size` bases; none for an empty sequence.
///
/// A sequence not longer than `size` is one window. The last window may be shorter than `size`, when the
/// surplus does not divide evenly: the published heads were trained on this layout.
///
/// ```
/// use std::num::NonZeroUsize;
/// use virnucpro::seq::windows;
///
/// let size = NonZeroUsize::new(500).unwrap();
/// let places: Vec<_> = windows(501, size).map(|window| (window.start, window.end)).collect();
/// assert_eq!(places, [(0, 500), (250, 501)]);
/// ```
pub fn windows(length: usize, size: NonZeroUsize) -> Windows {
    let size = size.get();
    let count = length.div_ceil(size);
    let surplus = (size - length % size) % size;
    // An empty sequence has no windows; the divisor only keeps the arithmetic defined.
    let overlap = surplus / count.max(1);
    let wider = surplus - overlap * count.saturating_sub(1);
    Windows { length, size, count, overlap, wider, next: 0 }
}

/// Iterator over the windows of one sequence.
#[derive(Clone, Debug)]
pub struct Windows {
    length: usize,
    size: usize,
    count: usize,
    /// Bases that a window shares with the one before.
    overlap: usize,
    /// How many of the first overlaps are wider by one base; may exceed the number of overlaps.
    wider: usize,
    next: usize,
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        if self.next >= self.count {
            return None;
        }
        let k = self.next;
        self.next += 1;
        let shared = k * self.overlap + k.min(self.wider);
        let start = k * self.size - shared;
        let end = start.saturating_add(self.size).min(self.length);
        Some(Window { index: k + 1, start, end })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Windows {}
impl FusedIterator for Windows {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn spans(length: usize, size: usize) -> Vec<(usize, usize)> {
        windows(length, NonZeroUsize::new(size).unwrap()).map(|window| (window.start, window.end)).collect()
    }

    #[test]
    fn equal_to_the_original_for_every_recorded_length() {
        #[derive(serde::Deserialize)]
        struct Recorded {
            tables: BTreeMap<usize, BTreeMap<usize, Vec<(usize, usize)>>>,
        }
        let text = include_str!("../../tests/golden/e2e/chunk_tables.json");
        let recorded: Recorded = serde_json::from_str(text).unwrap();
        assert_eq!(recorded.tables.keys().copied().collect::<Vec<_>>(), [300, 500]);
        for (size, table) in recorded.tables {
            assert!(table.len() > 90);
            for (length, expected) in table {
                assert_eq!(spans(length, size), expected, "length {length}, size {size}");
            }
        }
    }

    #[test]
    fn an_empty_sequence_has_no_window_and_a_short_one_has_one() {
        assert!(spans(0, 500).is_empty());
        assert_eq!(spans(1, 500), [(0, 1)]);
        assert_eq!(spans(500, 500), [(0, 500)]);
        assert_eq!(spans(501, 500), [(0, 500), (250, 501)]);
        assert_eq!(spans(3, 1), [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn the_longest_lengths_do_not_overflow() {
        for length in [3_000_000_001, usize::MAX - 1, usize::MAX] {
            for size in [1, 500, usize::MAX] {
                let mut all = windows(length, NonZeroUsize::new(size).unwrap());
                all.next = all.count - 1;
                let last = all.next().unwrap();
                assert_eq!((last.end, all.next()), (length, None), "length {length}, size {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn windows_cover_the_sequence_in_order(length in 0usize..20_000, size in 1usize..1_200) {
            let all: Vec<_> = windows(length, NonZeroUsize::new(size).unwrap()).collect();
            prop_assert_eq!(windows(length, NonZeroUsize::new(size).unwrap()).len(), all.len());
            prop_assert_eq!(all.len(), length.div_ceil(size));
            let mut covered = 0;
            for (k, window) in all.iter().enumerate() {
                prop_assert_eq!(window.index, k + 1);
                prop_assert!(window.start <= covered && window.end > covered, "{window:?} after {covered}");
                prop_assert!(window.end - window.start <= size);
                prop_assert!(k == 0 || window.start > all[k - 1].start);
                covered = window.end;
            }
            prop_assert_eq!(covered, length);
        }
    }
}
