//! `models`: bundles as a user sees them.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{import_report, verify};
use crate::bundle::import::{Request, Staged};
use crate::bundle::{Bundle, Listed, SearchPath};
use crate::error::{Error, Fault, Result};
use crate::hub;
use crate::runtime::interrupt;
use crate::units::Bytes;

/// A line for every bundle that can be named: what it is, how big, which digest, and where.
///
/// # Errors
/// A folder of the search path cannot be read.
pub fn list(search: &SearchPath) -> Result<String> {
    let mut table = vec![["name", "trained", "window", "vectors", "size", "digest", "place"].map(str::to_owned)];
    let mut unusable = String::new();
    for Listed { name, path, bundle } in search.list()? {
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
        let note = if folder.is_dir() { "" } else { " (not there)" };
        let _ = writeln!(text, "  {}{note}", folder.display());
    }
    Ok(text)
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
/// Those of [`Staged`] and of computing vectors; a model of that name has not been fetched.
pub fn import(request: &Request, search: &SearchPath) -> Result<String> {
    let mut request = request.clone();
    for path in [&mut request.dnabert, &mut request.esm, &mut request.head] {
        named(path, search)?;
    }
    let mut staged = Staged::new(&request, &|_| interrupt::check())?;
    match verify::vectors_to_store(staged.bundle())? {
        Some(vectors) => staged.store_vectors(vectors)?,
        None => log::warn!("no vectors are stored for 'models verify' to compare with: this build has no libtorch"),
    }
    staged.commit().map(|report| import_report::text(&report, search))
}

/// Puts the place of a bundle or of a fetched model where its name stands.
fn named(path: &mut PathBuf, search: &SearchPath) -> Result<()> {
    let Some(name) = path.to_str().filter(|_| !path.exists()) else { return Ok(()) };
    let bundle = if name.contains('/') { None } else { search.find(name) };
    let found = match bundle {
        Some(folder) => Some(folder),
        None => hub::find(name, &hub::Settings::from_environment()?)?,
    };
    if let Some(found) = found {
        log::info!("{name} is {}", found.display());
        *path = found;
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
