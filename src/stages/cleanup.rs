//! `run --cleanup`: once the tables are proved, shards and vectors are removed. What stays is what a run without stored vectors
//! leaves: windows and tables, with manifests that name no file that is gone.

use std::path::Path;

use serde_json::Value;

use super::chunk::{self, Layout};
use super::cut_windows::CutWindows;
use super::predict;
use super::shards::is_shard;
use super::upstream;
use crate::bundle::Bundle;
use crate::config;
use crate::error::Result;
use crate::fs::FileDigest;
use crate::runtime::interrupt;
use crate::store::{Fingerprint, Manifest, Removal, remove_empty};
use crate::units::counted;

/// Removes the intermediate files of a run that has finished. `vectors` is the settings of vectors, where the tables were made
/// from stored ones; `folders` are theirs, the last stage first, with what was made in them; `finished` is the manifest of the
/// tables. Only what manifests name is removed, and folders that are empty then.
///
/// # Errors
/// A table is not what its manifest records, or another process writes to a folder: nothing is removed. A file cannot be
/// removed: the same command goes on from there.
pub fn remove_intermediate(
    settings: &config::Run,
    bundle: &Bundle,
    (layout, vectors): (Layout, Option<&Value>),
    folders: &[(&Path, Fingerprint)],
    finished: &Manifest,
) -> Result<()> {
    interrupt::check()?;
    folders.iter().for_each(|(folder, _)| remove_empty(folder));
    let cut = CutWindows::open(&settings.predict.windows)?;
    let hold = |folder: &Path, work: &Fingerprint| Removal::of(folder, work, finished.origin.as_ref()?);
    let windows = hold(&settings.chunk.output, &chunk::fingerprint(&settings.chunk, layout));
    let tables = hold(&settings.predict.output, &predict::fingerprint(bundle));
    // Tables of another command may need what this one would remove.
    let tables = tables.filter(|tables| tables.manifest() == finished);
    let (Some(mut windows), Some(mut tables)) = (windows, tables) else {
        let tables = settings.predict.output.display();
        log::warn!("run: shards and vectors stay: another process has written to {tables} or its windows meanwhile");
        return Ok(());
    };
    let mut stages = Vec::new();
    for stage in folders.iter().filter_map(|(folder, work)| hold(folder, work)) {
        if !stage.is_spent()? {
            stages.push(stage);
        }
    }
    if stages.is_empty() && windows.files(is_shard)?.is_empty() {
        return Ok(());
    }
    [&mut windows, &mut tables].into_iter().chain(&mut stages).try_for_each(Removal::lock)?;
    prove(&settings.chunk.output, &windows)?;
    prove(&settings.predict.output, &tables)?;
    let sources = [cut.windows.digest()?, cut.inputs.digest()?];
    tables.attribute(&predict::made_from(&sources, &[], &settings.predict), vectors)?;
    let mut removed = windows.remove(is_shard)?;
    for stage in stages {
        removed += stage.remove_all()?;
    }
    log::info!("run: shards and vectors are removed: {}", counted(removed, "file"));
    Ok(())
}

/// Compares all files that stay with what their manifest records.
fn prove(folder: &Path, stage: &Removal) -> Result<()> {
    for name in stage.manifest().shards.keys().filter(|name| !is_shard(name)) {
        interrupt::check()?;
        let file = upstream::file(&folder.join(name), Some(stage.manifest()))?;
        file.prove(&FileDigest::of(&file.path)?)?;
    }
    Ok(())
}
