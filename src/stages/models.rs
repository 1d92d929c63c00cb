//! `models`: bundles as a user sees them.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::bundle::import::{self, Report};
use crate::bundle::{Bundle, SearchPath, Spec};
use crate::error::Result;
use crate::hub;

/// A line for every bundle that can be named.
///
/// # Errors
/// A folder of the search path cannot be read.
pub fn list(search: &SearchPath) -> Result<String> {
    let mut text = format!("{:20} {:8} {:>6}  {:34} {}\n", "name", "trained", "window", "vectors", "place");
    for listed in search.list()? {
        let place = listed.path.map_or_else(|| "in the executable".to_owned(), |path| path.display().to_string());
        match listed.bundle {
            Ok(bundle) => {
                let spec = bundle.spec();
                let trained = if spec.trained { "yes" } else { "no" };
                let _ =
                    writeln!(text, "{:20} {trained:8} {:>6}  {:34} {place}", listed.name, spec.window, vectors(spec));
            }
            Err(error) => {
                let _ = writeln!(text, "{:20} cannot be used: {error} ({place})", listed.name);
            }
        }
    }
    text.push_str("\nlooked in:\n");
    for folder in search.folders() {
        let _ = writeln!(text, "  {}", folder.display());
    }
    Ok(text)
}

fn vectors(spec: &Spec) -> String {
    format!("DNABERT-S {} + ESM-2 {} = {}", spec.dnabert.dim, spec.esm.dim, spec.head.dim)
}

/// Proves every file of a bundle, and says so.
///
/// # Errors
/// There is no such bundle, or a file is not what it was.
pub fn verify(name: &str, search: &SearchPath) -> Result<String> {
    let bundle = Bundle::open(name, search)?;
    bundle.verify()?;
    let spec = bundle.spec();
    Ok(format!(
        "{}: {} files are what bundle.yaml records (digest {}){}\n",
        spec.name,
        spec.files.len(),
        bundle.digest(),
        if spec.trained { "" } else { "; UNTRAINED: random weights" }
    ))
}

/// The folder of a bundle, on one line.
///
/// # Errors
/// There is no such bundle.
pub fn path(name: &str, search: &SearchPath) -> Result<String> {
    let bundle = Bundle::open(name, search)?;
    Ok(bundle.path().map_or_else(|| "embedded\n".to_owned(), |path| format!("{}\n", path.display())))
}

/// Makes a bundle, and tells what was found. Where no file or folder is, the name of a fetched model stands for it.
///
/// # Errors
/// Those of [`import::import`]; a model of that name has not been fetched.
pub fn import(request: &import::Request) -> Result<String> {
    let mut request = request.clone();
    for path in [&mut request.dnabert, &mut request.esm, &mut request.head] {
        fetched(path)?;
    }
    import::import(&request).map(|report| table(&report))
}

/// Puts the place of a fetched model where its name stands.
fn fetched(path: &mut PathBuf) -> Result<()> {
    if let Some(name) = path.to_str().filter(|_| !path.exists())
        && let Some(found) = hub::find(name, &hub::Settings::from_environment()?)?
    {
        log::info!("{name} is {}", found.display());
        *path = found;
    }
    Ok(())
}

fn table(report: &Report) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut text = format!(
        "{:8} {:>6} {:>6} {:>6} {:>10} {:8} {:>8} {:>14}  sha256\n",
        "part", "layers", "width", "heads", "vocabulary", "dtype", "tensors", "bytes"
    );
    for part in &report.parts {
        let _ = writeln!(
            text,
            "{:8} {:>6} {:>6} {:>6} {:>10} {:8} {:>8} {:>14}  {}",
            part.name,
            number(part.dims.layers),
            part.dims.width,
            number(part.dims.heads),
            number(part.dims.vocabulary),
            part.dtype,
            part.kept,
            part.file.bytes,
            part.file.sha256
        );
        if !part.dropped.is_empty() {
            let _ = writeln!(text, "{:8} not needed: {}", "", part.dropped.join(", "));
        }
    }
    let spec = &report.spec;
    let _ = writeln!(
        text,
        "\n{} {} in {}\nwindow {} bp, licence: {}, source: {}, digest {}",
        spec.name,
        spec.version,
        report.folder.display(),
        spec.window,
        spec.licence,
        spec.source,
        report.digest
    );
    text
}
