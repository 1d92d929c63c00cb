//! `run`: every stage in order, in one process, each in its folder of the output.

use std::path::{Path, PathBuf};

use super::{chunk, embed, keeping, merge, predict};
use crate::config::{self, Side};
use crate::embed::load;
use crate::error::Result;
use crate::fs::room;
use crate::runtime::progress::Progress;
use crate::store::{Fingerprint, Manifest, Origin, StageDir, retract};
use crate::units::Resume;

/// Runs the stages; the manifest of the last one.
///
/// The crate's first page has an example.
///
/// # Errors
/// Those of the stages. What can be known before the first write is checked before it; what is finished stays, and the
/// next run starts from it.
pub fn run(settings: &config::Run, progress: &Progress) -> Result<Manifest> {
    chunk::check_inputs(&settings.chunk)?;
    let [dnabert, esm] = [&settings.dnabert.output, &settings.esm.output];
    let [windows, merged, tables] = [&settings.chunk.output, &settings.merge.output, &settings.predict.output];
    let outputs = [windows, dnabert, esm, merged, tables].map(PathBuf::as_path);
    keeping::check(&settings.esm.checkpoints, &outputs)?;
    let bundle = load::bundle(&settings.predict.model)?;
    if !bundle.spec().trained {
        log::warn!("the bundle {} is untrained: its scores and verdicts mean nothing", bundle.spec().name);
    }
    let window = settings.chunk.window.unwrap_or(bundle.spec().window as usize);
    predict::warn_of_window(&bundle, window as u64);
    let precision = |embed: &config::Embed| load::precision(&bundle, embed.side, &embed.compute);
    let [dnabert, esm] = [(Side::Dnabert, precision(&settings.dnabert)?), (Side::Esm, precision(&settings.esm)?)];
    let vectors = [dnabert, esm].map(|(side, precision)| embed::vectors(&bundle, side, precision));
    let later = Later {
        resume: settings.predict.resume,
        stages: [
            (&settings.predict.output, predict::fingerprint(&bundle)),
            (&settings.merge.output, merge::fingerprint([&vectors[0], &vectors[1]], Some(load::stamp(&bundle)))),
            (&settings.esm.output, embed::fingerprint(&bundle, esm.0, esm.1)),
            (&settings.dnabert.output, embed::fingerprint(&bundle, dnabert.0, dnabert.1)),
        ],
    };
    later.check(None)?;
    load::prove(&bundle, false)?;
    let cut = chunk::cut(&config::Chunk { window: Some(window), ..settings.chunk.clone() }, progress)?;
    let replaces = later.check(Some(cut.origin()))? || cut.replaces_others();
    if replaces {
        // What is replaced is gone, should the models turn out to be damaged or a folder to be shut.
        load::prove(&bundle, true)?;
        later.stages.iter().try_for_each(|(folder, _)| room::check_writable(folder))?;
    }
    later.retract(if replaces { None } else { Some(cut.origin()) })?;
    cut.commit()?;
    embed::embed(&settings.dnabert, progress)?;
    embed::embed(&settings.esm, progress)?;
    merge::merge(&settings.merge, progress)?;
    predict::score(&settings.predict, &bundle, progress)
}

/// The folders of the stages after `chunk`, the last one first, and what will be made in them.
struct Later<'a> {
    resume: Resume,
    stages: [(&'a Path, Fingerprint); 4],
}

impl Later<'_> {
    /// Refuses finished work that may not be replaced; says whether some will be. Writes nothing.
    fn check(&self, origin: Option<&Origin>) -> Result<bool> {
        let mut replaces = false;
        for (folder, fingerprint) in &self.stages {
            let mut dir = StageDir::open(folder, fingerprint.clone(), self.resume)?;
            if let Some(origin) = origin {
                dir.claim(Some(origin.clone()))?;
            }
            replaces |= dir.replaces_other_work();
        }
        Ok(replaces)
    }

    /// Says that work which does not come from `origin` is not complete any more: what it was made from is about to be
    /// replaced.
    fn retract(&self, origin: Option<&Origin>) -> Result<()> {
        self.stages.iter().try_for_each(|(folder, _)| retract(folder, origin))
    }
}
