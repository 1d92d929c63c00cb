//! `merge`: DNABERT-S and ESM-2 vectors side by side, joined by id. Order and sharding of the two sides do
//! not matter; a missing, extra or repeated id is an error, never a shift.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde_json::json;

use super::join::{EsmIndex, join_in_step};
use super::upstream::{self, UpstreamFile, is_whole_stage};
use crate::config;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::store::{Fingerprint, Manifest, ModelStamp, ShardEntry, StageDir, VectorReader, VectorWriter};

/// What writes the two sides.
const DNABERT: &str = "embed-dnabert";
const ESM: &str = "embed-esm";

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::Merge;
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::merge::merge;
/// use virnucpro::units::Resume;
///
/// let (dnabert, esm) = (vec!["out/dnabert".into()], vec!["out/esm".into()]);
/// let settings = Merge { dnabert, esm, output: "out/merged".into(), resume: Resume::Keep };
/// merge(&settings, &Progress::Silent)?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// The two sides do not hold the same ids or come from different bundles; or a file cannot be read or written.
pub fn merge(settings: &config::Merge, progress: &Progress) -> Result<Manifest> {
    let dnabert = upstream::files(&settings.dnabert, DNABERT, "parquet")?;
    let esm = upstream::files(&settings.esm, ESM, "parquet")?;
    let left = SideFiles::describe(&dnabert, &settings.dnabert, DNABERT)?;
    let right = SideFiles::describe(&esm, &settings.esm, ESM)?;
    if left.model != right.model {
        return Err(Error::new(Fault::ModelMismatch, "the two sides were made with different bundles")
            .expected(format!("DNABERT-S side: {}", cell(&left.model)))
            .found(format!("ESM-2 side: {}", cell(&right.model)))
            .advice("run both embed stages with the same --model"));
    }
    let fingerprint = Fingerprint { stage: "merge", settings: json!({}), model: left.model.clone() };
    let dir = StageDir::open(&settings.output, fingerprint, settings.resume)?;
    let rows: u64 = dnabert.iter().filter_map(UpstreamFile::rows).sum();
    let task = progress.task("merge", "frames", (rows > 0).then_some(rows));
    let metadata = joined_metadata(&left, &right);
    let mut output = Output { dir, dim: left.dim + right.dim, metadata, task, names: Vec::new(), rows: 0 };
    let pairs = pairs(&dnabert, &esm);
    if !pairs.map_or(Ok(false), |pairs| output.join_pairs(&pairs))? {
        output.join_all(&dnabert, &esm)?;
    }
    let Output { dir, mut names, mut rows, .. } = output;
    if !is_whole_stage(&settings.dnabert) {
        for (name, more) in dir.others(&names) {
            rows += more;
            names.push(name);
        }
    }
    log::info!("merge: {rows} frames; shards: {}", names.len());
    dir.finish(&names, BTreeMap::from([("frames".to_owned(), rows)]))
}

/// Files of both sides that bear the same name, in the order of the DNABERT-S side; none where some have no partner.
fn pairs<'a>(dnabert: &'a [UpstreamFile], esm: &'a [UpstreamFile]) -> Option<Vec<[&'a UpstreamFile; 2]>> {
    let named: HashMap<&str, &UpstreamFile> = esm.iter().map(|file| (file.stem.as_str(), file)).collect();
    let pairs = dnabert.iter().map(|file| Some([file, *named.get(file.stem.as_str())?]));
    pairs.collect::<Option<Vec<_>>>().filter(|pairs| pairs.len() == esm.len())
}

/// The merged files on their way.
struct Output {
    dir: StageDir,
    /// Width of a merged vector.
    dim: usize,
    metadata: BTreeMap<String, String>,
    task: TaskProgress,
    names: Vec<String>,
    rows: u64,
}

impl Output {
    /// Joins file with file, so that memory does not grow with the input. Gives up with `false` where two files of one
    /// name do not hold the same ids.
    fn join_pairs(&mut self, pairs: &[[&UpstreamFile; 2]]) -> Result<bool> {
        for &[dnabert, esm] in pairs {
            interrupt::check()?;
            if self.keep(dnabert, || Ok(made_from(&dnabert.digest()?, &[esm.digest()?])))? {
                continue;
            }
            let mut writer = self.start(dnabert)?;
            if let Some([dnabert_read, esm_read]) = join_in_step(dnabert, esm, &mut writer)? {
                self.finish(dnabert, writer, made_from(&dnabert_read, &[esm_read]))?;
                continue;
            }
            // The same ids in another order, or other ids.
            let index = EsmIndex::of(&[esm])?;
            if !index.difference(&[dnabert])?.is_empty() {
                return Ok(false);
            }
            self.join_by_index(dnabert, &index)?;
        }
        Ok(true)
    }

    /// Joins every DNABERT-S file with whichever files hold its ids; all ids are held in memory.
    fn join_all(&mut self, dnabert: &[UpstreamFile], esm: &[UpstreamFile]) -> Result<()> {
        self.names.clear();
        self.rows = 0;
        self.task.set(0);
        let [all_dnabert, all_esm] = [dnabert, esm].map(|files| files.iter().collect::<Vec<_>>());
        let compared = if self.dir.holds_work() { esm } else { &[] };
        let digests = compared.iter().map(UpstreamFile::digest).collect::<Result<Vec<_>>>()?;
        let mut index = None;
        for file in dnabert {
            interrupt::check()?;
            if self.keep(file, || Ok(made_from(&file.digest()?, &digests)))? {
                continue;
            }
            let index = match &index {
                Some(index) => index,
                None => index.insert(EsmIndex::of_the_ids_of(&all_dnabert, &all_esm)?),
            };
            self.join_by_index(file, index)?;
        }
        if dnabert.is_empty() {
            EsmIndex::of_the_ids_of(&all_dnabert, &all_esm)?; // nothing to join: proves that the other side is empty
        }
        Ok(())
    }

    fn join_by_index(&mut self, dnabert: &UpstreamFile, index: &EsmIndex) -> Result<()> {
        let mut writer = self.start(dnabert)?;
        let read = index.join(dnabert, &mut writer)?;
        self.finish(dnabert, writer, made_from(&read, index.digests()))
    }

    /// Whether the file for `dnabert` is there already, made from what `input` says.
    fn keep(&mut self, dnabert: &UpstreamFile, input: impl FnOnce() -> Result<String>) -> Result<bool> {
        let name = file_name(dnabert);
        let Some(entry) = self.dir.done(&name, input)? else { return Ok(false) };
        self.count(name, entry.rows);
        Ok(true)
    }

    fn start(&self, dnabert: &UpstreamFile) -> Result<VectorWriter> {
        VectorWriter::create(&self.dir.path(&file_name(dnabert)), self.dim)
    }

    fn finish(&mut self, dnabert: &UpstreamFile, writer: VectorWriter, input: String) -> Result<()> {
        let (name, rows) = (file_name(dnabert), writer.rows());
        let file = writer.commit(&self.metadata)?;
        self.dir.record(&name, ShardEntry { rows, file, input })?;
        self.count(name, rows);
        Ok(())
    }

    fn count(&mut self, name: String, rows: u64) {
        self.task.add(rows);
        self.rows += rows;
        self.names.push(name);
    }
}

fn file_name(dnabert: &UpstreamFile) -> String {
    format!("{}.parquet", dnabert.stem)
}

/// What a merged file is made from: one DNABERT-S file and all the ESM-2 files that its partners may stand in.
fn made_from(dnabert: &FileDigest, esm: &[FileDigest]) -> String {
    format!("{}+{}", dnabert.blake3, FileDigest::of_all(esm))
}

/// What all vector files of one side say of themselves.
struct SideFiles {
    dim: usize,
    model: Option<ModelStamp>,
    metadata: BTreeMap<String, String>,
}

impl SideFiles {
    fn describe(files: &[UpstreamFile], named: &[PathBuf], stage: &str) -> Result<Self> {
        let mut known: Option<Self> = None;
        for file in files {
            let reader = VectorReader::open(&file.path)?;
            let metadata = reader.metadata();
            if let Some(other) = metadata.get("stage").filter(|made_by| *made_by != stage) {
                return Err(Error::new(Fault::InputStage, "these vectors come from the wrong stage")
                    .file(&file.path)
                    .expected(format!("vectors that `virnucpro {stage}` wrote"))
                    .found(format!("vectors that `virnucpro {other}` wrote"))
                    .advice("--dnabert takes the output of embed-dnabert, --esm that of embed-esm"));
            }
            let side = Self { dim: reader.dim(), model: model_of(&metadata), metadata };
            match &known {
                None => known = Some(side),
                Some(first) if first.dim != side.dim => {
                    return Err(Error::new(Fault::InputStage, "the vectors of one side have different widths")
                        .file(&file.path)
                        .expected(first.dim.to_string())
                        .found(side.dim.to_string()));
                }
                Some(first) if first.model != side.model => {
                    return Err(Error::new(Fault::ModelMismatch, "the files of one side come from different bundles")
                        .file(&file.path)
                        .expected(cell(&first.model))
                        .found(cell(&side.model)));
                }
                Some(_) => {}
            }
        }
        known.map_or_else(|| Self::without_vectors(named), Ok)
    }

    /// A finished stage that had no frame to embed: its manifest says which bundle it would have used.
    fn without_vectors(named: &[PathBuf]) -> Result<Self> {
        for folder in named {
            if let Some(manifest) = Manifest::read(folder)? {
                return Ok(Self { dim: 0, model: manifest.model, metadata: BTreeMap::new() });
            }
        }
        Err(Error::new(Fault::InputMissing, "no vector files to merge"))
    }
}

fn cell(model: &Option<ModelStamp>) -> String {
    model.as_ref().map_or_else(|| "no bundle named".to_owned(), ModelStamp::cell)
}

/// The bundle that a vector file names.
pub(super) fn model_of(metadata: &BTreeMap<String, String>) -> Option<ModelStamp> {
    Some(ModelStamp {
        bundle: metadata.get("bundle")?.clone(),
        digest: metadata.get("bundle_digest")?.clone(),
        trained: metadata.get("trained")? == "true",
    })
}

fn joined_metadata(dnabert: &SideFiles, esm: &SideFiles) -> BTreeMap<String, String> {
    let shared = ["bundle", "bundle_digest", "trained"];
    let mut metadata = BTreeMap::from([
        ("stage".to_owned(), "merge".to_owned()),
        ("layout".to_owned(), format!("dnabert {} | esm {}", dnabert.dim, esm.dim)),
    ]);
    for (prefix, side) in [("dnabert", dnabert), ("esm", esm)] {
        for (key, value) in &side.metadata {
            let key = if shared.contains(&key.as_str()) { key.clone() } else { format!("{prefix}.{key}") };
            metadata.insert(key, value.clone());
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::VectorBlock;
    use crate::units::Resume;
    use proptest::prelude::*;
    use std::path::Path;

    const DIM: [usize; 2] = [2, 3];

    fn vector(id: &str, dim: usize) -> Vec<f32> {
        let seed = id.bytes().fold(dim as f32, |seed, byte| seed * 0.5 + f32::from(byte));
        (0..dim).map(|i| seed + i as f32).collect()
    }

    fn write(path: &Path, ids: &[&str], dim: usize) {
        let mut writer = VectorWriter::create(path, dim).unwrap();
        let values = ids.iter().flat_map(|id| vector(id, dim)).collect();
        writer.push(VectorBlock { ids: ids.iter().map(|id| id.to_string()).collect(), values }).unwrap();
        writer.commit(&BTreeMap::new()).unwrap();
    }

    /// Merges files of ids, `dnabert[i]` and `esm[i]` being the i-th file of each side.
    fn merged(dnabert: &[(&str, Vec<&str>)], esm: &[(&str, Vec<&str>)]) -> Result<Vec<VectorBlock>> {
        let folder = tempfile::tempdir().unwrap();
        let mut sides: Vec<Vec<PathBuf>> = Vec::new();
        for (side, (files, dim)) in [dnabert, esm].into_iter().zip(DIM).enumerate() {
            let place = folder.path().join(side.to_string());
            std::fs::create_dir(&place).unwrap();
            let paths = files.iter().map(|(name, ids)| {
                let path = place.join(name);
                write(&path, ids, dim);
                path
            });
            sides.push(paths.collect());
        }
        let output = folder.path().join("merged");
        let settings = config::Merge {
            dnabert: sides[0].clone(),
            esm: sides[1].clone(),
            output: output.clone(),
            resume: Resume::Keep,
        };
        merge(&settings, &Progress::Silent)?;
        dnabert
            .iter()
            .map(|(name, _)| {
                let reader = VectorReader::open(&output.join(name))?;
                let blocks: Result<Vec<_>> = reader.into_blocks(10_000).collect();
                Ok(blocks?.pop().unwrap_or_default())
            })
            .collect()
    }

    fn expected(ids: &[&str]) -> VectorBlock {
        VectorBlock {
            ids: ids.iter().map(|id| id.to_string()).collect(),
            values: ids.iter().flat_map(|id| [vector(id, DIM[0]), vector(id, DIM[1])].concat()).collect(),
        }
    }

    #[test]
    fn order_and_sharding_of_the_other_side_do_not_matter() {
        let blocks = merged(&[("a.parquet", vec!["x", "y", "z"])], &[("a.parquet", vec!["z", "x", "y"])]).unwrap();
        assert_eq!(blocks, [expected(&["x", "y", "z"])]);
        let dnabert = [("s1.parquet", vec!["x", "y"]), ("s2.parquet", vec!["z"])];
        let esm = [("t1.parquet", vec!["z", "y"]), ("t2.parquet", vec![]), ("t3.parquet", vec!["x"])];
        assert_eq!(merged(&dnabert, &esm).unwrap(), [expected(&["x", "y"]), expected(&["z"])]);
        let misnamed = [("s1.parquet", vec!["z"]), ("s2.parquet", vec!["x", "y"])];
        assert_eq!(merged(&dnabert, &misnamed).unwrap(), [expected(&["x", "y"]), expected(&["z"])]);
        let swapped = [("s2.parquet", vec!["z"]), ("s1.parquet", vec!["y", "x"])];
        assert_eq!(merged(&dnabert, &swapped).unwrap(), [expected(&["x", "y"]), expected(&["z"])]);
    }

    #[test]
    fn an_id_without_partner_or_with_two_is_an_error_that_names_it() {
        for (dnabert, esm, named) in [
            (vec!["x", "lonely"], vec!["x"], "lonely"),
            (vec!["x"], vec!["x", "extra"], "extra"),
            (vec!["x", "x"], vec!["x"], "x"),
            (vec!["x"], vec!["x", "x"], "x"),
            (vec!["x", "x"], vec!["x", "x"], "x"),
        ] {
            let error = merged(&[("a.parquet", dnabert)], &[("a.parquet", esm)]).unwrap_err();
            assert_eq!(error.fault(), Fault::MergeIds);
            assert!(error.report("merge").contains(named));
        }
    }

    proptest! {
        #[test]
        fn any_permutation_gives_the_same_rows(order in Just((0..60).collect::<Vec<usize>>()).prop_shuffle()) {
            let names: Vec<String> = (0..60).map(|i| format!("s_chunk_{i}F1")).collect();
            let ids: Vec<&str> = names.iter().map(String::as_str).collect();
            let shuffled: Vec<&str> = order.iter().map(|&i| ids[i]).collect();
            let blocks = merged(&[("a.parquet", ids.clone())], &[("b.parquet", shuffled)]).unwrap();
            prop_assert_eq!(blocks, [expected(&ids)]);
        }
    }
}
