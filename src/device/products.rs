//! Matrix products of the CPU beyond what tch binds: oneDNN's over weights that are laid out beforehand
//! (`shim/products.cpp`).
//!
//! Against libtorch's own f32 product the prepared one does the same work in half the time on processors of AMD
//! (`docs/performance.md`). With AVX-512, a row does not depend on the others, nor on how many there
//! are; with AVX2 alone it may, in the last digits.

use std::ffi::c_char;
use std::ptr;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::device::shim::check;
use crate::error::Result;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn virnucpro_pack(weight: *const C_tensor, rows: i64, packed: *mut *mut C_tensor) -> *const c_char;
    fn virnucpro_linear(
        x: *const C_tensor,
        packed: *const C_tensor,
        bias: *const C_tensor,
        gelu: bool,
        y: *mut *mut C_tensor,
    ) -> *const c_char;
    fn virnucpro_linear_times(
        x: *const C_tensor,
        packed: *const C_tensor,
        bias: *const C_tensor,
        other: *const C_tensor,
        y: *mut *mut C_tensor,
    ) -> *const c_char;
}

/// Rows that the layout of a weight is chosen for; others are computed as well.
const TYPICAL_ROWS: i64 = 1024;

/// Weights [outputs, inputs] and a bias `[outputs]`, in the layout of oneDNN.
pub struct PackedLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Clone for PackedLinear {
    fn clone(&self) -> Self {
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { weight: self.weight.shallow_clone(), bias }
    }
}

/// What follows the product, while its values are in registers.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// The error-function GELU.
    Gelu,
    /// Multiplied, value by value, by a tensor of the shape of the result.
    Times(&'a Tensor),
}

impl PackedLinear {
    /// Lays out `weight` of f32 or bf16 on the CPU, which can be given up afterwards.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let mut packed = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: the tensor is alive during the call, and what comes back is ours.
        let weight = unsafe {
            check(virnucpro_pack(weight.as_ptr(), TYPICAL_ROWS, &raw mut packed))?;
            Tensor::from_ptr(packed)
        };
        Ok(Self { weight, bias })
    }

    /// `x` [rows, inputs], of the format of the weights and contiguous, to [rows, outputs].
    ///
    /// # Errors
    /// Out of memory, or shapes that do not fit.
    pub fn forward(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let bias = self.bias.as_ref().map_or(ptr::null(), Tensor::as_ptr);
        let mut y = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: all tensors are alive during the call, and what comes back is ours.
        unsafe {
            let (x, weight) = (x.as_ptr(), self.weight.as_ptr());
            check(match then {
                Then::Nothing => virnucpro_linear(x, weight, bias, false, &raw mut y),
                Then::Gelu => virnucpro_linear(x, weight, bias, true, &raw mut y),
                Then::Times(other) => virnucpro_linear_times(x, weight, bias, other.as_ptr(), &raw mut y),
            })?;
            Ok(Tensor::from_ptr(y))
        }
    }
}

/// Whether a row of a prepared product is the same to the last bit whatever other rows there are, and however many. With AVX-512
/// it is; with AVX2 alone oneDNN computes few rows in another way than many.
pub fn rows_are_independent() -> bool {
    let lowered = ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"].iter().any(|name| std::env::var_os(name).is_some());
    #[cfg(target_arch = "x86_64")]
    {
        !lowered && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn random(size: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    #[test]
    fn the_prepared_product_is_the_product() {
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)] {
            let (weight, bias) = (random(&[96, 64], kind), random(&[96], kind));
            let packed = PackedLinear::new(&weight, Some(bias.shallow_clone())).unwrap();
            for rows in [1, 3, 100] {
                let (x, other) = (random(&[rows, 64], kind), random(&[rows, 96], kind));
                let plain =
                    x.to_kind(Kind::Float).linear(&weight.to_kind(Kind::Float), Some(&bias.to_kind(Kind::Float)));
                let times = &plain * other.to_kind(Kind::Float);
                for (then, expected) in [
                    (Then::Nothing, plain.shallow_clone()),
                    (Then::Gelu, plain.gelu("none")),
                    (Then::Times(&other), times),
                ] {
                    let found = packed.forward(&x, then).unwrap().to_kind(Kind::Float);
                    let scale = expected.abs().max().double_value(&[]);
                    let off = (found - expected).abs().max().double_value(&[]);
                    assert!(off <= tolerance * scale, "{kind:?}, {rows} rows: {off} of {scale}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others_where_that_is_claimed() {
        if !rows_are_independent() {
            return;
        }
        for kind in [Kind::Float, Kind::BFloat16] {
            for (inputs, outputs) in [(48, 144), (320, 1280), (1280, 320)] {
                let packed = PackedLinear::new(&random(&[outputs, inputs], kind), None).unwrap();
                let x = random(&[1000, inputs], kind);
                let all = packed.forward(&x, Then::Gelu).unwrap();
                for rows in [3, 7, 16, 100, 333] {
                    let found = packed.forward(&x.narrow(0, 11, rows).contiguous(), Then::Gelu).unwrap();
                    assert_eq!(found, all.narrow(0, 11, rows), "{kind:?} {inputs} x {outputs}, {rows} rows");
                }
            }
        }
    }
}
