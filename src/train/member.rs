//! One network, fitted to all rows but those of its fold.

use tch::Device;

use super::batches::{disturbed, inputs, masks, order, pieces};
use super::checkpoint::{Keeper, State};
use super::measure::{auroc, loss};
use super::network::{Batch, Network};
use super::optimiser::Steps;
use super::random::Random;
use super::{Epoch, Member, Training};
use crate::device::{Placement, caught, set_threads};
use crate::error::{Error, Fault, Result};
use crate::runtime::interrupt;
use crate::units::{Auto, DeviceChoice, Precision};

/// Rows whose logits are computed at a time.
const ROWS: usize = 4096;

/// Where a network is fitted.
pub struct Place(Placement);

impl Place {
    /// The first device of a choice.
    ///
    /// # Errors
    /// There is no such device.
    pub fn resolve(choice: &DeviceChoice) -> Result<Self> {
        let places = Placement::resolve(choice, Auto::Value(Precision::F32))?;
        let none = || Error::new(Fault::DeviceUnavailable, "no device is left to run on");
        places.into_iter().next().map(Self).ok_or_else(none)
    }

    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.0.is_gpu()
    }
}

/// Fits a member, or goes on where an earlier run stopped. `proceed` is called with rows that are done; its error ends the
/// work.
///
/// # Errors
/// The device, memory, a checkpoint that cannot be written; those of `proceed`; a signal.
pub fn fit(
    training: &Training<'_>,
    member: usize,
    place: &Place,
    proceed: &dyn Fn(u64) -> Result<()>,
) -> Result<Member> {
    set_threads(1);
    place.0.gpu()?;
    caught(|| {
        let mut fitting = Fitting::begin(training, member, place.0.device)?;
        let mut keeper = Keeper::new(&training.checkpoints, member);
        if let Some(state) = keeper.take_up()? {
            fitting.go_on(state)?;
            let done = fitting.train.len() * fitting.state.course.epochs.len();
            log::info!("member {}: goes on after epoch {}", member + 1, fitting.state.course.epochs.len());
            proceed(done as u64)?;
        }
        let outcome = fitting.epochs(&mut keeper, proceed);
        // Also where a signal has ended it: the next run goes on from here.
        keeper.flush()?;
        outcome?;
        fitting.finish()
    })
}

struct Fitting<'a> {
    training: &'a Training<'a>,
    member: usize,
    device: Device,
    train: Vec<usize>,
    held_out: Vec<usize>,
    network: Network,
    steps: Steps,
    state: State,
}

impl<'a> Fitting<'a> {
    fn begin(training: &'a Training<'a>, member: usize, device: Device) -> Result<Self> {
        let (held_out, train): (Vec<usize>, Vec<usize>) =
            (0..training.rows.len()).partition(|row| training.folds[*row] == member);
        let mut random = Random::of(&[training.seed, member as u64, 0]);
        let network = Network::random(widths(training), &mut random, device)?;
        let steps = Steps::new(training.recipe.optimiser, network.trained())?;
        Ok(Self { training, member, device, train, held_out, network, steps, state: State::default() })
    }

    fn go_on(&mut self, state: State) -> Result<()> {
        self.network = self.network_of(&state.network)?;
        self.steps = Steps::new(self.training.recipe.optimiser, self.network.trained())?;
        self.steps.remember(state.taken, &state.memory, self.device)?;
        self.state = state;
        Ok(())
    }

    fn network_of(&self, values: &[Vec<f32>]) -> Result<Network> {
        Network::of(widths(self.training), values, self.device)
    }

    /// All epochs that are left.
    fn epochs(&mut self, keeper: &mut Keeper<'_>, proceed: &dyn Fn(u64) -> Result<()>) -> Result<()> {
        let recipe = self.training.recipe;
        while self.state.course.epochs.len() < recipe.epochs && !self.is_waiting_in_vain() {
            let loss = self.epoch(proceed)?;
            self.measure(loss)?;
            self.state.network = self.network.values()?;
            (self.state.taken, self.state.memory) = self.steps.memory()?;
            keeper.offer(&self.state)?;
        }
        Ok(())
    }

    /// One pass over the training rows. Gives their mean loss.
    fn epoch(&mut self, proceed: &dyn Fn(u64) -> Result<()>) -> Result<f64> {
        let (training, recipe, epoch) = (self.training, self.training.recipe, self.state.course.epochs.len());
        let mut random = Random::of(&[training.seed, self.member as u64, epoch as u64 + 1]);
        let batches = order(&self.train, recipe.batch, &mut random);
        let all = (batches.len() * recipe.epochs) as f64;
        let mut sum = 0.0;
        for (number, rows) in batches.iter().enumerate() {
            interrupt::check()?;
            let smooth = |row: &usize| {
                let label = if training.rows.viral[*row] { 1.0 } else { 0.0 };
                label * (1.0 - recipe.label_smoothing) + recipe.label_smoothing / 2.0
            };
            let batch = Batch {
                inputs: disturbed(training, rows, &mut random),
                targets: rows.iter().map(smooth).collect(),
                weights: rows.iter().map(|row| training.weights[*row]).collect(),
                masks: masks(training, rows.len(), &mut random),
            };
            let (loss, gradients) = self.network.gradients(&batch)?;
            if !loss.is_finite() {
                return Err(self.diverged(epoch));
            }
            let done = (epoch * batches.len() + number) as f64 / all;
            self.steps.step(&gradients, recipe.rate.at(epoch, done))?;
            sum += loss * rows.len() as f64;
            proceed(rows.len() as u64)?;
        }
        Ok(sum / self.train.len().max(1) as f64)
    }

    fn diverged(&self, epoch: usize) -> Error {
        Error::new(Fault::NonFinite, "training has diverged: the loss is not finite")
            .record(format!("member {}, epoch {}", self.member + 1, epoch + 1))
            .advice("give a recipe with a smaller learning rate, or one that standardises the inputs")
    }

    /// Notes how an epoch went, and its weights if they are the best so far.
    fn measure(&mut self, mean_loss: f64) -> Result<()> {
        let (logits, viral) = (self.logits_of_held_out()?, self.labels_of_held_out());
        let epoch =
            Epoch { loss: mean_loss, held_out_loss: loss(&logits, &viral), held_out_auroc: auroc(&logits, &viral) };
        let course = &mut self.state.course;
        let best = course.epochs.iter().map(|epoch| epoch.held_out_loss).fold(f64::INFINITY, f64::min);
        course.epochs.push(epoch);
        let is_kept = self.training.recipe.patience.is_none() || epoch.held_out_loss < best;
        if is_kept {
            course.kept = course.epochs.len();
        }
        let (number, members) = (self.member + 1, self.training.recipe.members);
        let auroc = epoch.held_out_auroc.map_or_else(String::new, |auroc| format!(", AUROC {auroc:.4}"));
        log::info!(
            "member {number} of {members}, epoch {}: loss {:.4}; held out: loss {:.4}{auroc}",
            course.epochs.len(),
            epoch.loss,
            epoch.held_out_loss
        );
        if is_kept && self.training.recipe.patience.is_some() {
            self.state.best = self.network.values()?;
        }
        Ok(())
    }

    /// Whether the loss of held-out rows has not become smaller for as long as the recipe waits.
    fn is_waiting_in_vain(&self) -> bool {
        let course = &self.state.course;
        self.training.recipe.patience.is_some_and(|patience| course.epochs.len() >= course.kept + patience)
    }

    fn finish(mut self) -> Result<Member> {
        if !self.state.best.is_empty() {
            self.network = self.network_of(&self.state.best)?;
        }
        let (layers, logits) = (self.network.layers()?, self.logits_of_held_out()?);
        Ok(Member { layers, held_out: self.held_out, logits, course: self.state.course })
    }

    fn labels_of_held_out(&self) -> Vec<bool> {
        self.held_out.iter().map(|row| self.training.rows.viral[*row]).collect()
    }

    fn logits_of_held_out(&self) -> Result<Vec<f32>> {
        let mut logits = Vec::with_capacity(self.held_out.len());
        for piece in pieces(self.held_out.len(), ROWS) {
            interrupt::check()?;
            logits.extend(self.network.logits(&inputs(self.training, &self.held_out[piece]))?);
        }
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(self.diverged(self.state.course.epochs.len()));
        }
        Ok(logits)
    }
}

/// D of the input, then the width of every layer.
fn widths(training: &Training<'_>) -> Vec<usize> {
    let recipe = training.recipe;
    [training.rows.dim].into_iter().chain(recipe.hidden.iter().copied()).chain([recipe.outputs]).collect()
}
