//! `train`: merged vectors and labels to a bundle with a head of its own.

mod card;
mod held_out;
mod labelled;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chunk::Layout;
use super::cut_windows::CutWindows;
use super::frame_scores::check_vectors;
use super::upstream::{self, UpstreamFile};
use crate::bundle::trained::{self, TrainedHead};
use crate::bundle::{Bundle, Family};
use crate::calibration::fit::Classes;
use crate::calibration::{Calibration, fit};
use crate::config;
use crate::embed::{load, reference};
use crate::error::{Error, Fault, Result};
use crate::fs::{FolderLock, free_target};
use crate::labels::Labels;
use crate::runtime::interrupt;
use crate::runtime::machine;
use crate::runtime::progress::Progress;
use crate::train::checkpoint::is_state;
use crate::train::recipe::{Balance, CalibrationChoice, Recipe};
use crate::train::{Checkpoints, Member, Standard, Training, folds, head_file, weights};
use crate::units::{Bytes, counted};
use card::Card;
use held_out::HeldOut;
use labelled::{LabelledRows, Plan};

/// Fits a head and writes the bundle. Gives its folder.
///
/// # Errors
/// Labels, vectors or windows that are not what training needs; a recipe that cannot be followed; the device; a folder that
/// is taken; a signal, after which the same command goes on where it stopped.
pub fn train(settings: &config::Train, progress: &Progress) -> Result<PathBuf> {
    if load::libtorch().is_none() {
        return Err(Error::new(Fault::DeviceUnavailable, "this build of virnucpro has no libtorch and cannot train")
            .advice("install the full build: cargo build --release with the default features"));
    }
    let output = free_target(&settings.output)?;
    let bundle = load::bundle(&settings.model)?;
    let recipe = recipe(settings, &bundle)?;
    let mut merged = upstream::files(&settings.merged, "merge", "parquet")?;
    merged.sort_by_key(|file| (file.stem.len(), file.stem.clone()));
    check_vectors(&merged, &bundle, &load::stamp(&bundle))?;
    let windows = CutWindows::open(&settings.windows)?;
    windows.match_origin(&settings.merged, &merged)?;
    let layout = upstream::manifest(&settings.windows)?.and_then(|manifest| Layout::recorded(&manifest));
    let mut labels = Labels::read(&settings.labels)?;
    let plan = Plan::read(&windows, &mut labels, settings.ignore_unlabelled)?;
    let dim = bundle.spec().merged_dim() as usize;
    let dealt = folds::deal(plan.groups(), recipe.folds, settings.seed).map_err(|error| error.file(labels.path()))?;
    say_what_is_read(&plan, dim);
    let data = plan.fill(dim, &merged, progress)?;
    let folds = data.row_folds(&dealt);
    let standard = Standard::of(&data.rows, &recipe.inputs);
    let card = Card::of(settings, &bundle, &recipe, &data);
    let place = Unfinished::open(settings, &output)?;
    let training = Training {
        rows: &data.rows,
        standard: standard.as_ref(),
        weights: &weights(&data.rows, recipe.balance),
        folds: &folds,
        recipe: &recipe,
        seed: settings.seed,
        device: &settings.device,
        threads: settings.threads.or_else(|| machine::cpus().value),
        checkpoints: Checkpoints {
            folder: place.folder.clone(),
            interval: Duration::from_secs(settings.checkpoints.interval),
            fingerprint: card.fingerprint(),
        },
    };
    let members = fit_all(&training, progress)?;
    let held_out = HeldOut::of(&data, &members);
    let calibration = calibration(&recipe, &held_out, &data);
    let layers: Vec<&[head_file::Layer]> = members.iter().map(|member| &member.layers[..]).collect();
    let head = TrainedHead {
        name: settings.name.clone(),
        version: settings.version.clone(),
        licence: settings.licence.clone().unwrap_or_else(|| "not stated".to_owned()),
        source: format!("virnucpro train, recipe {}, {}", recipe.name, counted(data.windows.len() as u64, "window")),
        layout: layout.map(|layout| (layout.window as u32, layout.frames)),
        head: head_file::bytes(&layers, standard.as_ref(), settings.dtype)?,
        card: card.text(&data, &members, &held_out, calibration.as_ref())?,
        calibration,
    };
    let mut staged = trained::write(&bundle, head, &output, &interrupt::check)?;
    if let Some(vectors) = reference::to_store(&staged.open()?)? {
        staged.store_vectors(vectors)?;
    }
    interrupt::check()?;
    let folder = staged.commit()?;
    place.remove()?;
    log::info!("train: {} is a bundle; use it with --model {0}", folder.display());
    Ok(folder)
}

/// The recipe asked for, or the one that suits the encoders, with what the user asks to be different.
fn recipe(settings: &config::Train, bundle: &Bundle) -> Result<Recipe> {
    let counts = bundle.spec().encoders().any(|(_, encoder)| encoder.family == Family::Composition);
    let usual = if counts { "balanced" } else { "original" };
    let mut recipe = Recipe::find(settings.recipe.as_deref().unwrap_or(usual))?;
    if let Some(folds) = settings.folds {
        recipe = recipe.with_folds(folds);
    }
    if !settings.balance {
        recipe.balance = Balance::OFF;
    }
    Ok(recipe)
}

/// How much there is to read, before it is read.
fn say_what_is_read(plan: &Plan, dim: usize) {
    let rows = plan.rows();
    let bytes = (rows * dim * size_of::<f32>()) as u64;
    log::info!("train: {} of {dim} numbers, {} in memory", counted(rows as u64, "vector"), Bytes(bytes));
    let memory = machine::memory();
    if bytes > memory.available {
        let free = Bytes(memory.available);
        log::warn!("that is more than the {free} that are free: train on fewer vectors, or with more memory");
    }
}

fn fit_all(training: &Training<'_>, progress: &Progress) -> Result<Vec<Member>> {
    let recipe = training.recipe;
    let held_out = |member| training.folds.iter().filter(|fold| **fold == member).count();
    let trained = (0..recipe.members).map(|member| training.rows.len() - held_out(member));
    let total = trained.sum::<usize>() * recipe.epochs;
    let task = progress.task("train", "rows", Some(total as u64));
    crate::train::fit(training, &task)
}

/// None where the recipe wants none, or there is nothing to calibrate.
fn calibration(recipe: &Recipe, held_out: &HeldOut, data: &LabelledRows) -> Option<Calibration> {
    let classes = match recipe.calibration {
        CalibrationChoice::None => return None,
        CalibrationChoice::Equal => Classes::Equal,
        CalibrationChoice::Counted => Classes::AsTheyAre,
    };
    let fitted = fit::fit(&held_out.scored(data), classes);
    if fitted.is_none() {
        log::warn!("the scores of held-out windows do not rise with their labels: the bundle gets no calibration");
    }
    fitted
}

/// The folder of unfinished members, held by this process.
struct Unfinished {
    folder: PathBuf,
    lock: Option<FolderLock>,
}

impl Unfinished {
    /// In the folder asked for, else beside the bundle; made if it is not there.
    fn open(settings: &config::Train, output: &Path) -> Result<Self> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let folder = match &settings.checkpoints.folder {
            Some(folder) => folder.join(format!("{name}.training")),
            None => output.with_file_name(format!(".{name}.training")),
        };
        fs::create_dir_all(&folder).map_err(|error| Error::writing(&folder, error))?;
        let lock = Some(FolderLock::take(&folder)?);
        crate::fs::remove_abandoned(&folder)?;
        Ok(Self { folder, lock })
    }

    /// Removes what is of no use any more.
    fn remove(self) -> Result<()> {
        let folder = &self.folder;
        let files = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?.flatten();
        for file in files.filter(|file| is_state(&file.file_name().to_string_lossy())) {
            fs::remove_file(file.path()).map_err(|error| Error::writing(folder, error))?;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.lock = None;
        // It stays where something is in it: work that can go on, or files of another program.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Names and digests of files, for the card.
fn sources(files: &[UpstreamFile], digests: Vec<crate::fs::FileDigest>) -> Vec<card::Source> {
    files.iter().zip(digests).map(|(file, digest)| card::Source { file: file.name(), blake3: digest.blake3 }).collect()
}
