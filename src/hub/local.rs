//! Models that are here already, found without a network and without writing anything.

use std::path::{Path, PathBuf};

use super::Hub;
use super::expected::Expected;
use super::fetchable::Fetchable;
use super::model::HubModel;
use super::settings::Settings;
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::Progress;
use crate::weights::candidates::{PREFERRED, is_index};
use crate::weights::hub_cache::{Checksum, Commit, RepoFolder, checksum};
use crate::weights::index;

/// The folder or file of a fetched model by its name in the catalogue, or `organisation/name` on the hub; `@REVISION` may
/// follow. None for text that is not such a name. Without a revision main is meant or, if that was not fetched, the
/// only one that was.
///
/// # Errors
/// [`Fault::ModelMissing`] for a model that is not here, not complete, or here in several revisions.
pub fn find(name: &str, settings: &Settings) -> Result<Option<PathBuf>> {
    let advice = format!("run 'virnucpro models fetch {name}'; if you mean a file or folder, check the path");
    match Fetchable::named(name, None)? {
        None => Ok(None),
        Some(Fetchable::File(file)) => {
            let path = file.place(settings.downloads()?);
            if file.expected().holds(&path)? {
                return Ok(Some(path));
            }
            Err(absent(name, &path.display().to_string(), &advice))
        }
        Some(Fetchable::Model(model)) => {
            let folder = RepoFolder::of(settings.cache()?, &model.repo);
            Ok(Some(folder.snapshot(&complete(&model, &folder, &advice)?)))
        }
    }
}

/// The commit of a model that is here completely. `advice` says what to do if it is not.
fn complete(model: &HubModel, folder: &RepoFolder, advice: &str) -> Result<Commit> {
    let commit = match folder.commit(&model.revision()) {
        Some(commit) => commit,
        None => only_commit(model, folder, advice)?,
    };
    let snapshot = folder.snapshot(&commit);
    let missing = missing(&snapshot, model.tokenizer)?;
    if missing.is_empty() {
        return Ok(commit);
    }
    Err(absent(&model.name, &format!("{} in {}", missing.join(", "), snapshot.display()), advice))
}

/// Without a revision, and if main was not fetched: the only commit that is here completely, else the only one.
fn only_commit(model: &HubModel, folder: &RepoFolder, advice: &str) -> Result<Commit> {
    let name = &model.name;
    let there = if model.revision.is_none() { folder.commits() } else { Vec::new() };
    let is_whole =
        |commit: &Commit| missing(&folder.snapshot(commit), model.tokenizer).is_ok_and(|missing| missing.is_empty());
    let whole: Vec<_> = there.iter().filter(|(commit, _)| is_whole(commit)).collect();
    match (whole.as_slice(), there.as_slice()) {
        ([(commit, revision)], _) => {
            log::info!("{} is here as {revision} only", folder.path().display());
            Ok(commit.clone())
        }
        ([], [(only, _)]) => Ok(only.clone()),
        ([], _) => Err(absent(name, &format!("{} of {}", model.revision(), folder.path().display()), advice)),
        (several, _) => {
            let names = several.iter().map(|(_, revision)| format!("{name}@{revision}"));
            let names: Vec<_> = names.take(10).collect();
            let more = if several.len() > names.len() { ", ..." } else { "" };
            let message = format!("{name} is here in {} revisions, and none of them is main", several.len());
            Err(Error::new(Fault::ModelMissing, message)
                .expected("the name with its revision")
                .found(format!("{}{more}", names.join(", ")))
                .advice(format!("say which one, such as {}", names.first().unwrap_or(name))))
        }
    }
}

/// Names of files that a folder lacks to be a model.
///
/// # Errors
/// Those of reading an index.
fn missing(folder: &Path, tokenizer: bool) -> Result<Vec<String>> {
    let has = |name: &str| folder.join(name).is_file();
    let mut needed = vec!["config.json".to_owned()];
    if tokenizer {
        needed.push("tokenizer.json".to_owned());
    }
    match PREFERRED.iter().find(|name| has(name)) {
        Some(name) if is_index(name) => needed.extend(index::read(&folder.join(name))?.shards.into_keys()),
        Some(_) => {}
        None => needed.push(PREFERRED[0].to_owned()),
    }
    needed.retain(|name| !has(name));
    Ok(needed)
}

fn absent(name: &str, missing: &str, advice: &str) -> Error {
    Error::new(Fault::ModelMissing, format!("{name} has not been fetched, or not completely"))
        .found(format!("missing: {missing}"))
        .advice(advice)
}

impl Hub {
    /// The folder of a model in the cache, each file proved by the name of its blob. Warns about files that nothing
    /// proves.
    ///
    /// # Errors
    /// [`Fault::ModelMissing`], or [`Fault::ModelDigest`] for a damaged file.
    pub(super) fn cached_model(&self, model: &HubModel, progress: &Progress) -> Result<PathBuf> {
        let (name, folder) = (&model.name, RepoFolder::of(self.settings.cache()?, &model.repo));
        let instead = format!(
            "{}, or on a machine with a network run 'virnucpro models fetch {name}', then copy {} to the same place here",
            self.settings.network.remedy(),
            folder.path().display()
        );
        let commit = complete(model, &folder, &instead)?;
        let files = folder.files(&commit)?;
        let bytes = files.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
        let task = progress.bytes(name, Some(bytes));
        let mut unproved = Vec::new();
        for path in files {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let known = || model.digests.get(&file).copied().map(Checksum::Sha256);
            match checksum(&path).or_else(known) {
                Some(sum) => {
                    if !Expected::from(sum.clone()).holds_counted(&path, &mut |bytes| task.add(bytes))? {
                        let message = format!("a file of {name} is damaged in the cache");
                        return Err(Error::new(Fault::ModelDigest, message)
                            .file(&path)
                            .expected(format!("the digest {sum}"))
                            .found("another one")
                            .advice(format!("remove this file and {instead}")));
                    }
                }
                None if is_in_a_blob(&folder, &path)? => {}
                None => unproved.push(file),
            }
        }
        if !unproved.is_empty() {
            log::warn!(
                "{name}: nothing here proves {} of its files ({}): they are copies, not links to blobs, and taken as they \
                 are; 'virnucpro models fetch {name}' proves them where there is a network",
                unproved.len(),
                unproved.join(", ")
            );
        }
        Ok(folder.snapshot(&commit))
    }
}

/// Whether the name of a blob of the same size proves a copy.
fn is_in_a_blob(folder: &RepoFolder, copy: &Path) -> Result<bool> {
    for sum in folder.blobs() {
        let bytes = folder.blob(&sum).metadata().ok().map(|metadata| metadata.len());
        if bytes.is_some() && (Expected { bytes, sum: Some(sum) }).holds(copy)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::digest::Digest;
    use std::fs;

    #[test]
    fn a_model_is_complete_when_all_that_its_index_names_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let missing = || missing(folder.path(), true).unwrap();
        assert_eq!(missing(), ["config.json", "tokenizer.json", "model.safetensors"]);
        for name in ["config.json", "tokenizer.json"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        let index = folder.path().join("pytorch_model.bin.index.json");
        fs::write(index, "{\"weight_map\": {\"t\": \"p-1.bin\"}}").unwrap();
        assert_eq!(missing(), ["p-1.bin"]);
        fs::write(folder.path().join("p-1.bin"), "").unwrap();
        assert!(missing().is_empty());
    }

    #[test]
    fn a_copy_is_proved_by_the_name_of_a_blob() {
        let place = tempfile::tempdir().unwrap();
        let folder = RepoFolder::of(place.path(), &"org/name".parse().unwrap());
        let blob = folder.blob(&Checksum::Sha256(Digest::of(b"right")));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, "right").unwrap();
        let copy = place.path().join("copy");
        fs::write(&copy, "right").unwrap();
        assert!(is_in_a_blob(&folder, &copy).unwrap());
        fs::write(&copy, "wrong").unwrap();
        assert!(!is_in_a_blob(&folder, &copy).unwrap());
    }
}
