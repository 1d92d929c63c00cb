//! `models import`: makes a bundle from published weights and reports on it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::import_report;
use crate::bundle::SearchPath;
use crate::bundle::import::{self, ImportReport, ImportRequest, Step, Training};
use crate::config;
use crate::embed::reference;
use crate::error::{Error, Fault, Result, printable};
use crate::fs::is_absent;
use crate::hub;
use crate::nearest::did_you_mean;
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::weights::catalogue::catalogue;

/// Makes a bundle and reports what was found. A path that does not exist may be the name of a bundle or of a fetched
/// model.
///
/// # Errors
/// Those of [`import::stage`] and of computing vectors; a name that no model has.
pub fn import(settings: &config::Import, progress: &Progress) -> Result<String> {
    let search = SearchPath::standard(settings.search.clone());
    let request = request(settings, &search)?;
    let made = make(&request, progress).map_err(|error| {
        // What a signal stops may fail for another reason first.
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

fn make(request: &ImportRequest, progress: &Progress) -> Result<ImportReport> {
    let shown = RefCell::new(None);
    let (mut staged, report) = import::stage(request, &|step| {
        interrupt::check()?;
        show(&mut shown.borrow_mut(), step, progress);
        Ok(())
    })?;
    drop(shown);
    log::info!("computing the vectors that 'models verify' compares with");
    match reference::to_store(&staged.open()?)? {
        Some(vectors) => staged.store_vectors(vectors)?,
        None => log::warn!("no vectors are stored for 'models verify' to compare with: this build has no libtorch"),
    }
    interrupt::check()?;
    staged.commit()?;
    Ok(report)
}

/// Shows how much of a model is written.
fn show(shown: &mut Option<(Step, TaskProgress)>, step: Step, progress: &Progress) {
    match shown {
        Some((last, task)) if last.component == step.component => {
            task.add(step.written.saturating_sub(last.written));
            *last = step;
        }
        _ => {
            // The bar of the model before goes first.
            *shown = None;
            let task = progress.bytes(step.component.title(), Some(step.total));
            task.add(step.written);
            *shown = Some((step, task));
        }
    }
}

/// The folder of the bundle or fetched model that `path` names, else `path` itself.
fn named(path: &Path, search: &SearchPath) -> Result<PathBuf> {
    // Whatever exists and cannot be read is reported by its reader.
    let Some(name) = path.to_str().filter(|_| is_absent(path)) else { return Ok(path.to_owned()) };
    let is_word = !name.contains('/');
    if is_word && search.is_embedded(name) {
        return Err(Error::new(Fault::ModelMissing, format!("the bundle '{name}' has no files to take a model from"))
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
        let bundles = search.names();
        let known = catalogue()?.names().chain(bundles.iter().map(String::as_str));
        let near = did_you_mean(name, known).map_or_else(String::new, |near| near + " ");
        let name = printable(name, 200);
        return Err(Error::new(Fault::ModelMissing, format!("no file, bundle or fetched model is named '{name}'"))
            .advice(format!(
                "{near}'virnucpro models list' shows the bundles, 'virnucpro models fetch' what can be fetched"
            )));
    }
    Ok(path.to_owned())
}

/// Where a bundle goes when no folder is given: where it can be found by name.
///
/// # Errors
/// [`Fault::Usage`] when this user has no such folder, or the name always means another bundle.
fn folder_for(name: &str, search: &SearchPath) -> Result<PathBuf> {
    let usage = |message: &str, advice: &str| Err(Error::new(Fault::Usage, message).advice(advice));
    if search.is_embedded(name) {
        return usage("the name is that of the bundle in the executable", "choose another --name, or give --output");
    }
    match SearchPath::users_own() {
        Some(folder) => Ok(folder.join(name)),
        None => usage("this user has no folder for models: neither XDG_DATA_HOME nor HOME is set", "give --output"),
    }
}
