//! A model of the hub, fetched into the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::Hub;
use super::cache::RepoFolder;
use super::download::{Meter, Wanted, download, placed};
use super::http::client::Ask;
use super::http::error::Origin;
use super::http::retry::{Failed, persist};
use super::http::url::Url;
use super::ids::{RepoId, Revision};
use super::listing::{RepoFile, RepoListing, is_index};
use super::partial::leftover::leftover_bytes;
use super::partial::partial::Expected;
use super::partial::sum::Sum;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::fs::room;
use crate::runtime::progress::Progress;
use crate::units::Bytes;

/// Longest listing of a repository, and longest index of weights, in bytes.
const MOST_TEXT: usize = 32 << 20;

/// A model of the hub.
#[derive(Clone, Debug)]
pub struct HubModel {
    /// What the user called it.
    pub name: String,
    /// Its repository.
    pub repo: RepoId,
    /// Branch, tag or commit; main if none is given.
    pub revision: Option<Revision>,
    /// Licence of the weights, for people.
    pub licence: String,
    /// Whether a tokeniser belongs to it.
    pub tokenizer: bool,
    /// Digests of files that are known beforehand.
    pub known: BTreeMap<String, Digest>,
}

impl HubModel {
    /// The revision to ask for.
    fn wanted(&self) -> Revision {
        self.revision.clone().unwrap_or_default()
    }
}

/// A file to be fetched, with what proves it.
struct Ready {
    name: String,
    bytes: u64,
    sum: Sum,
}

impl Hub {
    /// Fetches what of a model is not in the cache, and gives the folder of its files.
    ///
    /// # Errors
    /// [`Fault::Network`], [`Fault::DownloadRefused`], [`Fault::DownloadDigest`], [`Fault::ModelPointer`],
    /// [`Fault::ModelFormat`] for a repository without a model; [`Fault::ModelMissing`] when the network is switched
    /// off and the cache has not all; [`Fault::NoSpace`] and others of writing. Nothing wrong has a name then.
    pub fn fetch_model(&self, model: &HubModel, progress: &Progress) -> Result<PathBuf> {
        if self.settings.network.is_off() {
            return self.settings.proved(model, progress);
        }
        let client = self.client()?;
        match self.listing(model) {
            Ok(listing) => self.fetch_listed(model, &listing, progress),
            Err(error) if error.fault() == Fault::Network => {
                let path = self.settings.proved(model, progress).map_err(|_| error)?;
                log::warn!(
                    "{} cannot be asked for {}; what the cache holds is complete",
                    client.endpoint(),
                    model.name
                );
                Ok(path)
            }
            Err(error) => Err(error),
        }
    }

    fn listing(&self, model: &HubModel) -> Result<RepoListing> {
        let (client, revision) = (self.client()?, model.wanted());
        let path = format!("api/models/{}/revision/{}?blobs=true", model.repo, revision.encoded());
        let url = client.endpoint().below(&path);
        let body = persist(self.patience.first_wait, || client.ask(Ask::whole(&url))?.read(MOST_TEXT))?;
        let listing = RepoListing::read(&body, &url)?;
        if revision.commit().is_some_and(|commit| commit != listing.commit) {
            return Err(Error::new(Fault::Network, format!("{url} answers with another commit"))
                .expected(revision.to_string())
                .found(listing.commit.to_string())
                .advice("check HF_ENDPOINT and the proxy"));
        }
        Ok(listing)
    }

    fn fetch_listed(&self, model: &HubModel, listing: &RepoListing, progress: &Progress) -> Result<PathBuf> {
        let folder = RepoFolder::of(self.settings.cache()?, &model.repo);
        let mut files = Vec::new();
        for file in listing.needed(&model.repo.to_string())? {
            files.push(self.ready(model, listing, file)?);
        }
        if let Some(index) = files.pop_if(|file| is_index(&file.name)) {
            let content = self.index(model, listing, &index)?;
            for shard in listing.shards(&index.name, &content)? {
                files.push(self.ready(model, listing, shard)?);
            }
            files.push(index);
        }
        let snapshot = folder.snapshot(&listing.commit);
        self.announce(model, listing, &files)?;
        let total = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        let task = progress.bytes(&model.name, Some(total));
        let mut base = 0;
        for file in &files {
            self.obtain(model, listing, file, Meter { task: &task, base })?;
            folder
                .link(&listing.commit, &file.name, &file.sum)
                .map_err(|error| placed(error, self.settings.cache_by()))?;
            base += file.bytes;
        }
        // Last, so that a revision that is noted is complete. A cache that is complete and cannot be written to is fine.
        if let Err(error) = folder.note(&model.wanted(), &listing.commit) {
            log::warn!("{error}: {} is complete, but not noted as the revision {}", model.name, model.wanted());
        }
        Ok(snapshot)
    }

    /// Says what will be fetched, and makes sure that there is room for it.
    fn announce(&self, model: &HubModel, listing: &RepoListing, files: &[Ready]) -> Result<()> {
        let folder = RepoFolder::of(self.settings.cache()?, &model.repo);
        let total = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        let needed = |file: &Ready| {
            let blob = folder.blob(&file.sum);
            let place = folder.copy(&listing.commit, &file.name).filter(|_| !blob.exists());
            let place = place.as_deref().unwrap_or(&blob);
            let there = fs::metadata(place).is_ok_and(|metadata| metadata.len() == file.bytes);
            if there { 0 } else { file.bytes.saturating_sub(leftover_bytes(&blob)) }
        };
        let needed = files.iter().map(needed).fold(0, u64::saturating_add);
        log::info!(
            "{}: {} at {} of {}, licence: {}",
            model.name,
            model.repo,
            &listing.commit.as_str()[..12],
            self.client()?.endpoint(),
            model.licence
        );
        log::info!(
            "{}: {} files, {}, {} of it to download, to {}",
            model.name,
            files.len(),
            Bytes(total),
            Bytes(needed),
            folder.snapshot(&listing.commit).display()
        );
        let advice = format!("free space, or set {} to a folder on a larger disk", self.settings.cache_by());
        room::check(folder.path(), needed, "the download", &advice)
    }

    /// Size and digest of a file: from the listing or, where that says nothing, from the headers of the file.
    fn ready(&self, model: &HubModel, listing: &RepoListing, file: RepoFile) -> Result<Ready> {
        let RepoFile { name, bytes, sum } = file;
        if let (Some(bytes), Some(sum)) = (bytes, &sum) {
            return Ok(Ready { name, bytes, sum: sum.clone() });
        }
        let (client, url) = (self.client()?, self.address(model, listing, &name)?);
        let announced = persist(self.patience.first_wait, || {
            let answer = client.ask(Ask { head: true, ..Ask::whole(&url) })?;
            Ok::<_, Failed>(answer.announced)
        })?;
        match (bytes.or(announced.bytes), sum.or(announced.sum)) {
            (Some(bytes), Some(sum)) => Ok(Ready { name, bytes, sum }),
            _ => Err(Error::new(Fault::DownloadDigest, format!("{url} is announced without size or digest"))
                .expected("a listing with digests, or the headers X-Linked-Etag and X-Linked-Size")
                .advice("this mirror does not say what proves a file: unset HF_ENDPOINT, or choose another mirror")),
        }
    }

    fn address(&self, model: &HubModel, listing: &RepoListing, name: &str) -> Result<Url> {
        let name = super::ids::encoded(name);
        Ok(self.client()?.endpoint().below(&format!("{}/resolve/{}/{name}", model.repo, listing.commit)))
    }

    /// Content of an index of weights.
    fn index(&self, model: &HubModel, listing: &RepoListing, index: &Ready) -> Result<Vec<u8>> {
        if index.bytes > MOST_TEXT as u64 {
            return Err(Error::new(Fault::ModelFormat, format!("{} of {} is no index", index.name, model.repo))
                .expected(format!("at most {MOST_TEXT} bytes"))
                .found(format!("{} bytes", index.bytes))
                .advice("check the name and --revision"));
        }
        let silent = Progress::Silent.bytes("", None);
        let path = self.obtain(model, listing, index, Meter { task: &silent, base: 0 })?;
        fs::read(&path).map_err(|error| Error::reading(&path, error))
    }

    /// Makes sure that a file lies in the cache and is what the hub says; gives its place.
    fn obtain(&self, model: &HubModel, listing: &RepoListing, file: &Ready, meter: Meter) -> Result<PathBuf> {
        let folder = RepoFolder::of(self.settings.cache()?, &model.repo);
        let mut target = folder.blob(&file.sum);
        let expected = Expected { bytes: Some(file.bytes), sum: Some(file.sum.clone()) };
        // Where links cannot be made, other clients leave a copy in the snapshot and no blob.
        let copy = folder.copy(&listing.commit, &file.name).filter(|_| !target.exists());
        if let Some(copy) = copy
            && expected.holds(&copy, &mut |bytes| meter.add(bytes))?
        {
            target = copy;
        } else if expected.holds(&target, &mut |bytes| meter.add(bytes))? {
            log::debug!("{} of {} is in the cache and proved", file.name, model.name);
        } else {
            if target.exists() {
                log::warn!("{} of {} is damaged in the cache: fetched again", file.name, model.name);
            }
            meter.set(0);
            let url = self.address(model, listing, &file.name)?;
            let (origin, by) = (Origin::Hub, self.settings.cache_by());
            let wanted = Wanted { url: &url, target: &target, expected, origin, by };
            download(self.client()?, &wanted, self.patience.first_wait, meter)?;
        }
        match model.known.get(&file.name) {
            Some(digest) if !Sum::Sha256(*digest).holds(&target, &mut |_| ())? => Err(Error::new(
                Fault::DownloadDigest,
                format!("{} of {} is not the file known to this version", file.name, model.name),
            )
            .file(&target)
            .expected(format!("the SHA-256 digest {digest}"))
            .found("another one, and the hub vouches for it: its authors have changed it")
            .advice(format!("'virnucpro models fetch {}' takes the repository as it is", model.repo))),
            _ => Ok(target),
        }
    }
}
