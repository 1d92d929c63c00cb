//! Multi-head self-attention over a batch: softmax(scale q k^T + bias) v, each sequence by itself.
//!
//! Two ways with one result: on a CPU our own kernel, f32 inside for weights of f32 and bf16; elsewhere libtorch's
//! scaled dot product, once per stretch of sequences of one length.
//!
//! Letters: N tokens of a batch, B sequences of a stretch, T tokens of each, D width, H heads, K = D / H.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault, Result};
use crate::model::kernels;
use crate::model::parameters::Parameter;
use crate::pack::TokenBatch;

/// Rows of a bias start at multiples of this many values, as the CUDA kernels want them.
const BIAS_ALIGNMENT: i64 = 16;

/// Heads of a layer, and how they see where tokens stand.
#[derive(Clone)]
pub(super) struct Attention {
    /// H.
    pub heads: usize,
    /// Multiplies the queries.
    pub scale: f64,
}

/// How a layer tells tokens at different places apart.
pub(super) enum Places<'a> {
    /// Queries and keys are turned by their place.
    Turned(&'a Turn),
    /// Scores are lowered by the distance of query and key.
    Lowered(&'a Alibi),
}

/// Angles of rotary position embedding (Su et al. 2021, arXiv:2104.09864): cosine and sine, f32 [T, K/2], for the longest
/// sequence of a batch. Halves of a head are turned against each other.
pub(super) struct Turn {
    pub cos: Tensor,
    pub sin: Tensor,
}

impl Turn {
    /// Of `length` places, for frequencies f32 [K/2].
    pub(super) fn new(frequencies: &Tensor, length: usize) -> Result<Self> {
        let places = Tensor::f_arange(length as i64, (Kind::Float, frequencies.device()))?;
        let angles = places.f_outer(frequencies)?;
        Ok(Self { cos: angles.f_cos()?, sin: angles.f_sin()? })
    }

    /// [B, H, T, K], turned in f32, returned in the format it came in.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (kind, length) = (x.f_kind()?, x.size()[2]);
        let (cos, sin) = (self.cos.f_narrow(0, 0, length)?, self.sin.f_narrow(0, 0, length)?);
        let x = x.f_to_kind(Kind::Float)?;
        let halves = x.f_chunk(2, -1)?;
        let [first, second] = halves.as_slice() else {
            return Err(Error::new(Fault::Bug, "a head has no two halves"));
        };
        let turned = [first.f_mul(&cos)?.f_sub(&second.f_mul(&sin)?)?, second.f_mul(&cos)?.f_add(&first.f_mul(&sin)?)?];
        Ok(Tensor::f_cat(&turned, -1)?.f_to_kind(kind)?)
    }
}

/// Attention with linear biases (Press et al. 2022, arXiv:2108.12409): slopes, f32 [H].
#[derive(Clone)]
pub(super) struct Alibi {
    pub slopes: Parameter,
}

impl Alibi {
    /// Of a slope for each head.
    pub(super) fn new(slopes: &[f32], device: Device) -> Result<Self> {
        Ok(Self { slopes: Tensor::f_from_slice(slopes)?.f_to_device(device)?.into() })
    }

    /// Minus slope times distance, [1, H, T, T].
    fn bias(&self, length: i64, kind: Kind) -> Result<Tensor> {
        let stride = (length + BIAS_ALIGNMENT - 1) / BIAS_ALIGNMENT * BIAS_ALIGNMENT;
        let float = (Kind::Float, self.slopes.device());
        let to = Tensor::f_arange(stride, float)?.f_unsqueeze(0)?; // [1, stride]
        let from = Tensor::f_arange(length, float)?.f_unsqueeze(1)?; // [T, 1]
        let distance = to.f_sub(&from)?.f_abs()?.f_neg()?; // [T, stride]
        let bias = self.slopes.f_view([1, -1, 1, 1])?.f_mul(&distance)?;
        Ok(bias.f_to_kind(kind)?.f_narrow(3, 0, length)?)
    }
}

impl Attention {
    /// Queries, keys and values side by side, [N, 3D], to the mixed values of all heads side by side, [N, D].
    pub(super) fn forward(&self, qkv: &Tensor, batch: &TokenBatch, places: &Places<'_>) -> Result<Tensor> {
        if kernels::take(qkv)? {
            return kernels::attention::attention(self, qkv, batch, places);
        }
        self.by_libtorch(qkv, batch, places)
    }

    fn by_libtorch(&self, qkv: &Tensor, batch: &TokenBatch, places: &Places<'_>) -> Result<Tensor> {
        let (heads, width) = (self.heads as i64, qkv.size2()?.1 / 3);
        let (mut mixed, mut first) = (Vec::new(), 0);
        for stretch in batch.groups() {
            let (sequences, length) = (stretch.sequences as i64, stretch.length as i64);
            let qkv = qkv.f_narrow(0, first, sequences * length)?;
            let qkv = qkv.f_view([sequences, length, 3, heads, width / heads])?.f_permute([2, 0, 3, 1, 4])?;
            let (q, k, v) = (qkv.f_select(0, 0)?, qkv.f_select(0, 1)?, qkv.f_select(0, 2)?); // [B, H, T, K]
            let outcome = match places {
                // Scaled before the turn, as upstream does it.
                Places::Turned(turn) => {
                    let (q, k) = (turn.apply(&q.f_mul_scalar(self.scale)?)?, turn.apply(&k)?);
                    scaled_dot_product([&q, &k, &v], None, 1.0)?
                }
                Places::Lowered(alibi) => {
                    let bias = alibi.bias(length, q.f_kind()?)?;
                    scaled_dot_product([&q, &k, &v], Some(&bias), self.scale)?
                }
            };
            mixed.push(outcome.f_transpose(1, 2)?.f_reshape([sequences * length, width])?); // [B, H, T, K] -> [B T, D]
            first += sequences * length;
        }
        Ok(Tensor::f_cat(&mixed, 0)?)
    }
}

/// q, k, v and the result [B, H, T, K], bias [1, H, T, T].
fn scaled_dot_product([q, k, v]: [&Tensor; 3], bias: Option<&Tensor>, scale: f64) -> Result<Tensor> {
    Ok(Tensor::f_scaled_dot_product_attention(q, k, v, bias, 0.0, false, scale, false)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 6] = [3, 3, 5, 16, 47, 130];
    const HEADS: usize = 4;

    fn batch(lengths: &[usize]) -> TokenBatch {
        TokenBatch::of(lengths.iter().map(|&length| vec![0; length]))
    }

    fn random(tokens: usize, columns: i64) -> Tensor {
        Tensor::randn([tokens as i64, columns], (Kind::Float, Device::Cpu)) * 1.5
    }

    fn farthest(one: &Tensor, other: &Tensor) -> f64 {
        (one.to_kind(Kind::Float) - other.to_kind(Kind::Float)).abs().max().double_value(&[])
    }

    #[test]
    fn the_kernel_of_the_cpu_does_what_libtorch_does() {
        let batch = batch(&LENGTHS);
        for head_width in [6, 16, 64] {
            let attention = Attention { heads: HEADS, scale: (head_width as f64).powf(-0.5) };
            let qkv = random(batch.tokens(), 3 * HEADS as i64 * head_width);
            let frequencies = Tensor::rand([head_width / 2], (Kind::Float, Device::Cpu));
            let turn = Turn::new(&frequencies, 130).unwrap();
            let alibi = Alibi::new(&[0.25, 0.06, 0.015, 0.004], Device::Cpu).unwrap();
            for places in [Places::Turned(&turn), Places::Lowered(&alibi)] {
                let expected = attention.by_libtorch(&qkv, &batch, &places).unwrap();
                let found = attention.forward(&qkv, &batch, &places).unwrap();
                assert!(farthest(&found, &expected) < 5e-6, "{head_width}: {}", farthest(&found, &expected));
                let found = attention.forward(&qkv.to_kind(Kind::BFloat16), &batch, &places).unwrap();
                assert_eq!(found.kind(), Kind::BFloat16);
                assert!(farthest(&found, &expected) < 5e-2, "{head_width}: {}", farthest(&found, &expected));
            }
        }
    }

    #[test]
    fn a_sequence_does_not_notice_its_neighbours() {
        let (all, alone) = (batch(&LENGTHS), batch(&LENGTHS[4..5]));
        let attention = Attention { heads: HEADS, scale: 0.25 };
        let qkv = random(all.tokens(), 3 * HEADS as i64 * 16);
        let turn = Turn::new(&Tensor::rand([8], (Kind::Float, Device::Cpu)), 130).unwrap();
        let first = LENGTHS[..4].iter().sum::<usize>() as i64;
        let found = attention.forward(&qkv, &all, &Places::Turned(&turn)).unwrap().narrow(0, first, 47);
        let own = qkv.narrow(0, first, 47).contiguous();
        assert_eq!(found, attention.forward(&own, &alone, &Places::Turned(&turn)).unwrap());
    }

    #[test]
    fn values_that_are_not_finite_come_out_not_finite() {
        let (batch, attention) = (batch(&[5]), Attention { heads: 1, scale: 1.0 });
        let alibi = Alibi::new(&[0.25], Device::Cpu).unwrap();
        for value in [f64::NAN, f64::INFINITY] {
            let mut qkv = random(5, 48);
            let _ = qkv.narrow(0, 2, 1).fill_(value);
            let found = attention.forward(&qkv, &batch, &Places::Lowered(&alibi)).unwrap();
            assert_eq!(found.isfinite().all().int64_value(&[]), 0, "{value}");
            let _ = qkv.zero_();
        }
    }
}
