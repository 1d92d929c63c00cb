//! Why a stage may not touch what lies in its folder, in words: what is there, what this run would put there, and what to do.

use std::path::Path;

use super::checkpoint;
use super::manifest::{self, Manifest, ModelStamp, Origin, setting_differences};
use super::stage_dir::Fingerprint;
use crate::error::{Error, Fault, Result};
use crate::fs::is_partial;
use crate::units::Resume;

/// Work that may not stand in one folder with work of `known` origin.
pub(super) fn apart_from(folder: &Path, known: &Origin, own: Option<&Origin>) -> Error {
    const UNKNOWN: &str = "files of unknown origin, without a manifest beside them";
    let (fault, here, there) = match own {
        Some(own) => own.differs(known),
        None => (Fault::CheckpointInput, UNKNOWN.to_owned(), known.cell()),
    };
    made_from_other(fault, folder, &here, &there)
}

/// Finished work of another input, or of windows that were cut in another way.
pub(super) fn made_from_other(fault: Fault, path: &Path, here: &str, there: &str) -> Error {
    let (message, from) = match fault {
        Fault::CheckpointInput => ("was made from another input", "made from "),
        _ => ("belongs to windows that were cut with other settings", ""),
    };
    Error::new(fault, format!("{} {message}", path.display()))
        .file(path)
        .expected(format!("{from}{here}"))
        .found(format!("{from}{there}"))
        .advice("use a different output folder, or --overwrite to replace what is there")
}

/// Finished work that this run could not have made.
pub(super) fn foreign(folder: &Path, manifest: &Manifest, wanted: &Fingerprint) -> Error {
    let (there, here) = if manifest.stage != wanted.stage {
        (manifest.stage.clone(), wanted.stage.to_owned())
    } else {
        differences(manifest, wanted)
    };
    let (message, advice) = if manifest.stage == wanted.stage {
        ("was made with different settings", "use a different output folder, the same settings, or --overwrite")
    } else {
        ("is the output of another stage", "every stage needs its own output folder: choose another with -o")
    };
    Error::new(Fault::CheckpointForeign, format!("{} {message}", folder.display()))
        .file(folder.join(manifest::FILE))
        .expected(here)
        .found(there)
        .advice(advice)
}

/// What differs between finished and wanted work, on either side.
fn differences(known: &Manifest, wanted: &Fingerprint) -> (String, String) {
    let (there, here) = setting_differences(&known.settings, &wanted.settings);
    let cell =
        |model: &Option<ModelStamp>| model.as_ref().map_or("no model".to_owned(), |m| format!("model {}", m.cell()));
    let with_model = |settings: String, model: &Option<ModelStamp>| match known.model == wanted.model {
        true => settings,
        false if settings.is_empty() => cell(model),
        false => format!("{settings}, {}", cell(model)),
    };
    (with_model(there, &known.model), with_model(here, &wanted.model))
}

/// Folders of a run.
const RUN_FOLDERS: [&str; 3] = ["windows", "dnabert", "predictions"];

/// Refuses a folder without a manifest that holds somebody's files, or files of this stage that may not be replaced.
pub(super) fn refuse_strangers(
    folder: &Path,
    names: &[String],
    fingerprint: &Fingerprint,
    resume: Resume,
) -> Result<()> {
    // No file of a stage gets its name before the manifest: without one, only unfinished files can be its own.
    let unnamed = |name: &str| is_partial(name) || [manifest::FILE, checkpoint::FOLDER].contains(&name);
    let files = || names.iter().filter(|name| !unnamed(name));
    let stranger = files().find(|name| !(fingerprint.owns)(name));
    if let Some(name) = stranger.or_else(|| files().next().filter(|_| !(fingerprint.wrote)(folder))) {
        let advice = match RUN_FOLDERS.iter().any(|stage| folder.join(stage).join(manifest::FILE).exists()) {
            true => "this is the folder of a whole run: give one of the folders in it, as DIR/windows",
            false => "choose another folder with -o",
        };
        return Err(Error::new(Fault::OutputForeign, format!("{} holds other files", folder.display()))
            .file(folder)
            .expected(format!("a new or empty folder, or one that `virnucpro {}` wrote", fingerprint.stage))
            .found(name)
            .advice(advice));
    }
    match files().next() {
        Some(name) if !resume.overwrite => {
            let message = format!("{} has files of {} but no manifest", folder.display(), fingerprint.stage);
            Err(Error::new(Fault::CheckpointCorrupt, message)
                .file(folder.join(manifest::FILE))
                .expected("a manifest, which proves what the files were made from")
                .found(name)
                .advice("--overwrite makes this stage again; finished work of other stages is kept"))
        }
        _ => Ok(()),
    }
}
