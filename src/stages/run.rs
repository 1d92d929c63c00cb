//! `run`: every stage in order, in one process, each in its folder of the output.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chunk::{self, Cut, Layout};
use super::shards::ShardWriter;
use super::{cleanup, direct, embed, keeping, merge, predict, viral_fasta};
use crate::bundle::Bundle;
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
    viral_fasta::check(&settings.predict)?;
    chunk::check_inputs(&settings.chunk)?;
    let [dnabert, esm] = [&settings.dnabert.output, &settings.esm.output];
    let [windows, merged, tables] = [&settings.chunk.output, &settings.merge.output, &settings.predict.output];
    let outputs = [windows, dnabert, esm, merged, tables].map(PathBuf::as_path);
    keeping::check(&settings.esm.checkpoints, &outputs)?;
    let bundle = load::bundle(&settings.predict.model)?;
    load::head_spec(&bundle)?;
    predict::check_cut_offs(&settings.predict, &bundle)?;
    if !bundle.spec().trained {
        log::warn!("the bundle {} is untrained: its scores and verdicts mean nothing", bundle.spec().name);
    }
    let layout = Layout::of(&settings.chunk, &bundle);
    predict::warn_of_layout(&bundle, layout);
    let is_direct = bundle.spec().is_cheap() && !settings.keep_intermediate;
    let embeds = Embeds::of(settings, &bundle)?;
    let manifest = match is_direct {
        true => run_directly(settings, &bundle, layout, progress),
        false => run_by_stages(settings, &bundle, (layout, &embeds), progress),
    }?;
    viral_fasta::write(&settings.predict)?;
    if settings.cleanup {
        let vectors = if is_direct { None } else { Some(&embeds.vectors) };
        cleanup::remove_intermediate(settings, &bundle, (layout, vectors), &embeds.folders, &manifest)?;
    }
    Ok(manifest)
}

fn run_by_stages(
    settings: &config::Run,
    bundle: &Bundle,
    (layout, embeds): (Layout, &Embeds<'_>),
    progress: &Progress,
) -> Result<Manifest> {
    let sides = load::sides(bundle);
    let merge = config::Merge {
        dnabert: paths_of(&settings.merge.dnabert, sides.contains(&Side::Dnabert)),
        esm: paths_of(&settings.merge.esm, sides.contains(&Side::Esm)),
        ..settings.merge.clone()
    };
    let tables = (settings.predict.output.as_path(), predict::fingerprint(bundle));
    let stages = [tables].into_iter().chain(embeds.folders.iter().cloned()).collect();
    let later = Later { resume: settings.predict.resume, stages };
    later.check(None)?;
    predict::check_removed_vectors(&settings.predict, bundle, &embeds.vectors)?;
    let tabulated = |cut: &Cut| match settings.keep_intermediate {
        true => Ok(None),
        false => predict::tabulated(&settings.predict, bundle, cut, Some(&embeds.vectors)),
    };
    if let Some(cut) = chunk::finished(&settings.chunk, layout)?
        && let Some(manifest) = tabulated(&cut)?
    {
        cut.commit()?;
        return Ok(manifest);
    }
    load::prove(bundle, false)?;
    let shards = ShardWriter::new(&settings.chunk.output, settings.chunk.shard_frames, layout.sides);
    let cut = chunk::cut(&settings.chunk, layout, Box::new(shards), progress)?;
    let replaces = later.check(Some(cut.origin()))? || cut.replaces_others();
    if let Some(manifest) = tabulated(&cut)? {
        return Ok(manifest);
    }
    if cut.restores_shards() && !settings.keep_intermediate {
        log::warn!(
            "run: {} has to be made again, and its shards and vectors were removed (--cleanup): they are computed again",
            settings.predict.output.display()
        );
    }
    if replaces {
        // What is replaced is gone, should the models turn out to be damaged or a folder to be shut.
        load::prove(bundle, true)?;
        later.stages.iter().try_for_each(|(folder, _)| room::check_writable(folder))?;
    }
    later.retract(if replaces { None } else { Some(cut.origin()) })?;
    cut.commit()?;
    embeds.settings.iter().try_for_each(|settings| embed::embed(settings, progress).map(drop))?;
    merge::merge(&merge, progress)?;
    predict::score(&settings.predict, bundle, progress)
}

/// The same without shards and vectors.
fn run_directly(settings: &config::Run, bundle: &Bundle, layout: Layout, progress: &Progress) -> Result<Manifest> {
    let tables = (settings.predict.output.as_path(), predict::fingerprint(bundle));
    let later = Later { resume: settings.predict.resume, stages: vec![tables] };
    later.check(None)?;
    if let Some(cut) = chunk::finished(&settings.chunk, layout.without_shards())?
        && let Some(manifest) = predict::tabulated(&settings.predict, bundle, &cut, None)?
    {
        cut.commit()?;
        return Ok(manifest);
    }
    let scored = direct::score(settings, bundle, layout, progress)?;
    let replaces = later.check(Some(scored.cut.origin()))? || scored.cut.replaces_others();
    later.retract(if replaces { None } else { Some(scored.cut.origin()) })?;
    scored.commit(&settings.predict, bundle)
}

/// The vectors of a side that the bundle may lack.
fn paths_of(paths: &[PathBuf], is_there: bool) -> Vec<PathBuf> {
    if is_there { paths.to_vec() } else { Vec::new() }
}

/// The stages between windows and tables.
struct Embeds<'a> {
    /// Those that embed, of the sides that the bundle has.
    settings: Vec<&'a config::Embed>,
    /// The folders of vectors, the last stage first, and what will be made in them.
    folders: Vec<(&'a Path, Fingerprint)>,
    /// Settings of the vectors.
    vectors: Value,
}

impl<'a> Embeds<'a> {
    fn of(settings: &'a config::Run, bundle: &Bundle) -> Result<Self> {
        let sides = load::sides(bundle);
        let embeds = [&settings.dnabert, &settings.esm].into_iter().filter(|embed| sides.contains(&embed.side));
        let embeds: Vec<&config::Embed> = embeds.collect();
        let (mut vectors, mut folders) = ([None, None], Vec::new());
        for embed in &embeds {
            let precision = load::precision(bundle, embed.side, &embed.compute)?;
            vectors[usize::from(embed.side == Side::Esm)] = Some(embed::vectors(bundle, embed.side, precision)?);
            folders.push((embed.output.as_path(), embed::fingerprint(bundle, embed.side, precision)?));
        }
        let merged = merge::fingerprint(vectors.each_ref().map(Option::as_ref), Some(load::stamp(bundle)));
        let vectors = merged.settings.clone();
        folders.push((settings.merge.output.as_path(), merged));
        folders.reverse();
        Ok(Self { settings: embeds, folders, vectors })
    }
}

/// The folders of the stages after `chunk`, the last one first, and what will be made in them.
struct Later<'a> {
    resume: Resume,
    stages: Vec<(&'a Path, Fingerprint)>,
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
