//! A table as Parquet: typed columns, empty cells as nulls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::parquet_file::{self, unwritten};
use super::row::{Column, Kind, Row, Value};
use crate::error::{Error, Fault, Result};
use crate::fs::AtomicFile;

/// Rows that are encoded at a time.
const BLOCK_ROWS: usize = 4096;
/// Bytes of text that are encoded at a time, where identifiers are long.
const BLOCK_BYTES: usize = 8 << 20;
/// Rows of a row group, which is held in memory until it is complete.
const ROW_GROUP_ROWS: usize = 1 << 17;
/// Bytes of a row group, where identifiers are long.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A table being written.
pub struct ParquetTable {
    schema: SchemaRef,
    writer: ArrowWriter<AtomicFile>,
    columns: Vec<ColumnBuilder>,
    /// Rows that are not encoded yet.
    rows: usize,
    /// Bytes of their text.
    bytes: usize,
}

impl ParquetTable {
    /// Starts a table with these columns.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(path: &Path, columns: &[Column]) -> Result<Self> {
        let field = |column: &Column| Field::new(column.name, data_type(column.kind), column.nullable);
        let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
        let writer = parquet_file::start(path, &schema, properties)?;
        let columns = columns.iter().map(|column| ColumnBuilder::of(column.kind)).collect();
        Ok(Self { schema, writer, columns, rows: 0, bytes: 0 })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn row(&mut self, row: &impl Row) -> Result<()> {
        let mut columns = self.columns.iter_mut();
        row.cells(|value| {
            self.bytes += if let Value::Text(text) = value { text.len() } else { 0 };
            columns.next().map_or(Err(misfit()), |column| column.push(value))
        })?;
        self.rows += 1;
        if self.rows == BLOCK_ROWS || self.bytes >= BLOCK_BYTES { self.encode() } else { Ok(()) }
    }

    fn encode(&mut self) -> Result<()> {
        (self.rows, self.bytes) = (0, 0);
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let written = RecordBatch::try_new(self.schema.clone(), columns).map_err(Into::into);
        let written = written.and_then(|batch| self.writer.write(&batch));
        written.map_err(|error| unwritten(self.writer.inner().path(), error))
    }

    /// The whole table as a file without a name yet; `metadata` says where it comes from.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn into_file(mut self, metadata: &BTreeMap<String, String>) -> Result<AtomicFile> {
        if self.rows > 0 {
            self.encode()?;
        }
        parquet_file::finish(self.writer, &self.schema, metadata)
    }
}

/// The type of [`Kind::name`].
fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text => DataType::Utf8,
        Kind::Count => DataType::Int64,
        Kind::Score => DataType::Float32,
        Kind::Share => DataType::Float64,
    }
}

/// Cells of a column on their way.
enum ColumnBuilder {
    Text(StringBuilder),
    Count(Int64Builder),
    Score(Float32Builder),
    Share(Float64Builder),
}

impl ColumnBuilder {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Count => Self::Count(Int64Builder::new()),
            Kind::Score => Self::Score(Float32Builder::new()),
            Kind::Share => Self::Share(Float64Builder::new()),
        }
    }

    fn push(&mut self, value: Value<'_>) -> Result<()> {
        match (self, value) {
            (Self::Text(column), Value::Text(text)) => column.append_value(text),
            (Self::Count(column), Value::Count(count)) => column.append_value(count as i64),
            (Self::Score(column), Value::Score(score)) => column.append_value(score),
            (Self::Share(column), Value::Share(share)) => column.append_value(share.value()),
            (Self::Text(column), Value::Empty) => column.append_null(),
            (Self::Count(column), Value::Empty) => column.append_null(),
            (Self::Score(column), Value::Empty) => column.append_null(),
            (Self::Share(column), Value::Empty) => column.append_null(),
            _ => return Err(misfit()),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Count(column) => Arc::new(column.finish()),
            Self::Score(column) => Arc::new(column.finish()),
            Self::Share(column) => Arc::new(column.finish()),
        }
    }
}

fn misfit() -> Error {
    Error::new(Fault::Bug, "a row does not fit the columns of its table")
}
