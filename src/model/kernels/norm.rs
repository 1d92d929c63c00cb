//! LayerNorm of a sum, in one pass over memory.

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::{Element, Kernel, LANES, on_widest_vectors, values, values_mut};
use crate::error::{Error, Fault, Result};

/// What a LayerNorm over D values does.
pub struct Norm<'a> {
    /// [D]
    pub weight: &'a Tensor,
    /// [D]
    pub bias: &'a Tensor,
    pub eps: f64,
    /// Format of the outcome.
    pub kind: Kind,
}

/// Which tensor goes on as the residual.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// The sum, as where the norm comes before a half layer.
    Sum,
    /// The norm of it, as where it comes after.
    Norm,
}

/// Adds `added` [N, D] to `x` f32 [N, D] and gives the norm of the sum; `x` becomes the residual.
pub fn of_sum(norm: &Norm<'_>, x: &mut Tensor, added: &Tensor, residual: Residual) -> Result<Tensor> {
    let formats = (added.f_kind()?, norm.kind);
    match formats {
        (Kind::Float, Kind::Float) => over::<f32, f32>(norm, x, added, residual),
        (Kind::Float, Kind::BFloat16) => over::<f32, bf16>(norm, x, added, residual),
        (Kind::BFloat16, Kind::Float) => over::<bf16, f32>(norm, x, added, residual),
        (Kind::BFloat16, Kind::BFloat16) => over::<bf16, bf16>(norm, x, added, residual),
        _ => Err(Error::new(Fault::Bug, format!("the norm of a CPU does not take {formats:?}"))),
    }
}

fn over<A: Element, E: Element>(norm: &Norm<'_>, x: &mut Tensor, added: &Tensor, residual: Residual) -> Result<Tensor> {
    let size = x.size2()?;
    let mut out = Tensor::f_empty([size.0, size.1], (E::KIND, Device::Cpu))?;
    let rows = Rows::<A, E> {
        sums: values_mut(x)?,
        added: values(added)?,
        out: values_mut(&mut out)?,
        weight: values(norm.weight)?,
        bias: values(norm.bias)?,
        eps: norm.eps as f32,
        residual,
    };
    if rows.added.len() != rows.sums.len() || rows.weight.len() as i64 != size.1 || rows.bias.len() as i64 != size.1 {
        return Err(Error::new(Fault::Bug, "a norm and its input do not fit together"));
    }
    on_widest_vectors(rows);
    Ok(out)
}

struct Rows<'a, A, E> {
    sums: &'a mut [f32],
    added: &'a [A],
    out: &'a mut [E],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    residual: Residual,
}

impl<A: Element, E: Element> Kernel for Rows<'_, A, E> {
    #[inline(always)]
    fn run(self) {
        let width = self.weight.len().max(1);
        let rows = self.sums.chunks_exact_mut(width).zip(self.added.chunks_exact(width));
        for ((row, added), out) in rows.zip(self.out.chunks_exact_mut(width)) {
            for (value, added) in row.iter_mut().zip(added) {
                *value += added.value();
            }
            let mean = total(row, |value| value) / width as f32;
            let variance = total(row, |value| (value - mean) * (value - mean)) / width as f32;
            let scale = 1.0 / (variance + self.eps).sqrt();
            let parameters = self.weight.iter().zip(self.bias);
            for ((value, out), (weight, bias)) in row.iter_mut().zip(out).zip(parameters) {
                let normed = ((*value - mean) * scale).mul_add(*weight, *bias);
                *out = E::rounded(normed);
                if self.residual == Residual::Norm {
                    *value = normed;
                }
            }
        }
    }
}

/// The sum of a function of all values.
#[inline(always)]
fn total(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += of(value);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&value| of(value)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_layer_norm_of_the_sum() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        for width in [7, 64, 768] {
            let (weight, bias) = (random(&[width]), random(&[width]));
            let (x, added) = (random(&[5, width]) * 3.0 + 100.0, random(&[5, width]));
            for (kind, tolerance) in [(Kind::Float, 2e-4), (Kind::BFloat16, 4e-2)] {
                let added = added.to_kind(kind);
                let sum = &x + added.to_kind(Kind::Float);
                let expected = sum.layer_norm([width], Some(&weight), Some(&bias), 1e-5, false);
                for residual in [Residual::Sum, Residual::Norm] {
                    let norm = Norm { weight: &weight, bias: &bias, eps: 1e-5, kind };
                    let mut goes_on = x.copy();
                    let found = of_sum(&norm, &mut goes_on, &added, residual).unwrap();
                    let off = (found.to_kind(Kind::Float) - &expected).abs().max().double_value(&[]);
                    assert!(found.kind() == kind && off < tolerance, "{width} {kind:?}: {off}");
                    let wanted = if residual == Residual::Sum { &sum } else { &expected };
                    let off = (goes_on - wanted).abs().max().double_value(&[]);
                    assert!(off < 2e-4, "{width}: {off}");
                }
            }
        }
    }
}
