//! Writing into the cache of repositories, so that the hub's own client finds what was fetched.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::expected::Expected;
use crate::error::{Error, Result};
use crate::fs::{AtomicFile, parent, partial, publish};
use crate::weights::hub_cache::{Checksum, Commit, RepoFolder, Revision};

/// Notes which commit a revision is.
///
/// # Errors
/// The cache cannot be written to.
pub(super) fn note(folder: &RepoFolder, revision: &Revision, commit: &Commit) -> Result<()> {
    if folder.commit(revision).as_ref() == Some(commit) {
        return Ok(());
    }
    let path = folder.reference(revision);
    create_folder_of(&path)?;
    let mut file = AtomicFile::create(&path)?;
    file.write_all(commit.as_str().as_bytes()).map_err(|error| Error::writing(&path, error))?;
    file.commit().map(drop)
}

/// Gives the content of `sum` the name `file` in a snapshot: as a link or, where none can be made, as a copy.
///
/// # Errors
/// The cache cannot be written to.
pub(super) fn link(folder: &RepoFolder, commit: &Commit, file: &str, sum: &Checksum) -> Result<()> {
    let path = folder.snapshot(commit).join(file);
    let content = RepoFolder::link_target(sum);
    if fs::read_link(&path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if folder.copy(commit, file).is_some() && Expected::from(sum.clone()).holds(&path)? {
        return Ok(());
    }
    create_folder_of(&path)?;
    let copied = |own: &Path| {
        let copy = fs::copy(folder.blob(sum), own).and_then(|_| fs::File::open(own)?.sync_all());
        copy.inspect_err(|_| drop(fs::remove_file(own)))
    };
    let (own, ()) = partial::create(&path, |own| match symlink(&content, own) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => copied(own),
        made => made,
    })?;
    publish(&own, &path).map_err(|error| {
        let _ = fs::remove_file(&own);
        Error::writing(&path, error)
    })
}

fn create_folder_of(path: &Path) -> Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::Digest;
    use crate::weights::hub_cache::checksum;

    fn folder(place: &Path) -> RepoFolder {
        RepoFolder::of(place, &"org/name".parse().unwrap())
    }

    fn commit(digit: &str) -> Commit {
        digit.repeat(40).parse().unwrap()
    }

    #[test]
    fn what_is_written_has_the_layout_of_the_hub() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let sum = Checksum::Sha256(Digest::of(b"x"));
        fs::create_dir_all(repo.blob(&sum).parent().unwrap()).unwrap();
        fs::write(repo.blob(&sum), "x").unwrap();
        link(&repo, &commit("a"), "config.json", &sum).unwrap();
        note(&repo, &"refs/pr/1".parse().unwrap(), &commit("a")).unwrap();
        let root = place.path().join("models--org--name");
        let file = root.join("snapshots").join("a".repeat(40)).join("config.json");
        assert_eq!(fs::read_link(&file).unwrap(), Path::new("../../blobs").join(Digest::of(b"x").to_string()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        assert_eq!(fs::read_to_string(root.join("refs/refs/pr/1")).unwrap(), "a".repeat(40));
        assert_eq!(repo.commit(&"refs/pr/1".parse().unwrap()), Some(commit("a")));
        assert_eq!((checksum(&file), repo.files(&commit("a")).unwrap()), (Some(sum), vec![file]));
    }

    #[test]
    fn a_link_to_other_content_is_corrected() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        let (old, new) = (Checksum::Sha256(Digest::of(b"old")), Checksum::Sha256(Digest::of(b"new")));
        link(&repo, &commit("a"), "f", &old).unwrap();
        link(&repo, &commit("a"), "f", &new).unwrap();
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
        link(&repo, &commit("a"), "f", &Checksum::Sha256(Digest::of(b"new"))).unwrap();
        assert!(fs::read_link(&path).is_err());
        link(&repo, &commit("a"), "f", &Checksum::Sha256(Digest::of(b"newer"))).unwrap();
        assert!(fs::read_link(&path).is_ok());
    }

    #[test]
    fn what_is_here_is_named_by_its_revision() {
        let place = tempfile::tempdir().unwrap();
        let repo = folder(place.path());
        for digit in ["a", "b"] {
            fs::create_dir_all(repo.snapshot(&commit(digit))).unwrap();
        }
        note(&repo, &"refs/pr/1".parse().unwrap(), &commit("a")).unwrap();
        note(&repo, &"gone".parse().unwrap(), &commit("c")).unwrap();
        let by = |digit: &str, revision: &str| (commit(digit), revision.parse::<Revision>().unwrap());
        assert_eq!(repo.commits(), [by("a", "refs/pr/1"), by("b", &"b".repeat(40))]);
    }
}
