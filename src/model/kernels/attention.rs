//! Attention, one head of one sequence at a time; both products, the softmax and the rotation are f32.

use std::cell::RefCell;
use std::ops::Range;

use half::bf16;
use tch::{Device, Kind, Tensor};

use super::product::{Matrix, product};
use super::softmax::exponentials;
use super::{Element, Kernel, LANES, on_widest_vectors, values, values_mut};
use crate::error::{Error, Fault, Result};
use crate::model::attention::{Attention, Positions};
use crate::model::input::filled;
use crate::pack::TokenBatch;

/// Values of scores that are computed at a time: 128 kB, of which the caches of all processors hold several.
const SCORES: usize = 32 << 10;

/// As [`Attention::forward`], for f32 and bf16.
pub fn attention(attention: &Attention, qkv: &Tensor, batch: &TokenBatch, positions: &Positions<'_>) -> Result<Tensor> {
    match qkv.f_kind()? {
        Kind::Float => over::<f32>(attention, qkv, batch, positions),
        Kind::BFloat16 => over::<bf16>(attention, qkv, batch, positions),
        kind => Err(Error::new(Fault::Bug, format!("the attention of a CPU does not take {kind:?}"))),
    }
}

fn over<E: Element>(
    attention: &Attention,
    qkv: &Tensor,
    batch: &TokenBatch,
    positions: &Positions<'_>,
) -> Result<Tensor> {
    let (tokens, columns) = qkv.size2()?;
    let width = columns as usize / 3;
    let shape = Shape { width, head: width / attention.heads, scale: attention.scale as f32 };
    let mut out = Tensor::f_empty([tokens, width as i64], (E::KIND, Device::Cpu))?;
    let tables = Tables::of(positions)?;
    let inputs = values::<E>(qkv)?;
    let outputs = values_mut::<E>(&mut out)?;
    if filled(batch.tokens()) as i64 != tokens || shape.head * attention.heads != width {
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
                    let (shape, tables) = (&shape, &tables);
                    on_widest_vectors(Head { shape, index: head, tables, scratch, qkv: sequence, out: mixed });
                }
                (inputs, outputs) = (rest, other);
            }
        }
        outputs.fill(E::rounded(0.0));
    });
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

/// The numbers behind [`Positions`].
enum Tables<'a> {
    /// Cosines and sines, [T, K/2].
    Rotary(&'a [f32], &'a [f32]),
    /// Slopes, [H].
    Alibi(&'a [f32]),
}

impl<'a> Tables<'a> {
    fn of(positions: &Positions<'a>) -> Result<Self> {
        Ok(match positions {
            Positions::Rotary(angles) => Self::Rotary(values(&angles.cos)?, values(&angles.sin)?),
            Positions::Alibi(alibi) => Self::Alibi(values(&alibi.slopes)?),
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
    /// [T, K], rows `width` apart
    values: Vec<f32>,
    /// [rows, T], rows `stride` apart
    scores: Vec<f32>,
    /// Of the exponentials of a row, [rows]
    sums: Vec<f32>,
    /// [rows, K], rows `width` apart
    mixed: Vec<f32>,
    /// T, filled up to whole vectors. What fills it up is never read as a result.
    stride: usize,
    /// K, likewise.
    width: usize,
    /// Queries at a time.
    rows: usize,
}

impl Scratch {
    fn fit(&mut self, length: usize, head: usize) {
        self.length = length;
        self.stride = length.next_multiple_of(LANES);
        self.width = head.next_multiple_of(LANES);
        self.rows = (SCORES / self.stride).clamp(LANES, length.max(LANES));
        self.queries.resize(length * head, 0.0);
        self.keys.resize(head * self.stride, 0.0);
        self.values.resize(length * self.width, 0.0);
        self.scores.resize(self.rows * self.stride, 0.0);
        self.sums.resize(self.rows, 0.0);
        self.mixed.resize(self.rows * self.width, 0.0);
    }
}

/// A head of a sequence: queries, keys and values of all heads [T, 3D], and all mixed values [T, D].
struct Head<'a, E> {
    shape: &'a Shape,
    index: usize,
    tables: &'a Tables<'a>,
    scratch: &'a mut Scratch,
    qkv: &'a [E],
    out: &'a mut [E],
}

impl<E: Element> Kernel for Head<'_, E> {
    #[inline(always)]
    fn run(mut self) {
        self.split_head();
        for first in (0..self.scratch.length).step_by(self.scratch.rows) {
            let count = self.scratch.rows.min(self.scratch.length - first);
            self.mix(first, count);
        }
    }
}

impl<E: Element> Head<'_, E> {
    fn columns(&self) -> Range<usize> {
        self.index * self.shape.head..(self.index + 1) * self.shape.head
    }

    /// Queries, keys and values of this head to matrices of their own, queries and keys rotated for rotary positions.
    #[inline(always)]
    fn split_head(&mut self) {
        let (k, width, columns) = (self.shape.head, self.shape.width, self.columns());
        let Scratch { stride, width: apart, queries, keys, values, mixed, .. } = &mut *self.scratch;
        let tokens = self.qkv.chunks_exact(3 * width).enumerate();
        let rows = queries.chunks_exact_mut(k).zip(values.chunks_exact_mut(*apart));
        for ((place, token), (query, value)) in tokens.zip(rows) {
            let [q, keyed, v] = [0, 1, 2].map(|part| &token[part * width..][columns.clone()]);
            let key = &mut mixed[..k]; // free as yet
            read(q, query, self.shape.scale);
            read(keyed, key, 1.0);
            read(v, value, 1.0);
            if let Tables::Rotary(cos, sin) = self.tables {
                let angles = place * (k / 2)..(place + 1) * (k / 2);
                rotate(query, &cos[angles.clone()], &sin[angles.clone()]);
                rotate(key, &cos[angles.clone()], &sin[angles]);
            }
            for (&value, row) in key.iter().zip(keys.chunks_exact_mut(*stride)) {
                row[place] = value;
            }
        }
    }

    /// Mixes the values for `count` queries from `first` on.
    #[inline(always)]
    fn mix(&mut self, first: usize, count: usize) {
        let (k, columns) = (self.shape.head, self.columns());
        let Scratch { length, stride, width, queries, keys, values, scores, sums, mixed, .. } = &mut *self.scratch;
        let (length, stride, width) = (*length, *stride, *width);
        let own = Matrix { values: &queries[first * k..(first + count) * k], stride: k };
        product([count, k], own, Matrix { values: keys, stride }, (scores, stride));
        for ((row, sum), from) in scores.chunks_exact_mut(stride).zip(sums.iter_mut()).take(count).zip(first..) {
            let row = &mut row[..length];
            if let Tables::Alibi(slopes) = self.tables {
                add_alibi(row, from, slopes[self.index]);
            }
            *sum = exponentials(row);
        }
        let weights = Matrix { values: scores, stride };
        product([count, length], weights, Matrix { values, stride: width }, (mixed, width));
        let tokens = self.out.chunks_exact_mut(self.shape.width).skip(first).take(count);
        for (token, (row, sum)) in tokens.zip(mixed.chunks_exact(width).zip(sums.iter())) {
            write(&row[..k], &mut token[columns.clone()], 1.0 / sum);
        }
    }
}

/// Turns the halves of a head against each other.
#[inline(always)]
fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// Lowers the scores of query `from` by slope times distance.
#[inline(always)]
fn add_alibi(row: &mut [f32], from: usize, slope: f32) {
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
