//! One file from one address, kept beside the bundles: `virnucpro/downloads/NAME/FILE` in the user's data folder.
//!
//! Not in the cache of the hub: its tools take every folder there for a repository.

use std::fs;
use std::path::{Path, PathBuf};

use super::Hub;
use super::download::{FileProgress, Wanted, download};
use super::expected::Expected;
use super::http::error::GivenBy;
use super::http::url::Url;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::runtime::progress::Progress;
use crate::weights::hub_cache::{Checksum, is_safe_name};

/// A file to be fetched.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// What the user calls it.
    pub(super) name: String,
    pub(super) url: Url,
    /// Its checksum, if it is known.
    pub(super) sum: Option<Checksum>,
    /// Its licence, for people.
    pub(super) licence: String,
    /// Name of its folder.
    pub(super) folder: String,
    pub(super) given_by: GivenBy,
}

impl RemoteFile {
    /// A file of the user's own. Its folder is named after its digest or, without one, its address.
    pub(super) fn of_user(url: Url, digest: Option<Digest>) -> Self {
        let short = |digest: Digest| digest.to_string()[..16].to_owned();
        let folder = match digest {
            Some(digest) => format!("sha256-{}", short(digest)),
            None => format!("url-{}", short(Digest::of(url.for_request().as_bytes()))),
        };
        let (name, licence) = (file_name(&url).to_owned(), "not stated".to_owned());
        Self { name, url, sum: digest.map(Checksum::from), licence, folder, given_by: GivenBy::User }
    }

    /// Where it is kept below the folder of downloads.
    pub(super) fn place(&self, downloads: &Path) -> PathBuf {
        downloads.join(&self.folder).join(file_name(&self.url))
    }

    /// What it must be.
    pub(super) fn expected(&self) -> Expected {
        Expected { bytes: None, sum: self.sum.clone() }
    }
}

fn file_name(url: &Url) -> &str {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    if is_safe_name(name) { name } else { "head" }
}

impl Hub {
    /// Fetches a file unless it is there and proved; its path.
    pub(super) fn fetch_file(&self, file: &RemoteFile, progress: &Progress) -> Result<PathBuf> {
        let target = file.place(self.settings.downloads()?);
        let expected = file.expected();
        if expected.holds(&target)? {
            return Ok(target);
        }
        if self.settings.network.is_off() {
            return unproved(file, target);
        }
        log::info!("{}: {}, licence: {}, to {}", file.name, file.url, file.licence, target.display());
        let task = progress.bytes(&file.name, None);
        let wanted = Wanted { url: &file.url, target: &target, expected, given_by: file.given_by };
        let client = self.client()?;
        let new: Vec<_> = target.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
        let progress = FileProgress { task: &task, base: 0 };
        download(client, &wanted, progress).inspect_err(|_| {
            // Only empty folders go: what can be resumed stays.
            let _ = new.into_iter().try_for_each(fs::remove_dir);
        })?;
        if file.sum.is_none() {
            let digest = Digest::of(&fs::read(&target).map_err(|error| Error::reading(&target, error))?);
            log::warn!(
                "nothing proves {}: compare its SHA-256 digest {digest} with the one its authors state, and give it with \
                 --sha256",
                file.name
            );
        }
        Ok(target)
    }
}

/// Without a network: a file whose digest is unknown is taken as it is.
fn unproved(file: &RemoteFile, target: PathBuf) -> Result<PathBuf> {
    if file.sum.is_none() && target.is_file() {
        log::warn!("nothing proves {}: give its digest with --sha256", file.name);
        return Ok(target);
    }
    Err(Error::new(Fault::ModelMissing, format!("{} is not there, and the network is switched off", file.name))
        .file(&target)
        .expected("the file, fetched earlier")
        .found(if target.exists() { "a file with another digest" } else { "nothing" })
        .advice(format!(
            "on a machine with a network run the same command (or download {}), then copy the file to this place",
            file.url
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_file_stays_below_its_folder() {
        let downloads = Path::new("/d");
        let digest = Some(Digest::of(b"x"));
        for (url, name) in [
            ("https://h/a/m.pth", "m.pth"),
            ("https://h/a/..", "head"),
            ("https://h/%2e%2e%2fx", "head"),
            ("https://h/", "head"),
            ("https://h/m.pth?x=/y", "m.pth"),
        ] {
            let place = RemoteFile::of_user(url.parse().unwrap(), digest).place(downloads);
            assert_eq!(place, downloads.join("sha256-2d711642b726b044").join(name), "{url}");
        }
        let place = |url: &str| RemoteFile::of_user(url.parse().unwrap(), None).place(downloads);
        assert_ne!(place("https://h/a/m.pth"), place("https://h/b/m.pth"));
    }
}
