//! `models verify`: whether the files of a bundle are what they were, and whether this program on this machine still
//! gives the vectors and scores that it gave on the day the bundle was made.

use std::fmt::Write as _;

use crate::bundle::{Component, Differences, Family, Spec, VECTORS_JSON};
use crate::config;
use crate::embed::{load, reference};
use crate::error::{Error, Fault, Result};
use crate::runtime::interrupt;
use crate::units::Precision;

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
            let computed = reference::vectors(&bundle, &pairs.collect::<Vec<_>>(), compute)?;
            let differences = stored.differences(&computed);
            let (place, precision) = match load::needs_libtorch(&bundle) {
                true => load::places(compute).map(|places| (places.describe, places.precision))?,
                false => ("cpu in f32".to_owned(), Precision::F32),
            };
            let tolerance = if precision == Precision::F32 { TOLERANCE_F32 } else { TOLERANCE_HALF };
            let apart = describe(&differences, spec);
            if !differences.within(tolerance, tolerance) {
                return Err(Error::new(
                    Fault::ModelVectors,
                    "the models give other vectors than when the bundle was made",
                )
                .file(bundle.path_of(VECTORS_JSON))
                .expected(format!("differences of at most {tolerance:.0e} on {place}"))
                .found(apart)
                .advice(
                    "try --device cpu --dtype f32: if that agrees, the device or the number format is at fault; \
                         otherwise vectors.json itself may be damaged, since no digest covers it: make the bundle again",
                ));
            }
            format!(
                "{} on {place} as stored by {}: {apart} apart, at most {tolerance:.0e} allowed",
                if computed.len() == 1 { "1 sequence".to_owned() } else { format!("{} sequences", computed.len()) },
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

/// Of every part that the bundle has.
fn describe(differences: &Differences, spec: &Spec) -> String {
    let Differences { dnabert, esm, scores } = differences;
    let encoders = spec.encoders().map(|(component, encoder)| {
        let title = if encoder.family == Family::Composition { "composition" } else { component.title() };
        let apart = if component == Component::Dnabert { dnabert } else { esm };
        format!("{title} {apart:.1e}")
    });
    let parts: Vec<_> = encoders.chain([format!("scores {scores:.1e}")]).collect();
    parts.join(", ")
}
