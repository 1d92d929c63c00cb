//! A stage's output folder: what is done in it, and what is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::atomic::{self, FileDigest};
use super::manifest::{self, Manifest, ModelStamp, ShardEntry};
use crate::error::{Error, Fault, Result};
use crate::units::Resume;

/// What makes finished work reusable: the stage, its settings and its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fingerprint {
    /// Name of the stage, as `embed-esm`.
    pub stage: &'static str,
    /// Every setting that changes results.
    pub settings: serde_json::Value,
    /// The model, if the stage uses one.
    pub model: Option<ModelStamp>,
}

/// The output folder of a stage while it runs.
#[derive(Debug)]
pub struct StageDir {
    folder: PathBuf,
    manifest: Manifest,
    was_complete: bool,
    /// Files of work that is done again, by name.
    superseded: BTreeSet<String>,
}

impl StageDir {
    /// Opens or creates the folder of a stage. From here on a manifest says whose it is and that it is not complete.
    ///
    /// # Errors
    /// The folder holds other files, or finished work of other settings or another model.
    pub fn open(folder: &Path, fingerprint: Fingerprint, resume: Resume) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        atomic::remove_abandoned(folder)?;
        if resume == Resume::StartOver && folder.join(manifest::FILE).exists() {
            // A damaged manifest must not stand in the way of starting over; another stage's work must.
            let known = Manifest::read(folder).ok().flatten();
            if let Some(known) = known.as_ref().filter(|known| known.stage != fingerprint.stage) {
                refuse_foreign(folder, known, &fingerprint)?;
            }
            let superseded = known.map(|known| known.shards.into_keys().collect());
            return Self::fresh(folder, fingerprint, superseded.unwrap_or_default());
        }
        match Manifest::read(folder)? {
            // Begun, nothing finished: nothing is lost with other settings.
            Some(begun) if begun.stage == fingerprint.stage && !begun.complete && begun.shards.is_empty() => {
                Self::fresh(folder, fingerprint, BTreeSet::new())
            }
            Some(manifest) => {
                refuse_foreign(folder, &manifest, &fingerprint)?;
                let was_complete = manifest.complete;
                let manifest = Manifest { complete: false, ..manifest };
                Ok(Self { folder: folder.to_owned(), manifest, was_complete, superseded: BTreeSet::new() })
            }
            None => {
                refuse_strangers(folder)?;
                Self::fresh(folder, fingerprint, BTreeSet::new())
            }
        }
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
        Ok(Self { folder: folder.to_owned(), manifest, was_complete: false, superseded })
    }

    /// Path of an output file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What is recorded as finished.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The entry of `name` if it is finished, was made from `input` and its bytes still say so. A file that
    /// fails the proof is forgotten, to be made again.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn done(&mut self, name: &str, input: &str) -> Result<Option<ShardEntry>> {
        let Some(entry) = self.manifest.shards.get(name).filter(|entry| entry.input == input).cloned() else {
            return Ok(None);
        };
        let path = self.path(name);
        let proved = path.exists() && FileDigest::of(&path)? == entry.file;
        if !proved {
            log::warn!("{} is not what the manifest records; it is made again", path.display());
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
            done = done && self.done(&name, input)?.is_some();
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

/// Refuses finished work that this run could not have made.
fn refuse_foreign(folder: &Path, manifest: &Manifest, wanted: &Fingerprint) -> Result<()> {
    let known = Fingerprint { stage: wanted.stage, settings: manifest.settings.clone(), model: manifest.model.clone() };
    if manifest.stage == wanted.stage && known == *wanted {
        return Ok(());
    }
    let (there, here) = if manifest.stage != wanted.stage {
        (manifest.stage.clone(), wanted.stage.to_owned())
    } else {
        differences(&known, wanted)
    };
    Err(Error::new(Fault::CheckpointForeign, format!("{} holds work of other settings", folder.display()))
        .file(folder.join(manifest::FILE))
        .expected(here)
        .found(there)
        .advice(if manifest.stage == wanted.stage {
            "use another output folder, the same settings, or --no-resume to do the work again"
        } else {
            "every stage needs an output folder of its own: name another one with -o"
        }))
}

/// The settings in which two fingerprints differ, on either side.
fn differences(known: &Fingerprint, wanted: &Fingerprint) -> (String, String) {
    let list = |a: &Fingerprint, b: &Fingerprint| {
        let mut fields: Vec<String> = Vec::new();
        if let (Some(a), Some(b)) = (a.settings.as_object(), b.settings.as_object()) {
            fields.extend(a.iter().filter(|(key, value)| b.get(*key) != Some(value)).map(|(k, v)| format!("{k} {v}")));
        }
        if a.model != b.model {
            fields.push(a.model.as_ref().map_or("no model".to_owned(), |model| format!("model {}", model.cell())));
        }
        fields.join(", ")
    };
    (list(known, wanted), list(wanted, known))
}

/// Refuses a folder without manifest that holds somebody's files.
fn refuse_strangers(folder: &Path) -> Result<()> {
    // What a first run leaves that was killed before its manifest was there, or whose manifest was removed, is ours.
    let ours = |name: &String| atomic::is_partial(name) || is_output(name);
    match names_in(folder)?.into_iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(Fault::OutputForeign, format!("{} is not an output folder", folder.display()))
            .file(folder)
            .expected("an empty or new folder, or one that this command wrote")
            .found(name)
            .advice("name another folder with -o")),
    }
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, error))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Whether a stage writes files of this name, whatever its input.
fn is_output(name: &str) -> bool {
    const FIXED: [&str; 9] = [
        "windows.tsv",
        "inputs.tsv",
        "frames.tsv",
        "sequences.tsv",
        "summary.json",
        "identified_nucleotide.fa",
        "identified_protein.faa",
        "prediction_results.txt",
        "prediction_results_highestscore.csv",
    ];
    let number = |prefix: &str, endings: &[&str]| {
        let rest = name.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
        rest.is_some_and(|(number, ending)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && endings.contains(&ending)
        })
    };
    FIXED.contains(&name) || number("shard-", &["fna", "faa", "parquet"]) || number("chunked", &["fa"])
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
        let mut file = atomic::AtomicFile::create(&folder.join(name)).unwrap();
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
        assert_eq!(open().done("shard-00001.fna", "in").unwrap(), Some(entry));
        assert_eq!(open().done("shard-00001.fna", "other").unwrap(), None);
        assert_eq!(open().done("shard-00002.fna", "in").unwrap(), None);
        fs::write(folder.path().join("shard-00001.fna"), "ACGA").unwrap();
        assert_eq!(open().done("shard-00001.fna", "in").unwrap(), None);
        fs::remove_file(folder.path().join("shard-00001.fna")).unwrap();
        assert_eq!(open().done("shard-00001.fna", "in").unwrap(), None);
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
        assert_eq!(dir.done("shard-00001.fna", "in").unwrap(), None);
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
    fn names_of_outputs_and_of_other_files() {
        for name in
            ["shard-00001.fna", "shard-100000.parquet", "windows.tsv", "chunked500.fa", "prediction_results.txt"]
        {
            assert!(is_output(name), "{name}");
        }
        for name in
            ["shard-.fna", "shard-1.fna.gz", "shard-x.faa", "shards", "chunked.fa", "chunked5.txt", "my.parquet"]
        {
            assert!(!is_output(name), "{name}");
        }
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
