//! A stage's output folder: what is done in it, and what is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest::{self, Manifest, ModelStamp, Origin, ShardEntry};
use super::refusals::{apart_from, foreign, made_from_other, refuse_strangers, written_meanwhile};
use crate::error::{Error, Fault, Result};
use crate::fs::{FileDigest, FolderLock, remove_abandoned};
use crate::units::Resume;

/// What makes finished work reusable: the stage, its settings and its model.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    /// Name of the stage, as `embed-esm`.
    pub stage: &'static str,
    /// Every setting that changes results.
    pub settings: Value,
    /// The model, if the stage uses one.
    pub model: Option<ModelStamp>,
    /// Whether the stage writes files of such a name.
    pub owns: fn(&str) -> bool,
    /// Whether a folder without a manifest holds this stage's work all the same.
    pub wrote: fn(&Path) -> bool,
}

impl Fingerprint {
    /// Whether the work of `manifest` is this work.
    pub(super) fn matches(&self, manifest: &Manifest) -> bool {
        self.stage == manifest.stage && self.settings == manifest.settings && self.model == manifest.model
    }
}

/// The output folder of a stage while it runs. Nothing is written before [`create`](StageDir::create), and nothing gets its
/// final name before [`begin`](StageDir::begin).
#[derive(Debug)]
pub struct StageDir {
    folder: PathBuf,
    manifest: Manifest,
    /// The manifest as it lies in the folder, if this program can follow it.
    on_disk: Option<Manifest>,
    /// What happens to finished work.
    resume: Resume,
    /// Whether finished work comes from the same sequences as this run's.
    same_origin: bool,
    /// The sequences that this run's work comes from.
    claimed: Option<Origin>,
    /// Files of this run: made, or proved to be what it would make.
    own: BTreeSet<String>,
    /// Files of another origin, of which some may be what this run would make.
    former: BTreeMap<String, ShardEntry>,
    /// Names of files of other work, which are not part of this one.
    superseded: BTreeSet<String>,
    /// Whether that is work of other settings, another model or another input.
    replaces: bool,
    /// Whether the folder is there, without what a killed run left unfinished.
    created: bool,
    /// The manifest's bytes when the folder was looked at.
    seen: Option<blake3::Hash>,
    /// The right to write to the folder; given back before a new folder is taken back.
    lock: Option<FolderLock>,
    new: NewFolder,
}

/// Folders that this run made, the deepest first. Dropping them takes them back, as long as nothing came of it.
#[derive(Debug, Default)]
struct NewFolder(Vec<PathBuf>);

impl Drop for NewFolder {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder); // fails, and shall, where something is in it
        }
    }
}

impl StageDir {
    /// Looks at the folder of a stage, which need not exist yet, and writes nothing.
    ///
    /// # Errors
    /// The folder holds other files, another stage's work, or finished work of other settings or another model.
    pub fn open(folder: &Path, fingerprint: Fingerprint, resume: Resume) -> Result<Self> {
        let seen = manifest_bytes(folder);
        let dir = Self::look_at(folder, fingerprint, resume)?;
        Ok(Self { seen, ..dir })
    }

    fn look_at(folder: &Path, fingerprint: Fingerprint, resume: Resume) -> Result<Self> {
        let names = names_in(folder)?;
        let known = match Manifest::read(folder) {
            // A damaged manifest must not stand in the way of making the stage again.
            Err(_) if resume.overwrite => None,
            known => known?,
        };
        let Some(known) = known else {
            refuse_strangers(folder, &names, &fingerprint, resume)?;
            let owned = names.into_iter().filter(|name| (fingerprint.owns)(name)).collect();
            return Ok(Self::fresh(folder, fingerprint, resume, owned));
        };
        if fingerprint.matches(&known) {
            let (folder, manifest) = (folder.to_owned(), known.clone());
            let on_disk = Some(known);
            return Ok(Self { on_disk, ..Self::new(folder, manifest, resume, BTreeSet::new()) });
        }
        let replaced = resume.overwrite || !known.complete && known.shards.is_empty();
        if known.stage == fingerprint.stage && replaced {
            let names: BTreeSet<String> = known.shards.into_keys().collect();
            let replaces = !names.is_empty();
            return Ok(Self { replaces, ..Self::fresh(folder, fingerprint, resume, names) });
        }
        Err(foreign(folder, &known, &fingerprint))
    }

    fn fresh(folder: &Path, fingerprint: Fingerprint, resume: Resume, superseded: BTreeSet<String>) -> Self {
        let manifest = Manifest {
            format: manifest::FORMAT,
            tool: concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned(),
            stage: fingerprint.stage.to_owned(),
            settings: fingerprint.settings,
            model: fingerprint.model,
            origin: None,
            removed_vectors: None,
            shards: BTreeMap::new(),
            totals: BTreeMap::new(),
            complete: false,
        };
        Self::new(folder.to_owned(), manifest, resume, superseded)
    }

    fn new(folder: PathBuf, manifest: Manifest, resume: Resume, superseded: BTreeSet<String>) -> Self {
        let (claimed, own, former, new) = (None, BTreeSet::new(), BTreeMap::new(), NewFolder::default());
        let (on_disk, same_origin, replaces, created) = (None, false, false, false);
        let (seen, lock) = (None, None);
        Self {
            folder,
            manifest,
            on_disk,
            resume,
            same_origin,
            claimed,
            own,
            former,
            superseded,
            replaces,
            created,
            seen,
            lock,
            new,
        }
    }

    /// Says which sequences this run's work comes from.
    ///
    /// # Errors
    /// [`Fault::CheckpointInput`] where finished work comes from others and may not be replaced.
    pub fn claim(&mut self, origin: Option<Origin>) -> Result<()> {
        let known = self.manifest.origin.as_ref();
        self.same_origin = known.zip(origin.as_ref()).is_some_and(|(known, own)| known.is_same(own));
        if let Some(known) = known.filter(|_| !self.same_origin && !self.manifest.shards.is_empty()) {
            if !self.resume.overwrite {
                return Err(apart_from(&self.folder, known, origin.as_ref()));
            }
            // Files of unchanged shards may still serve. They do not belong to this work before that is proved: no manifest
            // may ever name them under this origin.
            self.former = std::mem::take(&mut self.manifest.shards);
            self.superseded.extend(self.former.keys().cloned());
            self.replaces = true;
        }
        if !self.same_origin {
            // Beside files of unknown origin, each of which is looked at by itself, work gives the folder no origin.
            self.manifest.origin = origin.clone().filter(|_| self.manifest.shards.is_empty());
        }
        self.claimed = origin;
        Ok(())
    }

    /// Makes the folder, where it is missing, for files that have no final name yet.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(&mut self) -> Result<()> {
        if self.created {
            return Ok(());
        }
        if !self.folder.exists() {
            let missing =
                self.folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
            self.new = NewFolder(missing.map(Path::to_owned).collect());
        }
        fs::create_dir_all(&self.folder).map_err(|error| Error::writing(&self.folder, error))?;
        self.lock()?;
        remove_abandoned(&self.folder)?;
        self.created = true;
        Ok(())
    }

    /// Makes this process the only one that writes to the folder.
    fn lock(&mut self) -> Result<()> {
        if self.lock.is_none() {
            self.lock = Some(FolderLock::take(&self.folder)?);
            if manifest_bytes(&self.folder) != self.seen {
                return Err(written_meanwhile(&self.folder));
            }
        }
        Ok(())
    }

    /// Makes the folder ready for the first file with its final name: whose it is and that it is not complete stands in it
    /// from here on.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn begin(&mut self) -> Result<()> {
        self.manifest.complete = false;
        self.manifest.removed_vectors = None;
        if self.on_disk.as_ref().is_some_and(|on_disk| !on_disk.complete && on_disk.origin == self.manifest.origin) {
            return Ok(());
        }
        self.create()?;
        self.write()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of an output file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether other work than this run's is about to be replaced.
    pub fn replaces_other_work(&self) -> bool {
        self.replaces
    }

    /// Whether there is finished work that may be kept.
    pub fn holds_work(&self) -> bool {
        self.resume.keep && !self.manifest.shards.is_empty()
    }

    /// The sequences that the work in the folder comes from, if it says so.
    pub fn recorded_origin(&self) -> Option<&Origin> {
        self.on_disk.as_ref()?.origin.as_ref()
    }

    /// Settings of the vectors that the work was made from, where those were removed.
    pub fn removed_vectors(&self) -> Option<&Value> {
        self.on_disk.as_ref()?.removed_vectors.as_ref()
    }

    /// What the manifest in the folder says of a file, proved or not.
    pub fn recorded(&self, name: &str) -> Option<&ShardEntry> {
        self.on_disk.as_ref()?.shards.get(name)
    }

    /// Whether the manifest in the folder names such a file.
    pub fn names(&self, such: fn(&str) -> bool) -> bool {
        self.on_disk.as_ref().is_some_and(|on_disk| on_disk.shards.keys().any(|name| such(name)))
    }

    /// The entry of `name` if it is finished, was made from `input` and its bytes still say so. A file that fails the
    /// proof is forgotten, to be made again. `input` is asked for only where there is an entry to compare with.
    ///
    /// # Errors
    /// The file is there but cannot be read; those of `input` and of [`allow`](Self::allow).
    pub fn done(&mut self, name: &str, input: impl FnOnce() -> Result<MadeFrom>) -> Result<Option<ShardEntry>> {
        let known = self.manifest.shards.get(name).or(self.former.get(name));
        let Some(entry) = known.cloned() else { return Ok(None) };
        let input = input()?;
        if entry.input != input.digest || !self.resume.keep {
            self.allow(name, &input)?;
            return Ok(None);
        }
        let path = self.path(name);
        let proved = path.is_file() && FileDigest::of(&path)? == entry.file;
        if proved {
            self.note(name, entry.clone());
            log::debug!("{} is kept: it has the recorded digest, and so has what it was made from", path.display());
        } else {
            let what = if path.exists() { "does not match the manifest" } else { "is missing" };
            log::warn!("{} {what}; making it again", path.display());
            self.manifest.shards.remove(name);
            self.former.remove(name);
        }
        Ok(proved.then_some(entry))
    }

    /// Whether `name` may be made from `input`. Work of the same origin may always be made again.
    ///
    /// # Errors
    /// [`Fault::CheckpointInput`] where it is finished and was made from something else.
    pub fn allow(&self, name: &str, input: &MadeFrom) -> Result<()> {
        let known = self.manifest.shards.get(name).filter(|entry| entry.input != input.digest);
        match known {
            Some(entry) if !self.resume.overwrite && !self.same_origin => {
                let cell = |from: &str, digest: &str| format!("{from} ({})", digest.get(..12).unwrap_or(digest));
                let (here, there) = (cell(&input.from, &input.digest), cell(&entry.from, &entry.input));
                Err(made_from_other(Fault::CheckpointInput, &self.path(name), &here, &there))
            }
            _ => Ok(()),
        }
    }

    /// Whether an earlier run finished the stage with files made from `input`, and all of them still say so.
    ///
    /// # Errors
    /// A file is there but cannot be read; those of [`allow`](Self::allow).
    pub fn all_done(&mut self, input: &MadeFrom) -> Result<bool> {
        let names: Vec<String> = self.manifest.shards.keys().cloned().collect();
        let mut done = !names.is_empty() && self.on_disk.as_ref().is_some_and(|on_disk| on_disk.complete);
        for name in names {
            done = done && self.done(&name, || Ok(input.clone()))?.is_some();
        }
        Ok(done)
    }

    /// Notes a finished file without writing the manifest yet: for files that only count together.
    pub fn note(&mut self, name: &str, entry: ShardEntry) {
        self.superseded.remove(name);
        self.own.insert(name.to_owned());
        self.manifest.shards.insert(name.to_owned(), entry);
    }

    /// Records a finished file. The manifest on disk names it from here on.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn record(&mut self, name: &str, entry: ShardEntry) -> Result<()> {
        self.note(name, entry);
        self.write()
    }

    /// Finished files that are not among `names`, with their rows: those of inputs that this run was not given.
    pub fn others(&self, names: &[String]) -> Vec<(String, u64)> {
        let others = self.manifest.shards.iter();
        let others = others.filter(|(name, _)| !names.contains(name));
        others.map(|(name, entry)| (name.clone(), entry.rows)).collect()
    }

    /// Ends a stage that an earlier run has finished.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn keep(mut self) -> Result<Manifest> {
        self.manifest.complete = true;
        self.write()?;
        match self.lock.take() {
            Some(lock) => drop(lock),
            None => FolderLock::clear(&self.folder),
        }
        Ok(self.manifest)
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
        match &self.on_disk {
            None => self.begin()?, // a stage without a single file
            Some(on_disk) if !on_disk.complete => remove_abandoned(&self.folder)?,
            Some(_) => {}
        }
        let names: BTreeSet<&String> = names.iter().collect();
        let mut stale = std::mem::take(&mut self.superseded);
        stale.extend(self.manifest.shards.keys().cloned());
        for name in stale.iter().filter(|name| !names.contains(name)) {
            self.manifest.shards.remove(name);
            let _ = fs::remove_file(self.path(name));
        }
        if self.manifest.shards.keys().all(|name| self.own.contains(name)) {
            self.manifest.origin = self.claimed.take();
        }
        self.manifest.totals = totals;
        self.keep()
    }

    /// Writes the manifest where it says something new: finished work in a folder that may only be read stays usable.
    fn write(&mut self) -> Result<()> {
        if self.on_disk.as_ref() != Some(&self.manifest) {
            self.lock()?;
            self.manifest.write(&self.folder)?;
            self.new.0.clear();
            self.on_disk = Some(self.manifest.clone());
        }
        Ok(())
    }
}

/// What a file is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFrom {
    /// Digest of its content.
    pub digest: String,
    /// Its names, for messages.
    pub from: String,
}

impl MadeFrom {
    /// Of so many files, of which the first are named.
    pub fn files(digest: String, names: &[String]) -> Self {
        const NAMED: usize = 3;
        let more = names.len().saturating_sub(NAMED);
        let named = names[..names.len() - more].join(", ");
        Self { digest, from: if more > 0 { format!("{named} and {more} more") } else { named } }
    }

    /// The record of a file made from this.
    pub fn entry(&self, rows: u64, file: FileDigest) -> ShardEntry {
        ShardEntry { rows, file, input: self.digest.clone(), from: self.from.clone(), computed: None }
    }
}

/// Says that work which does not come from `origin` is no longer complete, because what it was made from is about to be
/// replaced.
///
/// # Errors
/// The manifest cannot be written.
pub fn retract(folder: &Path, origin: Option<&Origin>) -> Result<()> {
    let is_same = |(known, origin): (&Origin, &Origin)| known.is_same(origin);
    let is_other = |known: &Manifest| !known.origin.as_ref().zip(origin).is_some_and(is_same);
    match Manifest::read(folder) {
        Ok(Some(manifest)) if manifest.complete && is_other(&manifest) => {
            Manifest { complete: false, ..manifest }.write(folder)
        }
        _ => Ok(()),
    }
}

/// Digest of a manifest as it lies in a folder; none where there is none.
fn manifest_bytes(folder: &Path) -> Option<blake3::Hash> {
    fs::read(folder.join(manifest::FILE)).ok().map(|bytes| blake3::hash(&bytes))
}

/// Names in a folder; none where it does not exist.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(Error::writing(folder, error)),
        Err(error) => Err(Error::reading(folder, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn fingerprint(window: u32) -> Fingerprint {
        Fingerprint {
            stage: "chunk",
            settings: json!({ "window": window }),
            model: None,
            owns: |name| name.starts_with("shard-"),
            wrote: |_| true,
        }
    }

    fn made_from(text: &str) -> MadeFrom {
        MadeFrom { digest: text.to_owned(), from: format!("{text}.fa") }
    }

    fn make(folder: &Path, name: &str, content: &[u8]) -> ShardEntry {
        let mut file = crate::fs::AtomicFile::create(&folder.join(name)).unwrap();
        file.write_all(content).unwrap();
        made_from("in").entry(1, file.commit().unwrap())
    }

    #[test]
    fn work_is_done_only_for_the_same_input_and_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let open = || StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        let mut dir = open();
        let entry = make(folder.path(), "shard-00001.fna", b"ACGT");
        dir.record("shard-00001.fna", entry.clone()).unwrap();
        assert_eq!(open().done("shard-00001.fna", || Ok(made_from("in"))).unwrap(), Some(entry));
        let refused = open().done("shard-00001.fna", || Ok(made_from("other"))).unwrap_err();
        assert_eq!(refused.fault(), Fault::CheckpointInput);
        let report = refused.report("virnucpro");
        assert!(report.contains("in.fa") && report.contains("other.fa") && report.contains("--overwrite"), "{report}");
        let mut replacing = StageDir::open(folder.path(), fingerprint(500), Resume::OVERWRITE).unwrap();
        assert_eq!(replacing.done("shard-00001.fna", || Ok(made_from("other"))).unwrap(), None);
        assert_eq!(open().done("shard-00002.fna", || Ok(made_from("in"))).unwrap(), None);
        fs::write(folder.path().join("shard-00001.fna"), "ACGA").unwrap();
        assert_eq!(open().done("shard-00001.fna", || Ok(made_from("in"))).unwrap(), None);
        fs::remove_file(folder.path().join("shard-00001.fna")).unwrap();
        assert_eq!(open().done("shard-00001.fna", || Ok(made_from("in"))).unwrap(), None);
    }

    #[test]
    fn work_of_other_settings_is_refused_with_both_sides_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        let entry = make(folder.path(), "shard-00001.fna", b"A");
        dir.record("shard-00001.fna", entry).unwrap();
        let error = StageDir::open(folder.path(), fingerprint(300), Resume::KEEP).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointForeign);
        let report = error.report("virnucpro");
        assert!(report.contains("window 300") && report.contains("window 500"), "{report}");
        let mut dir = StageDir::open(folder.path(), fingerprint(300), Resume::OVERWRITE).unwrap();
        assert_eq!(dir.done("shard-00001.fna", || Ok(made_from("in"))).unwrap(), None);
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let error = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap_err();
        assert_eq!(error.fault(), Fault::OutputForeign);
    }

    #[test]
    fn a_damaged_manifest_is_an_error_until_it_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(manifest::FILE), "{\"format\": 1,").unwrap();
        let error = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointCorrupt);
        assert!(StageDir::open(folder.path(), fingerprint(500), Resume::AGAIN).is_err());
        assert!(StageDir::open(folder.path(), fingerprint(500), Resume::OVERWRITE).is_ok());
    }

    #[test]
    fn a_folder_tells_whose_it_is_before_anything_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap().begin().unwrap();
        assert!(!Manifest::read(folder.path()).unwrap().unwrap().complete);
        // Nothing is finished: other settings are welcome, another stage is not.
        let dir = StageDir::open(folder.path(), fingerprint(300), Resume::KEEP).unwrap();
        assert_eq!(dir.manifest.settings["window"], 300);
        let merge = Fingerprint { stage: "merge", settings: json!({}), model: None, owns: |_| false, wrote: |_| false };
        let error = StageDir::open(folder.path(), merge, Resume::KEEP).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointForeign);
    }

    fn origin(text: &str) -> Option<Origin> {
        Some(Origin { input: format!("{text}.fa"), blake3: text.to_owned(), cut: json!({ "window": 500 }) })
    }

    #[test]
    fn finished_work_of_another_origin_is_kept_until_it_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let open = |resume| StageDir::open(folder.path(), fingerprint(500), resume).unwrap();
        let mut dir = open(Resume::KEEP);
        dir.claim(origin("one")).unwrap();
        for name in ["shard-00001.fna", "shard-00002.fna"] {
            dir.record(name, make(folder.path(), name, b"A")).unwrap();
        }
        dir.finish(&["shard-00001.fna".to_owned(), "shard-00002.fna".to_owned()], BTreeMap::new()).unwrap();
        let error = open(Resume::KEEP).claim(origin("two")).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointInput);
        let report = error.report("virnucpro");
        assert!(report.contains("one.fa") && report.contains("two.fa"), "{report}");
        assert!(Manifest::read(folder.path()).unwrap().unwrap().complete);
        // The same origin: what is made of it may be made again.
        let mut same = open(Resume::KEEP);
        same.claim(origin("one")).unwrap();
        assert_eq!(same.done("shard-00001.fna", || Ok(made_from("other"))).unwrap(), None);
        // Replaced on demand: a file made from the same bytes serves, others are not part of the new work.
        let mut other = open(Resume::OVERWRITE);
        other.claim(origin("two")).unwrap();
        assert!(other.done("shard-00001.fna", || Ok(made_from("in"))).unwrap().is_some());
        assert_eq!(other.others(&["shard-00001.fna".to_owned()]), []);
        let manifest = other.finish(&["shard-00001.fna".to_owned()], BTreeMap::new()).unwrap();
        assert_eq!((manifest.origin, manifest.shards.len()), (origin("two"), 1));
        assert!(!folder.path().join("shard-00002.fna").exists());
    }

    #[test]
    fn files_of_unknown_origin_are_told_apart_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        dir.claim(None).unwrap();
        dir.record("shard-00001.fna", make(folder.path(), "shard-00001.fna", b"A")).unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        dir.claim(None).unwrap();
        dir.begin().unwrap();
        let error = dir.done("shard-00001.fna", || Ok(made_from("other"))).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointInput);
    }

    #[test]
    fn files_of_one_origin_and_others_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str, of: Option<Origin>, resume: Resume| {
            let mut dir = StageDir::open(folder.path(), fingerprint(500), resume).unwrap();
            dir.claim(of)?;
            dir.record(name, make(folder.path(), name, b"A"))?;
            let names: Vec<String> = dir.others(&[name.to_owned()]).into_iter().map(|(name, _)| name).collect();
            let manifest = dir.finish(&[names, vec![name.to_owned()]].concat(), BTreeMap::new())?;
            Ok::<_, Error>((manifest.origin, manifest.shards.len()))
        };
        assert_eq!(add("shard-00001.fna", None, Resume::KEEP).unwrap(), (None, 1));
        assert_eq!(add("shard-00002.fna", None, Resume::KEEP).unwrap(), (None, 2));
        assert_eq!(add("shard-00003.fna", origin("two"), Resume::KEEP).unwrap(), (None, 3), "beside unknown ones");
        fs::remove_file(folder.path().join(manifest::FILE)).unwrap();
        assert_eq!(add("shard-00003.fna", origin("two"), Resume::OVERWRITE).unwrap(), (origin("two"), 1));
        assert_eq!(add("shard-00004.fna", origin("two"), Resume::KEEP).unwrap(), (origin("two"), 2));
        let error = add("shard-00005.fna", None, Resume::KEEP).unwrap_err();
        assert!(error.report("v").contains("unknown origin") && error.report("v").contains("two.fa"));
    }

    #[test]
    fn a_manifest_never_names_files_of_another_origin() {
        let folder = tempfile::tempdir().unwrap();
        let open = |resume| StageDir::open(folder.path(), fingerprint(500), resume).unwrap();
        let mut dir = open(Resume::KEEP);
        dir.claim(origin("one")).unwrap();
        for name in ["shard-00001.fna", "shard-00002.fna", "shard-00003.fna"] {
            dir.record(name, make(folder.path(), name, b"A")).unwrap();
        }
        drop(dir);
        // A run that replaces it and ends half way: one file made, one found to serve, one not reached.
        let mut dir = open(Resume::OVERWRITE);
        dir.claim(origin("two")).unwrap();
        dir.begin().unwrap();
        let names = || Manifest::read(folder.path()).unwrap().unwrap().shards.into_keys().collect::<Vec<_>>();
        assert_eq!(names(), Vec::<String>::new());
        assert!(dir.done("shard-00002.fna", || Ok(made_from("in"))).unwrap().is_some());
        dir.record("shard-00001.fna", make(folder.path(), "shard-00001.fna", b"B")).unwrap();
        drop(dir);
        assert_eq!(names(), ["shard-00001.fna", "shard-00002.fna"]);
        let mut dir = open(Resume::KEEP);
        dir.claim(origin("two")).unwrap();
        assert_eq!(dir.others(&["shard-00001.fna".to_owned()]), [("shard-00002.fna".to_owned(), 1)]);
    }

    #[test]
    fn a_folder_has_one_writer_and_nothing_that_happened_since_it_was_looked_at_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let open = || StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        let (mut first, mut second, mut third) = (open(), open(), open());
        first.record("shard-00001.fna", make(folder.path(), "shard-00001.fna", b"A")).unwrap();
        let entry = make(folder.path(), "shard-00002.fna", b"B");
        assert_eq!(second.record("shard-00002.fna", entry).unwrap_err().fault(), Fault::CheckpointLocked);
        first.finish(&["shard-00001.fna".to_owned()], BTreeMap::new()).unwrap();
        let error = third.create().unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointLocked);
        assert!(error.report("v").contains("run the same command again"), "{}", error.report("v"));
        drop(third);
        assert!(open().holds_work() && !names_in(folder.path()).unwrap().contains(&".lock".to_owned()));
    }

    #[test]
    fn a_folder_in_which_nothing_came_to_be_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("deep/new");
        let mut dir = StageDir::open(&new, fingerprint(500), Resume::KEEP).unwrap();
        dir.create().unwrap();
        assert!(new.exists());
        drop(dir);
        assert!(!folder.path().join("deep").exists());
        let mut dir = StageDir::open(&new, fingerprint(500), Resume::KEEP).unwrap();
        dir.create().unwrap();
        dir.begin().unwrap();
        drop(dir);
        assert!(new.join(manifest::FILE).exists());
    }

    #[test]
    fn looking_at_finished_work_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        dir.record("shard-00001.fna", make(folder.path(), "shard-00001.fna", b"A")).unwrap();
        dir.finish(&["shard-00001.fna".to_owned()], BTreeMap::new()).unwrap();
        let written = || fs::metadata(folder.path().join(manifest::FILE)).unwrap().modified().unwrap();
        let before = written();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        assert!(dir.all_done(&made_from("in")).unwrap());
        dir.finish(&["shard-00001.fna".to_owned()], BTreeMap::new()).unwrap();
        assert_eq!(written(), before);
        let nowhere = folder.path().join("none");
        drop(StageDir::open(&nowhere, fingerprint(500), Resume::KEEP).unwrap());
        assert!(!nowhere.exists());
    }

    #[test]
    fn files_without_a_manifest_are_made_again_on_demand_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("shard-00001.fna"), "A").unwrap();
        let open = |resume| StageDir::open(folder.path(), fingerprint(500), resume);
        assert_eq!(open(Resume::KEEP).unwrap_err().fault(), Fault::CheckpointCorrupt);
        assert!(open(Resume::OVERWRITE).is_ok() && open(Resume::AGAIN).is_err());
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        assert_eq!(open(Resume::OVERWRITE).unwrap_err().fault(), Fault::OutputForeign);
    }

    #[test]
    fn starting_over_removes_what_is_no_longer_part_of_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
        for name in ["shard-00001.fna", "shard-00002.fna", "mine.parquet"] {
            let entry = make(folder.path(), name, b"A");
            dir.record(name, entry).unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "kept").unwrap();
        drop(dir);
        let dir = StageDir::open(folder.path(), fingerprint(300), Resume::OVERWRITE).unwrap();
        dir.finish(&["shard-00001.fna".to_owned()], BTreeMap::new()).unwrap();
        let mut names = names_in(folder.path()).unwrap();
        names.sort();
        assert_eq!(names, ["manifest.json", "notes.txt", "shard-00001.fna"]);
    }

    #[test]
    fn finishing_removes_shards_that_are_no_longer_part_of_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = StageDir::open(folder.path(), fingerprint(500), Resume::KEEP).unwrap();
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
