//! Attention on a CPU: one head of one sequence at a time, in memory that stays in the cache, on the calling thread.
//!
//! Values are turned to f32 as they are read and back as they are written; both products, the softmax and the turn are f32
//! whatever the weights are. Rows of a head are independent, so a vector does not depend on what else is in a batch.

use std::cell::RefCell;

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::softmax::exponentials;
use super::{Attention, Places};
use crate::device::products::{Matrix, product};
use crate::error::{Error, Fault, Result};
use crate::pack::TokenBatch;

/// Values of scores that are computed at a time: 128 kB, of which the caches of all processors hold several.
const SCORES: usize = 32 << 10;
/// Rows start at multiples of this many values.
const ALIGNMENT: usize = 16;

/// As [`Attention::forward`], for f32 and bf16.
pub(super) fn attention(
    attention: &Attention,
    qkv: &Tensor,
    batch: &TokenBatch,
    places: &Places<'_>,
) -> Result<Tensor> {
    match qkv.f_kind()? {
        Kind::Float => over::<f32>(attention, qkv, batch, places),
        Kind::BFloat16 => over::<bf16>(attention, qkv, batch, places),
        kind => Err(Error::new(Fault::Bug, format!("the attention of a CPU does not take {kind:?}"))),
    }
}

fn over<E: Element>(attention: &Attention, qkv: &Tensor, batch: &TokenBatch, places: &Places<'_>) -> Result<Tensor> {
    let (tokens, columns) = qkv.size2()?;
    let width = columns as usize / 3;
    let shape = Shape { width, head: width / attention.heads, scale: attention.scale as f32 };
    let mut out = Tensor::f_empty([tokens, width as i64], (E::KIND, Device::Cpu))?;
    let tables = Tables::of(places)?;
    let inputs = values::<E>(qkv)?;
    let outputs = values_mut::<E>(&mut out)?;
    if batch.tokens() as i64 != tokens || shape.head * attention.heads != width {
        return Err(Error::new(Fault::Bug, "a batch and its queries do not fit together"));
    }
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    SCRATCH.with_borrow_mut(|scratch| {
        let (mut inputs, mut outputs) = (inputs, outputs);
        for stretch in batch.groups() {
            scratch.fit(stretch.length, shape.head);
            for _ in 0..stretch.sequences {
                let (sequence, rest) = inputs.split_at(stretch.length * columns as usize);
                let (mixed, other) = std::mem::take(&mut outputs).split_at_mut(stretch.length * width);
                for head in 0..attention.heads {
                    one_head(&shape, head, &tables, scratch, (sequence, mixed))?;
                }
                (inputs, outputs) = (rest, other);
            }
        }
        Ok::<(), Error>(())
    })?;
    Ok(out)
}

/// Sizes of a layer.
struct Shape {
    /// D.
    width: usize,
    /// K.
    head: usize,
    scale: f32,
}

/// The numbers behind [`Places`].
enum Tables<'a> {
    /// Cosines and sines, [T, K/2].
    Turned(&'a [f32], &'a [f32]),
    /// Slopes, [H].
    Lowered(&'a [f32]),
}

impl<'a> Tables<'a> {
    fn of(places: &Places<'a>) -> Result<Self> {
        Ok(match places {
            Places::Turned(turn) => Self::Turned(values(&turn.cos)?, values(&turn.sin)?),
            Places::Lowered(alibi) => Self::Lowered(values(&alibi.slopes)?),
        })
    }
}

/// Matrices of one head of one sequence.
#[derive(Default)]
struct Scratch {
    /// T.
    length: usize,
    /// [T, K]
    queries: Vec<f32>,
    /// [K, T], rows `stride` apart
    keys: Vec<f32>,
    /// [T, K]
    values: Vec<f32>,
    /// [rows, T], rows `stride` apart
    scores: Vec<f32>,
    /// Of the exponentials of a row, [rows]
    sums: Vec<f32>,
    /// [rows, K]
    mixed: Vec<f32>,
    stride: usize,
    /// Queries at a time.
    rows: usize,
}

impl Scratch {
    fn fit(&mut self, length: usize, head: usize) {
        self.length = length;
        self.stride = length.next_multiple_of(ALIGNMENT);
        self.rows = (SCORES / self.stride).clamp(ALIGNMENT, length.max(ALIGNMENT));
        self.queries.resize(length * head, 0.0);
        self.keys.resize(head * self.stride, 0.0);
        self.values.resize(length * head, 0.0);
        self.scores.resize(self.rows * self.stride, 0.0);
        self.sums.resize(self.rows, 0.0);
        self.mixed.resize(self.rows * head, 0.0);
    }
}

/// Queries, keys and values of a sequence [T, 3D], and its mixed values [T, D].
type Sequence<'a, E> = (&'a [E], &'a mut [E]);

/// Runs `head` with the widest vectors of this processor.
fn one_head<E: Element>(
    shape: &Shape,
    head: usize,
    tables: &Tables<'_>,
    scratch: &mut Scratch,
    sequence: Sequence<'_, E>,
) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
        fn with_avx512<E: Element>(
            s: &Shape,
            h: usize,
            t: &Tables<'_>,
            m: &mut Scratch,
            q: Sequence<'_, E>,
        ) -> Result<()> {
            mix(s, h, t, m, q)
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<E: Element>(
            s: &Shape,
            h: usize,
            t: &Tables<'_>,
            m: &mut Scratch,
            q: Sequence<'_, E>,
        ) -> Result<()> {
            mix(s, h, t, m, q)
        }
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if has_avx512 && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { with_avx512(shape, head, tables, scratch, sequence) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: likewise.
            return unsafe { with_avx2(shape, head, tables, scratch, sequence) };
        }
    }
    mix(shape, head, tables, scratch, sequence)
}

#[inline(always)]
fn mix<E: Element>(
    shape: &Shape,
    head: usize,
    tables: &Tables<'_>,
    scratch: &mut Scratch,
    (qkv, out): Sequence<'_, E>,
) -> Result<()> {
    let k = shape.head;
    let Scratch { length, stride, rows, queries, keys, values, scores, sums, mixed } = scratch;
    let (length, stride) = (*length, *stride);
    let columns = head * k..(head + 1) * k;
    let tokens = qkv.chunks_exact(3 * shape.width).take(length).enumerate();
    for ((place, token), (query, value)) in tokens.zip(queries.chunks_exact_mut(k).zip(values.chunks_exact_mut(k))) {
        let [q, keyed, v] = [0, 1, 2].map(|part| &token[part * shape.width..][columns.clone()]);
        read(q, query, shape.scale);
        read(v, value, 1.0);
        // The key's place in `mixed` is free here.
        let key = &mut mixed[..k];
        read(keyed, key, 1.0);
        if let Tables::Turned(cos, sin) = tables {
            let angles = place * (k / 2)..(place + 1) * (k / 2);
            turn(query, &cos[angles.clone()], &sin[angles.clone()]);
            turn(key, &cos[angles.clone()], &sin[angles]);
        }
        for (&value, row) in key.iter().zip(keys.chunks_exact_mut(stride)) {
            row[place] = value;
        }
    }
    for first in (0..length).step_by(*rows) {
        let count = (*rows).min(length - first);
        let own = Matrix { values: &queries[first * k..(first + count) * k], stride: k };
        product([count, length, k], own, Matrix { values: keys, stride }, scores, stride)?;
        for ((row, sum), from) in scores.chunks_exact_mut(stride).zip(sums.iter_mut()).take(count).zip(first..) {
            let row = &mut row[..length];
            if let Tables::Lowered(slopes) = tables {
                lower(row, from, slopes[head]);
            }
            *sum = exponentials(row);
        }
        let weights = Matrix { values: scores, stride };
        product([count, k, length], weights, Matrix { values, stride: k }, mixed, k)?;
        let rows = out.chunks_exact_mut(shape.width).skip(first).zip(mixed.chunks_exact(k)).zip(sums.iter());
        for ((token, row), sum) in rows.take(count) {
            write(row, &mut token[columns.clone()], 1.0 / sum);
        }
    }
    Ok(())
}

/// Turns the halves of a head against each other.
#[inline(always)]
fn turn(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// Lowers the scores of query `from` by slope times distance.
#[inline(always)]
fn lower(row: &mut [f32], from: usize, slope: f32) {
    let from = from as i32;
    for (score, to) in row.iter_mut().zip(0i32..) {
        *score -= slope * (to - from).abs() as f32;
    }
}

#[inline(always)]
fn read<E: Element>(from: &[E], to: &mut [f32], factor: f32) {
    for (value, place) in from.iter().zip(to) {
        *place = value.value() * factor;
    }
}

#[inline(always)]
fn write<E: Element>(from: &[f32], to: &mut [E], factor: f32) {
    for (value, place) in from.iter().zip(to) {
        *place = E::rounded(value * factor);
    }
}

/// A number format of queries, keys and values.
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

fn values_mut<E: Element>(tensor: &mut Tensor) -> Result<&mut [E]> {
    check::<E>(tensor)?;
    #[allow(unsafe_code)]
    // SAFETY: likewise; the tensor was made by the caller, who alone has it.
    unsafe {
        Ok(std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()))
    }
}

fn check<E: Element>(tensor: &Tensor) -> Result<()> {
    let fits = tensor.device() == Device::Cpu && tensor.f_kind()? == E::KIND && tensor.is_contiguous();
    if fits { Ok(()) } else { Err(Error::new(Fault::Bug, "the attention of a CPU was given another kind of tensor")) }
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
