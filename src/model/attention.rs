//! Multi-head self-attention over a batch: softmax(scale q k^T + bias) v, each sequence by itself.
//!
//! One result by four kernels, of which one was decided on (`device/attention.rs`). On a CPU our own, f32 inside for weights
//! of f32 and bf16. On a GPU flash attention over the whole batch, or one that is called for each stretch of sequences of one
//! length: memory-efficient attention, or products and a softmax.
//!
//! Letters: N tokens of a batch, B sequences of a stretch, T tokens of each, D width, H heads, K = D / H.

use tch::{Device, Kind, Tensor};

use crate::device::attention::Kernel;
use crate::device::kernels as libtorch;
use crate::error::{Error, Fault, Result};
use crate::model::input::{DeviceBatch, filled};
use crate::model::kernels;
use crate::model::parameters::Parameter;

/// Rows of a bias start at multiples of this many values, as the CUDA kernels want them.
const BIAS_ALIGNMENT: i64 = 16;

/// Heads of a layer, and how they see where tokens stand.
#[derive(Clone)]
pub(super) struct Attention {
    /// H.
    pub heads: usize,
    /// Multiplies the queries.
    pub scale: f64,
    /// What computes.
    pub kernel: Kernel,
}

/// The kernel that serves whatever the model: our own where it takes the format, else products and a softmax.
pub(super) fn plain_kernel(device: Device, kind: Kind) -> Kernel {
    let own = device == Device::Cpu && matches!(kind, Kind::Float | Kind::BFloat16);
    if own { Kernel::Cpu } else { Kernel::Math }
}

/// How a layer knows the positions of tokens.
pub(super) enum Positions<'a> {
    /// Queries and keys are rotated by their position.
    Rotary(&'a RotaryAngles),
    /// Scores are lowered by a slope times the distance of query and key.
    Alibi(&'a Alibi),
}

/// Angles of rotary position embedding (Su et al. 2021, arXiv:2104.09864): cosine and sine, f32. Halves of a head are rotated
/// against each other.
pub(super) struct RotaryAngles {
    /// For our own kernel [T, K/2], a row for each position of the longest sequence; else [N, 1, 1, K/2], for each token.
    pub cos: Tensor,
    pub sin: Tensor,
}

impl RotaryAngles {
    /// For frequencies f32 [K/2] and the tokens of a batch.
    pub(super) fn new(frequencies: &Tensor, batch: &DeviceBatch<'_>, kernel: Kernel) -> Result<Self> {
        let angles = match kernel {
            Kernel::Cpu => {
                let positions = Tensor::f_arange(batch.longest() as i64, (Kind::Float, frequencies.device()))?;
                positions.f_outer(frequencies)?
            }
            _ => batch.positions.f_to_kind(Kind::Float)?.f_outer(frequencies)?.f_view([
                -1,
                1,
                1,
                frequencies.size1()?,
            ])?,
        };
        Ok(Self { cos: angles.f_cos()?, sin: angles.f_sin()? })
    }

    /// Queries and keys of all tokens at once, [N, 2, H, K]: rotated in f32, returned in the format they came in.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.f_kind()?;
        let halves = x.f_chunk(2, -1)?;
        let [first, second] = halves.as_slice() else {
            return Err(Error::new(Fault::Bug, "a head has no two halves"));
        };
        // A product with f32 is f32.
        let left = first.f_mul(&self.cos)?.f_sub_(&second.f_mul(&self.sin)?)?.f_to_kind(kind)?;
        let right = second.f_mul(&self.cos)?.f_add_(&first.f_mul(&self.sin)?)?.f_to_kind(kind)?;
        Ok(Tensor::f_cat(&[left, right], -1)?)
    }
}

/// Attention with linear biases (Press et al. 2022, arXiv:2108.12409), for one batch.
pub(super) struct Alibi {
    /// f32 [H].
    pub slopes: Parameter,
    /// Minus slope times distance, [1, H, T, T] for the longest sequence; that of a shorter one is a corner of it. Our own
    /// kernel does without.
    bias: Option<Tensor>,
}

impl Alibi {
    /// Of a slope f32 [H] for each head, and scores of the format `kind`.
    pub(super) fn new(slopes: &Parameter, batch: &DeviceBatch<'_>, kernel: Kernel, kind: Kind) -> Result<Self> {
        let bias = match kernel {
            Kernel::Cpu => None,
            _ => Some(bias(slopes, batch.longest() as i64, kind)?),
        };
        Ok(Self { slopes: slopes.clone(), bias })
    }

    /// [B, H, T, T] for a stretch; all of its sequences share the memory of one.
    fn over(&self, sequences: i64, length: i64) -> Result<Tensor> {
        let whole = self.bias.as_ref().ok_or_else(|| Error::new(Fault::Bug, "attention has no bias"))?;
        let corner = whole.f_narrow(2, 0, length)?.f_narrow(3, 0, length)?;
        Ok(corner.f_expand([sequences, -1, -1, -1], false)?)
    }
}

fn bias(slopes: &Tensor, length: i64, kind: Kind) -> Result<Tensor> {
    let stride = (length + BIAS_ALIGNMENT - 1) / BIAS_ALIGNMENT * BIAS_ALIGNMENT;
    let float = (Kind::Float, slopes.device());
    let to = Tensor::f_arange(stride, float)?.f_unsqueeze(0)?; // [1, stride]
    let from = Tensor::f_arange(length, float)?.f_unsqueeze(1)?; // [T, 1]
    let distance = to.f_sub(&from)?.f_abs()?.f_neg()?; // [T, stride]
    let bias = slopes.f_view([1, -1, 1, 1])?.f_mul(&distance)?;
    Ok(bias.f_to_kind(kind)?.f_narrow(3, 0, length)?)
}

/// A kernel for sequences of one length: q, k, v [B, H, T, K], bias [B, H, T, T], scale, to [B, H, T, K].
type OfOneLength = fn([&Tensor; 3], Option<&Tensor>, f64) -> Result<Tensor>;
/// A kernel for sequences one behind the other: q, k, v [N, H, K], bounds, longest, scale, to [N, H, K].
type OfAnyLength = fn([&Tensor; 3], &Tensor, usize, f64) -> Result<Tensor>;

impl Attention {
    /// Queries, keys and values side by side, [N, 3D], to the mixed values of all heads side by side, [N, D].
    pub(super) fn forward(&self, qkv: &Tensor, batch: &DeviceBatch<'_>, positions: &Positions<'_>) -> Result<Tensor> {
        match self.kernel {
            Kernel::Cpu => kernels::attention::attention(self, qkv, batch.batch, positions),
            Kernel::Flash => self.at_once(qkv, batch, positions, libtorch::flash),
            Kernel::Efficient => self.by_stretch(qkv, batch, positions, libtorch::efficient),
            Kernel::Math => self.by_stretch(qkv, batch, positions, libtorch::math),
        }
    }

    /// The whole batch in one call.
    fn at_once(
        &self,
        qkv: &Tensor,
        batch: &DeviceBatch<'_>,
        positions: &Positions<'_>,
        kernel: OfAnyLength,
    ) -> Result<Tensor> {
        if let Positions::Alibi(_) = positions {
            return Err(Error::new(Fault::Bug, "flash attention takes no bias"));
        }
        let [q, k, v] = self.parts(qkv, positions)?;
        let mixed = kernel([&q, &k, &v], &batch.bounds, batch.longest(), self.scale)?;
        Ok(mixed.f_reshape([qkv.size2()?.0, -1])?)
    }

    /// A call for each stretch of sequences of one length.
    fn by_stretch(
        &self,
        qkv: &Tensor,
        batch: &DeviceBatch<'_>,
        positions: &Positions<'_>,
        kernel: OfOneLength,
    ) -> Result<Tensor> {
        let qkv = self.parts(qkv, positions)?;
        let (mut mixed, mut first) = (Vec::new(), 0);
        for stretch in batch.batch.groups() {
            let (sequences, length) = (stretch.sequences as i64, stretch.length as i64);
            let part = |x: &Tensor| -> Result<Tensor> {
                let own = x.f_narrow(0, first, sequences * length)?;
                Ok(own.f_unflatten(0, [sequences, length])?.f_transpose(1, 2)?) // [B, H, T, K]
            };
            let [q, k, v] = &qkv;
            let (q, k, v) = (part(q)?, part(k)?, part(v)?);
            let bias = match positions {
                Positions::Rotary(_) => None,
                Positions::Alibi(alibi) => Some(alibi.over(sequences, length)?),
            };
            let outcome = kernel([&q, &k, &v], bias.as_ref(), self.scale)?;
            mixed.push(outcome.f_transpose(1, 2)?.f_reshape([sequences * length, -1])?); // [B, H, T, K] -> [B T, D]
            first += sequences * length;
        }
        let filling = filled(batch.tokens()) as i64 - first;
        if let (Some(one), 1..) = (mixed.first(), filling) {
            mixed.push(Tensor::f_zeros([filling, one.size2()?.1], (one.f_kind()?, one.device()))?);
        }
        Ok(Tensor::f_cat(&mixed, 0)?)
    }

    /// [N, 3D] to queries, keys and values [N, H, K], the first two rotated where the model does that.
    fn parts(&self, qkv: &Tensor, positions: &Positions<'_>) -> Result<[Tensor; 3]> {
        let (tokens, columns) = qkv.size2()?;
        let heads = self.heads as i64;
        let qkv = qkv.f_view([tokens, 3, heads, columns / 3 / heads])?;
        let part = |x: &Tensor, index| x.f_select(1, index);
        let rotated = match positions {
            Positions::Rotary(angles) => Some(angles.apply(&qkv.f_narrow(1, 0, 2)?)?), // [N, 2, H, K]
            Positions::Alibi(_) => None,
        };
        let rotated = rotated.as_ref().unwrap_or(&qkv);
        Ok([part(rotated, 0)?, part(rotated, 1)?, part(&qkv, 2)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::input::{to_device, words};
    use crate::pack::TokenBatch;

    const LENGTHS: [usize; 6] = [3, 3, 5, 16, 47, 130];
    const HEADS: usize = 4;
    const SLOPES: [f32; HEADS] = [0.25, 0.06, 0.015, 0.004];

    fn batch(lengths: &[usize]) -> TokenBatch {
        TokenBatch::of(lengths.iter().map(|&length| vec![0; length]))
    }

    fn on_cpu(batch: &TokenBatch) -> DeviceBatch<'_> {
        DeviceBatch::of(batch, &to_device(&words(batch, 1).unwrap(), Device::Cpu).unwrap()).unwrap()
    }

    fn random(tokens: usize, columns: i64) -> Tensor {
        Tensor::randn([filled(tokens) as i64, columns], (Kind::Float, Device::Cpu)) * 1.5
    }

    fn frequencies(head_width: i64) -> Tensor {
        Tensor::rand([head_width / 2], (Kind::Float, Device::Cpu))
    }

    fn alibi(slopes: &[f32], batch: &DeviceBatch<'_>, kernel: Kernel) -> Alibi {
        Alibi::new(&Tensor::from_slice(slopes).into(), batch, kernel, Kind::Float).unwrap()
    }

    fn farthest(one: &Tensor, other: &Tensor) -> f64 {
        (one.to_kind(Kind::Float) - other.to_kind(Kind::Float)).abs().max().double_value(&[])
    }

    fn heads(head_width: i64, kernel: Kernel) -> Attention {
        Attention { heads: HEADS, scale: (head_width as f64).powf(-0.5), kernel }
    }

    #[test]
    fn the_kernel_of_the_cpu_does_what_libtorch_does() {
        let batch = batch(&LENGTHS);
        let batch = on_cpu(&batch);
        for head_width in [6, 16, 64] {
            let [own, math] = [Kernel::Cpu, Kernel::Math].map(|kernel| heads(head_width, kernel));
            let qkv = random(batch.batch.tokens(), 3 * HEADS as i64 * head_width);
            let frequencies = frequencies(head_width);
            let angles =
                [Kernel::Cpu, Kernel::Math].map(|kernel| RotaryAngles::new(&frequencies, &batch, kernel).unwrap());
            let alibis = [Kernel::Cpu, Kernel::Math].map(|kernel| alibi(&SLOPES, &batch, kernel));
            let [rotated, lowered] =
                [angles.each_ref().map(Positions::Rotary), alibis.each_ref().map(Positions::Alibi)];
            for [positions, positions_of_math] in [rotated, lowered] {
                let expected = math.forward(&qkv, &batch, &positions_of_math).unwrap();
                let found = own.forward(&qkv, &batch, &positions).unwrap();
                assert!(farthest(&found, &expected) < 5e-6, "{head_width}: {}", farthest(&found, &expected));
                // In bf16 the same of rounded inputs, and the outcome rounded: by up to 2^-8 of values below 8.
                let rounded = qkv.to_kind(Kind::BFloat16);
                let expected = math.forward(&rounded.to_kind(Kind::Float), &batch, &positions_of_math).unwrap();
                let found = own.forward(&rounded, &batch, &positions).unwrap();
                assert_eq!(found.kind(), Kind::BFloat16);
                assert!(farthest(&found, &expected) < 0.03125, "{head_width}: {}", farthest(&found, &expected));
            }
        }
    }

    /// Flash attention as a GPU has it, by products: it reads bounds and views as that one does.
    fn stand_in([q, k, v]: [&Tensor; 3], bounds: &Tensor, longest: usize, scale: f64) -> Result<Tensor> {
        assert_eq!(bounds.kind(), Kind::Int);
        assert!([q, k, v].iter().all(|x| x.stride().last() == Some(&1) && x.dim() == 3));
        let bounds = Vec::<i32>::try_from(bounds).unwrap();
        let mixed = bounds.windows(2).map(|bound| {
            let (first, length) = (i64::from(bound[0]), i64::from(bound[1] - bound[0]));
            assert!(length as usize <= longest);
            let [q, k, v] = [q, k, v].map(|x| x.narrow(0, first, length).transpose(0, 1)); // [H, T, K]
            let scores = q.matmul(&k.transpose(1, 2)) * scale;
            scores.softmax(-1, Kind::Float).matmul(&v).transpose(0, 1)
        });
        // It leaves what is behind the last bound as it finds it.
        let filling = q.narrow(0, 0, q.size()[0] - i64::from(*bounds.last().unwrap())).zeros_like();
        Ok(Tensor::cat(&mixed.chain([filling]).collect::<Vec<_>>(), 0))
    }

    #[test]
    fn flash_attention_is_given_the_batch_as_it_reads_it() {
        let batch = batch(&LENGTHS);
        let batch = on_cpu(&batch);
        let (frequencies, qkv) = (frequencies(16), random(batch.batch.tokens(), 3 * HEADS as i64 * 16));
        let [own, flash] =
            [Kernel::Cpu, Kernel::Flash].map(|kernel| RotaryAngles::new(&frequencies, &batch, kernel).unwrap());
        let expected = heads(16, Kernel::Cpu).forward(&qkv, &batch, &Positions::Rotary(&own)).unwrap();
        let attention = heads(16, Kernel::Flash);
        let found = attention.at_once(&qkv, &batch, &Positions::Rotary(&flash), stand_in).unwrap();
        assert_eq!(found.size(), expected.size());
        assert!(farthest(&found, &expected) < 5e-6, "{}", farthest(&found, &expected));
        let alibi = alibi(&SLOPES, &batch, Kernel::Flash);
        let error = attention.forward(&qkv, &batch, &Positions::Alibi(&alibi)).unwrap_err();
        assert_eq!(error.fault(), Fault::Bug);
    }

    /// Memory-efficient attention as a GPU has it: what it wants of its tensors.
    fn particular(qkv: [&Tensor; 3], bias: Option<&Tensor>, scale: f64) -> Result<Tensor> {
        for x in qkv {
            assert_eq!((x.dim(), x.stride().last()), (4, Some(&1)));
        }
        let (q, bias) = (qkv[0].size(), bias.unwrap());
        assert_eq!(bias.size(), [q[0], q[1], q[2], q[2]], "expanded to every sequence and head");
        assert_eq!(bias.stride()[0] * i64::from(q[0] > 1), 0, "sequences share one bias");
        assert!(bias.stride()[1] % 8 == 0 && bias.stride()[2] % 8 == 0 && bias.stride()[3] == 1);
        libtorch::math(qkv, Some(bias), scale)
    }

    #[test]
    fn memory_efficient_attention_is_given_an_aligned_bias_that_sequences_share() {
        let batch = batch(&LENGTHS);
        let batch = on_cpu(&batch);
        let qkv = random(batch.batch.tokens(), 3 * HEADS as i64 * 16);
        let [own, efficient] = [Kernel::Cpu, Kernel::Efficient].map(|kernel| alibi(&SLOPES, &batch, kernel));
        let expected = heads(16, Kernel::Cpu).forward(&qkv, &batch, &Positions::Alibi(&own)).unwrap();
        let attention = heads(16, Kernel::Efficient);
        let found = attention.by_stretch(&qkv, &batch, &Positions::Alibi(&efficient), particular).unwrap();
        assert!(farthest(&found, &expected) < 5e-6, "{}", farthest(&found, &expected));
    }

    #[test]
    fn sixteen_bits_are_turned_in_f32_and_come_back_in_their_format() {
        let batch = batch(&LENGTHS);
        let batch = on_cpu(&batch);
        let turn = RotaryAngles::new(&frequencies(16), &batch, Kernel::Flash).unwrap();
        let x = random(batch.batch.tokens(), 2 * HEADS as i64 * 16).view([-1, 2, HEADS as i64, 16]);
        for kind in [Kind::Half, Kind::BFloat16] {
            let (rounded, found) = (x.to_kind(kind), turn.apply(&x.to_kind(kind)).unwrap());
            assert_eq!(found.kind(), kind);
            assert_eq!(found, turn.apply(&rounded.to_kind(Kind::Float)).unwrap().to_kind(kind));
        }
    }

    #[test]
    fn a_sequence_does_not_notice_its_neighbours() {
        let (all, alone) = (batch(&LENGTHS), batch(&LENGTHS[4..5]));
        let (all, alone) = (on_cpu(&all), on_cpu(&alone));
        let attention = Attention { heads: HEADS, scale: 0.25, kernel: Kernel::Cpu };
        let (qkv, frequencies) = (random(all.batch.tokens(), 3 * HEADS as i64 * 16), frequencies(16));
        let [turn, own_angles] =
            [&all, &alone].map(|batch| RotaryAngles::new(&frequencies, batch, Kernel::Cpu).unwrap());
        let first = LENGTHS[..4].iter().sum::<usize>() as i64;
        let found = attention.forward(&qkv, &all, &Positions::Rotary(&turn)).unwrap().narrow(0, first, 47);
        let own = qkv.narrow(0, first, filled(47) as i64).contiguous();
        let alone = attention.forward(&own, &alone, &Positions::Rotary(&own_angles)).unwrap();
        assert_eq!(found, alone.narrow(0, 0, 47));
    }

    #[test]
    fn values_that_are_not_finite_come_out_not_finite() {
        let batch = batch(&[5]);
        let batch = on_cpu(&batch);
        for kernel in [Kernel::Cpu, Kernel::Math] {
            let attention = Attention { heads: 1, scale: 1.0, kernel };
            let alibi = alibi(&[0.25], &batch, kernel);
            for value in [f64::NAN, f64::INFINITY] {
                let mut qkv = random(5, 48);
                let _ = qkv.narrow(0, 2, 1).fill_(value);
                let found = attention.forward(&qkv, &batch, &Positions::Alibi(&alibi)).unwrap();
                assert_eq!(found.isfinite().all().int64_value(&[]), 0, "{value}");
                let _ = qkv.zero_();
            }
        }
    }
}
