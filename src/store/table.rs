//! Tab-separated tables: a header even when empty, and no text that could break a cell out of its row.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::float_text::float32_text;
use super::manifest::{ModelStamp, ShardEntry};
use super::parquet_table::ParquetTable;
use super::row::{Column, Row, Value};
use super::stage_dir::MadeFrom;
use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest, SealedFile};
use crate::units::TableFormats;

/// Where a table comes from: what it says of itself as Parquet.
#[derive(Clone, Copy, Debug)]
pub struct Provenance<'a> {
    /// The stage that writes it.
    pub stage: &'a str,
    /// What it is made from, as in the manifest.
    pub input: &'a MadeFrom,
    /// The model, if the stage uses one.
    pub model: Option<&'a ModelStamp>,
}

impl Provenance<'_> {
    fn metadata(&self) -> BTreeMap<String, String> {
        let tool = concat!("virnucpro ", env!("CARGO_PKG_VERSION")).to_owned();
        let mut pairs =
            vec![("tool", tool), ("stage", self.stage.to_owned()), ("input_blake3", self.input.digest.clone())];
        if let Some(model) = self.model {
            pairs.push(("bundle", model.bundle.clone()));
            pairs.push(("bundle_digest", model.digest.clone()));
            pairs.push(("trained", model.trained.to_string()));
        }
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// A table of rows `R` being written, as text and, where that is asked for, as Parquet.
pub struct TableWriter<R> {
    text: TextTable<AtomicFile>,
    parquet: Option<ParquetTable>,
    rows: u64,
    row: PhantomData<R>,
}

impl<R: Row> TableWriter<R> {
    /// Starts a table in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(folder: &Path, formats: TableFormats) -> Result<Self> {
        let text = TextTable::create(&folder.join(R::TSV), R::COLUMNS)?;
        let parquet = match formats {
            TableFormats::Tsv => None,
            TableFormats::TsvAndParquet => Some(ParquetTable::create(&folder.join(R::PARQUET), R::COLUMNS)?),
        };
        Ok(Self { text, parquet, rows: 0, row: PhantomData })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn row(&mut self, row: &R::With<'_>) -> Result<()> {
        self.rows += 1;
        self.text.row(row)?;
        self.parquet.as_mut().map_or(Ok(()), |parquet| parquet.row(row))
    }

    /// Rows so far, without the header.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Puts the files of the table on the device; their names come later.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn seal(self, provenance: &Provenance<'_>) -> Result<Vec<(&'static str, SealedFile)>> {
        let mut files = vec![(R::TSV, self.text.into_file()?.seal()?)];
        if let Some(parquet) = self.parquet {
            files.push((R::PARQUET, parquet.into_file(&provenance.metadata())?.seal()?));
        }
        Ok(files)
    }

    /// Gives the files of the table their names; the names, and what is in the files.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn commit(self, provenance: &Provenance<'_>) -> Result<Vec<(&'static str, ShardEntry)>> {
        let (rows, files) = (self.rows, self.seal(provenance)?);
        let entry = |file: &SealedFile| provenance.input.entry(rows, file.digest().clone());
        let entries = files.iter().map(|(name, file)| (*name, entry(file))).collect();
        SealedFile::publish(files.into_iter().map(|(_, file)| file).collect())?;
        Ok(entries)
    }
}

/// Rows that are read again before they get their place, in a file that vanishes with the process.
pub struct TableSpool<R> {
    text: TextTable<File>,
    row: PhantomData<R>,
}

impl<R: Row + DeserializeOwned> TableSpool<R> {
    /// Starts a file in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| Error::writing(folder, error))?;
        Ok(Self { text: TextTable::of(file, &folder.join(R::TSV), R::COLUMNS)?, row: PhantomData })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn row(&mut self, row: &R::With<'_>) -> Result<()> {
        self.text.row(row)
    }

    /// The rows, from the first on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn into_rows(self) -> Result<TableReader<R>> {
        let path = self.text.path.clone();
        let mut file = self.text.into_file()?;
        file.rewind().map_err(|error| Error::reading(&path, error))?;
        TableReader::of(file, &path)
    }
}

/// The table as text.
struct TextTable<W: Write> {
    path: PathBuf,
    csv: csv::Writer<W>,
}

impl TextTable<AtomicFile> {
    fn create(path: &Path, columns: &[Column]) -> Result<Self> {
        Self::of(AtomicFile::create(path)?, path, columns)
    }
}

impl<W: Write> TextTable<W> {
    fn of(file: W, path: &Path, columns: &[Column]) -> Result<Self> {
        let mut csv = csv::WriterBuilder::new().delimiter(b'\t').from_writer(file);
        csv.write_record(columns.iter().map(|column| column.name)).map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_owned(), csv })
    }

    fn row(&mut self, row: &impl Row) -> Result<()> {
        let csv = &mut self.csv;
        let written = row.cells(|value| match value {
            Value::Empty => csv.write_field(""),
            Value::Text(text) => csv.write_field(text),
            Value::Count(count) => csv.write_field(itoa::Buffer::new().format(count)),
            Value::Score(score) => csv.write_field(float32_text(score)),
            Value::Share(share) => csv.write_field(share.to_string()),
        });
        let ended = written.and_then(|()| csv.write_record(None::<&[u8]>));
        ended.map_err(|error| failed(&self.path, error))
    }

    fn into_file(self) -> Result<W> {
        self.csv.into_inner().map_err(|error| Error::writing(&self.path, error.into_error()))
    }
}

fn failed(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::writing(path, error),
        other => Error::new(Fault::Bug, format!("a row of {} cannot be written: {other:?}", path.display())).file(path),
    }
}

/// A table as text being read, row by row, and digested on the way.
///
/// ```no_run
/// use std::path::Path;
/// use virnucpro::store::TableReader;
/// use virnucpro::store::tables::SequenceVerdictRow;
///
/// let path = Path::new("out/predictions/sequences.tsv");
/// let mut rows = TableReader::<SequenceVerdictRow>::open(path)?;
/// while let Some(row) = rows.next_row()? {
///     println!("{}: {}", row.sequence_id, row.verdict);
/// }
/// # Ok::<(), virnucpro::error::Error>(())
/// ```
pub struct TableReader<T> {
    path: PathBuf,
    rows: csv::DeserializeRecordsIntoIter<BufReader<Digesting>, T>,
}

/// A file that digests what is read of it.
struct Digesting {
    file: File,
    hasher: blake3::Hasher,
}

impl Read for Digesting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Row + DeserializeOwned> TableReader<T> {
    /// Opens a table whose header names exactly the columns of `T`.
    ///
    /// # Errors
    /// The file is missing, or is another table.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(File::open(path).map_err(|error| Error::reading(path, error))?, path)
    }

    fn of(file: File, path: &Path) -> Result<Self> {
        let mut csv = csv::ReaderBuilder::new()
            .delimiter(b'\t')
            .from_reader(BufReader::new(Digesting { file, hasher: blake3::Hasher::new() }));
        let found = csv.headers().map_err(|error| damaged(path, error))?.clone();
        let header: Vec<&str> = T::COLUMNS.iter().map(|column| column.name).collect();
        if found.iter().ne(header.iter().copied()) {
            return Err(Error::new(Fault::InputStage, format!("{} is a different table", path.display()))
                .file(path)
                .line(1)
                .expected(header.join(" "))
                .found(found.iter().collect::<Vec<_>>().join(" "))
                .advice("give the folder that this version of `virnucpro chunk` wrote"));
        }
        Ok(Self { path: path.to_owned(), rows: csv.into_deserialize() })
    }

    /// The next row.
    ///
    /// # Errors
    /// The row is damaged.
    pub fn next_row(&mut self) -> Result<Option<T>> {
        self.rows.next().transpose().map_err(|error| damaged(&self.path, error))
    }

    /// Digest of the whole file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn finish(self) -> Result<FileDigest> {
        let mut text = self.rows.into_reader().into_inner();
        io::copy(&mut text, &mut io::sink()).map_err(|error| Error::reading(&self.path, error))?;
        Ok(FileDigest::from(&text.into_inner().hasher))
    }
}

fn damaged(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    let described = Error::new(Fault::InputStage, format!("{} has a damaged row", path.display()))
        .file(path)
        .advice("run the stage that wrote it again");
    let described = match line {
        Some(line) => described.line(line),
        None => described,
    };
    described.caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type, Int64Type};
    use arrow_array::{Array, RecordBatch};
    use arrow_schema::DataType;
    use parquet::arrow::ARROW_SCHEMA_META_KEY;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::super::row::{Kind, table_row};
    use super::super::tables;
    use super::*;
    use crate::units::Share;

    table_row! {
        /// One column of each kind, with and without empty cells.
        pub struct Sample<'a> = "sample" {
            pub id: Cow<'a, str>,
            pub start: u64,
            pub frames: Option<Cow<'a, str>>,
            pub score: Option<f32>,
            pub share: Option<Share>,
        }
    }

    const IDS: [&str; 14] =
        ["a", "=1+1", "\"quoted", "a\tb", "a\nb", "", "'", "ü", "a\"b\tc", "007", "1e5", "NA", "null", "true"];

    fn sample(number: usize) -> Sample<'static> {
        let even = number.is_multiple_of(2);
        Sample {
            id: IDS[number % IDS.len()].into(),
            start: number as u64,
            frames: even.then(|| "F1,R3".into()),
            score: even.then_some(number as f32 / 7.0),
            share: Share::of(number as u64 % 3, number as u64 % 4),
        }
    }

    fn input() -> MadeFrom {
        MadeFrom { digest: "abc".to_owned(), from: "x.fa".to_owned() }
    }

    fn written(folder: &Path, rows: usize) -> Vec<(&'static str, ShardEntry)> {
        let mut table = TableWriter::<Sample>::create(folder, TableFormats::TsvAndParquet).unwrap();
        for number in 0..rows {
            table.row(&sample(number)).unwrap();
        }
        assert_eq!(table.rows(), rows as u64);
        let model = ModelStamp { bundle: "mini".to_owned(), digest: "b723".to_owned(), trained: false };
        table.commit(&Provenance { stage: "predict", input: &input(), model: Some(&model) }).unwrap()
    }

    fn parquet(folder: &Path) -> ParquetRecordBatchReaderBuilder<File> {
        ParquetRecordBatchReaderBuilder::try_new(File::open(folder.join("sample.parquet")).unwrap()).unwrap()
    }

    #[test]
    fn rows_come_back_whatever_the_id() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), IDS.len());
        let mut reader = TableReader::<Sample>::open(&folder.path().join("sample.tsv")).unwrap();
        for number in 0..IDS.len() {
            assert_eq!(reader.next_row().unwrap(), Some(sample(number)));
        }
        assert_eq!(reader.next_row().unwrap(), None);
    }

    #[test]
    fn both_formats_hold_the_same_cells_over_many_blocks_and_row_groups() {
        let (folder, rows) = (tempfile::tempdir().unwrap(), 140_001);
        let files = written(folder.path(), rows);
        assert_eq!(files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["sample.tsv", "sample.parquet"]);
        for (name, entry) in &files {
            assert_eq!((entry.rows, &*entry.input), (rows as u64, "abc"), "{name}");
            assert_eq!(entry.file, FileDigest::of(&folder.path().join(name)).unwrap(), "{name}");
        }
        let file = parquet(folder.path());
        assert_eq!(file.metadata().num_row_groups(), 2);
        let mut number = 0;
        for batch in file.build().unwrap() {
            let batch: RecordBatch = batch.unwrap();
            let text = |column: usize, row: usize| {
                let column = batch.column(column).as_string::<i32>();
                column.is_valid(row).then(|| column.value(row).to_owned().into())
            };
            for row in 0..batch.num_rows() {
                let (score, share) =
                    (batch.column(3).as_primitive::<Float32Type>(), batch.column(4).as_primitive::<Float64Type>());
                let expected = sample(number);
                assert_eq!(text(0, row), Some(expected.id));
                assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(row), number as i64);
                assert_eq!(text(2, row), expected.frames);
                assert_eq!(score.is_valid(row).then(|| score.value(row)), expected.score);
                assert_eq!(share.is_valid(row).then(|| share.value(row)), expected.share.map(Share::value));
                number += 1;
            }
        }
        assert_eq!(number, rows);
    }

    #[test]
    fn the_bytes_depend_on_the_rows_alone() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.map(|folder| written(folder.path(), 5000));
        assert_eq!(one, other);
    }

    #[test]
    fn the_arrow_schema_itself_says_where_a_table_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), 3);
        let file = parquet(folder.path());
        let file = file.metadata().file_metadata();
        let of_schema = file.key_value_metadata().unwrap().iter().filter(|pair| pair.key == ARROW_SCHEMA_META_KEY);
        let of_schema = of_schema.cloned().collect();
        let schema = parquet::arrow::parquet_to_arrow_schema(file.schema_descr(), Some(&of_schema)).unwrap();
        assert_eq!(schema.metadata()["virnucpro.stage"], "predict");
        assert_eq!(schema.metadata()["virnucpro.bundle_digest"], "b723");
        assert_eq!(schema.metadata()["virnucpro.trained"], "false");
    }

    #[test]
    fn an_empty_table_has_its_columns_and_another_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), 0);
        let path = folder.path().join("sample.tsv");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "id\tstart\tframes\tscore\tshare\n");
        let file = parquet(folder.path());
        let columns = file.schema().fields().iter().map(|field| (field.data_type().clone(), field.is_nullable()));
        let kinds = [DataType::Utf8, DataType::Int64, DataType::Utf8, DataType::Float32, DataType::Float64];
        assert!(columns.eq(kinds.into_iter().zip([false, false, true, true, true])));
        assert_eq!(file.build().unwrap().count(), 0);
        let error = TableReader::<tables::WindowRow>::open(&path).err().unwrap();
        assert_eq!((error.fault(), error.path()), (Fault::InputStage, Some(path.as_path())));
    }

    #[test]
    fn parquet_is_written_where_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let table = TableWriter::<Sample>::create(folder.path(), TableFormats::Tsv).unwrap();
        table.commit(&Provenance { stage: "chunk", input: &input(), model: None }).unwrap();
        assert!(folder.path().join("sample.tsv").exists() && !folder.path().join("sample.parquet").exists());
    }

    #[test]
    fn a_damaged_row_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.tsv");
        std::fs::write(&path, "id\tstart\tframes\tscore\tshare\na\t1\t\t\t\nb\tx\t\t\t\n").unwrap();
        let mut reader = TableReader::<Sample>::open(&path).unwrap();
        reader.next_row().unwrap();
        assert!(reader.next_row().unwrap_err().report("v").contains("line 3"));
    }

    #[test]
    fn one_name_has_one_kind_in_every_table() {
        let all = [
            tables::InputRow::COLUMNS,
            tables::WindowRow::COLUMNS,
            tables::FrameVerdictRow::COLUMNS,
            tables::WindowVerdictRow::COLUMNS,
            tables::SequenceVerdictRow::COLUMNS,
        ];
        let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
        for column in all.into_iter().flatten() {
            assert_eq!(*kinds.entry(column.name).or_insert(column.kind), column.kind, "{}", column.name);
            assert_eq!(column.name.starts_with("n_"), column.kind == Kind::Count && !POSITIONS.contains(&column.name));
        }
        assert!(all.iter().all(|columns| columns[0].name == "sample"));
        assert!(all.iter().all(|columns| columns.iter().any(|column| column.name == "sequence_id")));
    }

    /// Whole numbers that count nothing.
    const POSITIONS: [&str; 7] = ["record", "line", "length", "start", "end", "run_start", "run_end"];
}
