//! The card of a trained head: what it was fitted to, how, and how well it does on what it has not seen.

use std::collections::BTreeMap;

use serde::Serialize;

use super::held_out::{HeldOut, Measured};
use super::labelled::LabelledRows;
use crate::bundle::Bundle;
use crate::calibration::Calibration;
use crate::config;
use crate::embed::load;
use crate::error::{Error, Fault, Result};
use crate::store::ModelStamp;
use crate::train::recipe::Recipe;
use crate::train::{Course, Member};

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name without the folder.
    pub file: String,
    /// Digest of its bytes.
    pub blake3: String,
}

/// `card.json`, as far as it is known before training: all that the result depends on.
#[derive(Serialize)]
pub struct Card<'a> {
    tool: &'static str,
    libtorch: Option<&'static str>,
    name: &'a str,
    base: ModelStamp,
    recipe: &'a Recipe,
    seed: u64,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    sources: &'a [Source],
    dim: usize,
    rows: ByClass,
    windows: usize,
    sequences: usize,
    groups: usize,
}

#[derive(Serialize)]
struct ByClass {
    others: usize,
    virus: usize,
}

/// The rest of it.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    card: &'a Card<'a>,
    members: Vec<MemberCard<'a>>,
    /// Of windows that were held out, by members that had not seen them.
    held_out: Measured,
    /// By length, each window with the nearest one.
    held_out_by_length: BTreeMap<u64, Measured>,
    calibration: Option<&'a Calibration>,
}

#[derive(Serialize)]
struct MemberCard<'a> {
    trained_rows: usize,
    held_out_rows: usize,
    #[serde(flatten)]
    course: &'a Course,
}

impl<'a> Card<'a> {
    /// Of what will be trained.
    pub fn of(settings: &'a config::Train, bundle: &Bundle, recipe: &'a Recipe, data: &'a LabelledRows) -> Self {
        let virus = data.rows.viral.iter().filter(|is_viral| **is_viral).count();
        let sequences: std::collections::BTreeSet<u32> = data.windows.iter().map(|window| window.sequence).collect();
        Self {
            tool: concat!("virnucpro ", env!("CARGO_PKG_VERSION")),
            libtorch: load::libtorch(),
            name: &settings.name,
            base: load::stamp(bundle),
            recipe,
            seed: settings.seed,
            data: Data {
                sources: &data.sources,
                dim: data.rows.dim,
                rows: ByClass { others: data.rows.len() - virus, virus },
                windows: data.windows.len(),
                sequences: sequences.len(),
                groups: data.groups.len(),
            },
        }
    }

    /// What tells this training from any other.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    /// The whole card as JSON.
    ///
    /// # Errors
    /// It cannot be written as text.
    pub fn text(
        &self,
        data: &LabelledRows,
        members: &[Member],
        held_out: &HeldOut,
        calibration: Option<&Calibration>,
    ) -> Result<Vec<u8>> {
        let lengths: Vec<u64> = calibration.iter().flat_map(|own| &own.windows).map(|window| window.length).collect();
        let (all, by_length) = held_out.measured(data, &lengths);
        let members = members.iter().map(|member| MemberCard {
            trained_rows: data.rows.len() - member.held_out.len(),
            held_out_rows: member.held_out.len(),
            course: &member.course,
        });
        let whole =
            Whole { card: self, members: members.collect(), held_out: all, held_out_by_length: by_length, calibration };
        let mut text = serde_json::to_vec_pretty(&whole)
            .map_err(|error| Error::new(Fault::Bug, "the card cannot be written").caused_by(error))?;
        text.push(b'\n');
        Ok(text)
    }
}
