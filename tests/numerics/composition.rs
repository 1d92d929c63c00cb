//! Features of windows against those of another program, made from the definition alone.

use virnucpro::composition::{FEATURES, Features};

use crate::support::repository;

#[test]
fn features_are_those_of_the_definition() {
    let folder = repository().join("tests/golden/composition");
    let windows = std::fs::read_to_string(folder.join("windows.txt")).unwrap();
    let expected = std::fs::read(folder.join("features.f32")).unwrap();
    let expected: Vec<f32> = expected.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(windows.lines().count(), expected.len() / FEATURES);
    let (mut features, mut found) = (Features::new(), [0.0; FEATURES]);
    for (window, expected) in windows.lines().zip(expected.chunks_exact(FEATURES)) {
        features.of(window.as_bytes(), &mut found);
        for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
            let tolerance = 1e-6 * expected.abs().max(1.0);
            assert!((found - expected).abs() <= tolerance, "feature {place} of {window}: {found} {expected}");
        }
    }
}
