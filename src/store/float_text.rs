//! How a score is written in a table: the shortest text that reads back the same, as numpy prints it.

/// `0.9979233`, `1.0`, and below 1e-4 `9.195179e-05`: equal to `str(numpy.float32(x))` for 0 <= x <= 1.
pub fn float32_text(x: f32) -> String {
    // float32(1e-4) lies below 1e-4: the comparison is of exact values.
    if x == 0.0 || f64::from(x) >= 1e-4 || !x.is_finite() {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    let (mantissa, exponent) = text.split_once("e-").unwrap_or((&text, "0"));
    format!("{mantissa}e-{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_numpy_prints_it() {
        // Bit pattern and text, from numpy 2.4.6.
        let cases = [
            (0x0000_0000, "0.0"),
            (0x3F80_0000, "1.0"),
            (0x3F00_0000, "0.5"),
            (953_267_991, "1e-04"),
            (953_267_854, "9.9999e-05"),
            (953_269_366, "0.00010001"),
            (930_850_946, "1.5e-05"),
            (1_065_353_215, "0.99999994"),
            (8_388_608, "1.1754944e-38"),
            (1, "1e-45"),
            (1_051_372_203, "0.33333334"),
            (872_714_123, "1.2345679e-07"),
            (956_396_123, "0.00012345"),
        ];
        for (bits, text) in cases {
            assert_eq!(float32_text(f32::from_bits(bits)), text);
        }
    }
}
