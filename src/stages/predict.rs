//! `predict`: scores of frames, verdicts of windows and records. Every window and record of the input has its
//! row, those without a score with the reason.

use std::path::Path;

use serde_json::{Value, json};

use super::chunk::{Cut, Layout};
use super::cut_windows::CutWindows;
use super::frame_scores::{FrameScores, Scores, check_vectors};
use super::upstream::{self, UpstreamFile};
use super::verdict_tables::{VerdictTables, is_table, wrote_tables};
use super::viral_fasta;
use crate::bundle::Bundle;
use crate::calibration::Calibration;
use crate::config;
use crate::embed::load;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::progress::Progress;
use crate::store::{Fingerprint, MANIFEST_FILE, MadeFrom, Manifest, StageDir, setting_differences};

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::{BundleChoice, Compute, CutOffs, Predict};
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::predict::predict;
/// use virnucpro::units::{Resume, TableFormats};
///
/// let settings = Predict {
///     merged: vec!["out/merged".into()],
///     windows: "out/windows".into(),
///     output: "out/predictions".into(),
///     model: BundleChoice { name: "mini".to_owned(), search: Vec::new() },
///     compute: Compute::default(),
///     cut_offs: CutOffs::DEFAULT,
///     legacy: false,
///     tables: TableFormats::Tsv,
///     viral_fasta: None,
///     resume: Resume::KEEP,
/// };
/// predict(&settings, &Progress::Silent)?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// The vectors come from another bundle or do not fit the windows; or a file cannot be read or written.
pub fn predict(settings: &config::Predict, progress: &Progress) -> Result<Manifest> {
    viral_fasta::check(settings)?;
    let cut = upstream::manifest(&settings.windows)?.and_then(|manifest| Layout::recorded(&manifest));
    let bundle = load::bundle(&settings.model)?;
    check_cut_offs(settings, &bundle)?;
    if let Some(cut) = cut {
        warn_of_layout(&bundle, cut);
    }
    let manifest = score(settings, &bundle, progress)?;
    viral_fasta::write(settings)?;
    Ok(manifest)
}

/// The same, of windows whose length was looked at.
pub(super) fn score(settings: &config::Predict, bundle: &Bundle, progress: &Progress) -> Result<Manifest> {
    let model = load::stamp(bundle);
    let mut merged = upstream::files(&settings.merged, "merge", "parquet")?;
    // By number, as they were cut: engines hand files over in any order.
    merged.sort_by_key(|file| (file.stem.len(), file.stem.clone()));
    check_vectors(&merged, bundle, &model)?;
    let windows = CutWindows::open(&settings.windows)?;
    windows.match_origin(&settings.merged, &merged)?;
    let mut dir = StageDir::open(&settings.output, fingerprint(bundle), settings.resume)?;
    dir.claim(windows.origin())?;
    if dir.holds_work() {
        let sources = [&windows.windows, &windows.inputs].into_iter().chain(&merged).map(UpstreamFile::digest);
        let input = made_from(&sources.collect::<Result<Vec<_>>>()?, &merged, settings);
        if dir.all_done(&input)? {
            log::info!("predict: {} is already complete for these vectors", settings.output.display());
            return dir.keep();
        }
    }
    let total = merged.iter().map(UpstreamFile::rows).sum::<Option<u64>>();
    let task = progress.task("predict", "frames", total);
    let head = load::head(bundle, &settings.compute)?;
    let mut scores = FrameScores::new(&merged, head, &task)?;
    dir.create()?;
    let mut tables = VerdictTables::create(&dir, settings, bundle)?;
    let cut = tables.fill(&windows, &mut scores)?;
    let input = made_from(&[&cut[..], &scores.digests()].concat(), &merged, settings);
    tables.commit(dir, &input)
}

/// The finished tables of these windows, where no vectors are stored that they were made from: there never were any, or
/// those of the settings `vectors` were removed.
///
/// # Errors
/// Work of other settings is in the way.
pub(super) fn tabulated(
    settings: &config::Predict,
    bundle: &Bundle,
    cut: &Cut,
    vectors: Option<&Value>,
) -> Result<Option<Manifest>> {
    let Some(tables) = cut.tables() else { return Ok(None) };
    let mut dir = StageDir::open(&settings.output, fingerprint(bundle), settings.resume)?;
    dir.claim(Some(cut.origin().clone()))?;
    let is_this = dir.holds_work() && dir.removed_vectors() == vectors;
    if !is_this || !dir.all_done(&made_from(&tables, &[], settings))? {
        return Ok(None);
    }
    log::info!("run: {} is already complete for this input", settings.output.display());
    dir.keep().map(Some)
}

/// Refuses to replace tables that were made from vectors of other settings than `vectors`, and stand alone since those were
/// removed.
///
/// # Errors
/// [`Fault::CheckpointForeign`].
pub(super) fn check_removed_vectors(settings: &config::Predict, bundle: &Bundle, vectors: &Value) -> Result<()> {
    let dir = StageDir::open(&settings.output, fingerprint(bundle), settings.resume)?;
    let Some(removed) = dir.removed_vectors().filter(|removed| *removed != vectors && !settings.resume.overwrite)
    else {
        return Ok(());
    };
    let (here, there) = setting_differences(vectors, removed);
    let message = format!("{} was made from vectors of different settings", settings.output.display());
    Err(Error::new(Fault::CheckpointForeign, message)
        .file(settings.output.join(MANIFEST_FILE))
        .expected(here)
        .found(format!("{there}; --cleanup removed them"))
        .advice("use a different output folder, the same settings, or --overwrite"))
}

/// Writes the tables of windows from scores that were computed as they were cut.
///
/// # Errors
/// A folder cannot be written to.
pub(super) fn tabulate(
    settings: &config::Predict,
    bundle: &Bundle,
    windows: &CutWindows,
    mut scores: impl Scores,
) -> Result<Manifest> {
    let mut dir = StageDir::open(&settings.output, fingerprint(bundle), settings.resume)?;
    dir.claim(windows.origin())?;
    dir.create()?;
    let mut tables = VerdictTables::create(&dir, settings, bundle)?;
    let cut = tables.fill(windows, &mut scores)?;
    tables.commit(dir, &made_from(&cut, &[], settings))
}

/// Refuses a false discovery rate without probabilities.
///
/// # Errors
/// [`Fault::Usage`].
pub fn check_cut_offs(settings: &config::Predict, bundle: &Bundle) -> Result<()> {
    if settings.cut_offs.fdr.is_none() || bundle.spec().calibration.is_some() {
        return Ok(());
    }
    Err(Error::new(
        Fault::Usage,
        format!("--fdr needs calibrated probabilities, which {} does not give", bundle.spec().name),
    )
    .expected("a bundle with a calibration, as mini or one that `virnucpro train` makes")
    .advice("leave out --fdr and choose a share of windows with --viral-share, or give another bundle"))
}

/// Says that the head was trained on other windows than `cut`, or on other frames of them: that is the user's choice.
pub fn warn_of_layout(bundle: &Bundle, cut: Layout) {
    let spec = bundle.spec();
    let served =
        spec.calibration.as_ref().and_then(Calibration::lengths).unwrap_or(spec.window.into()..=spec.window.into());
    if !served.contains(&(cut.window as u64)) {
        let (least, most) = (served.start(), served.end());
        let lengths = if least == most { least.to_string() } else { format!("{least} to {most}") };
        log::warn!("the windows are {} bp long, the head of {} is for {lengths} bp", cut.window, spec.name);
    }
    if cut.frames != spec.frames {
        log::warn!(
            "the frames of the windows are chosen by the rule '{}', the head of {} was trained on '{}'",
            cut.frames,
            spec.name,
            spec.frames
        );
    }
}

/// What scores depend on.
pub fn fingerprint(bundle: &Bundle) -> Fingerprint {
    let wrote = |folder: &Path| wrote_tables(folder);
    Fingerprint { stage: "predict", settings: json!({}), model: Some(load::stamp(bundle)), owns: is_table, wrote }
}

/// What the tables are made from: windows, inputs, merged files, the cut-offs and the kinds of files, for other ones
/// cost new tables and no new vectors.
pub(super) fn made_from(sources: &[FileDigest], merged: &[UpstreamFile], settings: &config::Predict) -> MadeFrom {
    let asked = json!({
        "sources": FileDigest::of_all(sources),
        "cut_offs": settings.cut_offs,
        "legacy": settings.legacy,
        "tables": settings.tables,
    });
    let digest = blake3::hash(asked.to_string().as_bytes()).to_hex().to_string();
    MadeFrom::files(digest, &merged.iter().map(UpstreamFile::name).collect::<Vec<_>>())
}
