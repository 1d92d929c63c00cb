//! What a head is and how it is fitted: a recipe, in YAML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};
use crate::fs::text;

/// How a head is fitted. `docs/train.md` has every field, as have the built-in recipes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is called in messages and model cards.
    pub name: String,
    /// What happens to the inputs.
    pub inputs: Inputs,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Share of each hidden layer that is left out in training.
    pub dropout: f32,
    /// 1: the logit of a virus; 2: others and virus, whose difference is the logit.
    pub outputs: usize,
    /// Share of one half in the labels that are trained on.
    pub label_smoothing: f32,
    /// What makes a step of a gradient.
    pub optimiser: Optimiser,
    /// Learning rate.
    pub rate: Rate,
    /// Rows of a step.
    pub batch: usize,
    /// Passes over the training rows, at most.
    pub epochs: usize,
    /// Epochs without a smaller loss on held-out rows after which training ends; none: all epochs, the last weights.
    pub patience: Option<usize>,
    /// Parts that groups are dealt into.
    pub folds: usize,
    /// Networks, each trained on all parts but one.
    pub members: usize,
    /// What rows count.
    pub balance: Balance,
    /// What classes count in the calibration.
    pub calibration: CalibrationChoice,
}

/// What happens to the inputs of a head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Whether each is brought to mean 0 and deviation 1.
    pub standardise: bool,
    /// How far from 0 a standardised one may be.
    pub limit: Option<f32>,
    /// Deviation of the noise added in training.
    pub noise: f32,
    /// Share that is left out in training.
    pub dropout: f32,
}

/// What makes a step of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the step before that is kept.
        momentum: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW {
        /// Share of a weight that decays per step, times the learning rate.
        weight_decay: f64,
    },
}

/// Learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// At the start.
    pub start: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs between two steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
    /// What a step multiplies it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It is multiplied by a factor after every so many epochs.
    Steps,
    /// Along a cosine to 0, at every step.
    Cosine,
}

impl Rate {
    /// In an epoch, counted from 0, when `done` of all steps are done, as a share.
    pub fn at(&self, epoch: usize, done: f64) -> f64 {
        match self.schedule {
            Schedule::Cosine => self.start * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
            Schedule::Steps => {
                let steps = i32::try_from(epoch / self.every.unwrap_or(usize::MAX).max(1)).unwrap_or(i32::MAX);
                self.start * self.factor.unwrap_or(1.0).powi(steps)
            }
        }
    }
}

/// What rows count in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Whether both classes count the same.
    pub classes: bool,
    /// A group of n rows counts as n to this power.
    pub groups: f64,
}

impl Balance {
    /// Every row counts the same.
    pub const OFF: Self = Self { classes: false, groups: 1.0 };
}

/// What classes count in the calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationChoice {
    /// The same: a probability of one half is the border between both where viruses are as frequent as others.
    Equal,
    /// As often as they are there.
    Counted,
    /// The bundle gets no calibration.
    None,
}

/// Names of the built-in recipes, and their text.
pub const BUILT_IN: [(&str, &str); 2] =
    [("original", include_str!("recipes/original.yaml")), ("balanced", include_str!("recipes/balanced.yaml"))];

impl Recipe {
    /// The built-in recipe of this name, or that of a file.
    ///
    /// # Errors
    /// [`Fault::Usage`] for a name that there is not; [`Fault::Config`] for a file that cannot be followed.
    pub fn find(name: &str) -> Result<Self> {
        let (text, path) = text_of(name)?;
        let at = |error: Error| path.iter().fold(error, |error, path| error.file(path));
        let recipe: Self = serde_yaml::from_str(&text).map_err(|error| {
            let line = error.location().map(|place| place.line() as u64);
            let refused = Error::new(Fault::Config, "the recipe cannot be read");
            let refused = line.into_iter().fold(refused, Error::line).expected("the fields of a recipe, in YAML");
            at(refused.found(in_words(&error.to_string())).advice(SEE))
        })?;
        recipe.check().map_err(at)?;
        Ok(recipe)
    }

    /// With another number of folds: a head of one member per fold keeps that.
    pub fn with_folds(mut self, folds: usize) -> Self {
        self.members = if self.members == self.folds { folds } else { self.members.min(folds) };
        self.folds = folds;
        self
    }

    /// Whether the numbers make sense.
    fn check(&self) -> Result<()> {
        let share = |value: f32| (0.0..1.0).contains(&value);
        let Inputs { standardise, limit, noise, dropout } = self.inputs;
        let rate = self.rate;
        let optimiser = match self.optimiser {
            Optimiser::Sgd { momentum } => (0.0..1.0).contains(&momentum),
            Optimiser::AdamW { weight_decay } => weight_decay >= 0.0 && weight_decay.is_finite(),
        };
        let steps = match rate.schedule {
            Schedule::Steps => {
                rate.every.is_some_and(|every| every > 0) && rate.factor.is_some_and(|factor| factor > 0.0)
            }
            Schedule::Cosine => rate.every.is_none() && rate.factor.is_none(),
        };
        let sizes = !self.hidden.is_empty() && self.hidden.iter().all(|width| (1..=1 << 16).contains(width));
        let rules = [
            (!self.name.is_empty() && !self.name.chars().any(char::is_control), "name: one line of text"),
            (sizes, "hidden: widths from 1 to 65536, at least one"),
            (share(dropout) && share(self.dropout), "dropout: from 0 to below 1"),
            ((0.0..=100.0).contains(&noise), "noise: from 0 to 100"),
            (limit.is_none_or(|limit| limit > 0.0 && limit.is_finite()), "limit: a number above 0, or null"),
            (standardise || limit.is_none(), "limit: null unless inputs are standardised"),
            ((1..=2).contains(&self.outputs), "outputs: 1 or 2"),
            (share(self.label_smoothing), "label_smoothing: from 0 to below 1"),
            (optimiser, "optimiser: a momentum from 0 to below 1, or a weight_decay of at least 0"),
            (rate.start > 0.0 && rate.start.is_finite(), "rate: a start above 0"),
            (steps, "rate: `every` and `factor` above 0 with the schedule steps, neither with cosine"),
            ((2..=1 << 20).contains(&self.batch), "batch: from 2 to 1048576"),
            ((1..=100_000).contains(&self.epochs), "epochs: from 1 to 100000"),
            (self.patience.is_none_or(|patience| patience > 0), "patience: at least 1, or null"),
            ((2..=1000).contains(&self.folds), "folds: from 2 to 1000"),
            ((1..=self.folds).contains(&self.members), "members: from 1 to the number of folds"),
            ((0.0..=1.0).contains(&self.balance.groups), "balance: groups from 0 to 1"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, expected)) => Err(Error::new(Fault::Config, format!("the recipe '{}' makes no sense", self.name))
                .expected(expected)
                .advice(SEE)),
        }
    }
}

/// What the reader of YAML says, without its own place and the names of types in the program.
fn in_words(error: &str) -> String {
    let text = error.rsplit_once(" at line ").map_or(error, |(text, _)| text);
    let whole = ["expected usize", "expected u64", "expected u32"];
    let text = whole.iter().fold(text.to_owned(), |text, word| text.replace(word, "expected a whole number"));
    ["expected f32", "expected f64"].iter().fold(text, |text, word| text.replace(word, "expected a number"))
}

const SEE: &str = "`virnucpro train --print-recipe --recipe original` prints one, with a comment on every field";

/// The text of a built-in recipe or of a file, and the file.
///
/// # Errors
/// [`Fault::Usage`] for a name that there is not; a file that cannot be read.
pub fn text_of(name: &str) -> Result<(String, Option<&Path>)> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok(((*text).to_owned(), None));
    }
    let path = Path::new(name);
    if path.extension().is_none() && !path.exists() {
        let names = BUILT_IN.map(|(name, _)| name).join(", ");
        return Err(Error::new(Fault::Usage, format!("there is no recipe '{name}'"))
            .expected(format!("{names}, or a YAML file"))
            .advice("`virnucpro train --print-recipe --recipe original` prints one to start from"));
    }
    let text = text::read(path, Fault::Config).map_err(|error| Error::reading(path, error))??;
    Ok((text, Some(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_recipes_are_read_back_as_they_are_written() {
        for (name, _) in BUILT_IN {
            let recipe = Recipe::find(name).unwrap();
            assert_eq!(recipe.name, name);
            let written = serde_yaml::to_string(&recipe).unwrap();
            assert_eq!(serde_yaml::from_str::<Recipe>(&written).unwrap(), recipe);
        }
    }

    #[test]
    fn the_original_is_that_of_the_published_heads() {
        let recipe = Recipe::find("original").unwrap();
        assert_eq!((recipe.hidden.as_slice(), recipe.dropout, recipe.outputs, recipe.batch), (&[512][..], 0.5, 2, 32));
        assert_eq!(recipe.optimiser, Optimiser::Sgd { momentum: 0.9 });
        let rates = [0, 9, 10, 20].map(|epoch| recipe.rate.at(epoch, 0.3));
        let expected = [2e-4, 2e-4, 2e-4 * 0.85, 2e-4 * 0.85 * 0.85];
        assert!(rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < 1e-12), "{rates:?}");
        assert_eq!((recipe.epochs, recipe.patience, recipe.folds, recipe.members), (200, Some(5), 10, 1));
    }

    #[test]
    fn a_cosine_falls_from_the_start_to_nought() {
        let rate = Recipe::find("balanced").unwrap().rate;
        assert_eq!(rate.at(0, 0.0), 0.002);
        assert!((rate.at(3, 0.5) - 0.001).abs() < 1e-12 && rate.at(3, 1.0).abs() < 1e-12);
    }

    #[test]
    fn another_number_of_folds_keeps_one_member_per_fold_where_there_was_one() {
        let folds = |name, count| {
            let recipe = Recipe::find(name).unwrap().with_folds(count);
            (recipe.folds, recipe.members)
        };
        assert_eq!((folds("balanced", 3), folds("original", 5)), ((3, 3), (5, 1)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.yaml");
        let refused = |old: &str, new: &str| {
            let (_, text) = BUILT_IN[1];
            assert!(text.contains(old), "{old}");
            std::fs::write(&path, text.replace(old, new)).unwrap();
            let error = Recipe::find(path.to_str().unwrap()).unwrap_err();
            assert_eq!((error.fault(), error.path()), (Fault::Config, Some(path.as_path())), "{new}");
            error.report("virnucpro train")
        };
        assert!(refused("hidden: [256, 128]", "hidden: []").contains("at least one"));
        assert!(refused("batch: 512 ", "batch: 1 ").contains("from 2"));
        assert!(refused("batch: 512 ", "batches: 512 ").contains("batches"));
        assert!(refused("batch: 512 ", "batch: many ").contains("expected a whole number\n"));
        assert!(refused("start: 0.002 ", "start: fast ").contains("expected a number\n"));
        assert!(refused("kind: adamw ", "kind: adam ").contains("adam"));
        assert!(refused("weight_decay: 0.05", "momentum: 0.05").contains("weight_decay"));
        assert!(refused("standardise: true", "standardise: false").contains("limit"));
        assert!(refused("schedule: cosine", "schedule: steps").contains("every"));
        assert!(refused("members: 5", "members: 6").contains("members"));
        assert!(refused("patience: null", "patience: 0").contains("patience"));
        let error = Recipe::find("blanced").unwrap_err();
        assert_eq!(error.fault(), Fault::Usage);
        assert_eq!(Recipe::find("none.yaml").unwrap_err().fault(), Fault::InputMissing);
    }
}
