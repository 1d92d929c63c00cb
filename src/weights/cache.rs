//! The cache of a model hub, as it lies on disk: `models--ORG--NAME/{refs,snapshots,blobs}`. It is only read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::bytes::{ModelBytes, unreadable};
use crate::error::{Error, Fault, Result};
use crate::fs::digest::{Digest, git_blob};

/// The revision of a hub's repository that files are a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Repository, as `facebook/esm2_t36_3B_UR50D`.
    pub repository: String,
    /// Commit.
    pub commit: String,
}

/// Folder of the snapshot that a cache entry stands for, if `folder` is an entry: that of `refs/main`, else the only
/// one.
///
/// # Errors
/// [`Fault::ModelMissing`] when there is none or it cannot be told which; [`Fault::Read`].
pub(super) fn snapshot(folder: &Path) -> Result<Option<PathBuf>> {
    let snapshots = folder.join("snapshots");
    let named = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("models--"));
    if !snapshots.is_dir() || !(named || folder.join("refs").is_dir() || folder.join("blobs").is_dir()) {
        return Ok(None);
    }
    let mut there = Vec::new();
    for entry in snapshots.read_dir().map_err(|error| unreadable(&snapshots, error))? {
        let path = entry.map_err(|error| unreadable(&snapshots, error))?.path();
        if path.is_dir() {
            there.push(path);
        }
    }
    there.sort();
    let refused = |message: &str, advice: &str| {
        let names = there.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
        let found = if there.is_empty() { "no snapshot".to_owned() } else { names.collect::<Vec<_>>().join(", ") };
        Error::new(Fault::ModelMissing, message).file(&snapshots).found(found).advice(advice)
    };
    let main = folder.join("refs/main");
    match fs::read_to_string(&main) {
        Ok(commit) => {
            let wanted = snapshots.join(commit.trim());
            if there.contains(&wanted) {
                return Ok(Some(wanted));
            }
            // The content of refs/main is a name, and no path: only what stands in the folder is taken.
            Err(refused(
                "the snapshot that refs/main names is not in the cache",
                "give one of the snapshots by its path, or download the model again",
            )
            .expected(commit.trim().chars().take(100).collect::<String>()))
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
            let repository = entry.strip_prefix("models--")?.replace("--", "/");
            Some(Origin { repository, commit: snapshot.file_name()?.to_str()?.to_owned() })
        })
    };
    within(folder).or_else(|| within(&folder.canonicalize().ok()?))
}

/// SHA-256 of a large file of the cache: the name of the blob that its link leads to.
pub(super) fn blob_digest(file: &Path) -> Option<Digest> {
    file.canonicalize().ok()?.file_name()?.to_str()?.parse().ok()
}

/// Compares a small file of the cache with the name of the blob that its link leads to: SHA-256, or the id that Git
/// gives it. A file of another name is let pass.
///
/// # Errors
/// [`Fault::ModelDigest`].
pub(super) fn check_small(file: &Path, bytes: &ModelBytes) -> Result<()> {
    if let Some(expected) = blob_digest(file) {
        return check_blob(file, expected, Digest::of(bytes));
    }
    let Some(expected) = git_id(file) else { return Ok(()) };
    let found = git_blob(bytes);
    if expected == found { Ok(()) } else { Err(damaged(file, expected, found)) }
}

/// The id in Git of a small file of the cache: the name of its blob.
fn git_id(file: &Path) -> Option<String> {
    let blob = file.canonicalize().ok()?;
    let name = blob.file_name()?.to_str()?;
    let is_id = name.len() == 40 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && blob.parent()?.ends_with("blobs")).then(|| name.to_owned())
}

/// Compares a blob with its name.
///
/// # Errors
/// [`Fault::ModelDigest`].
pub(super) fn check_blob(file: &Path, expected: Digest, found: Digest) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(damaged(file, format!("sha256 {expected}"), format!("sha256 {found}")))
}

fn damaged(file: &Path, expected: String, found: String) -> Error {
    Error::new(Fault::ModelDigest, "a file of the hub's cache is not what its name says")
        .file(file)
        .expected(expected)
        .found(found)
        .advice("the file is damaged or its download was broken off: remove it from the cache and download it again")
}

/// Names a link that leads to nothing: what a broken download or a copy of the links alone leaves.
///
/// # Errors
/// [`Fault::ModelMissing`].
pub(super) fn refuse_broken_link(path: &Path) -> Result<()> {
    let Ok(target) = path.read_link() else { return Ok(()) };
    match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::new(Fault::ModelMissing, format!("a link leads to nothing: {}", path.display()))
                .file(path)
                .expected("a link to a file that is there")
                .found(format!("a link to {}", target.display()))
                .advice("download the model again; a copy of a cache must hold its folder 'blobs' as well"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(blob_digest(&link), Some(Digest::of(b"abc")));
        assert!(check_blob(&link, Digest::of(b"abc"), Digest::of(&ModelBytes::open(&link).unwrap())).is_ok());
        let error = check_blob(&link, Digest::of(b"abc"), Digest::of(b"abd")).unwrap_err();
        assert_eq!((error.fault(), error.path()), (Fault::ModelDigest, Some(&*link)));

        refuse_broken_link(&link).unwrap();
        fs::remove_file(&blob).unwrap();
        assert_eq!(refuse_broken_link(&link).unwrap_err().fault(), Fault::ModelMissing);
        assert_eq!(blob_digest(&link), None);
    }
}
