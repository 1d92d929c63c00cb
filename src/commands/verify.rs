//! `models verify`: whether the files of a bundle are what they were, and whether this program on this machine still
//! makes of them what it made when the bundle was imported.

use std::fmt::Write as _;

use crate::bundle::{Bundle, Differences, SEQUENCES, StoredVector, VECTORS_JSON};
use crate::config::{self, Side};
use crate::embed::load::{self, Model};
use crate::embed::{Input, Sequence};
use crate::error::{Error, Fault, Result};
use crate::runtime::interrupt;
use crate::store::VectorBlock;
use crate::units::{Auto, DeviceChoice, Precision};

/// How far vectors and scores may be from stored ones: f32 sums in another order, on another processor.
const TOLERANCE_F32: f32 = 1e-4;
/// The same where matrix products are rounded to f16 or bf16 (`docs/numerics.md`).
const TOLERANCE_HALF: f32 = 2e-2;

/// Proves every file of a bundle and, unless only digests are asked for, its stored vectors; says so.
///
/// # Errors
/// No such bundle exists, a file is not what it was, or the models give something else:
/// [`Fault::ModelVectors`].
pub fn verify(settings: &config::Verify) -> Result<String> {
    interrupt::advise("verify the bundle again: nothing was changed, and a check starts from the beginning");
    let (bundle, compute) = (load::bundle(&settings.model)?, settings.compute.as_ref());
    let spec = bundle.spec();
    let stored = bundle.stored_vectors()?;
    // Loading proves every file that it uses, and it uses all of them.
    if stored.is_none() || compute.is_none() || !load::computes(&bundle) {
        bundle.verify(&interrupt::check)?;
    }
    let mut text = format!("{} {}, digest {}\n", spec.name, spec.version, bundle.digest());
    let _ = writeln!(text, "files    {} are what bundle.yaml records", spec.files.len());
    let vectors = match (stored, compute) {
        (None, _) => "none are stored".to_owned(),
        (Some(_), None) => "stored, not computed".to_owned(),
        (Some(_), Some(_)) if !load::computes(&bundle) => "not computed: this build has no libtorch".to_owned(),
        (Some(stored), Some(compute)) => {
            let pairs = stored.sequences.iter().map(|pair| (pair.nucleotides.as_str(), pair.protein.as_str()));
            let computed = vectors(&bundle, &pairs.collect::<Vec<_>>(), compute)?;
            let differences = stored.differences(&computed);
            let place = load::places(compute)?;
            let tolerance = if place.precision == Precision::F32 { TOLERANCE_F32 } else { TOLERANCE_HALF };
            let apart = describe(&differences);
            if !differences.within(tolerance, tolerance) {
                return Err(Error::new(
                    Fault::ModelVectors,
                    "the models give other vectors than when they were imported",
                )
                .file(bundle.path_of(VECTORS_JSON))
                .expected(format!("differences of at most {tolerance:.0e} on {}", place.describe))
                .found(apart)
                .advice(
                    "try --device cpu --dtype f32: if that agrees, the device or the number format is at fault; \
                         otherwise vectors.json itself may be damaged, since no digest covers it: import the bundle again",
                ));
            }
            format!(
                "{} on {} as stored by {}: {apart} apart, at most {tolerance:.0e} allowed",
                if computed.len() == 1 { "1 sequence".to_owned() } else { format!("{} sequences", computed.len()) },
                place.describe,
                stored.made_by
            )
        }
    };
    let _ = writeln!(text, "vectors  {vectors}");
    if !spec.trained {
        text.push_str("UNTRAINED: random weights, results mean nothing\n");
    }
    Ok(text)
}

fn describe(differences: &Differences) -> String {
    let Differences { dnabert, esm, scores } = differences;
    format!("DNABERT-S {dnabert:.1e}, ESM-2 {esm:.1e}, scores {scores:.1e}")
}

/// What a bundle makes of the fixed sequences, in f32 on the CPU; none where this build cannot compute it.
///
/// # Errors
/// A damaged bundle, and those of computing.
pub fn vectors_to_store(bundle: &Bundle) -> Result<Option<Vec<StoredVector>>> {
    if !load::computes(bundle) {
        return Ok(None);
    }
    let compute =
        config::Compute { device: DeviceChoice::Cpu, dtype: Auto::Value(Precision::F32), ..Default::default() };
    vectors(bundle, &SEQUENCES, &compute).map(Some)
}

/// Vectors and scores of pairs of nucleotides and protein; nothing of a side that the bundle lacks.
fn vectors(bundle: &Bundle, pairs: &[(&str, &str)], compute: &config::Compute) -> Result<Vec<StoredVector>> {
    let sides = load::sides(bundle);
    let of_side = |side, sequences: Vec<&str>| match sides.contains(&side) {
        true => embed(bundle, side, sequences, compute),
        false => Ok(vec![Vec::new(); sequences.len()]),
    };
    // One encoder after the other: both at once would take the memory of both.
    let dnabert = of_side(Side::Dnabert, pairs.iter().map(|pair| pair.0).collect())?;
    let esm = of_side(Side::Esm, pairs.iter().map(|pair| pair.1).collect())?;
    let merged: Vec<f32> = dnabert.iter().zip(&esm).flat_map(|(dnabert, esm)| [&dnabert[..], esm].concat()).collect();
    let scores = load::head(bundle, compute)?.score(&merged)?;
    let rows = pairs.iter().zip(dnabert).zip(esm).zip(scores);
    Ok(rows
        .map(|((((nucleotides, protein), dnabert), esm), score)| StoredVector {
            nucleotides: (*nucleotides).to_owned(),
            protein: (*protein).to_owned(),
            dnabert,
            esm,
            scores: [score.others, score.virus],
        })
        .collect())
}

/// One vector per sequence.
fn embed(bundle: &Bundle, side: Side, sequences: Vec<&str>, compute: &config::Compute) -> Result<Vec<Vec<f32>>> {
    let mut session = load::session(&Model::Bundled(bundle, side), compute)?;
    let (dim, expected) = (session.dim(), sequences.len());
    let named = (1..).zip(sequences).map(|(number, letters)| {
        let (id, letters) = (format!("stored sequence {number}"), letters.as_bytes().to_vec());
        Ok(Input::<()>::Sequence(Sequence { id, letters, protein: None, known: None }))
    });
    let named: Vec<_> = named.collect();
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    session.embed(named.into_iter(), &mut |block: VectorBlock| {
        vectors.extend(block.values.chunks_exact(dim.max(1)).map(<[f32]>::to_vec));
        Ok(())
    })?;
    if vectors.len() == expected {
        return Ok(vectors);
    }
    Err(Error::new(Fault::Count, "the session gave another number of vectors than sequences went in")
        .expected(expected.to_string())
        .found(vectors.len().to_string()))
}
