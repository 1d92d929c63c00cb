//! What the parts of a bundle make of a few sequences: stored when it is made, computed again by `models verify`.

use super::load::{self, Model};
use super::{Input, Sequence};
use crate::bundle::{Bundle, SEQUENCES, StoredVector};
use crate::config::{self, Side};
use crate::error::{Error, Fault, Result};
use crate::store::VectorBlock;
use crate::units::{Auto, DeviceChoice, Precision};

/// What a bundle makes of the fixed sequences, in f32 on the CPU; none where this build cannot compute it.
///
/// # Errors
/// A damaged bundle, and those of computing.
pub fn to_store(bundle: &Bundle) -> Result<Option<Vec<StoredVector>>> {
    if !load::computes(bundle) {
        return Ok(None);
    }
    let compute =
        config::Compute { device: DeviceChoice::Cpu, dtype: Auto::Value(Precision::F32), ..Default::default() };
    vectors(bundle, &SEQUENCES, &compute).map(Some)
}

/// Vectors and scores of pairs of nucleotides and protein; nothing of a side that the bundle lacks.
///
/// # Errors
/// A damaged bundle, and those of computing.
pub fn vectors(bundle: &Bundle, pairs: &[(&str, &str)], compute: &config::Compute) -> Result<Vec<StoredVector>> {
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
