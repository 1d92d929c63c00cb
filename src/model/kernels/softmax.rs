//! Softmax of a row.

use super::LANES;

/// Turns `row` into exp(row - its largest value) and gives their sum.
#[inline(always)]
pub(super) fn exponentials(row: &mut [f32]) -> f32 {
    let largest = largest(row);
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (value, sum) in chunk.iter_mut().zip(&mut sums) {
            *value = exp(*value - largest);
            *sum += *value;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for value in rest {
        *value = exp(*value - largest);
        sum += *value;
    }
    sum
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (&value, most) in chunk.iter().zip(&mut most) {
            *most = if value > *most { value } else { *most };
        }
    }
    most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &value| if value > most { value } else { most })
}

/// Added to and taken from a number below 2^22, it rounds it to a whole one, which then stands in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts, the first of which has so few bits that whole multiples are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Below this, exp is smaller than any normal f32.
const LOWEST: f32 = -87.3;

/// e^x for x <= 0, within 2 units in the last place: 2^n times a polynomial (the coefficients of the Cephes library, Moshier
/// 1992). NaN stays NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = if x < LOWEST { LOWEST } else { x };
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let n = rounded - ROUNDING;
    let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], x));
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let e = p.mul_add(r * r, r) + 1.0;
    // 2^n from its exponent; a multiplication, so that NaN is not lost.
    let power = rounded.to_bits().wrapping_sub(ROUNDING.to_bits()).wrapping_add(127) << 23;
    e * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_two_units_in_the_last_place() {
        for step in 0..870_000u32 {
            let x = -1e-4 * step as f32;
            let (found, expected) = (exp(x), f64::from(x).exp());
            let unit = f64::from(expected as f32) * f64::from(f32::EPSILON);
            assert!((f64::from(found) - expected).abs() <= 2.0 * unit, "e^{x}: {found}, {expected}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e4) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn rows_of_any_length_are_summed() {
        for length in [1, 15, 16, 17, 100, 168] {
            let values: Vec<f32> = (0..length).map(|i| ((i * 37) % 101) as f32 / 7.0 - 5.0).collect();
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let expected: f64 = values.iter().map(|&value| f64::from(value - most).exp()).sum();
            let mut row = values.clone();
            let sum = exponentials(&mut row);
            assert!((f64::from(sum) - expected).abs() < 1e-5 * expected, "{length}: {sum}, {expected}");
            assert!(row.iter().all(|value| (0.0..=1.0).contains(value)));
        }
    }
}
