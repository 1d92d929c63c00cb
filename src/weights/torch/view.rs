//! A tensor as a view of a storage: where its numbers lie, and how to put them in a row.

use std::borrow::Cow;

use safetensors::Dtype;

use super::MAX_EXPANDED;

/// The part of a storage that a tensor may lie in, counted in numbers.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Index of the storage.
    pub(super) storage: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

/// Numbers of one storage, in the order of a tensor.
#[derive(Debug)]
pub(super) struct View {
    /// Index of the storage.
    pub(super) storage: usize,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Size of all numbers.
    pub(super) bytes: usize,
    /// First byte in the storage.
    start: usize,
    /// In bytes.
    strides: Vec<usize>,
}

impl View {
    /// A tensor from `offset` on within `span`, which `strides` counts in numbers; checks that all of it lies there.
    ///
    /// # Errors
    /// What was found instead.
    pub(super) fn new(
        span: Span,
        dtype: Dtype,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        let size = dtype.bitsize() / 8;
        if shape.len() != strides.len() {
            return Err(format!("{} sizes and {} strides", shape.len(), strides.len()));
        }
        // Sizes beside a zero count too, so that whoever multiplies them gets a number.
        let product = shape.iter().filter(|&&size| size > 0).try_fold(size, |bytes, &size| bytes.checked_mul(size));
        let product = product.filter(|&bytes| bytes <= isize::MAX as usize);
        let product = product.ok_or_else(|| format!("a tensor of shape {shape:?}, which is too large"))?;
        let bytes = if shape.contains(&0) { 0 } else { product };
        if bytes > 0 {
            let last = shape.iter().zip(&strides).try_fold(offset, |last, (size, stride)| {
                (size - 1).checked_mul(*stride).and_then(|step| last.checked_add(step))
            });
            if last.is_none_or(|last| last >= span.length) {
                return Err(format!(
                    "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} in a storage of {} numbers",
                    span.length
                ));
            }
        }
        let held = span.length.saturating_mul(size);
        if bytes > held.max(MAX_EXPANDED) {
            return Err(format!("a tensor of {bytes} bytes made of {held}"));
        }
        // The last byte is in range, so only strides that are never taken can be too large for this.
        let strides = strides.iter().map(|stride| stride.saturating_mul(size)).collect();
        let start = span.start.saturating_add(offset).saturating_mul(size);
        Ok(Self { storage: span.storage, dtype, shape, bytes, start, strides })
    }

    /// The numbers, row by row: those of the storage itself if they lie so. None if memory is short.
    pub(super) fn read<'a>(&self, storage: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.bytes == 0 {
            return Some(Cow::Borrowed(&[]));
        }
        let (outer, run) = self.runs();
        if run == self.bytes {
            return Some(Cow::Borrowed(storage.get(self.start..self.start + run)?));
        }
        let mut gathered = Vec::new();
        gathered.try_reserve_exact(self.bytes).ok()?;
        let mut indices = vec![0usize; outer];
        loop {
            let steps = indices.iter().zip(&self.strides).map(|(index, stride)| index * stride);
            let start = self.start + steps.sum::<usize>();
            gathered.extend_from_slice(storage.get(start..start + run)?);
            // The next indices, the last dimension first.
            let next = indices.iter_mut().zip(&self.shape).rev().find_map(|(index, &size)| {
                *index = if *index + 1 < size { *index + 1 } else { 0 };
                (*index > 0).then_some(())
            });
            if next.is_none() {
                return Some(Cow::Owned(gathered));
            }
        }
    }

    /// How many dimensions must be walked, and the bytes that lie together below them.
    fn runs(&self) -> (usize, usize) {
        let mut run = self.dtype.bitsize() / 8;
        let mut outer = self.shape.len();
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != run {
                break;
            }
            run = run.saturating_mul(size);
            outer -= 1;
        }
        (outer, run)
    }
}
