//! Where a bundle is to stand: whether it can, asked before any work is done.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};

/// The place that `target` means, links followed, if nothing stands there but an empty folder that can be replaced.
///
/// # Errors
/// [`Fault::OutputForeign`] for a file or a folder with something in it; [`Fault::Write`] for what is no folder's name,
/// cannot be looked at, or is the root of a file system.
pub(super) fn free(target: &Path) -> Result<PathBuf> {
    let failed = |error| Error::writing(target, error);
    let place = match target.canonicalize() {
        Ok(place) => place,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match (target.symlink_metadata(), target.file_name()) {
                (Ok(_), _) => Err(foreign(target).found("a link that points to nothing")),
                (Err(_), None) => Err(failed(error)),
                (Err(_), Some(_)) => Ok(target.to_owned()),
            };
        }
        Err(error) => return Err(failed(error)),
    };
    let folder = fs::metadata(&place).map_err(failed)?;
    if !folder.is_dir() || place.read_dir().map_err(failed)?.next().is_some() {
        return Err(foreign(target));
    }
    let above = place.parent().map(fs::metadata).transpose().map_err(failed)?;
    if above.is_none_or(|above| above.dev() != folder.dev()) || is_mounted(&place) {
        return Err(Error::new(Fault::Write, format!("{} is the root of a file system", target.display()))
            .file(target)
            .expected("a folder that can be replaced as a whole, or none")
            .advice(format!("give a folder in it, as {}", target.join("NAME").display())));
    }
    Ok(place)
}

/// Whether something is mounted there, which may be a folder of the same file system.
fn is_mounted(folder: &Path) -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    // Fields are separated by spaces; the fifth is the mount point, its own spaces written as octal numbers.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let escaped = folder.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    points.into_iter().any(|point| point == escaped)
}

/// The refusal of a `target` where something stands.
pub(super) fn foreign(target: &Path) -> Error {
    Error::new(Fault::OutputForeign, format!("{} is there already", target.display()))
        .file(target)
        .expected("a folder that does not exist yet, or an empty one")
        .advice("choose another folder, or remove this one first")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_what_is_there_is_said_to_be_there() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), "").unwrap();
        fs::create_dir_all(path("full/inner")).unwrap();
        symlink(path("nothing"), path("loose")).unwrap();
        for name in ["file", "full", "loose"] {
            assert_eq!(free(&path(name)).unwrap_err().fault(), Fault::OutputForeign, "{name}");
        }
        for name in ["file/below", "none/.."] {
            assert_eq!(free(&path(name)).unwrap_err().fault(), Fault::Write, "{name}");
        }
        fs::create_dir(path("shut")).unwrap();
        fs::set_permissions(path("shut"), fs::Permissions::from_mode(0o000)).unwrap();
        // Nothing is shut for root.
        if path("shut").read_dir().is_err() {
            assert_eq!(free(&path("shut/in")).unwrap_err().fault(), Fault::Write);
        }
    }

    #[test]
    fn a_link_to_an_empty_folder_means_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        symlink(root.join("empty"), root.join("link")).unwrap();
        assert_eq!(free(&root.join("link")).unwrap(), root.join("empty"));
        assert_eq!(free(&root.join("empty/.")).unwrap(), root.join("empty"));
        assert_eq!(free(&root.join("new")).unwrap(), root.join("new"));
    }

    #[test]
    fn what_is_mounted_is_known() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(tempfile::tempdir().unwrap().path()));
    }
}
