//! Vector files: Parquet with an `id` and an `embedding`, a fixed-size list of f32, that pandas, polars, R
//! and DuckDB open. File metadata says where the vectors come from.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf as _, Bytes, BytesMut};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, Length};

use super::parquet_file::{self, KEY_PREFIX, unwritten};
use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest};

const ID: &str = "id";
const EMBEDDING: &str = "embedding";
const PROTEIN: &str = "protein_blake3";
/// Rows of a row group: what a reader must decode to get at one row.
const ROW_GROUP_ROWS: usize = 1024;

/// Some rows of a vector file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorBlock {
    /// Identifier of each row.
    pub ids: Vec<String>,
    /// Row-major f32 [rows, dim].
    pub values: Vec<f32>,
    /// Digest of the protein that each row belongs to, where it is known; empty where none is.
    pub proteins: Vec<Option<ProteinDigest>>,
}

/// The first 64 bits of the BLAKE3 digest of a protein. Both sides of a frame know its protein: so they prove, row by row,
/// that they belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProteinDigest(u64);

impl ProteinDigest {
    /// Of residues in upper case.
    pub fn of(protein: &[u8]) -> Self {
        let hash = blake3::hash(protein);
        Self(hash.as_bytes().first_chunk().copied().map_or(0, u64::from_be_bytes))
    }

    fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for ProteinDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A vector file being written.
pub struct VectorWriter {
    path: PathBuf,
    schema: SchemaRef,
    dim: usize,
    writer: ArrowWriter<AtomicFile>,
    /// Rows of a row group that is not full yet: the bytes of a file do not depend on the pieces that its rows came in.
    waiting: VectorBlock,
    rows: u64,
}

impl VectorWriter {
    /// Starts a file of vectors of width `dim`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(path: &Path, dim: usize) -> Result<Self> {
        let schema = schema(dim);
        // Vectors neither compress nor repeat; statistics over them say nothing.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
        let writer = parquet_file::start(path, &schema, properties)?;
        Ok(Self { path: path.to_owned(), schema, dim, writer, waiting: VectorBlock::default(), rows: 0 })
    }

    /// Appends rows: `values` is row-major f32 [ids, dim].
    ///
    /// # Errors
    /// The numbers do not add up, or the file cannot be written.
    pub fn push(&mut self, block: VectorBlock) -> Result<()> {
        let rows = block.ids.len();
        if block.values.len() != rows * self.dim || block.proteins.len() > rows {
            return Err(Error::new(Fault::Count, "the numbers of identifiers and vectors differ")
                .file(&self.path)
                .expected(format!("{rows} x {} values", self.dim))
                .found(format!("{} values", block.values.len())));
        }
        self.waiting.proteins.extend(block.proteins);
        self.waiting.ids.extend(block.ids);
        self.waiting.proteins.resize(self.waiting.ids.len(), None);
        self.waiting.values.extend(block.values);
        self.rows += rows as u64;
        let full = self.waiting.ids.len() / ROW_GROUP_ROWS * ROW_GROUP_ROWS;
        self.write_first(full)
    }

    /// Writes the first of the waiting rows.
    fn write_first(&mut self, rows: usize) -> Result<()> {
        for start in (0..rows).step_by(ROW_GROUP_ROWS) {
            self.write(start..rows.min(start + ROW_GROUP_ROWS))?;
        }
        self.waiting.ids.drain(..rows);
        self.waiting.proteins.drain(..rows);
        self.waiting.values.drain(..rows * self.dim);
        Ok(())
    }

    /// Writes some of the waiting rows as a row group.
    fn write(&mut self, rows: Range<usize>) -> Result<()> {
        let VectorBlock { ids, values, proteins } = &self.waiting;
        let values = values[rows.start * self.dim..rows.end * self.dim].to_vec();
        let values: ArrayRef = Arc::new(Float32Array::from(values));
        let lists = FixedSizeListArray::try_new(item_field(), self.width(), values, None);
        let batch = lists.and_then(|lists| {
            let proteins = proteins[rows.clone()].iter().map(|protein| protein.map(|digest| digest.to_string()));
            let proteins: StringArray = proteins.collect();
            let ids = StringArray::from_iter_values(&ids[rows]);
            let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(lists), Arc::new(proteins)];
            RecordBatch::try_new(self.schema.clone(), columns)
        });
        let batch = batch.map_err(|error| unwritten(&self.path, error.into()))?;
        self.writer.write(&batch).map_err(|error| unwritten(&self.path, error))
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the file its name; `metadata` stands in it under `virnucpro.*`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn commit(mut self, metadata: &BTreeMap<String, String>) -> Result<FileDigest> {
        self.write_first(self.waiting.ids.len())?;
        parquet_file::finish(self.writer, &self.schema, metadata)?.commit()
    }

    fn width(&self) -> i32 {
        i32::try_from(self.dim).unwrap_or(i32::MAX)
    }
}

fn item_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

fn schema(dim: usize) -> SchemaRef {
    let width = i32::try_from(dim).unwrap_or(i32::MAX);
    Arc::new(Schema::new(vec![
        Field::new(ID, DataType::Utf8, false),
        Field::new(EMBEDDING, DataType::FixedSizeList(item_field(), width), false),
        Field::new(PROTEIN, DataType::Utf8, true),
    ]))
}

/// A vector file being read.
///
/// ```no_run
/// use std::path::Path;
/// use virnucpro::store::VectorReader;
///
/// let reader = VectorReader::open(Path::new("out/merged/shard-00001.parquet"))?;
/// let width = reader.dim();
/// for block in reader.into_blocks(1024) {
///     let block = block?;
///     for (id, vector) in block.ids.iter().zip(block.values.chunks_exact(width)) {
///         println!("{id}: {:?} ...", &vector[..3]);
///     }
/// }
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
pub struct VectorReader {
    path: PathBuf,
    file: OpenFile,
    parquet: ArrowReaderMetadata,
    dim: usize,
}

impl VectorReader {
    /// Opens a vector file.
    ///
    /// # Errors
    /// The file is missing, damaged, or holds something else.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenFile(Arc::new(File::open(path).map_err(|error| Error::reading(path, error))?));
        let parquet = ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| damaged(path, error))?;
        let dim = match parquet.schema().field_with_name(EMBEDDING).map(|field| field.data_type().clone()) {
            Ok(DataType::FixedSizeList(item, width)) if *item.data_type() == DataType::Float32 => width as usize,
            other => {
                return Err(Error::new(Fault::InputStage, format!("{} contains no vectors", path.display()))
                    .file(path)
                    .expected("columns `id` (text) and `embedding` (fixed-size list of f32)")
                    .found(other.map_or_else(|_| "no column `embedding`".to_owned(), |kind| kind.to_string()))
                    .advice("give files that `embed-dnabert`, `embed-esm` or `merge` wrote"));
            }
        };
        Ok(Self { path: path.to_owned(), file, parquet, dim })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Width of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of vectors.
    pub fn rows(&self) -> usize {
        usize::try_from(self.parquet.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// What the writer said of the file, without the prefix of the keys.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut said = self.all_metadata();
        said.retain(|key, _| ![parquet_file::DATA_BYTES, parquet_file::DATA_BLAKE3].contains(&key.as_str()));
        said
    }

    fn all_metadata(&self) -> BTreeMap<String, String> {
        let pairs = self.parquet.metadata().file_metadata().key_value_metadata();
        pairs
            .into_iter()
            .flatten()
            .filter_map(|pair| Some((pair.key.strip_prefix(KEY_PREFIX)?.to_owned(), pair.value.clone()?)))
            .collect()
    }

    /// All identifiers in file order; the vectors are not read.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn ids(&self) -> Result<Vec<String>> {
        let schema = self.parquet.metadata().file_metadata().schema_descr();
        let only_ids = ProjectionMask::columns(schema, [ID]);
        let reader = self.builder().with_projection(only_ids).with_batch_size(ROW_GROUP_ROWS).build();
        let mut ids = Vec::with_capacity(self.rows());
        for batch in reader.map_err(|error| damaged(&self.path, error))? {
            let batch = batch.map_err(|error| damaged(&self.path, error.into()))?;
            ids.extend(self.ids_of(&batch)?);
        }
        Ok(ids)
    }

    /// The first identifier; none where there is no row.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn first_id(&self) -> Result<Option<String>> {
        let schema = self.parquet.metadata().file_metadata().schema_descr();
        let reader = self.builder().with_projection(ProjectionMask::columns(schema, [ID])).with_limit(1).build();
        let batch = reader.map_err(|error| damaged(&self.path, error))?.next();
        let batch = batch.transpose().map_err(|error| damaged(&self.path, error.into()))?;
        let ids = batch.map(|batch| self.ids_of(&batch)).transpose()?;
        Ok(ids.and_then(|ids| ids.into_iter().next()))
    }

    /// All rows in file order, in blocks of at most `rows`, and the digest of the file when they are read.
    pub fn into_blocks(self, rows: usize) -> VectorBlocks {
        let (buffer, hasher) = (Bytes::new(), blake3::Hasher::new());
        VectorBlocks { file: self, rows, next_group: 0, group: None, buffer, hasher }
    }

    /// The rows at `rows`, which ascend.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn take(&self, rows: &[usize]) -> Result<VectorBlock> {
        let ranges = rows.iter().map(|&row| row..row + 1);
        let selection = RowSelection::from_consecutive_ranges(ranges, self.rows());
        let builder = self.builder().with_row_selection(selection).with_batch_size(ROW_GROUP_ROWS);
        let reader = builder.build().map_err(|error| damaged(&self.path, error))?;
        let mut taken = VectorBlock { values: Vec::with_capacity(rows.len() * self.dim), ..VectorBlock::default() };
        for batch in reader {
            let part = self.decode(&batch.map_err(|error| damaged(&self.path, error.into()))?)?;
            taken.ids.extend(part.ids);
            taken.values.extend(part.values);
            taken.proteins.extend(part.proteins);
        }
        Ok(taken)
    }

    fn builder(&self) -> ParquetRecordBatchReaderBuilder<OpenFile> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.parquet.clone())
    }

    fn decode(&self, batch: &RecordBatch) -> Result<VectorBlock> {
        let lists = batch.column_by_name(EMBEDDING).and_then(|c| c.as_any().downcast_ref::<FixedSizeListArray>());
        let values = lists.map(FixedSizeListArray::values).and_then(|v| v.as_any().downcast_ref::<Float32Array>());
        let values = values.ok_or_else(|| self.broken("`embedding` is not a list of f32"))?.values().to_vec();
        let ids = self.ids_of(batch)?;
        if values.len() != ids.len() * self.dim {
            return Err(self.broken("the numbers of identifiers and vectors differ"));
        }
        // A file of another program need not have this column.
        let proteins = batch.column_by_name(PROTEIN).and_then(|c| c.as_any().downcast_ref::<StringArray>());
        let proteins = match proteins {
            Some(column) => column.iter().map(|text| text.and_then(ProteinDigest::parse)).collect(),
            None => vec![None; ids.len()],
        };
        Ok(VectorBlock { ids, values, proteins })
    }

    fn ids_of(&self, batch: &RecordBatch) -> Result<Vec<String>> {
        let column = batch.column_by_name(ID).and_then(|column| column.as_any().downcast_ref::<StringArray>());
        let column = column.filter(|column| column.null_count() == 0);
        let column = column.ok_or_else(|| self.broken("`id` is not text, or has missing values"))?;
        Ok(column.iter().flatten().map(str::to_owned).collect())
    }

    fn broken(&self, what: &str) -> Error {
        damaged(&self.path, ParquetError::General(what.to_owned()))
    }
}

/// Bytes of the largest row group that is read in one piece; larger ones, of other programs, are read page by page.
const WHOLE_GROUP_BYTES: u64 = 256 << 20;
/// Bytes digested at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// The vectors of a file, block by block. Row groups are read from front to end, each once, and digested on the way.
pub struct VectorBlocks {
    file: VectorReader,
    /// Rows of a block.
    rows: usize,
    next_group: usize,
    group: Option<ParquetRecordBatchReader>,
    /// Bytes of the row group that is open. The next one takes the same memory: a new piece costs more than what fills it.
    buffer: Bytes,
    hasher: blake3::Hasher,
}

impl VectorBlocks {
    /// Digest of the whole file.
    ///
    /// # Errors
    /// The file cannot be read, or its rows are not those that were written.
    pub fn finish(mut self) -> Result<FileDigest> {
        let stated = self.file.all_metadata();
        if let (Some(bytes), Some(expected)) =
            (stated.get(parquet_file::DATA_BYTES), stated.get(parquet_file::DATA_BLAKE3))
        {
            self.digest_to(bytes.parse().unwrap_or_default())?;
            let found = FileDigest::from(&self.hasher);
            if found.blake3 != *expected {
                let message = "the bytes are not those that were written";
                return Err(damaged(&self.file.path, ParquetError::General(message.to_owned())));
            }
        }
        let length = self.file.file.0.metadata().map_err(|error| Error::reading(&self.file.path, error))?.len();
        self.digest_to(length)?;
        Ok(FileDigest::from(&self.hasher))
    }

    fn next_block(&mut self) -> Result<Option<VectorBlock>> {
        loop {
            if let Some(batch) = self.group.as_mut().and_then(Iterator::next) {
                let batch = batch.map_err(|error| damaged(&self.file.path, error.into()))?;
                return self.file.decode(&batch).map(Some);
            }
            self.group = None; // gives the buffer back
            if self.next_group == self.file.parquet.metadata().num_row_groups() {
                return Ok(None);
            }
            self.group = Some(self.open_group(self.next_group)?);
            self.next_group += 1;
        }
    }

    fn open_group(&mut self, index: usize) -> Result<ParquetRecordBatchReader> {
        let VectorReader { file, parquet, .. } = &self.file;
        let place = place_of(parquet, index);
        let opened = if place.end.saturating_sub(place.start) > WHOLE_GROUP_BYTES {
            group_reader(file.clone(), parquet.clone(), index, self.rows)
        } else {
            let bytes = self.read_group(place.clone())?;
            group_reader(Group { start: place.start, bytes }, self.file.parquet.clone(), index, self.rows)
        };
        opened.map_err(|error| damaged(&self.file.path, error))
    }

    /// The bytes of a row group, digested with all bytes before them.
    fn read_group(&mut self, place: Range<u64>) -> Result<Bytes> {
        self.digest_to(place.start)?;
        let mut bytes = std::mem::take(&mut self.buffer).try_into_mut().unwrap_or_else(|_| BytesMut::new());
        bytes.resize(place.end.saturating_sub(place.start) as usize, 0);
        // Not so where another program wrote groups in another order: those bytes are digested when the file ends.
        let is_next = self.hasher.count() == place.start;
        for (start, piece) in (place.start..).step_by(PIECE_BYTES as usize).zip(bytes.chunks_mut(PIECE_BYTES as usize))
        {
            self.read_at(piece, start)?;
            if is_next {
                self.hasher.update(piece);
            }
        }
        self.buffer = bytes.freeze();
        Ok(self.buffer.clone())
    }

    /// Digests what was not read yet, up to `end`.
    fn digest_to(&mut self, end: u64) -> Result<()> {
        while self.hasher.count() < end {
            let start = self.hasher.count();
            let mut piece = vec![0; PIECE_BYTES.min(end - start) as usize];
            self.read_at(&mut piece, start)?;
            self.hasher.update(&piece);
        }
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], start: u64) -> Result<()> {
        let path = &self.file.path;
        self.file.file.0.read_exact_at(bytes, start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(path, ParquetError::EOF("the file ends too early".to_owned())),
            _ => Error::reading(path, error),
        })
    }
}

impl Iterator for VectorBlocks {
    type Item = Result<VectorBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

fn group_reader<T: ChunkReader + 'static>(
    input: T,
    parquet: ArrowReaderMetadata,
    index: usize,
    rows: usize,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, parquet);
    builder.with_row_groups(vec![index]).with_batch_size(rows).build()
}

/// Where the bytes of a row group's columns lie.
fn place_of(parquet: &ArrowReaderMetadata, group: usize) -> Range<u64> {
    let columns = parquet.metadata().row_group(group).columns().iter();
    let ranges = columns.map(|column| column.byte_range()).map(|(start, length)| start..start.saturating_add(length));
    ranges.reduce(|all, next| all.start.min(next.start)..all.end.max(next.end)).unwrap_or(0..0)
}

/// A file as decoders read it: all through one descriptor, of which a process has not many.
#[derive(Clone, Debug)]
struct OpenFile(Arc<File>);

impl Length for OpenFile {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |file| file.len())
    }
}

impl ChunkReader for OpenFile {
    type T = BufReader<FileFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(FileFrom { file: self.0.clone(), place: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged file may ask for any length.
        let mut bytes = Vec::with_capacity(length.min(self.len().saturating_sub(start) as usize));
        FileFrom { file: self.0.clone(), place: start }.take(length as u64).read_to_end(&mut bytes)?;
        match bytes.len() == length {
            true => Ok(bytes.into()),
            false => Err(ParquetError::EOF("the file ends too early".to_owned())),
        }
    }
}

/// A file from one place on.
struct FileFrom {
    file: Arc<File>,
    place: u64,
}

impl io::Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.place)?;
        self.place += read as u64;
        Ok(read)
    }
}

/// A row group in memory, found under its offsets in the file.
struct Group {
    start: u64,
    bytes: Bytes,
}

impl Group {
    fn slice(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.map(|from| from..length.map_or(self.bytes.len(), |length| from.saturating_add(length)));
        let range = range.filter(|range| range.start <= range.end && range.end <= self.bytes.len());
        let range = range.ok_or_else(|| ParquetError::EOF("a page is outside its row group".to_owned()))?;
        Ok(self.bytes.slice(range))
    }
}

impl Length for Group {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Group {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.slice(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.slice(start, Some(length))
    }
}

fn damaged(path: &Path, error: ParquetError) -> Error {
    let damaged = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Fault::CheckpointCorrupt, format!("{} is damaged or not a vector file", path.display()))
            .file(path)
            .expected("a Parquet file of `id` and `embedding`")
            .advice("run the stage that wrote it again: it redoes what is damaged and keeps the rest")
            .caused_by(cause)
    };
    let ParquetError::External(source) = error else { return damaged(error.into()) };
    match source.downcast::<io::Error>() {
        // What the system refuses says nothing about the file.
        Ok(error) if error.kind() != io::ErrorKind::UnexpectedEof => Error::reading(path, *error),
        Ok(error) => damaged(error),
        Err(source) => damaged(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: usize, rows: usize, dim: usize) -> VectorBlock {
        VectorBlock {
            proteins: (first..first + rows).map(|row| (row % 3 > 0).then(|| ProteinDigest::of(&[row as u8]))).collect(),
            ids: (first..first + rows).map(|row| format!("x_chunk_{row}F1")).collect(),
            values: (first * dim..(first + rows) * dim).map(|value| value as f32 / 8.0).collect(),
        }
    }

    fn write(path: &Path, blocks: Vec<VectorBlock>, dim: usize) -> FileDigest {
        let metadata = BTreeMap::from([("stage".to_owned(), "embed-esm".to_owned())]);
        let mut writer = VectorWriter::create(path, dim).unwrap();
        for block in blocks {
            writer.push(block).unwrap();
        }
        writer.commit(&metadata).unwrap()
    }

    #[test]
    fn vectors_come_back_in_order_in_blocks_and_by_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard-00001.parquet");
        write(&path, vec![block(0, 1500, 3), block(1500, 700, 3)], 3);
        let reader = VectorReader::open(&path).unwrap();
        assert_eq!((reader.rows(), reader.dim()), (2200, 3));
        assert_eq!(reader.metadata()["stage"], "embed-esm");
        assert_eq!(reader.ids().unwrap(), block(0, 2200, 3).ids);
        let mut whole = VectorBlock::default();
        for part in VectorReader::open(&path).unwrap().into_blocks(999) {
            let part = part.unwrap();
            whole.ids.extend(part.ids);
            whole.values.extend(part.values);
            whole.proteins.extend(part.proteins);
        }
        assert_eq!(whole, block(0, 2200, 3));
        let rows = [0, 1, 1023, 1024, 2199];
        let expected: Vec<f32> = rows.iter().flat_map(|&row| block(row, 1, 3).values).collect();
        assert_eq!(reader.take(&rows).unwrap().values, expected);
        assert_eq!(reader.take(&[]).unwrap(), VectorBlock::default());
    }

    #[test]
    fn the_digest_is_that_of_the_whole_file_however_much_of_it_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.parquet");
        let written = write(&path, vec![block(0, 3000, 5)], 5);
        for read in [0, 1, 2, usize::MAX] {
            let mut blocks = VectorReader::open(&path).unwrap().into_blocks(700);
            blocks.by_ref().take(read).for_each(|block| drop(block.unwrap()));
            assert_eq!(blocks.finish().unwrap(), written, "after {read} blocks");
        }
        assert_eq!(FileDigest::of(&path).unwrap(), written);
    }

    #[test]
    fn the_bytes_depend_on_the_content_alone() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |name: &str, blocks| write(&folder.path().join(name), blocks, 2);
        assert_eq!(digest("a", vec![block(0, 50, 2)]), digest("b", vec![block(0, 50, 2)]));
        let pieces = (0..50).map(|i| block(i * 70, 70, 2)).collect();
        assert_eq!(digest("whole", vec![block(0, 3500, 2)]), digest("in pieces", pieces));
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.parquet");
        write(&path, vec![], 4);
        let reader = VectorReader::open(&path).unwrap();
        assert_eq!((reader.rows(), reader.dim(), reader.into_blocks(10).count()), (0, 4, 0));
    }

    #[test]
    fn a_count_that_does_not_add_up_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = VectorWriter::create(&folder.path().join("x"), 2).unwrap();
        let error =
            writer.push(VectorBlock { ids: vec!["a".into()], values: vec![1.0], proteins: vec![] }).unwrap_err();
        assert_eq!(error.fault(), Fault::Count);
    }

    #[test]
    fn damage_at_any_place_is_an_error_or_leaves_the_values_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.parquet");
        write(&path, vec![block(0, 20, 4)], 4);
        let whole = std::fs::read(&path).unwrap();
        let read = |bytes: &[u8]| -> Result<Vec<VectorBlock>> {
            let cut = folder.path().join("cut.parquet");
            std::fs::write(&cut, bytes).unwrap();
            VectorReader::open(&cut)?.into_blocks(64).collect()
        };
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        let foreign = read(b">x\nACGT\n").unwrap_err();
        assert_eq!(foreign.fault(), Fault::CheckpointCorrupt);
    }
}
