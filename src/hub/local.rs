//! Models that are here already, found without a network and without writing anything.

use std::path::PathBuf;

use super::cache::RepoFolder;
use super::catalogue::{self, CatalogueSource, no_revisions};
use super::file::PlainFile;
use super::ids::{Commit, RepoId, Revision, split_revision};
use super::partial::partial::Expected;
use super::partial::sum::Sum;
use super::repo::HubModel;
use super::settings::Settings;
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::Progress;

/// The folder or file of a fetched model by its name in the catalogue or `organisation/name` on the hub, either with
/// `@revision`; nothing for text that is neither. Without a revision main is meant or, where that was not fetched, the
/// only one that was.
///
/// # Errors
/// [`Fault::ModelMissing`] for a model that is not here, or not all of it, or here in several revisions.
pub fn find(name: &str, settings: &Settings) -> Result<Option<PathBuf>> {
    let Ok((plain, revision)) = split_revision(name) else { return Ok(None) };
    let (repo, tokenizer) = match catalogue::entry(plain)? {
        Some(entry) => match &entry.source {
            CatalogueSource::Repo { id, tokenizer, .. } => (id.clone(), *tokenizer),
            CatalogueSource::File { .. } if revision.is_some() => return Err(no_revisions(plain)),
            CatalogueSource::File { url, sum } => {
                let path = PlainFile::named(plain, url, sum, &entry.licence).place(settings.downloads()?);
                let proved = Expected { bytes: None, sum: Some(sum.clone()) }.holds(&path, &mut |_| ())?;
                return if proved { Ok(Some(path)) } else { Err(not_here(name, &path.display().to_string())) };
            }
        },
        None => match plain.parse::<RepoId>() {
            Ok(id) => (id, false),
            Err(_) => return Ok(None),
        },
    };
    let folder = RepoFolder::of(settings.cache()?, &repo);
    match complete(&folder, revision.as_ref(), tokenizer)? {
        State::Whole(commit) => Ok(Some(folder.snapshot(&commit))),
        State::Lacks(missing) => Err(not_here(name, &missing)),
        State::Several(revisions) => Err(several(plain, &revisions)),
    }
}

/// How much of a model is in the cache.
enum State {
    /// All of it, as this commit.
    Whole(Commit),
    /// Not all; what is missing, in words.
    Lacks(String),
    /// Several revisions, and nobody has said which.
    Several(Vec<Revision>),
}

fn complete(folder: &RepoFolder, revision: Option<&Revision>, tokenizer: bool) -> Result<State> {
    let wanted = revision.cloned().unwrap_or_default();
    let commit = match folder.commit(&wanted) {
        Some(commit) => commit,
        None => {
            let held = if revision.is_none() { folder.held() } else { Vec::new() };
            let is_whole = |commit: &Commit| folder.missing(commit, tokenizer).is_ok_and(|missing| missing.is_empty());
            let whole: Vec<_> = held.iter().filter(|(commit, _)| is_whole(commit)).collect();
            match (whole.as_slice(), held.as_slice()) {
                ([(commit, revision)], _) => {
                    log::info!("{} is here as {revision} only", folder.path().display());
                    return Ok(State::Whole(commit.clone()));
                }
                ([], [(only, _)]) => only.clone(),
                ([], _) => return Ok(State::Lacks(format!("{wanted} of {}", folder.path().display()))),
                (several, _) => {
                    return Ok(State::Several(several.iter().map(|(_, revision)| revision.clone()).collect()));
                }
            }
        }
    };
    let missing = folder.missing(&commit, tokenizer)?;
    if missing.is_empty() {
        return Ok(State::Whole(commit));
    }
    Ok(State::Lacks(format!("{} in {}", missing.join(", "), folder.snapshot(&commit).display())))
}

fn not_here(name: &str, missing: &str) -> Error {
    Error::new(Fault::ModelMissing, format!("{name} has not been fetched, or not all of it"))
        .found(format!("missing: {missing}"))
        .advice(format!("run 'virnucpro models fetch {name}'; if a file or folder is meant, check the path"))
}

fn several(name: &str, revisions: &[Revision]) -> Error {
    let names: Vec<_> = revisions.iter().take(10).map(|revision| format!("{name}@{revision}")).collect();
    let more = if revisions.len() > names.len() { ", ..." } else { "" };
    Error::new(Fault::ModelMissing, format!("{name} is here in {} revisions, and none is main", revisions.len()))
        .expected("the name with its revision")
        .found(format!("{}{more}", names.join(", ")))
        .advice(format!("say which, as {}", names.first().map_or(name, String::as_str)))
}

impl Settings {
    /// A model of the cache, each file of it proved by the digest in its name, or told to be unproved.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], or [`Fault::ModelDigest`] for a file that is damaged.
    pub(super) fn proved(&self, model: &HubModel, progress: &Progress) -> Result<PathBuf> {
        let folder = RepoFolder::of(self.cache()?, &model.repo);
        let elsewhere = format!(
            "on a machine with a network run 'virnucpro models fetch {}', then copy {} to the same place here",
            model.name,
            folder.path().display()
        );
        let commit = match complete(&folder, model.revision.as_ref(), model.tokenizer)? {
            State::Whole(commit) => commit,
            State::Several(revisions) => return Err(several(&model.name, &revisions)),
            State::Lacks(missing) => {
                return Err(Error::new(
                    Fault::ModelMissing,
                    format!("{} is not complete in the cache, and the network is switched off", model.name),
                )
                .found(format!("missing: {missing}"))
                .advice(format!("{}, or {elsewhere}", self.network.remedy())));
            }
        };
        let files = folder.files(&commit)?;
        let bytes = files.iter().filter_map(|(path, _)| path.metadata().ok()).map(|metadata| metadata.len()).sum();
        let task = progress.bytes(&model.name, Some(bytes));
        let mut unproved = Vec::new();
        for (path, sum) in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let known = || model.known.get(&name).map(|digest| Sum::Sha256(*digest));
            match sum.or_else(known) {
                Some(sum) if sum.holds(&path, &mut |bytes| task.add(bytes))? => {}
                Some(sum) => {
                    return Err(Error::new(
                        Fault::ModelDigest,
                        format!("a file of {} is damaged in the cache", model.name),
                    )
                    .file(&path)
                    .expected(format!("the digest {sum}"))
                    .found("another one")
                    .advice(format!("remove this file and {}, or {elsewhere}", self.network.remedy())));
                }
                None if folder.vouches(&path)? => {}
                None => unproved.push(name),
            }
        }
        if !unproved.is_empty() {
            log::warn!(
                "{}: nothing here proves {} of its files ({}): they are copies, not links to blobs, and taken as they \
                 are; 'virnucpro models fetch {}' proves them where there is a network",
                model.name,
                unproved.len(),
                unproved.join(", "),
                model.name
            );
        }
        Ok(folder.snapshot(&commit))
    }
}
