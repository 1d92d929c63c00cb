//! `merge`: vectors of the nucleotide and the protein side next to each other, joined by id. Order and sharding of the two
//! sides do not matter; a missing, extra or repeated id is an error, never a shift. Vectors of a bundle that has one side
//! pass through.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::slice;

use serde_json::json;

use super::join::{EsmIndex, Read, join_in_step, pass_on};
use super::upstream::{self, UpstreamFile, is_whole_stage, refuse_input_in_output};
use super::vector_files::{
    DNABERT, ENCODERS, ESM, SOURCE, Vectors, holds_vectors_of, is_numbered_shard, is_vector_shard,
};
use crate::config;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::interrupt;
use crate::runtime::progress::{Progress, TaskProgress};
use crate::store::{Fingerprint, MadeFrom, Manifest, ModelStamp, StageDir, VectorReader, VectorWriter};
use crate::units::counted;

/// Runs the stage.
///
/// ```no_run
/// use virnucpro::config::Merge;
/// use virnucpro::runtime::progress::Progress;
/// use virnucpro::stages::merge::merge;
/// use virnucpro::units::Resume;
///
/// let (dnabert, esm) = (vec!["out/dnabert".into()], vec!["out/esm".into()]);
/// let settings = Merge { dnabert, esm, output: "out/merged".into(), resume: Resume::KEEP };
/// merge(&settings, &Progress::Silent)?;
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
///
/// # Errors
/// The two sides do not hold the same ids or come from different bundles; or a file cannot be read or written.
pub fn merge(settings: &config::Merge, progress: &Progress) -> Result<Manifest> {
    match (settings.dnabert.as_slice(), settings.esm.as_slice()) {
        (only, []) => return alone(settings, (only, DNABERT), progress),
        ([], only) => return alone(settings, (only, ESM), progress),
        _ => {}
    }
    let dnabert = upstream::files(&settings.dnabert, DNABERT, "parquet")?;
    let esm = upstream::files(&settings.esm, ESM, "parquet")?;
    let left = SideFiles::describe(&dnabert, DNABERT)?;
    let right = SideFiles::describe(&esm, ESM)?;
    if left.model != right.model {
        return Err(Error::new(Fault::ModelMismatch, "the two sides were made with different bundles")
            .expected(format!("DNABERT-S side: {}", cell(&left.model)))
            .found(format!("ESM-2 side: {}", cell(&right.model)))
            .advice("run both embed stages with the same --model"));
    }
    let folders = [&settings.dnabert, &settings.esm].map(|paths| paths.first().map_or(Path::new(""), PathBuf::as_path));
    let [dnabert_folder, esm_folder] = folders;
    let origins = [(dnabert_folder, upstream::origin(&dnabert)?), (esm_folder, upstream::origin(&esm)?)];
    let mut dir = StageDir::open(
        &settings.output,
        fingerprint([Some(&left.vectors), Some(&right.vectors)], left.model.clone()),
        settings.resume,
    )?;
    let inputs = dnabert.iter().chain(&esm).map(|file| file.path.as_path());
    refuse_input_in_output(inputs, &settings.output)?;
    dir.claim(upstream::common_origin(origins)?)?;
    let rows: u64 = dnabert.iter().filter_map(UpstreamFile::rows).sum();
    let task = progress.task("merge", "frames", (rows > 0).then_some(rows));
    let mut output = Output { dir, dim: left.vectors.dim + right.vectors.dim, task, names: Vec::new(), rows: 0 };
    let pairs = pairs(&dnabert, &esm);
    if !pairs.map_or(Ok(false), |pairs| output.join_pairs(&pairs))? {
        output.join_all(&dnabert, &esm)?;
    }
    output.end(is_whole_stage(&settings.dnabert))
}

/// Merges the files of a bundle that has one side only.
fn alone(settings: &config::Merge, (paths, stage): (&[PathBuf], &str), progress: &Progress) -> Result<Manifest> {
    let files = upstream::files(paths, stage, "parquet")?;
    let side = SideFiles::describe(&files, stage)?;
    let sides = if stage == DNABERT { [Some(&side.vectors), None] } else { [None, Some(&side.vectors)] };
    let mut dir = StageDir::open(&settings.output, fingerprint(sides, side.model.clone()), settings.resume)?;
    refuse_input_in_output(files.iter().map(|file| file.path.as_path()), &settings.output)?;
    dir.claim(upstream::origin(&files)?)?;
    let task = progress.task("merge", "frames", files.iter().map(UpstreamFile::rows).sum());
    let mut output = Output { dir, dim: side.vectors.dim, task, names: Vec::new(), rows: 0 };
    let made_from = |file: &UpstreamFile, digest: &FileDigest| MadeFrom::files(digest.blake3.clone(), &[file.name()]);
    for file in &files {
        if output.keep(file, || Ok(made_from(file, &file.digest()?)))? {
            continue;
        }
        let mut writer = output.start(file)?;
        let digest = pass_on(file, &mut writer)?;
        let input = made_from(file, &digest);
        let read = (file, digest);
        let key = if stage == DNABERT { "dnabert" } else { "esm" };
        let metadata = joined_metadata([(key, slice::from_ref(&read))])?;
        output.record(file, writer, (input, metadata))?;
    }
    output.end(is_whole_stage(paths))
}

/// Settings that merged vectors depend on: those of both sides, the nucleotide side first; nothing for a side that is not
/// there.
pub fn fingerprint(sides: [Option<&Vectors>; 2], model: Option<ModelStamp>) -> Fingerprint {
    let [dnabert, esm] = sides;
    let wrote = |folder: &Path| holds_vectors_of(folder, "merge");
    Fingerprint {
        stage: "merge",
        settings: json!({ "dnabert": dnabert, "esm": esm }),
        model,
        owns: is_vector_shard,
        wrote,
    }
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
            if self.keep(dnabert, || Ok(made_from((dnabert, &dnabert.digest()?), &[(esm, esm.digest()?)])))? {
                continue;
            }
            let mut writer = self.start(dnabert)?;
            if let Some([dnabert_read, esm_read]) = join_in_step(dnabert, esm, &mut writer)? {
                log::debug!("{} and {} were joined row by row", dnabert.path.display(), esm.path.display());
                self.finish((dnabert, dnabert_read), writer, &[(esm, esm_read)])?;
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
        let index = EsmIndex::of_the_ids_of(&all_dnabert, &all_esm)?;
        for file in dnabert {
            interrupt::check()?;
            let partners = index.partners(file)?;
            if !self.keep(file, || Ok(made_from((file, &file.digest()?), &partners)))? {
                self.join_by_index(file, &index)?;
            }
        }
        Ok(())
    }

    fn join_by_index(&mut self, dnabert: &UpstreamFile, index: &EsmIndex<'_>) -> Result<()> {
        log::debug!("{} is joined by id", dnabert.path.display());
        let mut writer = self.start(dnabert)?;
        let read = index.join(dnabert, &mut writer)?;
        self.finish((dnabert, read), writer, &index.partners(dnabert)?)
    }

    /// Whether the file for `dnabert` is there already, made from what `input` says.
    fn keep(&mut self, dnabert: &UpstreamFile, input: impl FnOnce() -> Result<MadeFrom>) -> Result<bool> {
        let name = file_name(dnabert);
        let Some(entry) = self.dir.done(&name, input)? else { return Ok(false) };
        self.count(name, entry.rows);
        Ok(true)
    }

    fn start(&mut self, dnabert: &UpstreamFile) -> Result<VectorWriter> {
        self.dir.create()?;
        VectorWriter::create(&self.dir.path(&file_name(dnabert)), self.dim)
    }

    fn finish(&mut self, dnabert: Read<'_>, writer: VectorWriter, esm: &[Read<'_>]) -> Result<()> {
        let input = made_from((dnabert.0, &dnabert.1), esm);
        let metadata = joined_metadata([("dnabert", slice::from_ref(&dnabert)), ("esm", esm)])?;
        self.record(dnabert.0, writer, (input, metadata))
    }

    /// Gives the file for `from` its name, with what it was made from and what it says of itself.
    fn record(
        &mut self,
        from: &UpstreamFile,
        writer: VectorWriter,
        (input, metadata): (MadeFrom, BTreeMap<String, String>),
    ) -> Result<()> {
        let (name, rows) = (file_name(from), writer.rows());
        self.dir.begin()?;
        let file = writer.commit(&metadata)?;
        self.dir.record(&name, input.entry(rows, file))?;
        self.count(name, rows);
        Ok(())
    }

    /// Ends the stage. Where not all of the stage before was given, files of an earlier call stay.
    fn end(self, is_whole: bool) -> Result<Manifest> {
        let Self { dir, mut names, mut rows, .. } = self;
        if is_whole {
            dir.remove_unrecorded(&names, is_numbered_shard)?;
        } else {
            for (name, more) in dir.others(&names) {
                rows += more;
                names.push(name);
            }
        }
        log::info!("merge: {}; shards: {}", counted(rows, "frame"), names.len());
        dir.finish(&names, BTreeMap::from([("frames".to_owned(), rows)]))
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

/// What a merged file is made from: one DNABERT-S file and the ESM-2 files that its partners stand in.
fn made_from(dnabert: (&UpstreamFile, &FileDigest), esm: &[Read<'_>]) -> MadeFrom {
    let names: Vec<String> = esm.iter().map(|(file, _)| file.name()).collect();
    let digest = format!("{}+{}", dnabert.1.blake3, FileDigest::of_all(esm.iter().map(|(_, digest)| digest)));
    MadeFrom::files(digest, &[vec![dnabert.0.name()], names].concat())
}

/// One side of the join.
struct SideFiles {
    vectors: Vectors,
    model: Option<ModelStamp>,
}

impl SideFiles {
    fn describe(files: &[UpstreamFile], stage: &str) -> Result<Self> {
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
            let of = |key: &str| metadata.get(key).cloned();
            let vectors = Vectors { dim: reader.dim(), dtype: of("dtype"), pooling: of("pooling") };
            let side = Self { vectors, model: model_of(&metadata) };
            match &known {
                None => known = Some(side),
                Some(first) if first.model != side.model => {
                    return Err(Error::new(Fault::ModelMismatch, "the files of one side come from different bundles")
                        .file(&file.path)
                        .expected(cell(&first.model))
                        .found(cell(&side.model))
                        .advice("embed all shards with one bundle"));
                }
                Some(first) if first.vectors.dim != side.vectors.dim => {
                    return Err(Error::new(Fault::InputStage, "the vectors of one side have different widths")
                        .file(&file.path)
                        .expected(first.vectors.dim.to_string())
                        .found(side.vectors.dim.to_string())
                        .advice("embed all shards with one bundle"));
                }
                Some(first) if first.vectors != side.vectors => {
                    let message = "the vectors of one side were computed with different settings";
                    return Err(Error::new(Fault::CheckpointForeign, message)
                        .file(&file.path)
                        .expected(first.vectors.to_string())
                        .found(side.vectors.to_string())
                        .advice("embed all shards in one number format: give --dtype f32, bf16 or f16"));
                }
                Some(_) => {}
            }
        }
        known.ok_or_else(|| {
            Error::new(Fault::InputMissing, "there are no vector files to merge")
                .advice("give the output folders of embed-dnabert and embed-esm")
        })
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

/// What a merged file says of itself: all that its own sides say, whichever other files are merged with it.
fn joined_metadata<'a>(sides: impl IntoIterator<Item = (&'a str, &'a [Read<'a>])>) -> Result<BTreeMap<String, String>> {
    let shared = ["bundle", "bundle_digest", "trained", ENCODERS];
    let mut metadata = BTreeMap::from([("stage".to_owned(), "merge".to_owned())]);
    let mut widths = Vec::new();
    for (prefix, files) in sides {
        let mut sources = Vec::new();
        for (file, _) in files {
            let reader = VectorReader::open(&file.path)?;
            if sources.is_empty() {
                widths.push(format!("{prefix} {}", reader.dim()));
            }
            for (key, value) in reader.metadata() {
                if key == SOURCE {
                    sources.push(value);
                } else {
                    let key = if shared.contains(&key.as_str()) { key } else { format!("{prefix}.{key}") };
                    metadata.insert(key, value);
                }
            }
        }
        if !sources.is_empty() {
            metadata.insert(format!("{prefix}.{SOURCE}"), sources.join(","));
        }
    }
    metadata.insert("layout".to_owned(), widths.join(" | "));
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::VectorBlock;
    use crate::units::Resume;
    use proptest::prelude::*;

    const DIM: [usize; 2] = [2, 3];

    fn vector(id: &str, dim: usize) -> Vec<f32> {
        let seed = id.bytes().fold(dim as f32, |seed, byte| seed * 0.5 + f32::from(byte));
        (0..dim).map(|i| seed + i as f32).collect()
    }

    fn write(path: &Path, ids: &[&str], dim: usize) {
        let mut writer = VectorWriter::create(path, dim).unwrap();
        let values = ids.iter().flat_map(|id| vector(id, dim)).collect();
        writer
            .push(VectorBlock { ids: ids.iter().map(|id| id.to_string()).collect(), values, proteins: vec![] })
            .unwrap();
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
            resume: Resume::KEEP,
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
            proteins: vec![None; ids.len()],
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
    fn vectors_of_two_number_formats_are_not_one_result() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, id: &str, dtype: &str| {
            let mut writer = VectorWriter::create(&path(name), 2).unwrap();
            writer.push(VectorBlock { ids: vec![id.to_owned()], values: vec![0.0; 2], proteins: vec![] }).unwrap();
            writer.commit(&BTreeMap::from([("dtype".to_owned(), dtype.to_owned())])).unwrap();
        };
        write("d1.parquet", "x", "f32");
        write("d2.parquet", "y", "bf16");
        write("e1.parquet", "x", "f32");
        write("e2.parquet", "y", "f32");
        let merge = |dnabert: &[&str], esm: &[&str]| {
            let [dnabert, esm] = [dnabert, esm].map(|names| names.iter().map(|name| path(name)).collect());
            let settings = config::Merge { dnabert, esm, output: path("merged"), resume: Resume::KEEP };
            super::merge(&settings, &Progress::Silent)
        };
        let error = merge(&["d1.parquet", "d2.parquet"], &["e1.parquet", "e2.parquet"]).unwrap_err();
        assert_eq!(error.fault(), Fault::CheckpointForeign);
        let report = error.report("merge");
        assert!(report.contains("f32") && report.contains("bf16"), "{report}");
        // Nor one after the other into one folder; each file of its own says what it is.
        merge(&["d1.parquet"], &["e1.parquet"]).unwrap();
        assert_eq!(VectorReader::open(&path("merged/d1.parquet")).unwrap().metadata()["dnabert.dtype"], "f32");
        assert_eq!(merge(&["d2.parquet"], &["e2.parquet"]).unwrap_err().fault(), Fault::CheckpointForeign);
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
