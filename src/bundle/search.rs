//! Where bundles are looked for by name.

use std::path::{Path, PathBuf};

use super::spec::BUNDLE_YAML;
use super::{Bundle, mini};
use crate::error::{Error, Fault, Result};
use crate::nearest::did_you_mean;
use crate::units::is_bundle_name;

/// Folders that hold bundles, one folder each, in the order they are looked through.
///
/// [`standard`](Self::standard) is: the folders given by the user; `$XDG_DATA_HOME/virnucpro/models`
/// (`~/.local/share/virnucpro/models` where the variable is unset); `../share/virnucpro/models` beside the folder of
/// the executable; `/usr/share/virnucpro/models`. The embedded `mini` comes before them all: its name always means
/// the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// These folders and no others.
    pub fn of(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut kept: Vec<PathBuf> = Vec::new();
        for folder in folders {
            if !folder.as_os_str().is_empty() && !kept.contains(&folder) {
                kept.push(folder);
            }
        }
        Self(kept)
    }

    /// The given folders, then the standard ones. Reads `XDG_DATA_HOME` and `HOME`.
    pub fn standard(given: impl IntoIterator<Item = PathBuf>) -> Self {
        let prefix = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("share")));
        let shared = [prefix, Some(PathBuf::from("/usr/share"))].into_iter().flatten();
        let shared = shared.map(|root| root.join("virnucpro/models"));
        Self::of(given.into_iter().chain(Self::users_own()).chain(shared))
    }

    /// The first of the standard folders, the user's own; none without a home. Reads `XDG_DATA_HOME` and `HOME`.
    pub fn users_own() -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data_home = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
        data_home.map(|root| root.join("virnucpro/models"))
    }

    /// The folders in order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// Whether `name` is that of the embedded bundle, which no other can be asked for by.
    pub fn is_embedded(&self, name: &str) -> bool {
        name == mini::NAME
    }

    /// The folder of the bundle `name`, if one of the folders has it.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        self.0.iter().map(|folder| folder.join(name)).find(|folder| folder.join(BUNDLE_YAML).is_file())
    }

    /// Names that bundles can be asked for by. Folders that cannot be read have none.
    pub fn names(&self) -> Vec<String> {
        let entries = self.0.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
        let bundles = entries.filter(|entry| entry.path().join(BUNDLE_YAML).is_file());
        let names =
            bundles.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_bundle_name(name));
        [mini::NAME.to_owned()].into_iter().chain(names).collect()
    }

    /// Every bundle that can be asked for by name, in order of the names; those that cannot be read with their error.
    pub fn list(&self) -> FoundBundles {
        let mut bundles = vec![FoundBundle { name: mini::NAME.to_owned(), path: None, bundle: Bundle::mini() }];
        let mut unreadable = Vec::new();
        for folder in &self.0 {
            match folder.read_dir().and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
                Ok(entries) => entries.iter().for_each(|entry| add(&mut bundles, entry.path())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push((folder.clone(), error)),
            }
        }
        bundles.sort_by(|a, b| a.name.cmp(&b.name));
        FoundBundles { bundles, unreadable }
    }
}

/// Adds the bundle at `path`, if it is one and the first of its name.
fn add(bundles: &mut Vec<FoundBundle>, path: PathBuf) {
    let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_bundle_name(name));
    let Some(name) = name.map(str::to_owned) else { return };
    if bundles.iter().all(|bundle| bundle.name != name) && path.join(BUNDLE_YAML).is_file() {
        let bundle = Bundle::open_folder(&path);
        bundles.push(FoundBundle { name, path: Some(path), bundle });
    }
}

/// What the folders of a search path hold.
pub struct FoundBundles {
    /// The bundles.
    pub bundles: Vec<FoundBundle>,
    /// Folders that are there and cannot be read, and why.
    pub unreadable: Vec<(PathBuf, std::io::Error)>,
}

/// A bundle that was found.
pub struct FoundBundle {
    /// Name it is asked for by.
    pub name: String,
    /// Its folder; none for the embedded bundle.
    pub path: Option<PathBuf>,
    /// The bundle, or why it cannot be used.
    pub bundle: Result<Bundle>,
}

/// What a user means by the name or path of a bundle.
pub(super) enum Resolved {
    Embedded,
    Folder(PathBuf),
}

/// Resolves a name or path: a path has a separator or is `.` or `..`; a name is the embedded bundle, else one of the
/// search path, else a bundle's folder of this name in the working folder.
pub(super) fn resolve(name_or_folder: &str, search: &SearchPath) -> Result<Resolved> {
    let folder = Path::new(name_or_folder);
    if name_or_folder.contains('/') || matches!(name_or_folder, "." | "..") {
        return Ok(Resolved::Folder(folder.to_owned()));
    }
    if name_or_folder == mini::NAME {
        return Ok(Resolved::Embedded);
    }
    if is_bundle_name(name_or_folder)
        && let Some(found) = search.find(name_or_folder)
    {
        return Ok(Resolved::Folder(found));
    }
    if folder.join(BUNDLE_YAML).is_file() {
        return Ok(Resolved::Folder(folder.to_owned()));
    }
    let names = search.names();
    let near = did_you_mean(name_or_folder, names.iter().map(String::as_str));
    let folders: Vec<_> = search.folders().iter().map(|folder| folder.display().to_string()).collect();
    Err(Error::new(Fault::ModelMissing, format!("no bundle is named '{name_or_folder}'"))
        .expected(format!("a folder of this name in {}", folders.join(", ")))
        .advice(format!(
            "{}'virnucpro models list' shows the bundles; set VIRNUCPRO_MODELS or give the path of the bundle's folder",
            near.map_or_else(String::new, |near| near + " ")
        )))
}
