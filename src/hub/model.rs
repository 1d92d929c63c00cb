//! A model of the hub, fetched into the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::Hub;
use super::cache;
use super::download::{FileProgress, Wanted, download, leftover_bytes};
use super::expected::Expected;
use super::http::client::Client;
use super::http::error::GivenBy;
use super::http::url::Url;
use super::listing::{RepoFile, RepoListing};
use super::settings::Settings;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::fs::room;
use crate::runtime::progress::Progress;
use crate::units::{Bytes, counted};
use crate::weights::candidates::is_index;
use crate::weights::hub_cache::{Checksum, RepoFolder, RepoId, Revision};
use crate::weights::index;

/// Longest listing of a repository, and longest index of shards, in bytes.
const MOST_TEXT: usize = 32 << 20;

/// A model of the hub.
#[derive(Clone, Debug)]
pub struct HubModel {
    /// What the user called it.
    pub(super) name: String,
    /// Its repository.
    pub(super) repo: RepoId,
    /// Branch, tag or commit, if one is given.
    pub(super) revision: Option<Revision>,
    /// Licence of the weights, for people.
    pub(super) licence: String,
    /// Whether a tokeniser belongs to it.
    pub(super) tokenizer: bool,
    /// SHA-256 digests of files that must be these very ones.
    pub(super) digests: BTreeMap<String, Digest>,
}

impl HubModel {
    /// The revision to ask for: main if none is given.
    pub(super) fn revision(&self) -> Revision {
        self.revision.clone().unwrap_or_default()
    }
}

impl Hub {
    /// Fetches what the cache does not hold of a model; the folder of its files.
    pub(super) fn fetch_model(&self, model: &HubModel, progress: &Progress) -> Result<PathBuf> {
        if self.settings.network.is_off() {
            return self.cached_model(model, progress);
        }
        let client = self.client()?;
        let listing = match self.list(client, model) {
            Err(error) if error.fault() == Fault::Network => {
                let path = self.cached_model(model, progress).map_err(|_| error)?;
                log::warn!("{} cannot be reached; the cache holds all of {}", client.endpoint(), model.name);
                return Ok(path);
            }
            listing => listing?,
        };
        let folder = RepoFolder::of(self.settings.cache()?, &model.repo);
        Fetching { settings: &self.settings, client, model, listing, folder }.run(progress)
    }

    fn list(&self, client: &Client, model: &HubModel) -> Result<RepoListing> {
        let revision = model.revision();
        let segment = revision.as_str().replace('/', "%2F");
        let url = client.endpoint().below(&format!("api/models/{}/revision/{segment}?blobs=true", model.repo));
        let listing = RepoListing::read(&client.text(&url, MOST_TEXT)?, &url)?;
        if revision.commit().is_some_and(|commit| commit != listing.commit) {
            return Err(Error::new(Fault::Network, format!("{url} answers for another commit"))
                .expected(revision.to_string())
                .found(listing.commit.to_string())
                .advice("check HF_ENDPOINT and the proxy"));
        }
        Ok(listing)
    }
}

/// A model at the commit that is fetched.
struct Fetching<'a> {
    settings: &'a Settings,
    client: &'a Client,
    model: &'a HubModel,
    listing: RepoListing,
    folder: RepoFolder,
}

/// A file that can be proved.
struct Provable {
    name: String,
    bytes: u64,
    sum: Checksum,
}

impl Fetching<'_> {
    fn run(&self, progress: &Progress) -> Result<PathBuf> {
        let Self { model, folder, .. } = self;
        let commit = &self.listing.commit;
        let files = self.files()?;
        let total = sum(files.iter().map(|file| file.bytes));
        self.announce(&files, total)?;
        let task = progress.bytes(&model.name, Some(total));
        let mut base = 0;
        for file in &files {
            self.obtain(file, FileProgress { task: &task, base })?;
            cache::link(folder, commit, &file.name, &file.sum)?;
            base += file.bytes;
        }
        // Last, so that a revision that is noted is complete. A complete cache need not be writable.
        if let Err(error) = cache::note(folder, &model.revision(), commit) {
            log::warn!("{error}: {} is complete, but not noted as the revision {}", model.name, model.revision());
        }
        Ok(folder.snapshot(commit))
    }

    /// All files of the model, weights last.
    fn files(&self) -> Result<Vec<Provable>> {
        let needed = self.listing.needed(&self.model.repo.to_string())?;
        let mut files = needed.into_iter().map(|file| self.provable(file)).collect::<Result<Vec<_>>>()?;
        let Some(index) = files.pop_if(|file| is_index(&file.name)) else { return Ok(files) };
        if index.bytes > MOST_TEXT as u64 {
            return Err(Error::new(Fault::ModelFormat, format!("{} is too long for an index of shards", index.name))
                .expected(format!("at most {MOST_TEXT} bytes"))
                .found(format!("{} bytes", index.bytes))
                .advice("check the name and --revision"));
        }
        let silent = Progress::Silent.bytes("", None);
        let content = index::read(&self.obtain(&index, FileProgress { task: &silent, base: 0 })?)?;
        for shard in self.listing.shards(&index.name, &content)? {
            files.push(self.provable(shard)?);
        }
        files.push(index);
        Ok(files)
    }

    /// Size and checksum of a file: from the listing or, where that says nothing, from the headers of the file.
    fn provable(&self, file: RepoFile) -> Result<Provable> {
        let RepoFile { name, mut expected } = file;
        let url = self.url(&name);
        if expected.bytes.is_none() || expected.sum.is_none() {
            expected = expected.or(self.client.announced(&url)?);
        }
        let Expected { bytes: Some(bytes), sum: Some(sum) } = expected else {
            return Err(Error::new(Fault::DownloadDigest, format!("{url} is announced without size or digest"))
                .expected("a listing with digests, or the headers X-Linked-Etag and X-Linked-Size")
                .advice("nothing would prove files of this mirror: unset HF_ENDPOINT, or choose another mirror"));
        };
        Ok(Provable { name, bytes, sum })
    }

    fn url(&self, name: &str) -> Url {
        self.client.endpoint().below(&format!("{}/resolve/{}/{name}", self.model.repo, self.listing.commit))
    }

    /// Says what will be fetched, and makes sure that there is room for it.
    fn announce(&self, files: &[Provable], total: u64) -> Result<()> {
        let Self { model, folder, .. } = self;
        let needed = |file: &Provable| {
            let there = fs::metadata(self.place(file)).is_ok_and(|metadata| metadata.len() == file.bytes);
            if there { 0 } else { file.bytes.saturating_sub(leftover_bytes(&folder.blob(&file.sum))) }
        };
        let needed = sum(files.iter().map(needed));
        let commit = &self.listing.commit.as_str()[..12];
        log::info!("{}: {commit} of {}, {}", model.name, model.repo, self.client.endpoint());
        log::info!(
            "{}: licence: {}; {}, {}, {} of it to download, to {}",
            model.name,
            model.licence,
            counted(files.len() as u64, "file"),
            Bytes(total),
            Bytes(needed),
            folder.snapshot(&self.listing.commit).display()
        );
        let advice = format!("free space, or set {} to a folder on a larger disk", self.settings.cache_variable);
        room::check(folder.path(), needed, "the download", &advice)
    }

    /// Where the content of a file is, if it is there: its blob or, where links cannot be made, a copy in the snapshot.
    fn place(&self, file: &Provable) -> PathBuf {
        let blob = self.folder.blob(&file.sum);
        let copy = self.folder.copy(&self.listing.commit, &file.name).filter(|_| !blob.exists());
        copy.unwrap_or(blob)
    }

    /// Makes sure that a file is in the cache and is what the hub says; its path.
    fn obtain(&self, file: &Provable, progress: FileProgress) -> Result<PathBuf> {
        let (name, model) = (&file.name, &self.model.name);
        let expected = Expected { bytes: Some(file.bytes), sum: Some(file.sum.clone()) };
        let mut path = self.place(file);
        if expected.holds_counted(&path, &mut |bytes| progress.task.add(bytes))? {
            log::debug!("{name} of {model} is in the cache and proved");
        } else {
            if path.exists() {
                log::warn!("{name} of {model} is damaged in the cache and fetched again");
            }
            path = self.folder.blob(&file.sum);
            let wanted = Wanted { url: &self.url(name), target: &path, expected, given_by: GivenBy::Hub };
            download(self.client, &wanted, progress)?;
        }
        match self.model.digests.get(name) {
            Some(digest) if !Expected::from(Checksum::from(*digest)).holds(&path)? => {
                Err(Error::new(Fault::DownloadDigest, format!("{name} of {model} is not the one this version knows"))
                    .file(&path)
                    .expected(format!("the SHA-256 digest {digest}"))
                    .found("another one, and the hub vouches for it: its authors have changed it")
                    .advice(format!("'virnucpro models fetch {}' takes the repository as it is", self.model.repo)))
            }
            _ => Ok(path),
        }
    }
}

/// The sum of sizes that a server states; they may be any numbers.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}
