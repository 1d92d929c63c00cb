//! `run`: every stage in order, in one process, each in its folder of the output.

use super::{chunk, embed, merge, predict};
use crate::config;
use crate::embed::load;
use crate::error::Result;
use crate::runtime::progress::Progress;
use crate::store::Manifest;

/// Runs the stages; the manifest of the last one.
///
/// The crate's first page has an example.
///
/// # Errors
/// Those of the stages. What is finished stays, and the next run starts from it.
pub fn run(settings: &config::Run, progress: &Progress) -> Result<Manifest> {
    // Opened first: a wrong bundle should not cost the time of reading the input.
    let bundle = load::bundle(&settings.predict.model)?;
    if !bundle.spec().trained {
        log::warn!("the bundle {} is untrained: its scores and verdicts mean nothing", bundle.spec().name);
    }
    let window = settings.chunk.window.unwrap_or(bundle.spec().window as usize);
    chunk::chunk(&config::Chunk { window: Some(window), ..settings.chunk.clone() }, progress)?;
    embed::embed(&settings.dnabert, progress)?;
    embed::embed(&settings.esm, progress)?;
    merge::merge(&settings.merge, progress)?;
    predict::predict(&settings.predict, progress)
}
