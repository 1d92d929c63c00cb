//! Rows of both sides to joined rows.
//!
//! As a rule two files hold the same ids in the same order: then each is read once, from front to end, and held in memory
//! block by block. Where the order differs, the ESM-2 side is indexed by id and read row by row.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;

use super::upstream::UpstreamFile;
use crate::error::{Error, Fault, Result};
use crate::fs::FileDigest;
use crate::runtime::interrupt;
use crate::store::{ProteinDigest, VectorBlock, VectorBlocks, VectorReader, VectorWriter};

/// Rows joined at a time.
const BLOCK_ROWS: usize = 1024;
/// Files of the ESM-2 side that are open at a time.
const OPEN_AT_ONCE: usize = 16;
/// Ids shown of those that have no partner.
const SHOWN_IDS: usize = 10;

/// Joins two files row by row, and gives the digests of both. None where their ids differ or stand in another order: what
/// was written is of no use then.
///
/// # Errors
/// A file is damaged or not what its manifest records, an id stands twice, or the output cannot be written.
pub fn join_in_step(
    dnabert: &UpstreamFile,
    esm: &UpstreamFile,
    writer: &mut VectorWriter,
) -> Result<Option<[FileDigest; 2]>> {
    let (mut left, mut right) = (Rows::open(dnabert)?, Rows::open(esm)?);
    if left.count != right.count {
        return Ok(None);
    }
    let mut seen = HashSet::with_capacity(left.count);
    loop {
        interrupt::check()?;
        let rows = left.ready()?.min(right.ready()?);
        if rows == 0 {
            return Ok(Some([left.finish()?, right.finish()?]));
        }
        let (dnabert_rows, esm_rows) = (left.take(rows), right.take(rows));
        if dnabert_rows.ids != esm_rows.ids {
            return Ok(None);
        }
        let ids = dnabert_rows.ids.to_vec();
        let proteins = common_proteins(&ids, [dnabert_rows.proteins, esm_rows.proteins], [dnabert, esm])?;
        if let Some(id) = ids.iter().find(|&id| !seen.insert(id.clone())) {
            return Err(twice(id, &dnabert.path));
        }
        let values = side_by_side([dnabert_rows.values, esm_rows.values], rows);
        writer.push(VectorBlock { ids, values, proteins })?;
    }
}

/// Takes over the rows of a file whose bundle has no other side. Gives its digest.
///
/// # Errors
/// The file is damaged or not what its manifest records, an id stands twice, or the output cannot be written.
pub fn pass_on(file: &UpstreamFile, writer: &mut VectorWriter) -> Result<FileDigest> {
    let mut rows = Rows::open(file)?;
    let mut seen = HashSet::with_capacity(rows.count);
    loop {
        interrupt::check()?;
        let ready = rows.ready()?;
        if ready == 0 {
            return rows.finish();
        }
        let Taken { ids, values, proteins } = rows.take(ready);
        if let Some(id) = ids.iter().find(|&id| !seen.insert(id.clone())) {
            return Err(twice(id, &file.path));
        }
        writer.push(VectorBlock { ids: ids.to_vec(), values: values.to_vec(), proteins: proteins.to_vec() })?;
    }
}

/// The rows of a file, as many at a time as are wanted.
struct Rows<'a> {
    file: &'a UpstreamFile,
    /// Rows that the file announces.
    count: usize,
    /// Rows that were read.
    read: usize,
    dim: usize,
    blocks: VectorBlocks,
    block: VectorBlock,
    /// Rows of the block that were taken.
    taken: usize,
}

impl<'a> Rows<'a> {
    fn open(file: &'a UpstreamFile) -> Result<Self> {
        let reader = VectorReader::open(&file.path).map_err(|error| file.explain(error))?;
        let (count, dim) = (reader.rows(), reader.dim());
        let blocks = reader.into_blocks(BLOCK_ROWS);
        Ok(Self { file, count, read: 0, dim, blocks, block: VectorBlock::default(), taken: 0 })
    }

    /// Rows that can be taken now; 0 at the end.
    fn ready(&mut self) -> Result<usize> {
        while self.taken == self.block.ids.len() {
            let Some(block) = self.blocks.next() else { return Ok(0) };
            self.block = block.map_err(|error| self.file.explain(error))?;
            self.read += self.block.ids.len();
            self.taken = 0;
        }
        Ok(self.block.ids.len() - self.taken)
    }

    /// The next `rows`, of those that are ready.
    fn take(&mut self, rows: usize) -> Taken<'_> {
        let (from, to) = (self.taken, self.taken + rows);
        self.taken = to;
        let VectorBlock { ids, values, proteins } = &self.block;
        Taken { ids: &ids[from..to], values: &values[from * self.dim..to * self.dim], proteins: &proteins[from..to] }
    }

    /// Ends a file of which every row was taken. Gives its digest.
    fn finish(self) -> Result<FileDigest> {
        let digest = self.blocks.finish().map_err(|error| self.file.explain(error))?;
        self.file.prove(&digest)?;
        let taken = self.read - (self.block.ids.len() - self.taken);
        let expected = self.file.rows().unwrap_or(self.count as u64);
        if taken as u64 != expected {
            return Err(Error::new(Fault::Count, "the numbers of frames in and out differ")
                .file(&self.file.path)
                .expected(expected.to_string())
                .found(taken.to_string()));
        }
        Ok(digest)
    }
}

/// Some rows of a file.
struct Taken<'a> {
    ids: &'a [String],
    /// Row-major f32 [rows, dim].
    values: &'a [f32],
    proteins: &'a [Option<ProteinDigest>],
}

/// The proteins that the rows of both sides belong to, DNABERT-S first. The sides of a frame know the same one.
///
/// # Errors
/// [`Fault::CheckpointInput`] where they know different ones: the same id stands for two sequences.
fn common_proteins(
    ids: &[String],
    sides: [&[Option<ProteinDigest>]; 2],
    files: [&UpstreamFile; 2],
) -> Result<Vec<Option<ProteinDigest>>> {
    let [left, right] = sides;
    let rows = left.iter().zip(right).zip(ids);
    let common = rows.map(|((left, right), id)| match (left, right) {
        (Some(one), Some(other)) if one != other => {
            let [dnabert, esm] = files.map(|file| file.path.display());
            Err(Error::new(Fault::CheckpointInput, "the two sides were made from different sequences of one id")
                .file(&files[1].path)
                .record(id)
                .expected(format!("the protein of {dnabert} ({one})"))
                .found(format!("another one in {esm} ({other})"))
                .advice("embed the .fna and .faa files of the same windows on both sides"))
        }
        _ => Ok(right.or(*left)),
    });
    common.collect()
}

/// Row-major [rows, left] and [rows, right] to [rows, left + right].
fn side_by_side(sides: [&[f32]; 2], rows: usize) -> Vec<f32> {
    let [left, right] = sides;
    let [left_dim, right_dim] = sides.map(|values| values.len() / rows.max(1));
    let mut values = Vec::with_capacity(left.len() + right.len());
    for row in 0..rows {
        values.extend_from_slice(&left[row * left_dim..(row + 1) * left_dim]);
        values.extend_from_slice(&right[row * right_dim..(row + 1) * right_dim]);
    }
    values
}

/// A file and its digest.
pub type Read<'a> = (&'a UpstreamFile, FileDigest);

/// Where the ESM-2 vector of an id is.
pub struct EsmIndex<'a> {
    files: Vec<Read<'a>>,
    /// The files that were used last, the latest at the end: thousands of them cannot be open at a time.
    open: RefCell<VecDeque<(usize, VectorReader)>>,
    /// Width of a vector.
    dim: usize,
    /// File and row.
    places: HashMap<String, (usize, usize)>,
}

/// Ids that only one side holds.
pub struct Difference {
    dnabert: Vec<String>,
    esm: Vec<String>,
    /// Ids of either side.
    counts: [usize; 2],
}

impl Difference {
    /// Whether both sides hold the same ids.
    pub fn is_empty(&self) -> bool {
        self.dnabert.is_empty() && self.esm.is_empty()
    }
}

impl<'a> EsmIndex<'a> {
    /// Indexes `files`, which are digested as a whole: what is read of them later is read by row.
    ///
    /// # Errors
    /// A file is damaged or not what its manifest records, or an id stands twice.
    pub fn of(files: &[&'a UpstreamFile]) -> Result<Self> {
        let (mut read, mut places, mut dim) = (Vec::new(), HashMap::new(), 0);
        for (number, &file) in files.iter().enumerate() {
            let open = || VectorReader::open(&file.path).map_err(|error| file.explain(error));
            let digest = open()?.into_blocks(BLOCK_ROWS).finish().map_err(|error| file.explain(error))?;
            file.prove(&digest)?;
            let reader = open()?;
            dim = reader.dim();
            for (row, id) in reader.ids()?.into_iter().enumerate() {
                if places.contains_key(&id) {
                    return Err(twice(&id, &file.path));
                }
                places.insert(id, (number, row));
            }
            read.push((file, digest));
        }
        Ok(Self { files: read, open: RefCell::default(), dim, places })
    }

    /// Indexes `esm` and proves that `dnabert` holds the same ids, each once.
    ///
    /// # Errors
    /// Those of [`of`](Self::of); [`Fault::MergeIds`] where the ids are not the same.
    pub fn of_the_ids_of(dnabert: &[&UpstreamFile], esm: &[&'a UpstreamFile]) -> Result<Self> {
        let index = Self::of(esm)?;
        let difference = index.difference(dnabert)?;
        if difference.is_empty() {
            return Ok(index);
        }
        let Difference { dnabert, esm, counts } = difference;
        Err(Error::new(Fault::MergeIds, "the two sides do not contain the same frames")
            .expected(format!("the same ids on both sides ({} and {})", counts[0], counts[1]))
            .found(format!(
                "{} only on the DNABERT-S side{}; {} only on the ESM-2 side{}",
                dnabert.len(),
                shown(&dnabert),
                esm.len(),
                shown(&esm)
            ))
            .advice("embed the .fna and .faa files of the same shards, all of them, on both sides"))
    }

    /// What the ids of `dnabert` and of the index do not share.
    ///
    /// # Errors
    /// A file is damaged, or an id stands twice.
    pub fn difference(&self, dnabert: &[&UpstreamFile]) -> Result<Difference> {
        let (mut seen, mut unmatched) = (HashSet::with_capacity(self.places.len()), Vec::new());
        for file in dnabert {
            let reader = VectorReader::open(&file.path).map_err(|error| file.explain(error))?;
            for id in reader.ids().map_err(|error| file.explain(error))? {
                if !self.places.contains_key(&id) {
                    unmatched.push(id.clone());
                }
                if let Some(id) = seen.replace(id) {
                    return Err(twice(&id, &file.path));
                }
            }
        }
        let absent = self.places.keys().filter(|id| !seen.contains(*id)).cloned();
        Ok(Difference { dnabert: unmatched, esm: absent.collect(), counts: [seen.len(), self.places.len()] })
    }

    /// The indexed files that hold partners of the rows of `dnabert`.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn partners(&self, dnabert: &UpstreamFile) -> Result<Vec<Read<'a>>> {
        let ids = VectorReader::open(&dnabert.path).and_then(|reader| reader.ids());
        let ids = ids.map_err(|error| dnabert.explain(error))?;
        let used: BTreeSet<usize> = ids.iter().filter_map(|id| Some(self.places.get(id)?.0)).collect();
        Ok(used.into_iter().map(|number| self.files[number].clone()).collect())
    }

    /// Joins one DNABERT-S file with its partners, in its own order. Gives its digest.
    ///
    /// # Errors
    /// A file is damaged or not what its manifest records, or the output cannot be written.
    pub fn join(&self, dnabert: &UpstreamFile, writer: &mut VectorWriter) -> Result<FileDigest> {
        let mut rows = Rows::open(dnabert)?;
        loop {
            interrupt::check()?;
            let count = rows.ready()?;
            if count == 0 {
                return rows.finish();
            }
            let own = rows.take(count);
            let partners = self.partners_of(own.ids)?;
            let proteins = common_proteins(own.ids, [own.proteins, &partners.proteins], [dnabert, partners.file])?;
            let values = side_by_side([own.values, &partners.values], count);
            writer.push(VectorBlock { ids: own.ids.to_vec(), values, proteins })?;
        }
    }

    /// Rows of a file, which ascend.
    fn take(&self, number: usize, rows: &[usize]) -> Result<VectorBlock> {
        let mut open = self.open.borrow_mut();
        let known = open.iter().position(|(known, _)| *known == number).and_then(|place| open.remove(place));
        let reader = match known {
            Some((_, reader)) => reader,
            None => {
                VectorReader::open(&self.files[number].0.path).map_err(|error| self.files[number].0.explain(error))?
            }
        };
        if open.len() >= OPEN_AT_ONCE {
            open.pop_front();
        }
        let taken = reader.take(rows);
        open.push_back((number, reader));
        taken
    }

    /// The ESM-2 rows of `ids`, in their order.
    fn partners_of(&self, ids: &[String]) -> Result<Partners<'a>> {
        let dim = self.dim;
        let (mut values, mut proteins) = (vec![0.0; ids.len() * dim], vec![None; ids.len()]);
        let mut wanted: Vec<(usize, usize, usize)> = Vec::with_capacity(ids.len()); // file, row, place in the block
        for (place, id) in ids.iter().enumerate() {
            let (file, row) = *self.places.get(id).ok_or_else(|| {
                Error::new(Fault::MergeIds, "a file changed during the merge").record(id).advice("run merge again")
            })?;
            wanted.push((file, row, place));
        }
        wanted.sort_unstable();
        for group in wanted.chunk_by(|a, b| a.0 == b.0) {
            let rows: Vec<usize> = group.iter().map(|&(_, row, _)| row).collect();
            let taken = self.take(group[0].0, &rows)?;
            let vectors = taken.values.chunks_exact(dim.max(1)).zip(taken.proteins);
            for (&(_, _, place), (vector, protein)) in group.iter().zip(vectors) {
                values[place * dim..(place + 1) * dim].copy_from_slice(vector);
                proteins[place] = protein;
            }
        }
        let file = self.files[wanted.first().map_or(0, |&(file, ..)| file)].0;
        Ok(Partners { file, values, proteins })
    }
}

/// ESM-2 rows in the order of the DNABERT-S side.
struct Partners<'a> {
    /// A file that they stand in, for messages.
    file: &'a UpstreamFile,
    /// Row-major f32 [rows, dim].
    values: Vec<f32>,
    proteins: Vec<Option<ProteinDigest>>,
}

fn twice(id: &str, path: &Path) -> Error {
    Error::new(Fault::MergeIds, "an id occurs twice on one side")
        .file(path)
        .record(id)
        .advice("give every vector file once; ids must be unique")
}

fn shown(ids: &[String]) -> String {
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    ids.truncate(SHOWN_IDS);
    if ids.is_empty() { String::new() } else { format!(" ({})", ids.join(", ")) }
}
