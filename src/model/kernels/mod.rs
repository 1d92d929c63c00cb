//! What a processor computes between matrix products: plain loops over rows that fit in its cache, on the calling thread.
//!
//! Values are f32 inside, whatever the format of the weights: they are turned as they are read, and rounded as they are
//! written. Rows do not depend on each other, and sums have one order on every processor.

pub(super) mod attention;
pub(super) mod norm;
mod product;
mod softmax;

use half::bf16;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};

/// Values that are added side by side, whatever the width of the processor's vectors.
const LANES: usize = 16;

/// Vectors that a processor computes with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Vectors {
    Avx512,
    Avx2,
    Baseline,
}

/// The widest of this processor.
fn widest_vectors() -> Vectors {
    #[cfg(target_arch = "x86_64")]
    {
        let fused = is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match () {
            () if fused && avx512 => return Vectors::Avx512,
            () if fused && is_x86_feature_detected!("avx2") => return Vectors::Avx2,
            () => {}
        }
    }
    Vectors::Baseline
}

/// Work that is compiled for several kinds of processor. Mark `run`, and what it calls, `#[inline(always)]`.
trait Kernel {
    fn run(self);
}

/// Runs a kernel with the widest vectors of this processor.
fn on_widest_vectors<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
        fn with_avx512<K: Kernel>(kernel: K) {
            kernel.run();
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<K: Kernel>(kernel: K) {
            kernel.run();
        }
        match widest_vectors() {
            // SAFETY: the processor has what the function is compiled for.
            Vectors::Avx512 => return unsafe { with_avx512(kernel) },
            // SAFETY: likewise.
            Vectors::Avx2 => return unsafe { with_avx2(kernel) },
            Vectors::Baseline => {}
        }
    }
    kernel.run();
}

/// Whether the kernels take tensors like this one.
pub(super) fn take(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.device() == Device::Cpu && matches!(tensor.f_kind()?, Kind::Float | Kind::BFloat16))
}

/// A number format of activations.
trait Element: Copy + 'static {
    const KIND: Kind;

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
fn values<E: Element>(tensor: &Tensor) -> Result<&[E]> {
    check::<E>(tensor)?;
    #[allow(unsafe_code)]
    // SAFETY: a contiguous tensor of this format on the CPU holds so many values, and lives as long as the slice.
    unsafe {
        Ok(std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()))
    }
}

/// The same, to be written. Nothing may read a tensor that shares its memory meanwhile.
fn values_mut<E: Element>(tensor: &mut Tensor) -> Result<&mut [E]> {
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
