//! Arguments of `train`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::Task;
use super::models::bundle_name;
use super::options::{BundleOptions, CheckpointOptions, PlaceOptions, in_range, switch};
use super::stages::windows_beside;
use super::words::words;
use crate::config;
use crate::error::{Error, Fault, Result};
use crate::units::Precision;

/// What the long help says of `train`.
pub const TRAIN: &str = "Fit a head to labelled vectors and write a bundle with it.\n\n\
    The vectors are those that `merge` wrote, made with the encoders of --model. Folds are dealt by the groups of the \
    labels, so that relatives never sit on both sides; a member of the head is trained on all folds but one, and what \
    it says of that one calibrates the head. The bundle has the encoders of --model, the head, its calibration, and \
    card.json: what it was trained on, how, and how well it does on what it has not seen.";

/// `train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        virnucpro train out/merged --labels labels.tsv --name soil -o models/soil\n  \
        virnucpro train merged --windows windows --labels labels.tsv -m vnp-500 \\\n      \
        --recipe balanced --seed 7 --name marine -o models/marine\n  \
        virnucpro train --print-recipe --recipe balanced > own.yaml")]
pub struct TrainArgs {
    /// Merged vectors: files or folders
    #[arg(value_name = "MERGED", required_unless_present = "print_recipe")]
    merged: Vec<PathBuf>,
    /// Folder that `chunk` wrote; `windows` beside the folder of the first MERGED if not given
    #[arg(long, value_name = "DIR", env = "VIRNUCPRO_WINDOWS")]
    windows: Option<PathBuf>,
    /// Table of labels: `sequence` or `id`, `label`, and if wanted `group`
    #[arg(long, value_name = "TSV", required_unless_present = "print_recipe", env = "VIRNUCPRO_LABELS")]
    labels: Option<PathBuf>,
    /// Leave out vectors that have no label, which otherwise is an error
    #[arg(long, env = "VIRNUCPRO_IGNORE_UNLABELLED", value_parser = switch)]
    ignore_unlabelled: bool,
    /// Folder of the new bundle; it must not exist, or be empty
    #[arg(short, long, value_name = "DIR", required_unless_present = "print_recipe", help_heading = "Bundle")]
    output: Option<PathBuf>,
    /// Name of the new bundle: letters, digits, '.', '_', '-'
    #[arg(long, value_parser = bundle_name, required_unless_present = "print_recipe", help_heading = "Bundle")]
    name: Option<String>,
    /// Version of the new bundle
    #[arg(long, default_value = "1", help_heading = "Bundle")]
    version: String,
    /// Licence of the head
    #[arg(long, value_name = "TEXT", help_heading = "Bundle")]
    licence: Option<String>,
    /// Number format that the head is stored in: f32, or f16 for half the size
    #[arg(long, default_value = "f32", hide_possible_values = true, value_parser = words::<Precision>(&["f32", "f16"]), help_heading = "Bundle")]
    dtype: Precision,
    /// original, balanced, or a YAML file; balanced for composition features, original for language models if not given
    #[arg(long, value_name = "RECIPE", help_heading = "Training")]
    recipe: Option<String>,
    /// Print the recipe, with a comment on every field, and stop; without --recipe that of --model
    #[arg(long, action = ArgAction::SetTrue, help_heading = "Training")]
    print_recipe: bool,
    /// Let every row count the same, whatever the recipe says
    #[arg(long, action = ArgAction::SetTrue, help_heading = "Training")]
    no_balance: bool,
    /// Parts that the groups are dealt into; the recipe's if not given
    #[arg(long, value_name = "N", value_parser = folds, help_heading = "Training")]
    folds: Option<usize>,
    /// What random numbers follow from: the same seed gives the same bundle
    #[arg(long, value_name = "N", default_value = "1", value_parser = seed, help_heading = "Training")]
    seed: u64,
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    checkpoints: CheckpointOptions,
    #[command(flatten)]
    model: BundleOptions,
}

impl TrainArgs {
    /// What to do.
    ///
    /// # Errors
    /// An argument is missing or not a path.
    pub fn task(self) -> Result<Task> {
        if self.print_recipe {
            return Ok(Task::PrintRecipe { recipe: self.recipe, model: self.model.settings() });
        }
        config::refuse_addresses_and_lists(&self.merged)?;
        if self.dtype == Precision::Bf16 {
            return Err(Error::new(Fault::Usage, "a head is not stored in bf16")
                .expected("--dtype f32 or f16")
                .advice("f16 takes the same space and keeps more of each number"));
        }
        let missing = || Error::new(Fault::Usage, "--labels, --output and --name are needed");
        Ok(Task::Train(Box::new(config::Train {
            windows: self.windows.unwrap_or_else(|| windows_beside(&self.merged)),
            merged: self.merged,
            labels: self.labels.ok_or_else(missing)?,
            ignore_unlabelled: self.ignore_unlabelled,
            model: self.model.settings(),
            output: self.output.ok_or_else(missing)?,
            name: self.name.ok_or_else(missing)?,
            version: self.version,
            licence: self.licence,
            recipe: self.recipe,
            balance: !self.no_balance,
            folds: self.folds,
            seed: self.seed,
            dtype: self.dtype,
            device: self.place.device,
            threads: self.place.threads,
            checkpoints: self.checkpoints.settings(),
        })))
    }
}

fn seed(text: &str) -> std::result::Result<u64, String> {
    text.parse().map_err(|_| "a whole number, not below 0, is expected".to_owned())
}

fn folds(text: &str) -> std::result::Result<usize, String> {
    in_range(text, 2, 1000)
}
