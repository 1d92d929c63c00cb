//! The original program's files, byte for byte but for rounding of scores (Li-Jing-1997/VirNucPro,
//! `prediction.py`): tab-separated whatever their names say, nothing quoted, windows sorted as text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Lines, Seek, Write};
use std::path::{Path, PathBuf};

use super::verdict::Verdict;
use crate::error::{Error, Result};
use crate::fs::{AtomicFile, FileDigest, SealedFile};
use crate::model::Score;
use crate::seq::FrameId;
use crate::store::float32_text;

/// Columns of a sequence line in the original's window FASTA.
const LINE_COLUMNS: usize = 60;

/// A text file of the original.
pub struct LegacyFile {
    file: AtomicFile,
    rows: u64,
}

impl LegacyFile {
    /// Starts the file with `header`, which may be empty.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn create(path: &Path, header: &str) -> Result<Self> {
        let mut legacy = Self { file: AtomicFile::create(path)?, rows: 0 };
        legacy.write(header.as_bytes())?;
        Ok(legacy)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::writing(self.file.path(), error))
    }

    /// A record on one line, as in `*_identified_*`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn one_line_record(&mut self, id: FrameId<'_>, sequence: &[u8]) -> Result<()> {
        self.rows += 1;
        for part in [b">", id.window.as_bytes(), id.frame.as_bytes(), b"\n", sequence, b"\n"] {
            self.write(part)?;
        }
        Ok(())
    }

    /// A record in lines of 60, as in `*_chunked500.fa`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn wrapped_record(&mut self, id: &str, sequence: &[u8]) -> Result<()> {
        self.rows += 1;
        for part in [b">", id.as_bytes(), b"\n"] {
            self.write(part)?;
        }
        for line in sequence.chunks(LINE_COLUMNS) {
            self.write(line)?;
            self.write(b"\n")?;
        }
        Ok(())
    }

    /// A row of `prediction_results.txt`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn frame(&mut self, id: &str, score: Score) -> Result<()> {
        self.rows += 1;
        let label = Verdict::of_frame(score).name();
        let (others, virus) = (float32_text(score.others), float32_text(score.virus));
        self.write(format!("{id}\t{label}\t{others}\t{virus}\n").as_bytes())
    }

    /// A row of `prediction_results_highestscore.csv`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn window(&mut self, id: &str, viral: &str) -> Result<()> {
        self.rows += 1;
        self.write(format!("{id}\t{viral}\n").as_bytes())
    }

    /// Rows or records so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn commit(self) -> Result<FileDigest> {
        self.file.commit()
    }

    /// Puts the file on the device; its name comes later.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn seal(self) -> Result<SealedFile> {
        self.file.seal()
    }
}

/// Bytes of rows that are sorted at a time.
const SORTED_BYTES: usize = 64 << 20;

/// Identifier of a window, and whether it is viral, in the original's words.
type Row = (String, &'static str);

/// Verdicts of windows on their way to `prediction_results_highestscore.csv`, whose rows are sorted as text. What exceeds
/// the memory set aside is sorted piece by piece into unnamed files, which are merged in the end.
pub struct WindowVerdicts {
    folder: PathBuf,
    rows: Vec<Row>,
    bytes: usize,
    limit: usize,
    pieces: Vec<Lines<BufReader<File>>>,
}

impl WindowVerdicts {
    /// None yet; `folder` is where pieces are put.
    pub fn sorted_in(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), rows: Vec::new(), bytes: 0, limit: SORTED_BYTES, pieces: Vec::new() }
    }

    /// Takes the verdict of a window.
    ///
    /// # Errors
    /// There is no room for another piece.
    pub fn push(&mut self, id: &str, verdict: Verdict) -> Result<()> {
        self.bytes += id.len() + size_of::<(String, &str)>();
        self.rows.push((id.to_owned(), if verdict == Verdict::Virus { "True" } else { "False" }));
        if self.bytes < self.limit {
            return Ok(());
        }
        self.bytes = 0;
        let piece = self.put_aside().map_err(|error| Error::writing(&self.folder, error))?;
        self.pieces.push(piece);
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<Lines<BufReader<File>>> {
        self.rows.sort_unstable();
        let mut file = BufWriter::new(tempfile::tempfile_in(&self.folder)?);
        for (id, viral) in self.rows.drain(..) {
            writeln!(file, "{id}\t{viral}")?;
        }
        let mut file = file.into_inner()?;
        file.rewind()?;
        Ok(BufReader::new(file).lines())
    }

    /// Writes all rows in order.
    ///
    /// # Errors
    /// A piece cannot be read, or the file cannot be written.
    pub fn write(mut self, file: &mut LegacyFile) -> Result<()> {
        self.rows.sort_unstable();
        let mut sources: Vec<Box<dyn Iterator<Item = io::Result<Row>>>> = Vec::new();
        for piece in self.pieces {
            sources.push(Box::new(piece.map(|line| line.map(row))));
        }
        sources.push(Box::new(self.rows.into_iter().map(Ok)));
        let read = |row: Option<io::Result<_>>| row.transpose().map_err(|error| Error::reading(&self.folder, error));
        let mut heads = BinaryHeap::new();
        for (source, rows) in sources.iter_mut().enumerate() {
            heads.extend(read(rows.next())?.map(|row| Reverse((row, source))));
        }
        while let Some(Reverse(((id, viral), source))) = heads.pop() {
            file.window(&id, viral)?;
            heads.extend(read(sources[source].next())?.map(|row| Reverse((row, source))));
        }
        Ok(())
    }
}

/// A line of a piece.
fn row(mut line: String) -> Row {
    let viral = if line.ends_with("\tTrue") { "True" } else { "False" };
    line.truncate(line.len() - viral.len() - 1);
    (line, viral)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_sorted_as_text_whatever_fits_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<String> = (0..500).map(|i| format!("s{}_chunk_{}", i * 7 % 50, i % 13)).collect();
        let written = |limit: usize| {
            let mut verdicts = WindowVerdicts { limit, ..WindowVerdicts::sorted_in(folder.path()) };
            for (i, id) in ids.iter().enumerate() {
                verdicts.push(id, if i % 3 == 0 { Verdict::Virus } else { Verdict::Others }).unwrap();
            }
            let pieces = verdicts.pieces.len();
            let path = folder.path().join("windows.csv");
            let mut file = LegacyFile::create(&path, "").unwrap();
            verdicts.write(&mut file).unwrap();
            assert_eq!(file.rows(), 500);
            file.commit().unwrap();
            (pieces, std::fs::read_to_string(path).unwrap())
        };
        let (none, whole) = written(usize::MAX);
        let mut sorted: Vec<&str> = whole.lines().collect();
        sorted.sort_unstable_by_key(|line| line.split('\t').next());
        assert_eq!((none, whole.lines().collect::<Vec<_>>()), (0, sorted));
        for limit in [1, 1000, 10_000] {
            let (pieces, text) = written(limit);
            assert!(pieces > 1 && text == whole, "{pieces} pieces at {limit} bytes");
        }
    }
}
