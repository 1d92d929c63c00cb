//! Products of matrices that fit in a cache, as those of a head: f32, sums in the order of the inner dimension.
//!
//! A block of rows by columns is summed in registers; the compiler makes vectors of it. That is as fast as oneDNN's kernels
//! for such sizes (`docs/performance.md`), and no code has to be made at run time for each of them.

use super::{LANES, Vectors, widest_vectors};

/// Rows of a block.
const ROWS: usize = 6;

/// Columns of the widest block.
pub(in crate::model) const PANEL: usize = 2 * LANES;

/// A row-major matrix whose rows start `stride` values apart.
#[derive(Clone, Copy)]
pub(in crate::model) struct Matrix<'a> {
    /// The values, row by row.
    pub values: &'a [f32],
    /// From the start of a row to that of the next.
    pub stride: usize,
}

/// `c` = `a` `b`, for `a` [rows, inner] and `b` [inner, columns]. `c` comes with its number of columns: a multiple of [`LANES`],
/// and no more than the rows of `b` are apart.
pub(in crate::model) fn product(
    [rows, inner]: [usize; 2],
    a: Matrix<'_>,
    b: Matrix<'_>,
    (c, columns): (&mut [f32], usize),
) {
    let (sizes, strides) = ([rows, inner, columns], [a.stride, b.stride]);
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        // Functions of their own, with slices as arguments: inside a larger one the sums do not stay in registers.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
        fn with_avx512(sizes: [usize; 3], a: &[f32], b: &[f32], strides: [usize; 2], c: &mut [f32]) {
            blocks::<2>(sizes, a, b, strides, c);
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2(sizes: [usize; 3], a: &[f32], b: &[f32], strides: [usize; 2], c: &mut [f32]) {
            blocks::<1>(sizes, a, b, strides, c);
        }
        match widest_vectors() {
            // SAFETY: the processor has what the function is compiled for.
            Vectors::Avx512 => return unsafe { with_avx512(sizes, a.values, b.values, strides, c) },
            // SAFETY: likewise.
            Vectors::Avx2 => return unsafe { with_avx2(sizes, a.values, b.values, strides, c) },
            Vectors::Baseline => {}
        }
    }
    blocks::<1>(sizes, a.values, b.values, strides, c);
}

/// Block by block, each of them `V` times [`LANES`] columns wide where there are so many left.
#[inline(always)]
fn blocks<const V: usize>(
    [rows, inner, columns]: [usize; 3],
    a: &[f32],
    b: &[f32],
    [a_stride, b_stride]: [usize; 2],
    c: &mut [f32],
) {
    let strides = [a_stride, b_stride, columns];
    let mut row = 0;
    while row < rows {
        let count = if row + ROWS <= rows { ROWS } else { 1 };
        let (a, c) = (&a[row * a_stride..], &mut c[row * columns..]);
        let mut column = 0;
        while column < columns {
            let wide = column + V * LANES <= columns;
            let (b, c) = (&b[column..], &mut c[column..]);
            match (count, wide) {
                (ROWS, true) => block::<ROWS, V>(inner, a, b, strides, c),
                (ROWS, false) => block::<ROWS, 1>(inner, a, b, strides, c),
                (_, true) => block::<1, V>(inner, a, b, strides, c),
                (_, false) => block::<1, 1>(inner, a, b, strides, c),
            }
            column += if wide { V * LANES } else { LANES };
        }
        row += count;
    }
}

/// `R` rows by `V` vectors of columns.
// Loops over numbers that are known become registers; iterators over them do not.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
fn block<const R: usize, const V: usize>(
    inner: usize,
    a: &[f32],
    b: &[f32],
    [a_stride, b_stride, c_stride]: [usize; 3],
    c: &mut [f32],
) {
    let mut sums = [[[0.0f32; LANES]; V]; R];
    let rows: [&[f32]; R] = std::array::from_fn(|row| &a[row * a_stride..][..inner]);
    for (place, b) in b.chunks(b_stride).take(inner).enumerate() {
        let (vectors, _) = b[..V * LANES].as_chunks::<LANES>();
        for row in 0..R {
            let value = rows[row][place];
            for vector in 0..V {
                for lane in 0..LANES {
                    sums[row][vector][lane] = value.mul_add(vectors[vector][lane], sums[row][vector][lane]);
                }
            }
        }
    }
    for row in 0..R {
        for vector in 0..V {
            c[row * c_stride + vector * LANES..][..LANES].copy_from_slice(&sums[row][vector]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_product_for_any_number_of_rows_and_columns() {
        for (rows, inner, columns) in [(1, 3, 16), (5, 64, 48), (6, 7, 32), (13, 100, 112)] {
            let (a_stride, b_stride) = (inner + 2, columns + 16);
            let values =
                |count: usize, step: usize| (0..count).map(|i| (i * step % 17) as f32 / 8.0 - 1.0).collect::<Vec<_>>();
            let (a, b) = (values(rows * a_stride, 5), values(inner * b_stride, 3));
            let (left, right) = (Matrix { values: &a, stride: a_stride }, Matrix { values: &b, stride: b_stride });
            let mut c = vec![f32::NAN; rows * columns];
            product([rows, inner], left, right, (&mut c, columns));
            for (place, found) in c.iter().enumerate() {
                let (row, column) = (place / columns, place % columns);
                let of = |i: usize| f64::from(a[row * a_stride + i]) * f64::from(b[i * b_stride + column]);
                let expected: f64 = (0..inner).map(of).sum();
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{rows} {inner} {columns}: {found}, {expected}");
            }
        }
    }
}
