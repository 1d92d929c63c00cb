//! `models list` and `models path`: bundles as a user sees them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::{Bundle, FoundBundle, FoundBundles, SearchPath, Spec};
use crate::config;
use crate::embed::load;
use crate::error::{Error, Fault, Result};
use crate::units::Bytes;

/// Every bundle that can be named: what it is, how big, which digest, and where; then the folders that were looked in, with
/// why they cannot be read, if so. Lines for a person, or one JSON object.
pub fn list(settings: config::ListModels) -> String {
    let search = SearchPath::standard(settings.search);
    let found = search.list();
    if settings.json { format!("{:#}\n", in_json(&search, &found)) } else { in_words(&search, &found) }
}

fn in_json(search: &SearchPath, found: &FoundBundles) -> Value {
    let bundle = |FoundBundle { name, path, bundle }: &FoundBundle| {
        let (spec, digest) = (bundle.as_ref().ok().map(Bundle::spec), bundle.as_ref().ok().map(Bundle::digest));
        json!({
            "name": name,
            "version": spec.map(|spec| &spec.version),
            "trained": spec.map(|spec| spec.trained),
            "window": spec.map(|spec| spec.window),
            "frames": spec.map(|spec| spec.frames),
            "dnabert_dim": spec.and_then(|spec| Some(spec.dnabert?.dim)),
            "esm_dim": spec.and_then(|spec| Some(spec.esm?.dim)),
            "bytes": spec.map(size),
            "digest": digest.map(|digest| digest.to_string()),
            "path": path.as_ref().map(|path| path.display().to_string()),
            "error": bundle.as_ref().err().map(Error::brief),
        })
    };
    let folder = |folder: &PathBuf| json!({ "path": folder.display().to_string(), "exists": folder.exists(), "error": unreadable(found, folder) });
    json!({
        "bundles": found.bundles.iter().map(bundle).collect::<Vec<_>>(),
        "folders": search.folders().iter().map(folder).collect::<Vec<_>>(),
    })
}

fn in_words(search: &SearchPath, found: &FoundBundles) -> String {
    let mut table = vec![["name", "trained", "window", "vectors", "size", "digest", "place"].map(str::to_owned)];
    let mut unusable = String::new();
    for FoundBundle { name, path, bundle } in &found.bundles {
        let place = path.as_ref().map_or_else(|| "in the executable".to_owned(), |path| path.display().to_string());
        match bundle {
            Ok(bundle) => {
                let spec = bundle.spec();
                let trained = if spec.trained { "yes" } else { "no" };
                let widths: Vec<_> = spec.encoders().map(|(_, encoder)| encoder.dim.to_string()).collect();
                let vectors = widths.join(" + ");
                let digest = bundle.digest().to_string().get(..12).unwrap_or_default().to_owned();
                let (name, size) = (name.clone(), Bytes(size(spec)).to_string());
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
        let note = match unreadable(found, folder) {
            Some(error) => format!(" (cannot be read: {error})"),
            None if folder.exists() => String::new(),
            None => " (not there)".to_owned(),
        };
        let _ = writeln!(text, "  {}{note}", folder.display());
    }
    text
}

/// Bytes of all files of a bundle.
fn size(spec: &Spec) -> u64 {
    spec.files.values().map(|file| file.bytes).sum()
}

/// Why a folder cannot be read.
fn unreadable(found: &FoundBundles, folder: &Path) -> Option<String> {
    found.unreadable.iter().find(|(unreadable, _)| unreadable == folder).map(|(_, error)| error.to_string())
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
/// There is no such bundle, or it is part of the executable and has no folder.
pub fn path(model: &config::BundleChoice) -> Result<String> {
    let bundle = load::bundle(model)?;
    let path = bundle.path().ok_or_else(|| {
        Error::new(Fault::Usage, format!("the bundle {} is part of the executable and has no folder", model.name))
            .expected("a bundle that is kept in a folder")
            .advice("`virnucpro models list` shows the bundles and their folders")
    })?;
    Ok(format!("{}\n", path.display()))
}
