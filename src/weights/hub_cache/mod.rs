//! The cache of a model hub as it lies on disk, laid out as the hub's own client does:
//! `models--ORG--NAME/{blobs/CHECKSUM, snapshots/COMMIT/FILE -> ../../blobs/CHECKSUM, refs/REVISION}`.
//!
//! Nothing is written here.

mod checksum;
mod ids;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use self::checksum::{Checksum, Running};
pub use self::ids::{Commit, RepoId, Revision, is_safe_name};

use super::bytes::{ModelBytes, unreadable};
use crate::error::{Error, Fault, Result, printable};
use crate::fs::digest::Digest;
use crate::fs::text;

/// What the folder of a repository starts with.
const PREFIX: &str = "models--";

/// Folder of one repository in a cache.
#[derive(Clone, Debug)]
pub struct RepoFolder(PathBuf);

impl RepoFolder {
    /// The folder of `repo` in `cache`, which need not exist.
    pub fn of(cache: &Path, repo: &RepoId) -> Self {
        Self(cache.join(format!("{PREFIX}{}", repo.to_string().replace('/', "--"))))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where content with this checksum lies.
    pub fn blob(&self, sum: &Checksum) -> PathBuf {
        self.0.join("blobs").join(sum.to_string())
    }

    /// What a file of a snapshot with this content links to.
    pub fn link_target(sum: &Checksum) -> PathBuf {
        Path::new("../../blobs").join(sum.to_string())
    }

    /// Checksums of all content.
    pub fn blobs(&self) -> impl Iterator<Item = Checksum> + use<> {
        names(&self.0.join("blobs")).filter_map(|name| Checksum::parse(&name))
    }

    /// Where the files of a commit lie.
    pub fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.0.join("snapshots").join(commit.as_str())
    }

    /// The file that says which commit a revision is.
    pub fn reference(&self, revision: &Revision) -> PathBuf {
        self.0.join("refs").join(revision.as_str())
    }

    /// The commit that a revision was when it was fetched; a commit is itself.
    pub fn commit(&self, revision: &Revision) -> Option<Commit> {
        let noted = || text::decode(&fs::read(self.reference(revision)).ok()?).ok()?.trim().parse().ok();
        revision.commit().or_else(noted)
    }

    /// Every commit that has a snapshot, with a revision to ask for it by: one that is noted, else the commit.
    pub fn commits(&self) -> Vec<(Commit, Revision)> {
        let mut noted = Vec::new();
        self.noted(Path::new(""), &mut noted);
        noted.sort();
        let mut found: Vec<(Commit, Revision)> = Vec::new();
        for name in noted.into_iter().chain(names(&self.0.join("snapshots"))) {
            if let Ok(revision) = name.parse::<Revision>()
                && let Some(commit) = self.commit(&revision)
                && found.iter().all(|(other, _)| *other != commit)
                && self.snapshot(&commit).is_dir()
            {
                found.push((commit, revision));
            }
        }
        found
    }

    /// Names of revisions that are noted below a folder of `refs`.
    fn noted(&self, below: &Path, found: &mut Vec<String>) {
        let refs = self.0.join("refs");
        for name in names(&refs.join(below)) {
            let path = below.join(name);
            if refs.join(&path).is_dir() {
                self.noted(&path, found);
            } else {
                found.extend(path.to_str().map(str::to_owned));
            }
        }
    }

    /// A file of a snapshot that is a copy, not a link to a blob.
    pub fn copy(&self, commit: &Commit, file: &str) -> Option<PathBuf> {
        let path = self.snapshot(commit).join(file);
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()).then_some(path)
    }

    /// Files of a snapshot in order of their names.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn files(&self, commit: &Commit) -> Result<Vec<PathBuf>> {
        let mut files = paths_in(&self.snapshot(commit))?;
        files.retain(|path| path.is_file());
        files.sort();
        Ok(files)
    }
}

/// Names in a folder; none if it cannot be listed.
fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn paths_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = folder.read_dir().and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    paths.map_err(|error| unreadable(folder, error))
}

/// The revision of a hub's repository that files are a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Repository, as `facebook/esm2_t36_3B_UR50D`.
    pub repository: String,
    /// Commit.
    pub commit: String,
}

/// The snapshot that is meant by the folder of a repository: that of `refs/main`, else the only one. None for any
/// other folder.
///
/// # Errors
/// [`Fault::ModelMissing`] if no snapshot is there, or several are and none is main; [`Fault::Read`].
pub(super) fn snapshot(folder: &Path) -> Result<Option<PathBuf>> {
    let snapshots = folder.join("snapshots");
    let named = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    if !snapshots.is_dir() || !(named || folder.join("refs").is_dir() || folder.join("blobs").is_dir()) {
        return Ok(None);
    }
    let mut there = paths_in(&snapshots)?;
    there.retain(|path| path.is_dir());
    there.sort();
    let refused = |message: &str, advice: &str| {
        let names = there.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
        let found = if there.is_empty() { "no snapshot".to_owned() } else { names.collect::<Vec<_>>().join(", ") };
        Error::new(Fault::ModelMissing, message).file(&snapshots).found(found).advice(advice)
    };
    let main = folder.join("refs/main");
    match text::read(&main, Fault::ModelFormat) {
        Ok(commit) => {
            let commit = commit?;
            // The content of refs/main could be a path: only snapshots of this folder are accepted.
            let wanted = snapshots.join(commit.trim());
            if there.contains(&wanted) {
                return Ok(Some(wanted));
            }
            Err(refused(
                "the cache does not hold the snapshot that refs/main names",
                "give one of the snapshots by its path, or download the model again",
            )
            .expected(printable(commit.trim(), 100)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => match there.as_slice() {
            [only] => Ok(Some(only.clone())),
            [] => Err(refused("the cache holds no snapshot of this model", "download the model again")),
            _ => Err(refused(
                "the cache holds several snapshots of this model, and no refs/main says which is meant",
                "give one of them by its path",
            )),
        },
        Err(error) => Err(unreadable(&main, error)),
    }
}

/// Repository and commit of files in a snapshot's folder, or in a folder within it.
pub(super) fn origin(folder: &Path) -> Option<Origin> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let within = |folder: &Path| {
        folder.ancestors().find_map(|snapshot| {
            let snapshots = snapshot.parent().filter(|parent| parent.ends_with("snapshots"))?;
            let entry = snapshots.parent()?.file_name()?.to_str()?;
            let repository = entry.strip_prefix(PREFIX)?.replace("--", "/");
            Some(Origin { repository, commit: snapshot.file_name()?.to_str()?.to_owned() })
        })
    };
    within(folder).or_else(|| within(&folder.canonicalize().ok()?))
}

/// The checksum of a file of the cache: the name of its blob. A file of another name has none.
pub fn checksum(file: &Path) -> Option<Checksum> {
    let named = |blob: PathBuf| {
        let sum = Checksum::parse(blob.file_name()?.to_str()?)?;
        // 40 digits may also be a commit, or a name of the user's.
        (matches!(sum, Checksum::Sha256(_)) || blob.parent()?.ends_with("blobs")).then_some(sum)
    };
    let real = file.canonicalize().ok()?;
    file.read_link().ok().and_then(named).or_else(|| named(real))
}

/// Compares a small file of the cache with the name of its blob. A file of another name passes.
///
/// # Errors
/// [`Fault::ModelDigest`].
pub(super) fn check_small(file: &Path, bytes: &ModelBytes) -> Result<()> {
    checksum(file).map_or(Ok(()), |expected| check(file, &expected, &expected.of_same_kind(bytes)))
}

/// SHA-256 of a large file of the cache, from the name of its blob.
pub fn sha256(file: &Path) -> Option<Digest> {
    match checksum(file)? {
        Checksum::Sha256(digest) => Some(digest),
        Checksum::Git(_) => None,
    }
}

/// Compares the checksum that was found of a file with the one in the name of its blob.
///
/// # Errors
/// [`Fault::ModelDigest`].
pub fn check(file: &Path, expected: &Checksum, found: &Checksum) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let kind = if matches!(expected, Checksum::Sha256(_)) { "sha256" } else { "git" };
    Err(Error::new(Fault::ModelDigest, "a file of the hub's cache does not match its name")
        .file(file)
        .expected(format!("{kind} {expected}"))
        .found(format!("{kind} {found}"))
        .advice("the file is damaged or its download broke off: remove it from the cache and download it again"))
}

/// Refuses a link whose target is missing: what a broken download leaves, or a copy of the links alone.
///
/// # Errors
/// [`Fault::ModelMissing`].
pub(super) fn refuse_broken_link(path: &Path) -> Result<()> {
    let Ok(target) = path.read_link() else { return Ok(()) };
    match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::new(Fault::ModelMissing, format!("the target of the link {} is missing", path.display()))
                .file(path)
                .expected("a link to a file that is there")
                .found(format!("a link to {}", target.display()))
                .advice("download the model again; a copy of a cache must include its folder 'blobs'"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::git_blob;

    fn entry(snapshots: &[&str], main: Option<&str>) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let entry = cache.path().join("models--org--name");
        fs::create_dir_all(entry.join("snapshots")).unwrap();
        fs::create_dir_all(entry.join("refs")).unwrap();
        for name in snapshots {
            fs::create_dir(entry.join("snapshots").join(name)).unwrap();
        }
        if let Some(main) = main {
            fs::write(entry.join("refs/main"), main).unwrap();
        }
        cache
    }

    #[test]
    fn the_snapshot_is_that_of_main_or_the_only_one() {
        let of = |snapshots: &[&str], main| {
            let cache = entry(snapshots, main);
            let found = snapshot(&cache.path().join("models--org--name"));
            found.map(|path| path.unwrap().file_name().unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(of(&["a", "b"], Some("b\n")).unwrap(), "b");
        assert_eq!(of(&["a"], None).unwrap(), "a");
        assert_eq!(of(&["a", "b"], Some("\u{feff}b\r\n")).unwrap(), "b");
        for (snapshots, main) in [
            (&["a", "b"][..], None),
            (&[], None),
            (&["a"], Some("b")),
            (&["a"], Some("../snapshots/a")),
            (&["a"], Some("")),
        ] {
            let error = of(snapshots, main).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelMissing, "{snapshots:?} {main:?}");
            assert!(snapshots.iter().all(|name| error.report("import").contains(name)));
        }
        let cache = entry(&["a"], None);
        let wide: Vec<u8> = "\u{feff}a".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(cache.path().join("models--org--name/refs/main"), wide).unwrap();
        let error = snapshot(&cache.path().join("models--org--name")).unwrap_err();
        assert!(error.report("import").contains("UTF-16"), "{}", error.report("import"));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(snapshot(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_snapshot_tells_where_it_comes_from() {
        let folder = Path::new("/cache/models--facebook--esm2_t6/snapshots/abc");
        let found = origin(folder).unwrap();
        assert_eq!((&*found.repository, &*found.commit), ("facebook/esm2_t6", "abc"));
        assert_eq!(origin(&folder.join("onnx")), Some(found));
        for other in ["/cache/models--a--b", "/cache/models--a--b/snapshots", "/x/snapshots/abc", "/", ""] {
            assert_eq!(origin(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_small_file_is_compared_with_the_id_that_git_gives_it() {
        let cache = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots"));
        fs::create_dir(&blobs).unwrap();
        fs::create_dir(&snapshot).unwrap();
        let (blob, link) = (blobs.join(git_blob(b"{}")), snapshot.join("config.json"));
        std::os::unix::fs::symlink(&blob, &link).unwrap();
        fs::write(&blob, "{}").unwrap();
        check_small(&link, &ModelBytes::open(&link).unwrap()).unwrap();
        fs::write(&blob, "{ }").unwrap();
        let error = check_small(&link, &ModelBytes::open(&link).unwrap()).unwrap_err();
        assert_eq!((error.fault(), error.path()), (Fault::ModelDigest, Some(&*link)));
        let other = snapshot.join(git_blob(b"{}"));
        fs::write(&other, "no blob").unwrap();
        check_small(&other, &ModelBytes::open(&other).unwrap()).unwrap();
    }

    #[test]
    fn a_blob_is_compared_with_its_name() {
        let cache = tempfile::tempdir().unwrap();
        let blob = cache.path().join(Digest::of(b"abc").to_string());
        let link = cache.path().join("model.safetensors");
        fs::write(&blob, "abc").unwrap();
        std::os::unix::fs::symlink(&blob, &link).unwrap();
        let expected = Checksum::Sha256(Digest::of(b"abc"));
        assert_eq!(checksum(&link), Some(expected.clone()));
        check_small(&link, &ModelBytes::open(&link).unwrap()).unwrap();
        let error = check(&link, &expected, &Checksum::Sha256(Digest::of(b"abd"))).unwrap_err();
        assert_eq!((error.fault(), error.path()), (Fault::ModelDigest, Some(&*link)));

        refuse_broken_link(&link).unwrap();
        fs::remove_file(&blob).unwrap();
        assert_eq!(refuse_broken_link(&link).unwrap_err().fault(), Fault::ModelMissing);
        assert_eq!(checksum(&link), None);
    }

    fn commit(digit: &str) -> Commit {
        digit.repeat(40).parse().unwrap()
    }

    #[test]
    fn the_layout_is_that_of_the_hub() {
        let repo = RepoFolder::of(Path::new("/cache"), &"org/name".parse().unwrap());
        let sum = Checksum::Sha256(Digest::of(b"x"));
        assert_eq!(repo.path(), Path::new("/cache/models--org--name"));
        assert_eq!(repo.blob(&sum), repo.path().join("blobs").join(Digest::of(b"x").to_string()));
        assert_eq!(repo.snapshot(&commit("a")), repo.path().join("snapshots").join("a".repeat(40)));
        assert_eq!(repo.reference(&"refs/pr/1".parse().unwrap()), repo.path().join("refs/refs/pr/1"));
    }
}
