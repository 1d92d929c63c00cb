//! Names of unfinished files and folders: `.NAME.OWNER-NUMBER.partial`, beside the place where NAME will be. OWNER is the
//! process that writes; NUMBER tells apart what one process writes at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{owner, parent};
use crate::error::{Error, Result};

const SUFFIX: &str = ".partial";

/// An unfinished file or folder.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Where it is.
    pub path: PathBuf,
    /// The process that made it.
    pub owner: String,
}

impl Unfinished {
    /// Whether its process has ended, on this machine.
    pub fn is_abandoned(&self) -> bool {
        owner::is_dead(&self.owner)
    }

    fn remove(&self) {
        remove(&self.path);
    }
}

/// Creates what will become `target` under a name that nothing else has: `make` gets the name and must fail with
/// [`ErrorKind::AlreadyExists`] if it is taken.
///
/// # Errors
/// Those of `make`.
pub fn create<T>(target: &Path, make: impl Fn(&Path) -> io::Result<T>) -> Result<(PathBuf, T)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!(".{name}.{}-{number}{SUFFIX}", owner::this()));
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::writing(target, error)),
        }
    }
}

/// The unfinished files and folders that would have become `target`; none where the folder cannot be listed.
pub fn of(target: &Path) -> Vec<Unfinished> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    in_folder(parent(target), |of| of == name).unwrap_or_default()
}

/// Removes what ended processes of this machine left unfinished of `target`.
pub fn remove_abandoned_of(target: &Path) {
    of(target).iter().filter(|partial| partial.is_abandoned()).for_each(Unfinished::remove);
}

/// Removes what ended processes of this machine left unfinished in `folder`.
///
/// # Errors
/// The folder cannot be listed.
pub fn remove_abandoned(folder: &Path) -> Result<()> {
    let partials = in_folder(folder, |_| true).map_err(|error| Error::reading(folder, error))?;
    partials.iter().filter(|partial| partial.is_abandoned()).for_each(Unfinished::remove);
    Ok(())
}

/// What this process has unfinished and no later one can continue.
static OWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes something unfinished that is of no use to a later process.
pub(super) fn note(path: &Path) {
    own().insert(path.to_owned());
}

/// Forgets something that has its final name.
pub(super) fn forget(path: &Path) {
    own().remove(path);
}

/// Removes something unfinished.
pub(super) fn discard(path: &Path) {
    forget(path);
    remove(path);
}

/// Removes everything that was noted: before a process ends without returning from its work. Waits for nobody.
pub fn discard_all() {
    if let Ok(own) = OWN.try_lock() {
        own.iter().for_each(|path| remove(path));
    }
}

/// If this fails it stays, where it disturbs nothing.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Whether a name is that of an unfinished file or folder.
pub fn is_partial(name: &str) -> bool {
    parse(name).is_some()
}

fn in_folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Unfinished>> {
    let partial = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let (of, owner) = parse(&name)?;
        wanted(of).then(|| Unfinished { path: entry.path(), owner: owner.to_owned() })
    };
    Ok(fs::read_dir(folder)?.flatten().filter_map(partial).collect())
}

/// The final name and the owner in the name of something unfinished.
fn parse(name: &str) -> Option<(&str, &str)> {
    let (of, unique) = name.strip_prefix('.')?.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    let (owner, number) = unique.rsplit_once('-')?;
    number.parse::<u32>().ok().map(|_| (of, owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_dead_processes_lose_what_they_left_unfinished() {
        let root = tempfile::tempdir().unwrap();
        let dead = owner::of(u32::MAX - 1);
        let gone = [format!(".a.{dead}-0{SUFFIX}"), format!(".a.b.{dead}-17{SUFFIX}")];
        let mut kept = vec![
            format!(".a.{}-7{SUFFIX}", owner::this()),
            format!(".a.not-{dead}-0{SUFFIX}"),
            format!(".a.{dead}{SUFFIX}"),
            format!("a.{dead}-0{SUFFIX}"),
            format!(".a.{dead}-0"),
        ];
        kept.sort();
        for (number, name) in gone.iter().chain(&kept).enumerate() {
            match number % 2 {
                0 => fs::write(root.path().join(name), "").unwrap(),
                _ => fs::create_dir_all(root.path().join(name).join("esm")).unwrap(),
            }
        }
        remove_abandoned(root.path()).unwrap();
        assert_eq!(left(root.path()), kept);
    }

    #[test]
    fn only_what_is_meant_to_become_the_same_target_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dead = owner::of(u32::MAX - 1);
        for name in ["a", "b", "a.b"] {
            fs::create_dir_all(root.path().join(format!(".{name}.{dead}-0{SUFFIX}")).join("esm")).unwrap();
        }
        remove_abandoned_of(&root.path().join("a"));
        assert_eq!(left(root.path()), [format!(".a.b.{dead}-0{SUFFIX}"), format!(".b.{dead}-0{SUFFIX}")]);
        remove_abandoned_of(Path::new("nowhere/a"));
    }

    #[test]
    fn what_was_noted_can_be_removed_at_once() {
        let root = tempfile::tempdir().unwrap();
        let [gone, named] = ["a", "b"].map(|name| root.path().join(name));
        for path in [&gone, &named] {
            fs::write(path, "").unwrap();
            note(path);
        }
        forget(&named);
        // As `discard_all`, which would take what other tests have unfinished.
        own().iter().filter(|path| path.starts_with(root.path())).for_each(|path| remove(path));
        assert_eq!(left(root.path()), ["b"]);
        discard(&gone);
        assert!(!own().contains(&gone));
    }

    #[test]
    fn a_name_is_never_given_twice() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a.tsv");
        let paths: Vec<_> = (0..3).map(|_| create(&target, |path| fs::create_dir(path)).unwrap().0).collect();
        assert_eq!(left(root.path()).len(), 3);
        assert!(paths.iter().all(|path| is_partial(path.file_name().unwrap().to_str().unwrap())));
        assert_eq!(of(&target).len(), 3);
        assert!(of(&target).iter().all(|partial| partial.owner == owner::this() && !partial.is_abandoned()));
        assert!(create(&root.path().join("none/a"), |path| fs::create_dir(path)).is_err());
    }
}
