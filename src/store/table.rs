//! Tab-separated tables: a header even when empty, and no text that could break a cell out of its row.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Fault, Result};
use crate::fs::{AtomicFile, FileDigest, SealedFile};

/// A table being written.
pub struct TableWriter {
    path: PathBuf,
    csv: csv::Writer<AtomicFile>,
    rows: u64,
}

impl TableWriter {
    /// Starts a table with its header.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(path: &Path, header: &[&str]) -> Result<Self> {
        let file = AtomicFile::create(path)?;
        let mut csv = csv::WriterBuilder::new().delimiter(b'\t').has_headers(false).from_writer(file);
        csv.write_record(header).map_err(|error| failed(path, error))?;
        Ok(Self { path: path.to_owned(), csv, rows: 0 })
    }

    /// Appends a row: a struct with one field per column, in the order of the header.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn row(&mut self, row: &impl Serialize) -> Result<()> {
        self.rows += 1;
        self.csv.serialize(row).map_err(|error| failed(&self.path, error))
    }

    /// Appends a row of text cells, in the order of the header: for tables with a row per window.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn cells<const N: usize>(&mut self, cells: [&[u8]; N]) -> Result<()> {
        self.rows += 1;
        self.csv.write_record(cells).map_err(|error| failed(&self.path, error))
    }

    /// Rows so far, without the header.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the table its name.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn commit(self) -> Result<FileDigest> {
        self.into_file()?.commit()
    }

    /// Puts the table on the device; its name comes later.
    ///
    /// # Errors
    /// The table cannot be written.
    pub fn seal(self) -> Result<SealedFile> {
        self.into_file()?.seal()
    }

    fn into_file(self) -> Result<AtomicFile> {
        self.csv.into_inner().map_err(|error| Error::writing(&self.path, error.into_error()))
    }
}

fn failed(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::writing(path, error),
        other => Error::new(Fault::Bug, format!("a row of {} cannot be written: {other:?}", path.display())).file(path),
    }
}

/// A table being read, row by row, and digested on the way.
///
/// ```no_run
/// use std::path::Path;
/// use virnucpro::store::TableReader;
/// use virnucpro::store::tables::SequenceVerdictRow;
///
/// let path = Path::new("out/predictions/sequences.tsv");
/// let mut rows = TableReader::<SequenceVerdictRow>::open(path, &SequenceVerdictRow::HEADER)?;
/// while let Some(row) = rows.next_row()? {
///     println!("{}: {}", row.sequence, row.tier);
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

impl<T: DeserializeOwned> TableReader<T> {
    /// Opens a table whose header is exactly `header`.
    ///
    /// # Errors
    /// The file is missing, or is another table.
    pub fn open(path: &Path, header: &[&str]) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let mut csv = csv::ReaderBuilder::new()
            .delimiter(b'\t')
            .from_reader(BufReader::new(Digesting { file, hasher: blake3::Hasher::new() }));
        let found = csv.headers().map_err(|error| damaged(path, error))?.clone();
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
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        id: String,
        start: u64,
    }

    #[test]
    fn rows_come_back_whatever_the_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.tsv");
        let mut table = TableWriter::create(&path, &["id", "start"]).unwrap();
        let ids = ["a", "=1+1", "\"quoted", "a\tb", "a\nb", "", "'", "ü", "a\"b\tc"];
        for (start, id) in ids.iter().enumerate() {
            table.row(&Row { id: (*id).to_owned(), start: start as u64 }).unwrap();
        }
        assert_eq!(table.rows(), ids.len() as u64);
        table.commit().unwrap();
        let mut reader = TableReader::<Row>::open(&path, &["id", "start"]).unwrap();
        for (start, id) in ids.iter().enumerate() {
            assert_eq!(reader.next_row().unwrap(), Some(Row { id: (*id).to_owned(), start: start as u64 }));
        }
        assert_eq!(reader.next_row().unwrap(), None);
    }

    #[test]
    fn an_empty_table_has_its_header_and_another_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.tsv");
        TableWriter::create(&path, &["id", "start"]).unwrap().commit().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "id\tstart\n");
        let error = TableReader::<Row>::open(&path, &["id", "end"]).err().unwrap();
        assert_eq!((error.fault(), error.path()), (Fault::InputStage, Some(path.as_path())));
    }

    #[test]
    fn a_damaged_row_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.tsv");
        std::fs::write(&path, "id\tstart\na\t1\nb\tx\n").unwrap();
        let mut reader = TableReader::<Row>::open(&path, &["id", "start"]).unwrap();
        reader.next_row().unwrap();
        assert!(reader.next_row().unwrap_err().report("v").contains("line 3"));
    }
}
