//! `models import`: a bundle made of published weights, and told of.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{import_report, verify};
use crate::bundle::SearchPath;
use crate::bundle::import::{ImportRequest, Report, Staged, Step, Training};
use crate::config;
use crate::error::{Error, Fault, Result, printable};
use crate::hub;
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, Task};

/// Makes a bundle, and tells what was found. Where no file or folder is, the name of a bundle or of a fetched model
/// stands for it.
///
/// # Errors
/// Those of [`Staged`] and of computing vectors; there is no model of that name.
pub fn import(settings: &config::Import, progress: &Progress) -> Result<String> {
    let search = SearchPath::standard(settings.search.clone());
    let request = request(settings, &search)?;
    let made = make(&request, progress).map_err(|error| {
        // What a signal breaks off may fail for another reason first.
        let error = interrupt::check().err().unwrap_or(error);
        match error.fault() {
            Fault::Interrupted | Fault::Terminated => {
                let error = if error.path().is_some() { error } else { error.file(&request.out) };
                error.advice("run the same command again: no part of the bundle was kept")
            }
            Fault::NoSpace => error.advice(
                "free space, or give --output on a larger disk, then run the same command again: no part of the bundle \
                 was kept",
            ),
            _ => error,
        }
    });
    made.map(|report| import_report::text(&report, &search))
}

fn request(settings: &config::Import, search: &SearchPath) -> Result<ImportRequest> {
    Ok(ImportRequest {
        out: settings.output.clone().map_or_else(|| folder_for(&settings.name, search), Ok)?,
        name: settings.name.clone(),
        version: settings.version.clone(),
        training: if settings.untrained { Training::Untrained } else { Training::Trained },
        licence: settings.licence.clone(),
        source: settings.source.clone(),
        window: settings.window,
        dtype: settings.dtype,
        dnabert: named(&settings.dnabert, search)?,
        esm: named(&settings.esm, search)?,
        head: named(&settings.head, search)?,
    })
}

fn make(request: &ImportRequest, progress: &Progress) -> Result<Report> {
    let shown = RefCell::new(None);
    let mut staged = Staged::new(request, &|step| {
        interrupt::check()?;
        show(&mut shown.borrow_mut(), step, progress);
        Ok(())
    })?;
    drop(shown);
    log::info!("computing the vectors that 'models verify' compares with");
    match verify::vectors_to_store(staged.bundle())? {
        Some(vectors) => staged.store_vectors(vectors)?,
        None => log::warn!("no vectors are stored for 'models verify' to compare with: this build has no libtorch"),
    }
    interrupt::check()?;
    staged.commit()
}

/// Shows how much of a part is written.
fn show(shown: &mut Option<(Step, Task)>, step: Step, progress: &Progress) {
    match shown {
        Some((last, task)) if last.part == step.part => {
            task.add(step.written.saturating_sub(last.written));
            *last = step;
        }
        _ => {
            // The bar of the part before goes first.
            *shown = None;
            let task = progress.bytes(import_report::title(step.part), Some(step.total));
            task.add(step.written);
            *shown = Some((step, task));
        }
    }
}

/// The folder of a bundle or of a fetched model where `path` is its name, else `path` itself.
fn named(path: &Path, search: &SearchPath) -> Result<PathBuf> {
    // What is there and cannot be read is told by whoever reads it.
    let absent = path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let Some(name) = path.to_str().filter(|_| absent) else { return Ok(path.to_owned()) };
    let is_word = !name.contains('/');
    if is_word && search.is_embedded(name) {
        return Err(Error::new(Fault::ModelMissing, format!("the bundle '{name}' has no files to take a part of"))
            .found("the bundle in the executable")
            .advice("give files, a fetched model or a bundle in a folder: 'virnucpro models list' shows those"));
    }
    let bundle = if is_word { search.find(name) } else { None };
    let found = match bundle {
        Some(folder) => Some(folder),
        None => hub::find(name, &hub::Settings::from_environment()?)?,
    };
    if let Some(found) = found {
        log::info!("{name} is {}", found.display());
        return Ok(found);
    }
    if is_word {
        let name = printable(name, 200);
        return Err(Error::new(
            Fault::ModelMissing,
            format!("there is no file, bundle or fetched model named '{name}'"),
        )
        .advice(
            "check the name: 'virnucpro models list' shows the bundles, 'virnucpro models fetch' what can be fetched",
        ));
    }
    Ok(path.to_owned())
}

/// Where a bundle goes when no folder is given for it: where its name is enough to find it.
///
/// # Errors
/// [`Fault::Usage`] when there is no such folder, or the name always means another bundle.
fn folder_for(name: &str, search: &SearchPath) -> Result<PathBuf> {
    let usage = |message: &str, advice: &str| Err(Error::new(Fault::Usage, message).advice(advice));
    if search.is_embedded(name) {
        return usage("the name is that of the bundle in the executable", "choose another --name, or give --output");
    }
    match SearchPath::users_own() {
        Some(folder) => Ok(folder.join(name)),
        None => {
            usage("there is no folder for models of this user: neither XDG_DATA_HOME nor HOME is set", "give --output")
        }
    }
}
