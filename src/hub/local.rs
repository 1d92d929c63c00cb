//! Models that are here already, found without a network and without writing anything.

use std::path::PathBuf;

use super::cache::RepoFolder;
use super::catalogue::{self, Source};
use super::disk::partial::Expected;
use super::names::{Commit, RepoId, Revision};
use super::plain::PlainFile;
use super::repo::Model;
use super::settings::Settings;
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::Progress;

/// The folder or file of a fetched model by its name in the catalogue or `organisation/name` on the hub; nothing for
/// text that is neither.
///
/// # Errors
/// [`Fault::ModelMissing`] for a model that is not here, or not all of it.
pub fn find(name: &str, settings: &Settings) -> Result<Option<PathBuf>> {
    let (repo, tokenizer) = match catalogue::entry(name)? {
        Some(entry) => match &entry.source {
            Source::Repo { id, tokenizer, .. } => (id.clone(), *tokenizer),
            Source::File { url, sum } => {
                let path = PlainFile::named(name, url, sum, &entry.licence).place(&settings.downloads);
                let proved = Expected { bytes: None, sum: Some(sum.clone()) }.holds(&path, &mut |_| ())?;
                return if proved { Ok(Some(path)) } else { Err(not_here(name, &path.display().to_string())) };
            }
        },
        None => match name.parse::<RepoId>() {
            Ok(id) => (id, false),
            Err(_) => return Ok(None),
        },
    };
    let folder = RepoFolder::of(&settings.cache, &repo);
    match complete(&folder, &Revision::default(), tokenizer)? {
        Ok(commit) => Ok(Some(folder.snapshot(&commit))),
        Err(missing) => Err(not_here(name, &missing)),
    }
}

/// The commit of a complete snapshot, or what is missing, in words.
fn complete(folder: &RepoFolder, revision: &Revision, tokenizer: bool) -> Result<Result<Commit, String>> {
    let only = || if *revision == Revision::default() { folder.only_commit() } else { None };
    let Some(commit) = folder.commit(revision).or_else(only) else {
        return Ok(Err(format!("all of it, in {}", folder.path().display())));
    };
    let missing = folder.missing(&commit, tokenizer)?;
    if missing.is_empty() {
        return Ok(Ok(commit));
    }
    Ok(Err(format!("{} in {}", missing.join(", "), folder.snapshot(&commit).display())))
}

fn not_here(name: &str, missing: &str) -> Error {
    Error::new(Fault::ModelMissing, format!("{name} has not been fetched, or not all of it"))
        .found(format!("missing: {missing}"))
        .advice(format!("run 'virnucpro models fetch {name}'; if a file or folder is meant, check the path"))
}

impl Settings {
    /// A model of the cache, each file of it proved by the digest in its name.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], or [`Fault::ModelDigest`] for a file that is damaged.
    pub(super) fn proved(&self, model: &Model, progress: &Progress) -> Result<PathBuf> {
        let folder = RepoFolder::of(&self.cache, &model.repo);
        let elsewhere = format!(
            "on a machine with a network run 'virnucpro models fetch {}', then copy {} to the same place here",
            model.name,
            folder.path().display()
        );
        let commit = complete(&folder, &model.revision, model.tokenizer)?.map_err(|missing| {
            Error::new(
                Fault::ModelMissing,
                format!("{} is not complete in the cache, and the network is switched off", model.name),
            )
            .found(format!("missing: {missing}"))
            .advice(format!("unset HF_HUB_OFFLINE, or {elsewhere}"))
        })?;
        let files = folder.files(&commit)?;
        let bytes = files.iter().filter_map(|(path, _)| path.metadata().ok()).map(|metadata| metadata.len()).sum();
        let task = progress.bytes(&model.name, Some(bytes));
        for (path, sum) in files {
            if let Some(sum) = sum
                && !sum.holds(&path, &mut |bytes| task.add(bytes))?
            {
                return Err(Error::new(
                    Fault::ModelDigest,
                    format!("a file of {} is damaged in the cache", model.name),
                )
                .file(&path)
                .expected(format!("the digest {sum}"))
                .found("another one")
                .advice(format!("remove this file's blob and unset HF_HUB_OFFLINE, or {elsewhere}")));
            }
        }
        Ok(folder.snapshot(&commit))
    }
}
