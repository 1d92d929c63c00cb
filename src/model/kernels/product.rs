//! Products of matrices that fit in a cache, as those of a head: f32, sums in the order of the inner dimension.
//!
//! A block of rows by columns is summed in registers, and the compiler makes vectors of it. That is as fast as oneDNN's
//! kernels for such sizes (`docs/performance.md`), and needs no code that is made at run time for every size.

use super::LANES;

/// Rows of a block.
const ROWS: usize = 6;

/// A row-major matrix whose rows start `stride` values apart.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

/// `c` [rows, columns] = `a` [rows, inner] `b` [inner, columns], with as many columns as the rows of `c` are apart: a multiple of
/// [`LANES`], of `b` at least as many. `V` vectors of that many columns make a block.
#[inline(always)]
pub(super) fn product<const V: usize>(
    rows: usize,
    inner: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    stride: usize,
) {
    for (first, c) in (0..rows).step_by(ROWS).zip(c.chunks_mut(ROWS * stride)) {
        let a = Matrix { values: &a.values[first * a.stride..], ..a };
        match rows - first {
            ROWS.. => block_row::<ROWS, V>(inner, a, b, c, stride),
            5 => block_row::<5, V>(inner, a, b, c, stride),
            4 => block_row::<4, V>(inner, a, b, c, stride),
            3 => block_row::<3, V>(inner, a, b, c, stride),
            2 => block_row::<2, V>(inner, a, b, c, stride),
            _ => block_row::<1, V>(inner, a, b, c, stride),
        }
    }
}

/// `R` rows of the result.
#[inline(always)]
fn block_row<const R: usize, const V: usize>(
    inner: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    columns: usize,
) {
    let mut first = 0;
    while first + V * LANES <= columns {
        block::<R, V>(inner, a, b, c, (columns, first));
        first += V * LANES;
    }
    while first < columns {
        block::<R, 1>(inner, a, b, c, (columns, first));
        first += LANES;
    }
}

/// `R` rows by `V` vectors of columns, from column `first` on.
#[inline(always)]
fn block<const R: usize, const V: usize>(
    inner: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    (stride, first): (usize, usize),
) {
    let mut sums = [[[0.0; LANES]; V]; R];
    let rows: [&[f32]; R] = std::array::from_fn(|row| &a.values[row * a.stride..][..inner]);
    for (place, b) in b.values.chunks(b.stride).take(inner).enumerate() {
        let (vectors, _) = b[first..first + V * LANES].as_chunks::<LANES>();
        for (row, sums) in rows.iter().zip(&mut sums) {
            for (sums, vector) in sums.iter_mut().zip(vectors) {
                for (sum, value) in sums.iter_mut().zip(vector) {
                    *sum = row[place].mul_add(*value, *sum);
                }
            }
        }
    }
    for (row, sums) in c.chunks_mut(stride).zip(&sums) {
        for (place, sums) in row[first..].chunks_mut(LANES).zip(sums) {
            place.copy_from_slice(sums);
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
            for vectors in [1, 2] {
                let (left, right) = (Matrix { values: &a, stride: a_stride }, Matrix { values: &b, stride: b_stride });
                let mut c = vec![f32::NAN; rows * columns];
                match vectors {
                    1 => product::<1>(rows, inner, left, right, &mut c, columns),
                    _ => product::<2>(rows, inner, left, right, &mut c, columns),
                }
                for (place, found) in c.iter().enumerate() {
                    let (row, column) = (place / columns, place % columns);
                    let of = |i: usize| f64::from(a[row * a_stride + i]) * f64::from(b[i * b_stride + column]);
                    let expected: f64 = (0..inner).map(of).sum();
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-4,
                        "{rows} {inner} {columns}: {found}, {expected}"
                    );
                }
            }
        }
    }
}
