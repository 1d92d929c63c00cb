//! A stage's output folder: what is done in it, and what is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest::{self, Manifest, ModelStamp, ShardEntry, other_layout};
use crate::error::{Error, Fault, Result};
use crate::fs::{FileDigest, is_partial, remove_abandoned};
use crate::units::Resume;

/// What makes finished work reusable: the stage, its settings and its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fingerprint {
    /// Name of the stage, as `embed-esm`.
    pub stage: &'static str,
    /// Every setting that changes results.
    pub settings: Value,
    /// The model, if the stage uses one.
    pub model: Option<ModelStamp>,
}

impl Fingerprint {
    /// Whether the work of `manifest` is this work.
    fn matches(&self, manifest: &Manifest) -> bool {
        self.stage == manifest.stage && self.settings == manifest.settings && self.model == manifest.model
    }
}

/// The output folder of a stage while it runs.
#[derive(Debug)]
pub struct StageDir {
    folder: PathBuf,
    manifest: Manifest,
    was_complete: bool,
    /// Whether recorded work counts as done.
    resume: Resume,
    /// Files of work that is done again, by name.
    superseded: BTreeSet<String>,
}

impl StageDir {
    /// Opens or creates the folder of a stage. A new one gets a manifest at once, which says whose it is and that it
    /// is not complete.
    ///
    /// # Errors
    /// The folder holds other files, another stage's work, or finished work of other settings or another model.
    pub fn open(folder: &Path, fingerprint: Fingerprint, resume: Resume) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        remove_abandoned(folder)?;
        let known = match (Manifest::read_any(folder), resume) {
            // A damaged manifest must not stand in the way of starting over.
            (Err(_), Resume::StartOver) => return Self::fresh(folder, fingerprint, BTreeSet::new()),
            (known, _) => known?,
        };
        let Some(known) = known else {
            refuse_strangers(folder)?;
            return Self::fresh(folder, fingerprint, BTreeSet::new());
        };
        if !known.is_current() && resume == Resume::Keep {
            return Err(other_layout(folder, known.format, &known.tool)
                .advice("use a different output folder, or --overwrite to make this one again"));
        }
        if known.is_current() && fingerprint.matches(&known) {
            let was_complete = known.complete;
            let manifest = Manifest { complete: false, ..known };
            return Ok(Self { folder: folder.to_owned(), manifest, was_complete, resume, superseded: BTreeSet::new() });
        }
        let nothing_to_lose = resume != Resume::Keep || (!known.complete && known.shards.is_empty());
        if known.stage == fingerprint.stage && nothing_to_lose {
            return Self::fresh(folder, fingerprint, known.shards.into_keys().collect());
        }
        Err(foreign(folder, &known, &fingerprint))
    }

    fn fresh(folder: &Path, fingerprint: Fingerprint, superseded: BTreeSet<String>) -> Result<Self> {
        let manifest = Manifest {
            format: manifest::FORMAT,
            tool: concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned(),
            stage: fingerprint.stage.to_owned(),
            settings: fingerprint.settings,
            model: fingerprint.model,
            shards: BTreeMap::new(),
            totals: BTreeMap::new(),
            complete: false,
        };
        manifest.write(folder)?;
        let (folder, resume) = (folder.to_owned(), Resume::Keep);
        Ok(Self { folder, manifest, was_complete: false, resume, superseded })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of an output file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether there is finished work that may be kept.
    pub fn holds_work(&self) -> bool {
        self.resume != Resume::StartOver && !self.manifest.shards.is_empty()
    }

    /// What is recorded as finished.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The entry of `name` if it is finished, was made from `input` and its bytes still say so. A file that fails the
    /// proof is forgotten, to be made again. `input` is asked for only where there is an entry to compare with.
    ///
    /// # Errors
    /// The file is there but cannot be read; those of `input`.
    pub fn done(&mut self, name: &str, input: impl FnOnce() -> Result<String>) -> Result<Option<ShardEntry>> {
        let known = self.manifest.shards.get(name).filter(|_| self.resume != Resume::StartOver);
        let Some(entry) = known.cloned() else { return Ok(None) };
        if entry.input != input()? {
            return Ok(None);
        }
        let path = self.path(name);
        let proved = path.exists() && FileDigest::of(&path)? == entry.file;
        if !proved {
            log::warn!("{} does not match the manifest; making it again", path.display());
            self.manifest.shards.remove(name);
        }
        Ok(proved.then_some(entry))
    }

    /// Whether an earlier run finished the stage with files made from `input`, and all of them still say so.
    ///
    /// # Errors
    /// A file is there but cannot be read.
    pub fn all_done(&mut self, input: &str) -> Result<bool> {
        let names: Vec<String> = self.manifest.shards.keys().cloned().collect();
        let mut done = self.was_complete;
        for name in names {
            done = done && self.done(&name, || Ok(input.to_owned()))?.is_some();
        }
        Ok(done)
    }

    /// Notes a finished file without writing the manifest yet: for files that only count together.
    pub fn note(&mut self, name: &str, entry: ShardEntry) {
        self.manifest.shards.insert(name.to_owned(), entry);
    }

    /// Ends a stage that an earlier run has finished.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn keep(mut self) -> Result<Manifest> {
        self.manifest.complete = true;
        self.manifest.write(&self.folder)?;
        Ok(self.manifest)
    }

    /// Records a finished file. The manifest on disk names it from here on.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn record(&mut self, name: &str, entry: ShardEntry) -> Result<()> {
        self.manifest.shards.insert(name.to_owned(), entry);
        self.manifest.write(&self.folder)
    }

    /// Finished files that are not among `names`, with their rows: those of inputs that this run was not given.
    pub fn others(&self, names: &[String]) -> Vec<(String, u64)> {
        let others = self.manifest.shards.iter().filter(|(name, _)| !names.contains(name));
        others.map(|(name, entry)| (name.clone(), entry.rows)).collect()
    }

    /// Removes files that a killed run finished and could not record: those of `ours` that are not in `names`.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn remove_unrecorded(&self, names: &[String], ours: fn(&str) -> bool) -> Result<()> {
        let recorded: BTreeSet<&String> = names.iter().collect();
        for name in names_in(&self.folder)?.iter().filter(|name| ours(name) && !recorded.contains(name)) {
            let _ = fs::remove_file(self.path(name));
        }
        Ok(())
    }

    /// Ends the stage: `names` are its files, `totals` its counts. Files of earlier runs that are not among
    /// them are removed.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn finish(mut self, names: &[String], totals: BTreeMap<String, u64>) -> Result<Manifest> {
        let names: BTreeSet<&String> = names.iter().collect();
        let mut stale = std::mem::take(&mut self.superseded);
        stale.extend(self.manifest.shards.keys().cloned());
        for name in stale.iter().filter(|name| !names.contains(name)) {
            self.manifest.shards.remove(name);
            let _ = fs::remove_file(self.path(name));
        }
        self.manifest.totals = totals;
        self.manifest.complete = true;
        self.manifest.write(&self.folder)?;
        Ok(self.manifest)
    }
}

/// Finished work that this run could not have made.
fn foreign(folder: &Path, manifest: &Manifest, wanted: &Fingerprint) -> Error {
    let (there, here) = if manifest.stage != wanted.stage {
        (manifest.stage.clone(), wanted.stage.to_owned())
    } else {
        differences(manifest, wanted)
    };
    Error::new(Fault::CheckpointForeign, format!("{} was made with different settings", folder.display()))
        .file(folder.join(manifest::FILE))
        .expected(here)
        .found(there)
        .advice(if manifest.stage == wanted.stage {
            "use a different output folder, the same settings, or --no-resume to start again"
        } else {
            "every stage needs its own output folder: choose another with -o"
        })
}

/// What differs between finished and wanted work, on either side.
fn differences(known: &Manifest, wanted: &Fingerprint) -> (String, String) {
    let describe = |settings: &Value, others: &Value, model: &Option<ModelStamp>| {
        let mut fields: Vec<String> = Vec::new();
        if let (Some(settings), Some(others)) = (settings.as_object(), others.as_object()) {
            let differing = settings.iter().filter(|(key, value)| others.get(*key) != Some(value));
            fields.extend(differing.map(|(key, value)| format!("{key} {value}")));
        }
        if known.model != wanted.model {
            fields.push(model.as_ref().map_or("no model".to_owned(), |model| format!("model {}", model.cell())));
        }
        fields.join(", ")
    };
    (
        describe(&known.settings, &wanted.settings, &known.model),
        describe(&wanted.settings, &known.settings, &wanted.model),
    )
}

/// Refuses a folder without manifest that holds somebody's files.
fn refuse_strangers(folder: &Path) -> Result<()> {
    // A stage writes its manifest before anything else: without one, only unfinished files can be its own.
    match names_in(folder)?.into_iter().find(|name| !is_partial(name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(Fault::OutputForeign, format!("{} is not an output folder", folder.display()))
            .file(folder)
            .expected("an empty or new folder, or one that this command wrote")
            .found(name)
            .advice("choose another folder with -o, or empty this one")),
    }
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn fingerprint(window: u32) -> Fingerprint {
        Fingerprint { stage: "chunk", settings: json!({ "window": window }), model: None }
    }

    fn make(folder: &Path, name: &str, content: &[u8]) -> ShardEntry {
        let mut file = crate::fs::AtomicFile::create(&folder.join(name)).unwrap();
        file.write_all(content).unwrap();
        ShardEntry { rows: 1, file: file.commit().unwrap(), input: "in".into() }
    }

    #[test]
    fn work_is_done_only_for_the_same_input_and_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let open = || StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap();
        let mut dir = open();
        let entry = make(folder.path(), "shard-00001.fna", b"ACGT");
        dir.record("shard-00001.fna", entry.clone()).unwrap();
        assert_eq!(open().done("shard-00001.fna", || Ok("in".to_owned())).unwrap(), Some(entry));
        assert_eq!(open().done("shard-00001.fna", || Ok("other".to_owned())).unwrap(), None);
        assert_eq!(open().done("shard-00002.fna", || Ok("in".to_owned())).unwrap(), None);
        fs::write(folder.path().join("shard-00001.fna"), "ACGA").unwrap();
        assert_eq!(open().done("shard-00001.fna", || Ok("in".to_owned())).unwrap(), None);
        fs::remove_file(folder.path().join("shard-00001.fna")).unwrap();
        assert_eq!(open().done("shard-00001.fna", || Ok("in".to_owned())).unwrap(), None);
    }

    #[test]
    fn work_of_other_settings_is_refused_with_both_sides_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap();
        let entry = make(folder.path(), "shard-00001.fna", b"A");
        dir.record("shard-00001.fna", entry).unwrap();
        let error = StageDir::open(folder.path(), fingerprint(300), Resume::Keep).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointForeign);
        let report = error.report("virnucpro");
        assert!(report.contains("window 300") && report.contains("window 500"), "{report}");
        let mut dir = StageDir::open(folder.path(), fingerprint(300), Resume::StartOver).unwrap();
        assert_eq!(dir.done("shard-00001.fna", || Ok("in".to_owned())).unwrap(), None);
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let error = StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap_err();
        assert_eq!(error.fault(), Fault::OutputForeign);
    }

    #[test]
    fn a_damaged_manifest_is_an_error_until_the_user_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(manifest::FILE), "{\"format\": 1,").unwrap();
        let error = StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointCorrupt);
        assert!(StageDir::open(folder.path(), fingerprint(500), Resume::StartOver).is_ok());
    }

    #[test]
    fn a_folder_tells_whose_it_is_before_anything_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        drop(StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap());
        assert!(!Manifest::read(folder.path()).unwrap().unwrap().complete);
        // Nothing is finished: other settings are welcome, another stage is not.
        let dir = StageDir::open(folder.path(), fingerprint(300), Resume::Keep).unwrap();
        assert_eq!(dir.manifest().settings["window"], 300);
        let merge = Fingerprint { stage: "merge", settings: json!({}), model: None };
        let error = StageDir::open(folder.path(), merge, Resume::Keep).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointForeign);
    }

    #[test]
    fn starting_over_removes_what_is_no_longer_part_of_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap();
        for name in ["shard-00001.fna", "shard-00002.fna", "mine.parquet"] {
            let entry = make(folder.path(), name, b"A");
            dir.record(name, entry).unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "kept").unwrap();
        let dir = StageDir::open(folder.path(), fingerprint(300), Resume::StartOver).unwrap();
        dir.finish(&["shard-00001.fna".to_owned()], BTreeMap::new()).unwrap();
        let mut names = names_in(folder.path()).unwrap();
        names.sort();
        assert_eq!(names, ["manifest.json", "notes.txt", "shard-00001.fna"]);
    }

    #[test]
    fn finishing_removes_shards_that_are_no_longer_part_of_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::Keep).unwrap();
        for name in ["shard-00001.fna", "shard-00002.fna"] {
            let entry = make(folder.path(), name, b"A");
            dir.record(name, entry).unwrap();
        }
        let manifest = dir.finish(&["shard-00001.fna".to_owned()], BTreeMap::from([("frames".into(), 1)])).unwrap();
        assert!(manifest.complete && manifest.shards.len() == 1);
        assert!(!folder.path().join("shard-00002.fna").exists());
        assert_eq!(Manifest::read(folder.path()).unwrap().unwrap(), manifest);
    }
}
