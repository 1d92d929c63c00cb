//! Values from one number format to another, and the checks of them.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};
use safetensors::Dtype;

use crate::units::{Precision, WeightFormat};

/// The format that a tensor is written in. Frequencies and classifiers stay as they are: rounding them changes every
/// vector or score, and they are small.
pub(super) fn target(name: &str, stored: Dtype, wanted: WeightFormat) -> Dtype {
    match wanted {
        WeightFormat::To(_) if name.ends_with(".inv_freq") => stored,
        WeightFormat::To(Precision::F32) => Dtype::F32,
        WeightFormat::To(Precision::Bf16) => Dtype::BF16,
        WeightFormat::To(Precision::F16) => Dtype::F16,
        WeightFormat::Keep => stored,
    }
}

/// Converts values, each rounded once to the nearest, ties to even. Both must be floating-point formats, `to` no wider than
/// f32 unless they are the same.
///
/// # Errors
/// Place of the first value that is not finite, or would not be, and the value.
pub(super) fn convert(bytes: &[u8], from: Dtype, to: Dtype) -> Result<Cow<'_, [u8]>, (usize, f64)> {
    let refused = |place| (place, value(from, bytes, place));
    if let Some(place) = first_non_finite(from, bytes) {
        return Err(refused(place));
    }
    if from == to {
        return Ok(Cow::Borrowed(bytes));
    }
    let values = to_f32(from, bytes, to);
    let converted: Vec<u8> = match to {
        Dtype::F32 => flat(values.into_iter().map(f32::to_le_bytes)),
        Dtype::BF16 => {
            let mut narrow = vec![bf16::ZERO; values.len()];
            narrow.convert_from_f32_slice(&values);
            flat(narrow.into_iter().map(bf16::to_le_bytes))
        }
        _ => {
            let mut narrow = vec![f16::ZERO; values.len()];
            narrow.convert_from_f32_slice(&values);
            flat(narrow.into_iter().map(f16::to_le_bytes))
        }
    };
    match first_non_finite(to, &converted) {
        None => Ok(Cow::Owned(converted)),
        Some(place) => Err(refused(place)),
    }
}

/// Place of the first value below zero, and the value.
pub(super) fn first_below_zero(bytes: &[u8], dtype: Dtype) -> Option<(usize, f64)> {
    let values = (0..bytes.len() * 8 / dtype.bitsize()).map(|place| (place, value(dtype, bytes, place)));
    values.into_iter().find(|(_, value)| *value < 0.0)
}

/// Values as f32, from which they go `to` the format that is wanted. Those of f64 are rounded to it, or in a way that
/// the second rounding gives what one would have given.
fn to_f32(from: Dtype, bytes: &[u8], to: Dtype) -> Vec<f32> {
    let halves = bytes.as_chunks::<2>().0.iter();
    match from {
        Dtype::F16 => halves.map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => halves.map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F64 => {
            let round = if to == Dtype::F32 { |value: f64| value as f32 } else { to_odd };
            bytes.as_chunks::<8>().0.iter().map(|b| round(f64::from_le_bytes(*b))).collect()
        }
        _ => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
}

/// Rounds towards zero and sets the last bit where something was lost, so that a tie stays apart from its neighbours.
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back == value {
        return nearest;
    }
    let towards_zero = nearest.to_bits() - u32::from(back.abs() > value.abs());
    f32::from_bits(towards_zero | 1)
}

fn flat<const N: usize>(values: impl ExactSizeIterator<Item = [u8; N]>) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * N];
    bytes.as_chunks_mut::<N>().0.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    bytes
}

fn value(dtype: Dtype, bytes: &[u8], place: usize) -> f64 {
    let size = dtype.bitsize() / 8;
    let bytes = bytes.get(place * size..(place + 1) * size).unwrap_or_default();
    match dtype {
        Dtype::F64 => bytes.as_chunks::<8>().0.first().map_or(f64::NAN, |b| f64::from_le_bytes(*b)),
        _ => to_f32(dtype, bytes, Dtype::F32).first().map_or(f64::NAN, |&value| f64::from(value)),
    }
}

/// Place of the first value with an exponent of ones only: infinite or no number.
fn first_non_finite(dtype: Dtype, bytes: &[u8]) -> Option<usize> {
    match dtype {
        Dtype::F16 => first(bytes.as_chunks::<2>().0, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        Dtype::BF16 => first(bytes.as_chunks::<2>().0, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        Dtype::F32 => first(bytes.as_chunks::<4>().0, |b| !f32::from_le_bytes(b).is_finite()),
        Dtype::F64 => first(bytes.as_chunks::<8>().0, |b| !f64::from_le_bytes(b).is_finite()),
        _ => None,
    }
}

/// Place of the first value that is wrong. Blocks without an early exit are what a compiler makes vectors of.
fn first<const N: usize>(values: &[[u8; N]], wrong: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const BLOCK: usize = 1024;
    values.chunks(BLOCK).enumerate().find_map(|(number, block)| {
        let any = block.iter().fold(false, |any, &value| any | wrong(value));
        let place = if any { block.iter().position(|&value| wrong(value)) } else { None };
        place.map(|place| number * BLOCK + place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_finite_are_found_in_every_format() {
        let f16 = |value: u16| [0, 0x3c, value as u8, (value >> 8) as u8];
        for (value, found) in [(0x7c00, Some(1)), (0xfc00, Some(1)), (0x7e00, Some(1)), (0x7bff, None), (0, None)] {
            assert_eq!(first_non_finite(Dtype::F16, &f16(value)), found, "{value:#x}");
        }
        for (value, found) in [(0x7f80, Some(1)), (0xffc0, Some(1)), (0x7f7f, None), (0x7c00, None)] {
            assert_eq!(first_non_finite(Dtype::BF16, &f16(value)), found, "{value:#x}");
        }
        for (value, found) in [(f32::NAN, Some(0)), (f32::NEG_INFINITY, Some(0)), (f32::MAX, None), (-0.0, None)] {
            assert_eq!(first_non_finite(Dtype::F32, &value.to_le_bytes()), found, "{value}");
            let wide = if found.is_some() { f64::from(value) } else { f64::MAX };
            assert_eq!(first_non_finite(Dtype::F64, &wide.to_le_bytes()), found, "{wide}");
        }
        for place in [0, 1023, 1024, 5000] {
            let mut values = vec![1.0f32; 5001];
            values[place] = f32::NAN;
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            assert_eq!(first_non_finite(Dtype::F32, &bytes), Some(place));
        }
    }

    fn converted(values: &[f64], from: Dtype, to: Dtype) -> Result<Vec<u8>, (usize, f64)> {
        convert(&stored(values, from), from, to).map(Cow::into_owned)
    }

    fn stored(values: &[f64], dtype: Dtype) -> Vec<u8> {
        let bytes = |&value: &f64| match dtype {
            Dtype::F64 => value.to_le_bytes().to_vec(),
            Dtype::F32 => (value as f32).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f64(value).to_le_bytes().to_vec(),
            _ => f16::from_f64(value).to_le_bytes().to_vec(),
        };
        values.iter().flat_map(bytes).collect()
    }

    #[test]
    fn every_format_is_rounded_to_every_other_once() {
        // Exact in all formats; then a tie of f16, which goes to even, and its neighbours.
        let exact = [0.0, -0.0, 1.0, -1.5, 0.25, 96.0];
        let formats = [Dtype::F64, Dtype::F32, Dtype::BF16, Dtype::F16];
        for (from, to) in formats.iter().flat_map(|from| formats.map(|to| (*from, to))) {
            if to == Dtype::F64 && from != to {
                continue;
            }
            assert_eq!(converted(&exact, from, to).unwrap(), stored(&exact, to), "{from:?} {to:?}");
        }
        let (tie, step) = (1.0 + f64::from(2f32.powi(-11)), f64::from(2f32.powi(-20)));
        for (value, rounded) in [(tie, 1.0), (tie + step, 1.0 + 2.0 * (tie - 1.0)), (tie - step, 1.0)] {
            for from in [Dtype::F32, Dtype::F64] {
                assert_eq!(converted(&[value], from, Dtype::F16).unwrap(), f16::from_f64(rounded).to_le_bytes());
            }
        }
        // Rounded first to f32, these would be ties and go to the even neighbour: 1, and 1 + 2^-6.
        for (value, rounded) in
            [(1.0 + 2f64.powi(-8) + 2f64.powi(-40), 0x3f81u16), (1.0 + 3.0 * 2f64.powi(-8) - 2f64.powi(-40), 0x3f81)]
        {
            for sign in [1.0, -1.0] {
                let expected = bf16::from_bits(rounded).to_f64() * sign;
                assert_eq!(
                    converted(&[sign * value], Dtype::F64, Dtype::BF16).unwrap(),
                    stored(&[expected], Dtype::BF16)
                );
            }
        }
        assert_eq!(converted(&[1e-300, -1e-300], Dtype::F64, Dtype::F16).unwrap(), stored(&[0.0, -0.0], Dtype::F16));
    }

    #[test]
    fn a_value_beyond_the_range_is_given_with_its_place() {
        for (value, from, to) in [
            (65520.0, Dtype::F32, Dtype::F16),
            (-1e6, Dtype::F64, Dtype::F16),
            (131_072.0, Dtype::BF16, Dtype::F16),
            (f64::from(f32::MAX), Dtype::F32, Dtype::BF16),
            (1e300, Dtype::F64, Dtype::F32),
        ] {
            assert_eq!(converted(&[1.0, value], from, to), Err((1, value)));
        }
        assert!(converted(&[65519.0, 1e-30], Dtype::F32, Dtype::F16).is_ok());
        assert!(matches!(converted(&[f64::NAN], Dtype::F32, Dtype::F16), Err((0, value)) if value.is_nan()));
    }

    #[test]
    fn a_value_below_zero_is_found_in_every_format() {
        for dtype in [Dtype::F64, Dtype::F32, Dtype::BF16, Dtype::F16] {
            let found = |values: &[f64]| first_below_zero(&stored(values, dtype), dtype);
            assert_eq!(found(&[0.0, -0.0, 1.5, -0.5, -1.0]), Some((3, -0.5)), "{dtype:?}");
            assert_eq!((found(&[0.0, -0.0, 96.0]), found(&[])), (None, None), "{dtype:?}");
        }
    }

    #[test]
    fn frequencies_stay_as_they_are() {
        let to = WeightFormat::To(Precision::F16);
        assert_eq!(target("encoder.layer.0.attention.self.rotary_embeddings.inv_freq", Dtype::F32, to), Dtype::F32);
        assert_eq!(target("encoder.layer.0.output.dense.bias", Dtype::F32, to), Dtype::F16);
        assert_eq!(target("encoder.layer.0.output.dense.bias", Dtype::F64, WeightFormat::Keep), Dtype::F64);
    }
}
