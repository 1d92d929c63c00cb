//! Tensors of libtorch as slices of numbers.

use half::bf16;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};

/// Whether the kernels take tensors like this one.
pub(in crate::model) fn take(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.device() == Device::Cpu && matches!(tensor.f_kind()?, Kind::Float | Kind::BFloat16))
}

/// A number format of activations.
pub(super) trait Element: Copy + 'static {
    /// The format as libtorch names it.
    const KIND: Kind;

    /// As f32.
    fn value(self) -> f32;

    /// The nearest number of this format, the even one of two.
    fn rounded(value: f32) -> Self;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;

    #[inline(always)]
    fn value(self) -> f32 {
        self
    }

    #[inline(always)]
    fn rounded(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const KIND: Kind = Kind::BFloat16;

    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    // As in the crate, without a branch.
    #[inline(always)]
    fn rounded(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
        Self::from_bits(if value.is_nan() { 0x7FC0 } else { (rounded >> 16) as u16 })
    }
}

/// The values of a tensor of the format `E` on the CPU.
pub(super) fn values<E: Element>(tensor: &Tensor) -> Result<&[E]> {
    check::<E>(tensor)?;
    #[allow(unsafe_code)]
    // SAFETY: a contiguous tensor of this format on the CPU holds so many values, and lives as long as the slice.
    unsafe {
        Ok(std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()))
    }
}

/// The same, to be written. Nothing may read a tensor that shares its memory meanwhile.
pub(super) fn values_mut<E: Element>(tensor: &mut Tensor) -> Result<&mut [E]> {
    check::<E>(tensor)?;
    #[allow(unsafe_code)]
    // SAFETY: likewise; a model's tensors are its own, and no other slice over this memory is alive in the callers.
    unsafe {
        Ok(std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()))
    }
}

fn check<E: Element>(tensor: &Tensor) -> Result<()> {
    let fits = tensor.device() == Device::Cpu && tensor.f_kind()? == E::KIND && tensor.is_contiguous();
    if fits { Ok(()) } else { Err(Error::new(Fault::Bug, "a kernel of the CPU was given another kind of tensor")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_format() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            let (found, expected) = (<bf16 as Element>::rounded(value), bf16::from_f32(value));
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{value}");
        }
    }
}
