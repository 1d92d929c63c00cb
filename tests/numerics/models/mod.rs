//! The models against vectors that the reference programs computed (`tests/golden`).
//!
//! Parameters are small and random, numbers f32 on the CPU. Tolerances are absolute and lie between the noise of
//! f32 arithmetic (up to 1e-5) and the smallest effect of a plausible mistake (1.8e-4): see `sensitivity`.

mod dnabert;
mod esm2;
mod head;
mod number_formats;
mod sensitivity;
mod stored;

/// Of representations of single tokens.
const TOKEN_TOLERANCE: f32 = 5e-5;
/// Of pooled vectors.
const POOLED_TOLERANCE: f32 = 2e-5;
/// Of probabilities.
const SCORE_TOLERANCE: f32 = 5e-6;

/// Largest absolute difference; infinite for another length or for NaN.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, next| if next <= worst { worst } else { next.max(worst) })
}

/// Values of a tensor, row-major.
fn values(tensor: &tch::Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(tch::Kind::Float).reshape([-1])).unwrap()
}

/// An order of `count` things with neighbours far apart.
fn shuffled(count: usize) -> Vec<usize> {
    let step = (count / 2..).find(|step| gcd(*step, count) == 1).unwrap();
    (0..count).map(|i| (i * step + 1) % count).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
