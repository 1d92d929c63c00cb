//! The original program's files, byte for byte but for rounding of scores (Li-Jing-1997/VirNucPro,
//! `prediction.py`): tab-separated whatever their names say, nothing quoted, windows sorted as text.

use std::io::Write;
use std::path::Path;

use super::verdict::Verdict;
use crate::error::{Error, Result};
use crate::fs::{AtomicFile, FileDigest};
use crate::model::Score;
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
    pub fn one_line_record(&mut self, id: [&str; 2], sequence: &[u8]) -> Result<()> {
        self.rows += 1;
        for part in [b">", id[0].as_bytes(), id[1].as_bytes(), b"\n", sequence, b"\n"] {
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

    /// The rows of `prediction_results_highestscore.csv`, in any order.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn windows(&mut self, mut verdicts: Vec<(String, Verdict)>) -> Result<()> {
        verdicts.sort();
        self.rows += verdicts.len() as u64;
        for (id, verdict) in verdicts {
            let viral = if verdict == Verdict::Virus { "True" } else { "False" };
            self.write(format!("{id}\t{viral}\n").as_bytes())?;
        }
        Ok(())
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
}
