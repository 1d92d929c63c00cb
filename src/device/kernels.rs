//! Attention kernels of a GPU that are called by name, so that what was decided (`attention.rs`) is what computes.

use std::ffi::c_char;
use std::ptr;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::device::shim::check;
use crate::error::{Error, Fault, Result};

#[allow(unsafe_code)]
unsafe extern "C" {
    fn virnucpro_flash(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        bounds: *const C_tensor,
        longest: i64,
        scale: f64,
        mixed: *mut *mut C_tensor,
    ) -> *const c_char;
}

/// softmax(scale q k^T) v of sequences that lie one behind the other: q, k, v [N, H, K] of f16 or bf16, values of a head
/// side by side. Sequence i has the tokens from `bounds[i]` to `bounds[i + 1]`; `bounds` i32 [sequences + 1] is on the
/// device, and `longest` is the length of the longest. [N, H, K] comes back.
///
/// # Errors
/// [`Fault::Bug`] for bounds of another kind; what libtorch refuses.
pub fn flash(qkv: [&Tensor; 3], bounds: &Tensor, longest: usize, scale: f64) -> Result<Tensor> {
    if bounds.kind() != Kind::Int || bounds.dim() != 1 || bounds.numel() < 2 {
        return Err(Error::new(Fault::Bug, "bounds of sequences are not a list of 32-bit numbers"));
    }
    let [q, k, v] = qkv.map(Tensor::as_ptr);
    let mut mixed = ptr::null_mut();
    #[allow(unsafe_code)]
    // SAFETY: all tensors are alive during the call, and what comes back is ours.
    unsafe {
        check(virnucpro_flash(q, k, v, bounds.as_ptr(), longest as i64, scale, &raw mut mixed))?;
        Ok(Tensor::from_ptr(mixed))
    }
}

/// softmax(scale q k^T + bias) v of sequences of one length, memory-efficient: q, k, v [B, H, T, K], values of a head side
/// by side; bias [B, H, T, T], expanded, of their format, rows starting at multiples of 8 values. [B, H, T, K] comes back.
///
/// # Errors
/// What libtorch refuses.
pub fn efficient(qkv: [&Tensor; 3], bias: Option<&Tensor>, scale: f64) -> Result<Tensor> {
    let [q, k, v] = qkv;
    Ok(Tensor::f_internal_scaled_dot_product_efficient_attention(q, k, v, bias, false, 0.0, false, scale)?.0)
}

/// The same as products and a softmax, in any format and on any device.
///
/// # Errors
/// What libtorch refuses.
pub fn math(qkv: [&Tensor; 3], bias: Option<&Tensor>, scale: f64) -> Result<Tensor> {
    let [q, k, v] = qkv;
    Ok(Tensor::f_internal_scaled_dot_product_attention_math(q, k, v, bias, 0.0, false, None, scale, false)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::tests::absent;
    use tch::Device;

    fn random(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn kernels_of_a_gpu_are_errors_on_the_cpu() {
        if absent().is_none() {
            return;
        }
        let x = random(&[5, 2, 8]).to_kind(Kind::Half);
        flash([&x, &x, &x], &Tensor::from_slice(&[0i32, 2, 5]), 3, 1.0).unwrap_err();
        let x = random(&[1, 2, 5, 8]);
        efficient([&x, &x, &x], None, 1.0).unwrap_err();
    }

    #[test]
    fn bounds_of_another_kind_are_refused_before_the_kernel_reads_them() {
        let x = random(&[5, 2, 8]);
        let error = flash([&x, &x, &x], &Tensor::from_slice(&[0i64, 5]), 5, 1.0).unwrap_err();
        assert_eq!(error.fault(), Fault::Bug);
    }

    #[test]
    fn attention_as_products_is_attention() {
        let [q, k, v] = [(); 3].map(|()| random(&[2, 3, 5, 8]));
        let bias = random(&[1, 3, 5, 5]);
        let scores = q.matmul(&k.transpose(2, 3)) * 0.5 + &bias;
        let expected = scores.softmax(-1, Kind::Float).matmul(&v);
        let found = math([&q, &k, &v], Some(&bias), 0.5).unwrap();
        assert!((found - expected).abs().max().double_value(&[]) < 1e-5);
    }
}
