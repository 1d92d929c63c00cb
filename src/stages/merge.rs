//! `merge`: DNABERT-S and ESM-2 vectors side by side, joined by id. Order and sharding of the two sides do
//! not matter; a missing, extra or repeated id is an error, never a shift.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde_json::json;

use super::upstream::{UpstreamFile, is_whole_stage, take_over};
use crate::config;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::interrupt;
use crate::runtime::progress::Progress;
use crate::store::{Fingerprint, Manifest, ModelStamp, ShardEntry, StageDir, VectorBlock, VectorReader, VectorWriter};

/// What writes the two sides.
const DNABERT: &str = "embed-dnabert";
const ESM: &str = "embed-esm";
/// Rows joined at a time.
const BLOCK_ROWS: usize = 1024;
/// Ids shown of those that have no partner.
const SHOWN_IDS: usize = 10;

/// Runs the stage.
///
/// # Errors
/// The two sides do not hold the same ids or come from different bundles; or a file cannot be read or written.
pub fn merge(settings: &config::Merge, progress: &Progress) -> Result<Manifest> {
    let dnabert = take_over(&settings.dnabert, DNABERT, "parquet")?;
    let esm = take_over(&settings.esm, ESM, "parquet")?;
    let left = SideFiles::describe(&dnabert, &settings.dnabert, DNABERT)?;
    let right = SideFiles::describe(&esm, &settings.esm, ESM)?;
    if left.model != right.model {
        return Err(Error::new(Fault::ModelMismatch, "the two sides were made with different bundles")
            .expected(format!("DNABERT-S side: {}", cell(&left.model)))
            .found(format!("ESM-2 side: {}", cell(&right.model)))
            .advice("run both embed stages with the same --model"));
    }
    let fingerprint = Fingerprint { stage: "merge", settings: json!({}), model: left.model.clone() };
    let mut dir = StageDir::open(&settings.output, fingerprint, settings.resume)?;
    let rows: u64 = dnabert.iter().filter_map(|file| file.rows).sum();
    let task = progress.task("merge", "frames", (rows > 0).then_some(rows));
    let metadata = joined_metadata(&left, &right);
    let (mut names, mut total) = (Vec::new(), 0);
    for group in groups(dnabert, esm)? {
        if group.dnabert.is_empty() {
            EsmIndex::of(&group)?; // nothing to join: proves that the other side is empty too
        }
        let partner = FileDigest::of_all(group.esm.iter().map(|file| &file.digest));
        let mut index = None;
        for file in &group.dnabert {
            interrupt::check()?;
            let name = format!("{}.parquet", file.stem);
            let input = format!("{}+{partner}", file.digest.blake3);
            let entry = match dir.done(&name, &input)? {
                Some(entry) => entry,
                None => {
                    if index.is_none() {
                        index = Some(EsmIndex::of(&group)?);
                    }
                    let writer = VectorWriter::create(&dir.path(&name), left.dim + right.dim, &metadata)?;
                    let (rows, file) = join(file, index.as_ref(), writer)?;
                    let entry = ShardEntry { rows, file, input };
                    dir.record(&name, entry.clone())?;
                    entry
                }
            };
            task.add(entry.rows);
            total += entry.rows;
            names.push(name);
        }
    }
    if !is_whole_stage(&settings.dnabert) {
        for (name, rows) in dir.others(&names) {
            total += rows;
            names.push(name);
        }
    }
    log::info!("merge: {total} frames; shards: {}", names.len());
    dir.finish(&names, BTreeMap::from([("frames".to_owned(), total)]))
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
                return Err(Error::new(Fault::InputStage, "the vectors of one side come from another stage")
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

/// Files that are joined with each other: shard by shard where the shards of both sides hold the same ids, so that
/// memory does not grow with the input; all with all otherwise, with every id in memory.
struct Group {
    dnabert: Vec<UpstreamFile>,
    esm: Vec<UpstreamFile>,
}

fn groups(dnabert: Vec<UpstreamFile>, mut esm: Vec<UpstreamFile>) -> Result<Vec<Group>> {
    let stems: HashMap<String, usize> = dnabert.iter().enumerate().map(|(i, file)| (file.stem.clone(), i)).collect();
    let mut paired = esm.len() == dnabert.len() && esm.iter().all(|file| stems.contains_key(&file.stem));
    if paired {
        esm.sort_by_key(|file| stems[&file.stem]);
        for (left, right) in dnabert.iter().zip(&esm) {
            paired = paired && same_ids(left, right)?;
        }
    }
    if !paired {
        return Ok(vec![Group { dnabert, esm }]);
    }
    Ok(dnabert.into_iter().zip(esm).map(|(d, e)| Group { dnabert: vec![d], esm: vec![e] }).collect())
}

/// Whether two files hold the same ids, in any order.
fn same_ids(left: &UpstreamFile, right: &UpstreamFile) -> Result<bool> {
    let (mut left, mut right) = (VectorReader::open(&left.path)?.ids()?, VectorReader::open(&right.path)?.ids()?);
    if left != right {
        left.sort_unstable();
        right.sort_unstable();
    }
    Ok(left == right)
}

/// Where the ESM-2 vector of an id is.
struct EsmIndex {
    readers: Vec<VectorReader>,
    places: HashMap<String, (usize, usize)>,
}

impl EsmIndex {
    /// Indexes the ESM-2 side of a group and proves that the other side holds the same ids, each once.
    fn of(group: &Group) -> Result<Self> {
        let readers = group.esm.iter().map(|file| VectorReader::open(&file.path)).collect::<Result<Vec<_>>>()?;
        let mut places = HashMap::new();
        for (file, reader) in readers.iter().enumerate() {
            for (row, id) in reader.ids()?.into_iter().enumerate() {
                if let Some(id) = repeated(&mut places, id, (file, row)) {
                    return Err(twice(id, reader.path()));
                }
            }
        }
        let mut unmatched: HashMap<String, ()> = HashMap::new();
        let mut seen = HashMap::with_capacity(places.len());
        for file in &group.dnabert {
            let reader = VectorReader::open(&file.path)?;
            for id in reader.ids()? {
                if !places.contains_key(&id) {
                    unmatched.insert(id.clone(), ());
                }
                if let Some(id) = repeated(&mut seen, id, ()) {
                    return Err(twice(id, reader.path()));
                }
            }
        }
        let absent: Vec<&String> = places.keys().filter(|id| !seen.contains_key(*id)).collect();
        if unmatched.is_empty() && absent.is_empty() {
            return Ok(Self { readers, places });
        }
        Err(Error::new(Fault::MergeIds, "the two sides do not hold the same frames")
            .expected(format!("the same ids on both sides ({} and {})", seen.len(), places.len()))
            .found(format!(
                "{} only on the DNABERT-S side{}; {} only on the ESM-2 side{}",
                unmatched.len(),
                shown(unmatched.keys().collect()),
                absent.len(),
                shown(absent)
            ))
            .advice("embed the .fna and .faa files of the same shards, all of them, on both sides"))
    }
}

/// Notes `id`; gives it back if it was noted before.
fn repeated<P>(known: &mut HashMap<String, P>, id: String, place: P) -> Option<String> {
    if known.contains_key(&id) {
        return Some(id);
    }
    known.insert(id, place);
    None
}

fn twice(id: String, path: &std::path::Path) -> Error {
    Error::new(Fault::MergeIds, "an id stands twice on one side")
        .file(path)
        .record(id)
        .advice("name every vector file once; ids must be unique")
}

fn shown(mut ids: Vec<&String>) -> String {
    ids.sort_unstable();
    let list: Vec<&str> = ids.iter().take(SHOWN_IDS).map(|id| id.as_str()).collect();
    if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) }
}

/// Joins one DNABERT-S file with its partners, in its own order.
fn join(file: &UpstreamFile, index: Option<&EsmIndex>, mut writer: VectorWriter) -> Result<(u64, FileDigest)> {
    let Some(index) = index else { return Err(Error::new(Fault::Bug, "vectors were joined before they were indexed")) };
    let reader = VectorReader::open(&file.path)?;
    let (expected, dnabert_dim) = (reader.rows() as u64, reader.dim());
    let esm_dim = index.readers.first().map_or(0, VectorReader::dim);
    for block in reader.into_blocks(BLOCK_ROWS)? {
        interrupt::check()?;
        let block = block?;
        let partners = partners(&block.ids, index)?;
        let mut values = Vec::with_capacity(block.ids.len() * (dnabert_dim + esm_dim));
        for (dnabert, esm) in block.values.chunks_exact(dnabert_dim).zip(partners.chunks_exact(esm_dim)) {
            values.extend_from_slice(dnabert);
            values.extend_from_slice(esm);
        }
        writer.push(VectorBlock { ids: block.ids, values })?;
    }
    let rows = writer.rows();
    if rows != expected {
        return Err(Error::new(Fault::Count, "frames in and frames out differ in number")
            .file(&file.path)
            .expected(expected.to_string())
            .found(rows.to_string()));
    }
    Ok((rows, writer.commit()?))
}

/// ESM-2 vectors of `ids`, in their order, row-major [ids, dim].
fn partners(ids: &[String], index: &EsmIndex) -> Result<Vec<f32>> {
    let dim = index.readers.first().map_or(0, VectorReader::dim);
    let mut values = vec![0.0; ids.len() * dim];
    let mut wanted: Vec<(usize, usize, usize)> = Vec::with_capacity(ids.len()); // file, row, place in the block
    for (place, id) in ids.iter().enumerate() {
        let (file, row) = *index.places.get(id).ok_or_else(|| {
            Error::new(Fault::MergeIds, "a file changed while it was merged").record(id).advice("run merge again")
        })?;
        wanted.push((file, row, place));
    }
    wanted.sort_unstable();
    for group in wanted.chunk_by(|a, b| a.0 == b.0) {
        let rows: Vec<usize> = group.iter().map(|&(_, row, _)| row).collect();
        let vectors = index.readers[group[0].0].take(&rows)?;
        for (&(_, _, place), vector) in group.iter().zip(vectors.chunks_exact(dim)) {
            values[place * dim..(place + 1) * dim].copy_from_slice(vector);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Resume;
    use proptest::prelude::*;
    use std::path::Path;

    const DIM: [usize; 2] = [2, 3];

    fn vector(id: &str, dim: usize) -> Vec<f32> {
        let seed = id.bytes().fold(dim as f32, |seed, byte| seed * 0.5 + f32::from(byte));
        (0..dim).map(|i| seed + i as f32).collect()
    }

    fn write(path: &Path, ids: &[&str], dim: usize) {
        let mut writer = VectorWriter::create(path, dim, &BTreeMap::new()).unwrap();
        let values = ids.iter().flat_map(|id| vector(id, dim)).collect();
        writer.push(VectorBlock { ids: ids.iter().map(|id| id.to_string()).collect(), values }).unwrap();
        writer.commit().unwrap();
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
                let blocks: Result<Vec<_>> = reader.into_blocks(10_000)?.collect();
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
