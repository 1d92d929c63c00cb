//! `models`: bundles as a user sees them.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::{import_report, verify};
use crate::bundle::import::{Report, Request, Staged, Step};
use crate::bundle::{Bundle, Listed, SearchPath};
use crate::error::{Error, Fault, Result, printable};
use crate::hub;
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, Task};
use crate::units::Bytes;

/// A line for every bundle that can be named: what it is, how big, which digest, and where; then the folders that were
/// looked in, with what hinders reading them.
pub fn list(search: &SearchPath) -> String {
    let mut table = vec![["name", "trained", "window", "vectors", "size", "digest", "place"].map(str::to_owned)];
    let mut unusable = String::new();
    let listing = search.list();
    for Listed { name, path, bundle } in listing.bundles {
        let place = path.map_or_else(|| "in the executable".to_owned(), |path| path.display().to_string());
        match bundle {
            Ok(bundle) => {
                let spec = bundle.spec();
                let trained = if spec.trained { "yes" } else { "no" };
                let vectors = format!("{} + {}", spec.dnabert.dim, spec.esm.dim);
                let size = Bytes(spec.files.values().map(|file| file.bytes).sum()).to_string();
                let digest = bundle.digest().to_string().get(..12).unwrap_or_default().to_owned();
                table.push([name, trained.to_owned(), spec.window.to_string(), vectors, size, digest, place]);
            }
            Err(error) => {
                let _ = writeln!(unusable, "{name} in {place} cannot be used: {error}");
            }
        }
    }
    let mut text = aligned(&table);
    if !unusable.is_empty() {
        let _ = write!(text, "\n{unusable}");
    }
    text.push_str("\nlooked in\n");
    for folder in search.folders() {
        let note = match listing.unreadable.iter().find(|(unreadable, _)| unreadable == folder) {
            Some((_, error)) => format!(" (cannot be read: {error})"),
            None if folder.exists() => String::new(),
            None => " (not there)".to_owned(),
        };
        let _ = writeln!(text, "  {}{note}", folder.display());
    }
    text
}

/// Rows of words as columns, two spaces between them.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// The folder of a bundle, on one line.
///
/// # Errors
/// There is no such bundle.
pub fn path(name: &str, search: &SearchPath) -> Result<String> {
    let bundle = Bundle::open(name, search)?;
    Ok(bundle.path().map_or_else(|| "embedded\n".to_owned(), |path| format!("{}\n", path.display())))
}

/// Makes a bundle, and tells what was found. Where no file or folder is, the name of a bundle or of a fetched model
/// stands for it.
///
/// # Errors
/// Those of [`Staged`] and of computing vectors; there is no model of that name.
pub fn import(request: &Request, search: &SearchPath, progress: &Progress) -> Result<String> {
    let mut request = request.clone();
    for path in [&mut request.dnabert, &mut request.esm, &mut request.head] {
        named(path, search)?;
    }
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
    made.map(|report| import_report::text(&report, search))
}

fn make(request: &Request, progress: &Progress) -> Result<Report> {
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

/// Puts the place of a bundle or of a fetched model where its name stands.
fn named(path: &mut PathBuf, search: &SearchPath) -> Result<()> {
    // What is there and cannot be read is told by whoever reads it.
    let absent = path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let Some(name) = path.to_str().filter(|_| absent) else { return Ok(()) };
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
        *path = found;
    } else if is_word {
        let name = printable(name, 200);
        return Err(Error::new(
            Fault::ModelMissing,
            format!("there is no file, bundle or fetched model named '{name}'"),
        )
        .advice(
            "check the name: 'virnucpro models list' shows the bundles, 'virnucpro models fetch' what can be fetched",
        ));
    }
    Ok(())
}

/// Where a bundle goes when no folder is given for it: where its name is enough to find it.
///
/// # Errors
/// [`Fault::Usage`] when there is no such folder, or the name always means another bundle.
pub fn folder_for(name: &str, search: &SearchPath) -> Result<PathBuf> {
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
