//! Vector files: Parquet with an `id` and an `embedding`, a fixed-size list of f32, that pandas, polars, R
//! and DuckDB open. File metadata says where the vectors come from.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest};

const ID: &str = "id";
const EMBEDDING: &str = "embedding";
/// Rows of a row group: what a reader must decode to get at one row.
const ROW_GROUP_ROWS: usize = 1024;
/// Prefix of the keys of this product in the file metadata.
const KEY_PREFIX: &str = "virnucpro.";

/// Some rows of a vector file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorBlock {
    /// Identifier of each row.
    pub ids: Vec<String>,
    /// Row-major f32 [rows, dim].
    pub values: Vec<f32>,
}

/// A vector file being written.
pub struct VectorWriter {
    path: PathBuf,
    schema: SchemaRef,
    dim: usize,
    writer: ArrowWriter<AtomicFile>,
    rows: u64,
}

impl VectorWriter {
    /// Starts a file of vectors of width `dim`; `metadata` goes into the file under `virnucpro.*`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(path: &Path, dim: usize, metadata: &BTreeMap<String, String>) -> Result<Self> {
        let schema = schema(dim);
        let keys = metadata.iter().map(|(key, value)| KeyValue::new(format!("{KEY_PREFIX}{key}"), value.clone()));
        // Vectors neither compress nor repeat; statistics over them say nothing.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(keys.collect()))
            .build();
        let file = AtomicFile::create(path)?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|e| unwritten(path, e))?;
        Ok(Self { path: path.to_owned(), schema, dim, writer, rows: 0 })
    }

    /// Appends rows: `values` is row-major f32 [ids, dim].
    ///
    /// # Errors
    /// The numbers do not add up, or the file cannot be written.
    pub fn push(&mut self, block: VectorBlock) -> Result<()> {
        let rows = block.ids.len();
        if block.values.len() != rows * self.dim {
            return Err(Error::new(Fault::Count, "identifiers and vectors differ in number")
                .file(&self.path)
                .expected(format!("{rows} x {} values", self.dim))
                .found(format!("{} values", block.values.len())));
        }
        let values: ArrayRef = Arc::new(Float32Array::from(block.values));
        let lists = FixedSizeListArray::try_new(item_field(), self.width(), values, None);
        let batch = lists.and_then(|lists| {
            let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(block.ids)), Arc::new(lists)];
            RecordBatch::try_new(self.schema.clone(), columns)
        });
        let batch = batch.map_err(|error| unwritten(&self.path, error.into()))?;
        self.writer.write(&batch).map_err(|error| unwritten(&self.path, error))?;
        self.rows += rows as u64;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn commit(self) -> Result<FileDigest> {
        self.writer.into_inner().map_err(|error| unwritten(&self.path, error))?.commit()
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
    ]))
}

fn unwritten(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => Error::writing(path, *error),
            Err(source) => Error::new(Fault::Write, format!("cannot write {}", path.display())).caused_by(source),
        },
        error => {
            Error::new(Fault::Write, format!("cannot write {}", path.display())).file(path).caused_by(error.to_string())
        }
    }
}

/// A vector file being read.
pub struct VectorReader {
    path: PathBuf,
    file: File,
    parquet: ArrowReaderMetadata,
    dim: usize,
}

impl VectorReader {
    /// Opens a vector file.
    ///
    /// # Errors
    /// The file is missing, damaged, or holds something else.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let parquet = ArrowReaderMetadata::load(&file, Default::default()).map_err(|error| damaged(path, error))?;
        let dim = match parquet.schema().field_with_name(EMBEDDING).map(|field| field.data_type().clone()) {
            Ok(DataType::FixedSizeList(item, width)) if *item.data_type() == DataType::Float32 => width as usize,
            other => {
                return Err(Error::new(Fault::InputStage, format!("{} holds no vectors", path.display()))
                    .file(path)
                    .expected("columns `id` (text) and `embedding` (fixed-size list of f32)")
                    .found(other.map_or_else(|_| "no column `embedding`".to_owned(), |kind| kind.to_string()))
                    .advice("name files that `embed-dnabert`, `embed-esm` or `merge` wrote"));
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
        let reader = self.builder()?.with_projection(only_ids).with_batch_size(ROW_GROUP_ROWS).build();
        let mut ids = Vec::with_capacity(self.rows());
        for batch in reader.map_err(|error| damaged(&self.path, error))? {
            let batch = batch.map_err(|error| damaged(&self.path, error.into()))?;
            ids.extend(self.ids_of(&batch)?);
        }
        Ok(ids)
    }

    /// Blocks of at most `rows` rows in file order.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn into_blocks(self, rows: usize) -> Result<VectorBlocks> {
        let reader = self.builder()?.with_batch_size(rows).build().map_err(|error| damaged(&self.path, error))?;
        Ok(VectorBlocks { file: self, reader })
    }

    /// The vectors at `rows`, which ascend, row-major f32 [rows, dim].
    ///
    /// # Errors
    /// The file is damaged.
    pub fn take(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let ranges = rows.iter().map(|&row| row..row + 1);
        let selection = RowSelection::from_consecutive_ranges(ranges, self.rows());
        let builder = self.builder()?.with_row_selection(selection).with_batch_size(ROW_GROUP_ROWS);
        let reader = builder.build().map_err(|error| damaged(&self.path, error))?;
        let mut values = Vec::with_capacity(rows.len() * self.dim);
        for batch in reader {
            let batch = batch.map_err(|error| damaged(&self.path, error.into()))?;
            values.extend(self.decode(&batch)?.values);
        }
        Ok(values)
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let file = self.file.try_clone().map_err(|error| Error::reading(&self.path, error))?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.parquet.clone()))
    }

    fn decode(&self, batch: &RecordBatch) -> Result<VectorBlock> {
        let lists = batch.column_by_name(EMBEDDING).and_then(|c| c.as_any().downcast_ref::<FixedSizeListArray>());
        let values = lists.map(FixedSizeListArray::values).and_then(|v| v.as_any().downcast_ref::<Float32Array>());
        let values = values.ok_or_else(|| self.broken("`embedding` is no list of f32"))?.values().to_vec();
        let ids = self.ids_of(batch)?;
        if values.len() != ids.len() * self.dim {
            return Err(self.broken("identifiers and vectors differ in number"));
        }
        Ok(VectorBlock { ids, values })
    }

    fn ids_of(&self, batch: &RecordBatch) -> Result<Vec<String>> {
        let column = batch.column_by_name(ID).and_then(|column| column.as_any().downcast_ref::<StringArray>());
        let column = column.filter(|column| column.null_count() == 0);
        let column = column.ok_or_else(|| self.broken("`id` is no text, or is missing in places"))?;
        Ok(column.iter().flatten().map(str::to_owned).collect())
    }

    fn broken(&self, what: &str) -> Error {
        damaged(&self.path, ParquetError::General(what.to_owned()))
    }
}

/// The vectors of a file, block by block.
pub struct VectorBlocks {
    file: VectorReader,
    reader: ParquetRecordBatchReader,
}

impl Iterator for VectorBlocks {
    type Item = Result<VectorBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(match batch {
            Ok(batch) => self.file.decode(&batch),
            Err(error) => Err(damaged(&self.file.path, error.into())),
        })
    }
}

fn damaged(path: &Path, error: ParquetError) -> Error {
    Error::new(Fault::CheckpointCorrupt, format!("{} is damaged or not a vector file", path.display()))
        .file(path)
        .expected("a Parquet file of `id` and `embedding`")
        .advice("run the stage that wrote it again: what is damaged is made again, the rest is kept")
        .caused_by(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: usize, rows: usize, dim: usize) -> VectorBlock {
        VectorBlock {
            ids: (first..first + rows).map(|row| format!("x_chunk_{row}F1")).collect(),
            values: (first * dim..(first + rows) * dim).map(|value| value as f32 / 8.0).collect(),
        }
    }

    fn write(path: &Path, blocks: Vec<VectorBlock>, dim: usize) -> FileDigest {
        let metadata = BTreeMap::from([("stage".to_owned(), "embed-esm".to_owned())]);
        let mut writer = VectorWriter::create(path, dim, &metadata).unwrap();
        for block in blocks {
            writer.push(block).unwrap();
        }
        writer.commit().unwrap()
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
        for part in VectorReader::open(&path).unwrap().into_blocks(999).unwrap() {
            let part = part.unwrap();
            whole.ids.extend(part.ids);
            whole.values.extend(part.values);
        }
        assert_eq!(whole, block(0, 2200, 3));
        let rows = [0, 1, 1023, 1024, 2199];
        let expected: Vec<f32> = rows.iter().flat_map(|&row| block(row, 1, 3).values).collect();
        assert_eq!(reader.take(&rows).unwrap(), expected);
        assert_eq!(reader.take(&[]).unwrap(), Vec::<f32>::new());
    }

    #[test]
    fn the_bytes_depend_on_the_content_alone() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |name: &str, blocks| write(&folder.path().join(name), blocks, 2);
        assert_eq!(digest("a", vec![block(0, 50, 2)]), digest("b", vec![block(0, 50, 2)]));
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.parquet");
        write(&path, vec![], 4);
        let reader = VectorReader::open(&path).unwrap();
        assert_eq!((reader.rows(), reader.dim(), reader.into_blocks(10).unwrap().count()), (0, 4, 0));
    }

    #[test]
    fn a_count_that_does_not_add_up_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = VectorWriter::create(&folder.path().join("x"), 2, &BTreeMap::new()).unwrap();
        let error = writer.push(VectorBlock { ids: vec!["a".into()], values: vec![1.0] }).unwrap_err();
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
            VectorReader::open(&cut)?.into_blocks(64)?.collect()
        };
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        let foreign = read(b">x\nACGT\n").unwrap_err();
        assert_eq!(foreign.fault(), Fault::CheckpointCorrupt);
    }
}
