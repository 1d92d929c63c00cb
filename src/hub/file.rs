//! One file from one address, kept beside the bundles: `virnucpro/downloads/<name>/<file>` in the user's data folder.
//!
//! Not in the cache of the hub: its tools take every folder there for a repository.

use std::fs;
use std::path::{Path, PathBuf};

use super::Hub;
use super::download::{Meter, Wanted, download};
use super::http::error::Origin;
use super::http::url::Url;
use super::ids::is_file_name;
use super::partial::partial::Expected;
use super::partial::sum::Sum;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::runtime::progress::Progress;

/// A file to be fetched.
#[derive(Clone, Debug)]
pub struct PlainFile {
    /// What the user calls it.
    pub name: String,
    /// Its address.
    pub url: Url,
    /// Its digest, if it is known.
    pub sum: Option<Sum>,
    /// Its licence, for people.
    pub licence: String,
    folder: String,
    origin: Origin,
}

impl PlainFile {
    /// A file of the catalogue.
    pub fn named(name: &str, url: &Url, sum: &Sum, licence: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.clone(),
            sum: Some(sum.clone()),
            licence: licence.to_owned(),
            folder: name.to_owned(),
            origin: Origin::Catalogue,
        }
    }

    /// A file of the user's own. Its folder is named by its digest or, without one, by its address.
    pub fn of_user(url: Url, digest: Option<Digest>) -> Self {
        let short = |digest: Digest| digest.to_string()[..16].to_owned();
        let folder = match digest {
            Some(digest) => format!("sha256-{}", short(digest)),
            None => format!("url-{}", short(Digest::of(url.for_request().as_bytes()))),
        };
        let name = file_name(&url).to_owned();
        Self { name, url, sum: digest.map(Sum::Sha256), licence: "not stated".to_owned(), folder, origin: Origin::User }
    }

    /// Where it is kept below the folder of downloads.
    pub(super) fn place(&self, downloads: &Path) -> PathBuf {
        downloads.join(&self.folder).join(file_name(&self.url))
    }
}

fn file_name(url: &Url) -> &str {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    if is_file_name(name) { name } else { "head" }
}

impl Hub {
    /// Fetches a file unless it is there and proved, and gives its path.
    ///
    /// # Errors
    /// [`Fault::Network`], [`Fault::DownloadRefused`], [`Fault::DownloadDigest`], [`Fault::ModelPointer`];
    /// [`Fault::ModelMissing`] when the network is switched off; those of writing.
    pub fn fetch_file(&self, file: &PlainFile, progress: &Progress) -> Result<PathBuf> {
        let target = file.place(self.settings.downloads()?);
        let expected = Expected { bytes: None, sum: file.sum.clone() };
        if expected.holds(&target, &mut |_| ())? {
            return Ok(target);
        }
        if self.settings.network.is_off() {
            return self.unproved(file, target);
        }
        log::info!("{}: {}, licence: {}, to {}", file.name, file.url, file.licence, target.display());
        let task = progress.bytes(&file.name, None);
        let (origin, by) = (file.origin, "XDG_DATA_HOME");
        let wanted = Wanted { url: &file.url, target: &target, expected, origin, by };
        let client = self.client()?;
        let made: Vec<_> = target.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
        download(client, &wanted, self.patience.first_wait, Meter { task: &task, base: 0 }).inspect_err(|_| {
            // Only empty folders go: what can be gone on with stays.
            let _ = made.into_iter().try_for_each(fs::remove_dir);
        })?;
        if file.sum.is_none() {
            let bytes = fs::read(&target).map_err(|error| Error::reading(&target, error))?;
            log::warn!(
                "nothing vouches for {}: compare its SHA-256 digest {} with what its authors state, and give it with \
                 --sha256",
                file.name,
                Digest::of(&bytes)
            );
        }
        Ok(target)
    }

    /// Without a network: a file that no digest is known of is taken as it is.
    fn unproved(&self, file: &PlainFile, target: PathBuf) -> Result<PathBuf> {
        if file.sum.is_none() && target.is_file() {
            log::warn!("nothing vouches for {}: give its digest with --sha256", file.name);
            return Ok(target);
        }
        let found = if target.exists() { "a file with another digest" } else { "nothing" };
        Err(Error::new(Fault::ModelMissing, format!("{} is not there, and the network is switched off", file.name))
            .file(&target)
            .expected("the file, fetched before")
            .found(found)
            .advice(format!(
                "on a machine with a network run the same command (or download {}), then copy the file to this place",
                file.url
            )))
    }
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
            let place = PlainFile::of_user(url.parse().unwrap(), digest).place(downloads);
            assert_eq!(place, downloads.join("sha256-2d711642b726b044").join(name), "{url}");
        }
        let place = |url: &str| PlainFile::of_user(url.parse().unwrap(), None).place(downloads);
        assert_ne!(place("https://h/a/m.pth"), place("https://h/b/m.pth"));
    }
}
