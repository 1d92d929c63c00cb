//! `vectors.json`: what the models of a bundle gave on the day it was made, for a few short sequences.
//!
//! A digest proves that files are what they were; these vectors prove that this program, on this machine, still makes
//! of them what it made then. They differ in their last digits from machine to machine, so the digest of the bundle does
//! not cover them: the file names the bundle it belongs to instead.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::weights::bytes;

/// Name of the file.
pub const VECTORS_JSON: &str = "vectors.json";

/// Content of a `vectors.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredVectors {
    /// Digest of the bundle they belong to.
    pub bundle: Digest,
    /// Version of this program that computed them, in f32 on a CPU.
    pub made_by: String,
    /// One entry per sequence.
    pub sequences: Vec<StoredVector>,
}

/// A pair of sequences and what the models make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredVector {
    /// What DNABERT-S reads.
    pub nucleotides: String,
    /// What ESM-2 reads.
    pub protein: String,
    /// Pooled vector of DNABERT-S.
    pub dnabert: Vec<f32>,
    /// Pooled vector of ESM-2.
    pub esm: Vec<f32>,
    /// Scores of both joined: others, virus.
    pub scores: [f32; 2],
}

/// An open frame of a random sequence, of 30 codons, and its translation: a moment's work with the largest model.
pub const SEQUENCES: [(&str, &str); 1] = [(
    "CGCTCTTCATATCCGATCGGGAATCGGCGCCTTTGGCCGAAGGGCAGACATCATCGATCCAAGACTGCAGATATACGTTCCCTTACGCTAT",
    "RSSYPIGNRRLWPKGRHHRSKTADIRSLTL",
)];

/// Sequences and their letters that a file may hold: reading one is bounded work.
const MAX_SEQUENCES: usize = 64;
const MAX_LETTERS: usize = 4096;

impl StoredVectors {
    /// Reads and checks the content of a `vectors.json`; `file` is named in errors. `dims` are the widths of both
    /// vectors and `bundle` is the digest of the bundle around it.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`], [`Fault::ModelPointer`]; [`Fault::ModelMismatch`] when it belongs to another bundle.
    pub(super) fn parse(json: &[u8], file: &Path, bundle: Digest, dims: [usize; 2]) -> Result<Self> {
        let refused = |found: String| {
            Error::new(Fault::ModelFormat, "the stored vectors of this bundle cannot be read")
                .file(file)
                .found(found)
                .advice("make the bundle again, by 'models import' or 'train'")
        };
        let stored: Self =
            serde_json::from_str(bytes::text(json, file)?).map_err(|error| refused(error.to_string()))?;
        if stored.bundle != bundle {
            return Err(Error::new(Fault::ModelMismatch, "these stored vectors belong to another bundle")
                .file(file)
                .expected(format!("digest {bundle}"))
                .found(format!("digest {}", stored.bundle))
                .advice("make the bundle again, by 'models import' or 'train'"));
        }
        if !(1..=MAX_SEQUENCES).contains(&stored.sequences.len()) {
            return Err(refused(format!("{} sequences", stored.sequences.len())));
        }
        for (number, sequence) in (1..).zip(&stored.sequences) {
            let StoredVector { nucleotides, protein, dnabert, esm, scores } = sequence;
            let letters = [nucleotides, protein].iter().all(|text| {
                (1..=MAX_LETTERS).contains(&text.len()) && text.bytes().all(|letter| letter.is_ascii_uppercase())
            });
            if !letters || [dnabert.len(), esm.len()] != dims {
                return Err(refused(format!(
                    "sequence {number} of {} and {} letters with vectors of {} and {} numbers instead of {} and {}",
                    nucleotides.len(),
                    protein.len(),
                    dnabert.len(),
                    esm.len(),
                    dims[0],
                    dims[1]
                )));
            }
            // JSON knows no NaN, but a number beyond f32 is read as infinite.
            if !dnabert.iter().chain(esm).chain(scores).all(|value| value.is_finite()) {
                return Err(refused(format!("a number that is not finite, in sequence {number}")));
            }
        }
        Ok(stored)
    }

    /// The text of `vectors.json`.
    ///
    /// # Errors
    /// None but a defect of this program.
    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec(self)
            .map_err(|error| Error::new(Fault::Bug, "stored vectors cannot be written").caused_by(error))?;
        json.push(b'\n');
        Ok(json)
    }

    /// How far the vectors and scores of `computed` are from these: the largest difference, for vectors as a share of
    /// the largest number in the stored one; NaN where the sequences are not the same.
    pub fn differences(&self, computed: &[StoredVector]) -> Differences {
        let mut largest = Differences { dnabert: 0.0, esm: 0.0, scores: 0.0 };
        if self.sequences.len() != computed.len() {
            return Differences { dnabert: f32::NAN, esm: f32::NAN, scores: f32::NAN };
        }
        for (stored, computed) in self.sequences.iter().zip(computed) {
            let share = |stored: &[f32], computed: &[f32]| distance(stored, computed) / norm(stored);
            largest.dnabert = larger(largest.dnabert, share(&stored.dnabert, &computed.dnabert));
            largest.esm = larger(largest.esm, share(&stored.esm, &computed.esm));
            largest.scores = larger(largest.scores, distance(&stored.scores, &computed.scores));
        }
        largest
    }
}

/// Largest differences between stored and computed numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    /// Of DNABERT-S vectors, as a share of the largest number of the stored vector.
    pub dnabert: f32,
    /// Of ESM-2 vectors, likewise.
    pub esm: f32,
    /// Of scores.
    pub scores: f32,
}

impl Differences {
    /// Whether none is larger than `vectors` and `scores`, or no number.
    pub fn within(&self, vectors: f32, scores: f32) -> bool {
        self.dnabert <= vectors && self.esm <= vectors && self.scores <= scores
    }
}

/// Largest difference; NaN if there is one in either or if one is longer.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::NAN;
    }
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value.abs()).fold(f32::MIN_POSITIVE, larger)
}

/// The larger of two numbers; unlike [`f32::max`], NaN if either is.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> StoredVectors {
        let (nucleotides, protein) = ("ACGT".to_owned(), "T".to_owned());
        let sequence =
            StoredVector { nucleotides, protein, dnabert: vec![0.5, -2.0], esm: vec![0.1], scores: [0.25, 0.75] };
        StoredVectors { bundle: Digest::of(b"bundle"), made_by: "1".to_owned(), sequences: vec![sequence] }
    }

    fn parse(json: &str) -> Result<StoredVectors> {
        StoredVectors::parse(json.as_bytes(), Path::new(VECTORS_JSON), Digest::of(b"bundle"), [2, 1])
    }

    fn json() -> String {
        String::from_utf8(stored().to_json().unwrap()).unwrap()
    }

    #[test]
    fn text_and_back() {
        assert_eq!(parse(&json()).unwrap(), stored());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cases = [
            ("ACGT", "", Fault::ModelFormat),
            ("ACGT", "acgt", Fault::ModelFormat),
            ("0.5,-2.0", "0.5", Fault::ModelFormat),
            ("0.5", "1e39", Fault::ModelFormat),
            ("0.5", "null", Fault::ModelFormat),
            ("[0.25,0.75]", "[0.25]", Fault::ModelFormat),
            ("scores", "score", Fault::ModelFormat),
            (&Digest::of(b"bundle").to_string(), &Digest::of(b"other").to_string(), Fault::ModelMismatch),
        ];
        for (old, new, fault) in cases {
            let error = parse(&json().replacen(old, new, 1)).err().unwrap_or_else(|| panic!("{new} is accepted"));
            assert_eq!(error.fault(), fault, "{new}");
        }
        assert!(parse("").is_err());
    }

    #[test]
    fn differences_are_shares_of_the_largest_number_and_nan_is_never_within() {
        let (stored, mut computed) = (stored(), stored().sequences);
        assert!(stored.differences(&computed).within(0.0, 0.0));
        computed[0].dnabert[0] += 0.02;
        computed[0].scores[1] += 0.03;
        let differences = stored.differences(&computed);
        assert!((differences.dnabert - 0.01).abs() < 1e-6 && (differences.scores - 0.03).abs() < 1e-6);
        assert!(differences.within(0.011, 0.031) && !differences.within(0.009, 1.0) && !differences.within(1.0, 0.02));
        computed[0].esm[0] = f32::NAN;
        assert!(!stored.differences(&computed).within(f32::MAX, f32::MAX));
        assert!(!stored.differences(&[]).within(f32::MAX, f32::MAX));
    }

    #[test]
    fn the_sequences_are_frames_and_their_translations() {
        for (nucleotides, protein) in SEQUENCES {
            assert_eq!(nucleotides.len(), 3 * protein.len() + 1);
        }
    }
}
