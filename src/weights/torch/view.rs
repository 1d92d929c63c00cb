//! A tensor as a view of a storage: where its numbers lie, and how to put them in a row.

use std::borrow::Cow;

use safetensors::Dtype;

use super::MAX_EXPANDED;

/// The most dimensions of a tensor in PyTorch.
pub(super) const MAX_DIMENSIONS: usize = 64;

/// Numbers of one storage, in the order of a tensor.
#[derive(Debug)]
pub(super) struct View {
    storage: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// In bytes.
    strides: Vec<usize>,
    /// First byte in the storage.
    start: usize,
    /// Bytes of all numbers.
    bytes: usize,
}

/// What a pickle says of a tensor. Everything but the storage is counted in numbers, not bytes.
pub(super) struct Geometry {
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The part of a storage that a tensor may lie in.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Which storage.
    pub(super) storage: usize,
    /// First number of the part.
    pub(super) first: usize,
    /// Numbers in the part.
    pub(super) length: usize,
}

impl View {
    /// Checks that every number lies in the storage.
    pub(super) fn new(place: Place, dtype: Dtype, geometry: Geometry) -> Result<Self, String> {
        let Geometry { offset, shape, strides } = geometry;
        let size = dtype.bitsize() / 8;
        if shape.len() != strides.len() {
            return Err(format!("{} sizes and {} strides", shape.len(), strides.len()));
        }
        let too_large = || format!("a tensor of shape {shape:?}, whose size is no number");
        // Sizes beside a zero count too: whoever multiplies them gets a number.
        let product = shape.iter().filter(|&&size| size > 0).try_fold(size, |bytes, &size| bytes.checked_mul(size));
        let product = product.filter(|&bytes| bytes <= isize::MAX as usize).ok_or_else(too_large)?;
        let bytes = if shape.contains(&0) { 0 } else { product };
        if bytes > 0 {
            let reach = shape.iter().zip(&strides).try_fold(offset, |reach, (size, stride)| {
                (size - 1).checked_mul(*stride).and_then(|step| reach.checked_add(step))
            });
            if reach.is_none_or(|last| last >= place.length) {
                return Err(format!(
                    "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} in a storage of {} numbers",
                    place.length
                ));
            }
        }
        let held = place.length.saturating_mul(size);
        if bytes > held.max(MAX_EXPANDED) {
            return Err(format!("a tensor of {bytes} bytes made of {held}"));
        }
        // In range, because the last byte of the tensor is: only strides that are never taken can be larger.
        let strides = strides.iter().map(|stride| stride.saturating_mul(size)).collect();
        let start = place.first.saturating_add(offset).saturating_mul(size);
        Ok(Self { storage: place.storage, dtype, shape, strides, start, bytes })
    }

    pub(super) fn storage(&self) -> usize {
        self.storage
    }

    pub(super) fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of all numbers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The numbers, row by row: those of the storage itself where they lie so. None where memory is short.
    pub(super) fn read<'a>(&self, storage: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let (outer, run) = self.runs();
        if self.bytes == 0 {
            return Some(Cow::Borrowed(&[]));
        }
        if run == self.bytes {
            return Some(Cow::Borrowed(storage.get(self.start..self.start + run)?));
        }
        let mut gathered = Vec::new();
        gathered.try_reserve_exact(self.bytes).ok()?;
        let mut place = vec![0usize; outer];
        loop {
            let steps = place.iter().zip(&self.strides).map(|(index, stride)| index * stride);
            let start = self.start + steps.sum::<usize>();
            gathered.extend_from_slice(storage.get(start..start + run)?);
            // The next place, the last dimension first.
            let next = place.iter_mut().zip(&self.shape).rev().find_map(|(index, &size)| {
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
