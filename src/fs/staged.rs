//! A folder that appears under its final name whole or not at all: written beside its place under an unfinished name,
//! then renamed. Dropping an unfinished folder removes it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::digest::{Digest, Sha256};
use super::{FileWriter, durable, parent, partial};
use crate::error::{Error, Fault, Result};

/// A folder being written under an unfinished name; [`commit`](StagedFolder::commit) gives it its own.
pub struct StagedFolder {
    path: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl StagedFolder {
    /// Starts a folder that will be `target`, and removes what killed processes left of the same one.
    ///
    /// # Errors
    /// Those of [`free_target`] and of writing.
    pub fn create(target: &Path) -> Result<Self> {
        let target = free_target(target)?;
        let folder = parent(&target);
        durable::create_folders(folder).map_err(|error| Error::writing(folder, error))?;
        partial::remove_abandoned_of(&target);
        let (path, ()) = partial::create(&target, durable::create_folder)?;
        partial::note(&path);
        Ok(Self { path, target, committed: false })
    }

    /// Where the files are until the commit.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file `name`, as `esm/config.json`, and makes it durable; gives its size and digest.
    ///
    /// # Errors
    /// Those of `content` and of writing.
    pub fn write(
        &mut self,
        name: &str,
        content: impl FnOnce(&mut FileWriter<Sha256>) -> Result<()>,
    ) -> Result<(u64, Digest)> {
        let path = self.path.join(name);
        let writing = |error| Error::writing(&path, error);
        durable::create_folders(parent(&path)).map_err(writing)?;
        let mut writer = FileWriter::new(path.clone(), durable::create_file(&path).map_err(writing)?);
        content(&mut writer)?;
        writer.finish().map_err(writing)
    }

    /// Takes the file `from` as the file `name`: another name for the same bytes where the file system has that, else a copy.
    ///
    /// # Errors
    /// Those of reading and of writing.
    pub fn take(&mut self, name: &str, from: &Path) -> Result<()> {
        let path = self.path.join(name);
        let writing = |error| Error::writing(&path, error);
        durable::create_folders(parent(&path)).map_err(writing)?;
        // A link would lead elsewhere from here.
        let from = from.canonicalize().map_err(|error| Error::reading(from, error))?;
        durable::link(&from, &path).or_else(|_| durable::copy(&from, &path)).map_err(writing)
    }

    /// Gives the folder its final name, durably.
    ///
    /// # Errors
    /// [`Fault::OutputForeign`] when something has appeared there in the meantime, and those of writing.
    pub fn commit(mut self) -> Result<PathBuf> {
        let writing = |error| Error::writing(&self.path, error);
        let entries = self.path.read_dir().map_err(writing)?;
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir());
        folders.chain([self.path.clone()]).try_for_each(|folder| durable::sync_folder(&folder)).map_err(writing)?;
        match durable::publish(&self.path, &self.target) {
            Ok(()) => {
                partial::forget(&self.path);
                self.committed = true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                return Err(taken(&self.target));
            }
            Err(error) => return Err(Error::writing(&self.target, error)),
        }
        Ok(self.target.clone())
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.committed {
            partial::discard(&self.path);
        }
    }
}

/// The folder that `target` leads to, links followed, if it does not exist or is empty and can be replaced: asked before any
/// work is done.
///
/// # Errors
/// [`Fault::OutputForeign`] for a file or a folder with something in it; [`Fault::Write`] for a path that cannot become a
/// folder, cannot be looked at, or is the root of a file system.
pub fn free_target(target: &Path) -> Result<PathBuf> {
    let failed = |error| Error::writing(target, error);
    let place = match target.canonicalize() {
        Ok(place) => place,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match (target.symlink_metadata(), target.file_name()) {
                (Ok(_), _) => Err(taken(target).found("a link that points to nothing")),
                (Err(_), None) => Err(failed(error)),
                (Err(_), Some(_)) => Ok(target.to_owned()),
            };
        }
        Err(error) => return Err(failed(error)),
    };
    let folder = fs::metadata(&place).map_err(failed)?;
    if !folder.is_dir() || place.read_dir().map_err(failed)?.next().is_some() {
        return Err(taken(target));
    }
    let above = place.parent().map(fs::metadata).transpose().map_err(failed)?;
    if above.is_none_or(|above| above.dev() != folder.dev()) || is_mounted(&place) {
        return Err(Error::new(Fault::Write, format!("{} is the root of a file system", target.display()))
            .file(target)
            .expected("a folder that does not exist yet, or one that can be replaced as a whole")
            .advice(format!("give a folder in it, as {}", target.join("NAME").display())));
    }
    Ok(place)
}

/// Whether something is mounted there, which may be a folder of the same file system.
fn is_mounted(folder: &Path) -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    // Fields are separated by spaces; the fifth is the mount point, its own spaces written as octal numbers.
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let escaped = folder.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    points.any(|point| point == escaped)
}

fn taken(target: &Path) -> Error {
    Error::new(Fault::OutputForeign, format!("{} already exists", target.display()))
        .file(target)
        .expected("a folder that does not exist yet, or an empty one")
        .advice("choose another folder, or remove this one first")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entries(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    #[test]
    fn nothing_has_the_final_name_before_commit_and_nothing_else_is_left_after() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/bundle");
        let mut staged = StagedFolder::create(&target).unwrap();
        let written = staged.write("a/b", |out| out.append(b"abc")).unwrap();
        assert_eq!(written, (3, Digest::of(b"abc")));
        assert!(!target.exists());
        assert_eq!(staged.commit().unwrap(), target);
        assert_eq!(fs::read(target.join("a/b")).unwrap(), b"abc");
        assert_eq!(entries(&root.path().join("deep")), 1);
    }

    #[test]
    fn a_file_that_was_taken_stays_where_it_was_too() {
        let root = tempfile::tempdir().unwrap();
        let [from, link] = ["from", "link"].map(|name| root.path().join(name));
        fs::write(&from, b"abc").unwrap();
        symlink("from", &link).unwrap();
        let mut staged = StagedFolder::create(&root.path().join("bundle")).unwrap();
        staged.take("deep/b", &link).unwrap();
        let folder = staged.commit().unwrap();
        for path in [from, folder.join("deep/b")] {
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            assert_eq!(fs::read(path).unwrap(), b"abc");
        }
        assert_eq!(
            StagedFolder::create(&root.path().join("c")).unwrap().take("x", Path::new("none")).unwrap_err().fault(),
            Fault::InputMissing
        );
    }

    #[test]
    fn an_abandoned_folder_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let mut staged = StagedFolder::create(&root.path().join("bundle")).unwrap();
        staged.write("a", |out| out.append(b"abc")).unwrap();
        assert_eq!(entries(root.path()), 1);
        drop(staged);
        assert_eq!(entries(root.path()), 0);
    }

    #[test]
    fn an_existing_folder_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("bundle");
        let (mut first, second) = (StagedFolder::create(&target).unwrap(), StagedFolder::create(&target).unwrap());
        first.write("a", |out| out.append(b"first")).unwrap();
        first.commit().unwrap();
        assert_eq!(second.commit().unwrap_err().fault(), Fault::OutputForeign);
        assert_eq!(StagedFolder::create(&target).err().map(|error| error.fault()), Some(Fault::OutputForeign));
        assert_eq!(fs::read(target.join("a")).unwrap(), b"first");
        assert_eq!(entries(root.path()), 1);
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let root = tempfile::tempdir().unwrap();
        let mut staged = StagedFolder::create(root.path()).unwrap();
        staged.write("a", |out| out.append(b"abc")).unwrap();
        staged.commit().unwrap();
        assert_eq!(entries(root.path()), 1);
    }

    #[test]
    fn only_what_exists_is_said_to_exist() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), "").unwrap();
        fs::create_dir_all(path("full/inner")).unwrap();
        symlink(path("nothing"), path("loose")).unwrap();
        for name in ["file", "full", "loose"] {
            assert_eq!(free_target(&path(name)).unwrap_err().fault(), Fault::OutputForeign, "{name}");
        }
        for name in ["file/below", "none/.."] {
            assert_eq!(free_target(&path(name)).unwrap_err().fault(), Fault::Write, "{name}");
        }
        fs::create_dir(path("shut")).unwrap();
        fs::set_permissions(path("shut"), fs::Permissions::from_mode(0o000)).unwrap();
        // Root can open any folder.
        if path("shut").read_dir().is_err() {
            assert_eq!(free_target(&path("shut/in")).unwrap_err().fault(), Fault::Write);
        }
    }

    #[test]
    fn a_link_to_an_empty_folder_means_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        symlink(root.join("empty"), root.join("link")).unwrap();
        assert_eq!(free_target(&root.join("link")).unwrap(), root.join("empty"));
        assert_eq!(free_target(&root.join("empty/.")).unwrap(), root.join("empty"));
        assert_eq!(free_target(&root.join("new")).unwrap(), root.join("new"));
    }

    #[test]
    fn what_is_mounted_is_known() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(tempfile::tempdir().unwrap().path()));
    }
}
