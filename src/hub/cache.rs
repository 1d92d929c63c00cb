//! The cache of repositories, laid out as the hub's own client does, so that each finds what the other fetched:
//! `models--org--name/{blobs/<digest>, snapshots/<commit>/<file> -> ../../blobs/<digest>, refs/<revision>}`.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::ids::{Commit, RepoId, Revision};
use super::listing;
use super::partial::leftover::own_path;
use super::partial::sum::Sum;
use crate::error::{Error, Result};
use crate::fs::{parent, sync_folder};

/// Folder of one repository in the cache.
#[derive(Clone, Debug)]
pub(super) struct RepoFolder(PathBuf);

impl RepoFolder {
    /// The folder of `repo` in `cache`, which need not be there.
    pub(super) fn of(cache: &Path, repo: &RepoId) -> Self {
        Self(cache.join(repo.folder()))
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the content of this digest lies.
    pub(super) fn blob(&self, sum: &Sum) -> PathBuf {
        self.0.join("blobs").join(sum.to_string())
    }

    /// Where the files of a commit lie.
    pub(super) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.0.join("snapshots").join(commit.as_str())
    }

    fn reference(&self, revision: &Revision) -> PathBuf {
        self.0.join("refs").join(revision.as_str())
    }

    /// The commit that a revision was when it was fetched; a commit is itself.
    pub(super) fn commit(&self, revision: &Revision) -> Option<Commit> {
        let noted = || fs::read_to_string(self.reference(revision)).ok()?.trim().parse().ok();
        revision.commit().or_else(noted)
    }

    /// Every commit of which something is here, with a revision to ask for it by: one that is noted, or itself.
    pub(super) fn held(&self) -> Vec<(Commit, Revision)> {
        let mut noted = Vec::new();
        self.noted(Path::new(""), &mut noted);
        noted.sort();
        let mut held: Vec<(Commit, Revision)> = Vec::new();
        for name in noted.into_iter().chain(names(&self.0.join("snapshots"))) {
            if let Ok(revision) = name.parse::<Revision>()
                && let Some(commit) = self.commit(&revision)
                && held.iter().all(|(other, _)| *other != commit)
                && self.snapshot(&commit).is_dir()
            {
                held.push((commit, revision));
            }
        }
        held
    }

    /// Names of revisions that are noted below a folder of `refs`.
    fn noted(&self, below: &Path, found: &mut Vec<String>) {
        for name in names(&self.0.join("refs").join(below)) {
            let path = below.join(name);
            if self.0.join("refs").join(&path).is_dir() {
                self.noted(&path, found);
            } else {
                found.extend(path.to_str().map(str::to_owned));
            }
        }
    }

    /// A file of a snapshot that is no link to a blob: a copy.
    pub(super) fn copy(&self, commit: &Commit, file: &str) -> Option<PathBuf> {
        let path = self.snapshot(commit).join(file);
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()).then_some(path)
    }

    /// Whether a blob of the same size says, by its name, that the bytes of a copy are right.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub(super) fn vouches(&self, copy: &Path) -> Result<bool> {
        let bytes = |path: &Path| path.metadata().map(|metadata| metadata.len()).ok();
        let blobs = self.0.join("blobs");
        for sum in names(&blobs).filter_map(|name| Sum::parse(&name)) {
            if bytes(&self.blob(&sum)) == bytes(copy) && sum.holds(copy, &mut |_| ())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes which commit a revision is.
    ///
    /// # Errors
    /// The cache cannot be written to.
    pub(super) fn note(&self, revision: &Revision, commit: &Commit) -> Result<()> {
        if revision.commit().is_some() || self.commit(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference(revision);
        put(&path, |own| fs::write(own, commit.as_str()).and_then(|()| fs::File::open(own)?.sync_all()))
    }

    /// Gives the content of `sum` the name `file` in a snapshot: as a link or, where none can be made, as a copy.
    ///
    /// # Errors
    /// The cache cannot be written to.
    pub(super) fn link(&self, commit: &Commit, file: &str, sum: &Sum) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        let content = Path::new("../../blobs").join(sum.to_string());
        if fs::read_link(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        let copied = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if copied && sum.holds(&path, &mut |_| ())? {
            return Ok(());
        }
        put(&path, |own| match symlink(&content, own) {
            Ok(()) => Ok(()),
            Err(_) => fs::copy(self.blob(sum), own).and_then(|_| fs::File::open(own)?.sync_all()),
        })
    }

    /// What a snapshot lacks to be a model.
    ///
    /// # Errors
    /// An index in it is none.
    pub(super) fn missing(&self, commit: &Commit, tokenizer: bool) -> Result<Vec<String>> {
        let folder = self.snapshot(commit);
        let has = |name: &str| folder.join(name).is_file();
        let read = |name: &str| fs::read(folder.join(name)).ok();
        listing::missing(&has, &read, tokenizer).map_err(|error| error.file(&folder))
    }

    /// Files of a snapshot with the digest in the name of the blob behind each; none where a copy stands.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(super) fn files(&self, commit: &Commit) -> Result<Vec<(PathBuf, Option<Sum>)>> {
        let folder = self.snapshot(commit);
        let entries = fs::read_dir(&folder).map_err(|error| Error::reading(&folder, error))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| Error::reading(&folder, error))?.path();
            if path.is_file() {
                let blob = fs::read_link(&path).ok();
                let sum = blob.and_then(|blob| Sum::parse(blob.file_name()?.to_str()?));
                files.push((path, sum));
            }
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(files)
    }
}

/// Names in a folder; none where it cannot be listed.
fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Puts a file or link in place whole: made under a name of its own by `make`, then renamed.
fn put(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let work = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let own = own_path(path);
        make(&own).and_then(|()| fs::rename(&own, path)).inspect_err(|_| drop(fs::remove_file(&own)))?;
        sync_folder(parent(path))
    };
    work().map_err(|error| Error::writing(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::Digest;

    fn folder(place: &Path) -> RepoFolder {
        RepoFolder::of(place, &"org/name".parse().unwrap())
    }

    fn commit(digit: &str) -> Commit {
        digit.repeat(40).parse().unwrap()
    }

    #[test]
    fn the_layout_is_that_of_the_hub() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let sum = Sum::Sha256(Digest::of(b"x"));
        fs::create_dir_all(repo.blob(&sum).parent().unwrap()).unwrap();
        fs::write(repo.blob(&sum), "x").unwrap();
        repo.link(&commit("a"), "config.json", &sum).unwrap();
        repo.note(&"refs/pr/1".parse().unwrap(), &commit("a")).unwrap();
        let root = place.path().join("models--org--name");
        let link = root.join("snapshots").join("a".repeat(40)).join("config.json");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../blobs").join(Digest::of(b"x").to_string()));
        assert_eq!(fs::read_to_string(&link).unwrap(), "x");
        assert_eq!(fs::read_to_string(root.join("refs/refs/pr/1")).unwrap(), "a".repeat(40));
        assert_eq!(repo.commit(&"refs/pr/1".parse().unwrap()), Some(commit("a")));
        assert_eq!(repo.files(&commit("a")).unwrap(), [(link, Some(sum))]);
    }

    #[test]
    fn a_link_that_leads_astray_is_put_right() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let (old, new) = (Sum::Sha256(Digest::of(b"old")), Sum::Sha256(Digest::of(b"new")));
        repo.link(&commit("a"), "f", &old).unwrap();
        repo.link(&commit("a"), "f", &new).unwrap();
        let path = repo.snapshot(&commit("a")).join("f");
        assert!(fs::read_link(&path).unwrap().ends_with(new.to_string()));
        assert_eq!(fs::read_dir(repo.snapshot(&commit("a"))).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_stands_for_a_link_only_while_its_bytes_are_right() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let path = repo.snapshot(&commit("a")).join("f");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "new").unwrap();
        repo.link(&commit("a"), "f", &Sum::Sha256(Digest::of(b"new"))).unwrap();
        assert!(fs::read_link(&path).is_err());
        repo.link(&commit("a"), "f", &Sum::Sha256(Digest::of(b"newer"))).unwrap();
        assert!(fs::read_link(&path).is_ok());
    }

    #[test]
    fn a_model_is_complete_when_all_that_its_index_names_is_there() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let snapshot = repo.snapshot(&commit("a"));
        fs::create_dir_all(&snapshot).unwrap();
        let missing = || repo.missing(&commit("a"), true).unwrap();
        assert_eq!(missing(), ["config.json", "tokenizer.json", "model.safetensors"]);
        for name in ["config.json", "tokenizer.json"] {
            fs::write(snapshot.join(name), "{}").unwrap();
        }
        fs::write(snapshot.join("pytorch_model.bin.index.json"), "{\"weight_map\": {\"t\": \"p-1.bin\"}}").unwrap();
        assert_eq!(missing(), ["p-1.bin"]);
        fs::write(snapshot.join("p-1.bin"), "").unwrap();
        assert!(missing().is_empty());
    }

    #[test]
    fn what_is_here_is_named_by_its_revision() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        for digit in ["a", "b"] {
            fs::create_dir_all(repo.snapshot(&commit(digit))).unwrap();
        }
        repo.note(&"refs/pr/1".parse().unwrap(), &commit("a")).unwrap();
        repo.note(&"gone".parse().unwrap(), &commit("c")).unwrap();
        let by = |digit: &str, revision: &str| (commit(digit), revision.parse::<Revision>().unwrap());
        assert_eq!(repo.held(), [by("a", "refs/pr/1"), by("b", &"b".repeat(40))]);
    }

    #[test]
    fn a_copy_is_vouched_for_by_the_name_of_a_blob() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let blob = repo.blob(&Sum::Sha256(Digest::of(b"right")));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, "right").unwrap();
        let copy = place.path().join("copy");
        fs::write(&copy, "right").unwrap();
        assert!(repo.vouches(&copy).unwrap());
        fs::write(&copy, "wrong").unwrap();
        assert!(!repo.vouches(&copy).unwrap());
    }
}
