//! Matrix products of the CPU beyond what tch binds: oneDNN's over weights that are laid out beforehand, and its micro-kernel
//! for small matrices (`shim/products.cpp`).
//!
//! Against libtorch's own f32 product the prepared one does the same work in half the time on processors of AMD
//! (`docs/performance.md`). Its rows do not depend on each other, nor on how many there are.

use std::ffi::{CStr, c_char};
use std::ptr;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, Fault, Result};

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
    fn virnucpro_product(
        m: i64,
        n: i64,
        k: i64,
        lda: i64,
        ldb: i64,
        ldc: i64,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
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

/// A row-major matrix of f32 whose rows start `stride` values apart.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// Values; the last row may end with its last column.
    pub values: &'a [f32],
    /// Values from one row to the next.
    pub stride: usize,
}

/// `c` = `a` `b` with `a` [m, k], `b` [k, n] and `c` [m, n], on the calling thread.
///
/// # Errors
/// [`Fault::Bug`] for matrices that are too small; what libtorch refuses.
pub fn product([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32], c_stride: usize) -> Result<()> {
    let holds = |length: usize, stride: usize, rows: usize, columns: usize| {
        stride >= columns && rows > 0 && length >= (rows - 1) * stride + columns
    };
    if !holds(a.values.len(), a.stride, m, k)
        || !holds(b.values.len(), b.stride, k, n)
        || !holds(c.len(), c_stride, m, n)
    {
        return Err(Error::new(Fault::Bug, "a matrix is smaller than its product needs"));
    }
    let sizes = [m, n, k, a.stride, b.stride, c_stride].map(|size| size as i64);
    let [m, n, k, lda, ldb, ldc] = sizes;
    #[allow(unsafe_code)]
    // SAFETY: all three slices hold what their sizes and strides say, as was just checked.
    let said =
        unsafe { virnucpro_product(m, n, k, lda, ldb, ldc, a.values.as_ptr(), b.values.as_ptr(), c.as_mut_ptr()) };
    check(said)
}

/// What the shim says: nothing, or the message of an exception.
pub(super) fn check(said: *const c_char) -> Result<()> {
    if said.is_null() {
        return Ok(());
    }
    #[allow(unsafe_code)]
    // SAFETY: a terminated string that the calling thread keeps until its next failure.
    let message = unsafe { CStr::from_ptr(said) };
    Err(TchError::Torch(message.to_string_lossy().into_owned()).into())
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
    fn the_small_product_is_the_product() {
        let (a, b) = (random(&[7, 64], Kind::Float), random(&[64, 33], Kind::Float));
        let values = |tensor: &Tensor| Vec::<f32>::try_from(tensor.reshape([-1])).unwrap();
        let (left, right, mut c) = (values(&a), values(&b), vec![0.0; 7 * 40]);
        let (left, right) = (Matrix { values: &left, stride: 64 }, Matrix { values: &right, stride: 33 });
        product([7, 33, 64], left, right, &mut c, 40).unwrap();
        let found = Tensor::from_slice(&c).reshape([7, 40]).narrow(1, 0, 33);
        assert!((found - a.matmul(&b)).abs().max().double_value(&[]) < 1e-4);
        let too_small = product([8, 33, 64], left, right, &mut c, 40).unwrap_err();
        assert_eq!(too_small.fault(), Fault::Bug);
    }
}
