//! Inputs as a user names them: files of sequences, `-`, and sample sheets that list files.

use std::path::{Path, PathBuf};

use super::Input;
use crate::error::{Error, Fault, Result, printable};

/// What stands for standard input.
pub const STDIN: &str = "-";

/// The files that `paths` name, in order. A path that ends in `.tsv` is a sample sheet: a table with the columns
/// `sample` and `file`, one file per row, relative to the sheet's folder.
///
/// # Errors
/// A sheet is missing or is not such a table; or standard input is given twice.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|extension| extension == "tsv") {
            inputs.extend(sheet(path)?);
        } else {
            let sample = if path == Path::new(STDIN) { "stdin".to_owned() } else { stem(path) };
            inputs.push(Input { sample, path: path.clone() });
        }
    }
    if inputs.iter().filter(|input| input.path == Path::new(STDIN)).count() > 1 {
        return Err(Error::new(Fault::Usage, "standard input is given twice").advice("name - once"));
    }
    Ok(inputs)
}

/// A file's name without the extensions of sequences, vectors and compression, fit for a table and a terminal.
pub fn stem(path: &Path) -> String {
    const COMPRESSED: &[&str] = &[".gz", ".bgz", ".bz2", ".xz", ".zst"];
    const CONTENT: &[&str] = &[".fa", ".fna", ".faa", ".fasta", ".fas", ".fq", ".fastq", ".parquet"];
    let mut name = printable(&path.file_name().unwrap_or_default().to_string_lossy(), usize::MAX);
    for endings in [COMPRESSED, CONTENT] {
        let stem = endings.iter().find_map(|ending| name.strip_suffix(ending)).filter(|stem| !stem.is_empty());
        if let Some(stem) = stem {
            name = stem.to_owned();
        }
    }
    name
}

fn sheet(path: &Path) -> Result<Vec<Input>> {
    let wrong = |message: &str| {
        Error::new(Fault::InputSheet, message)
            .file(path)
            .expected("a tab-separated table with the columns `sample` and `file`")
            .advice("a first line of `sample<TAB>file`, then one line per file")
    };
    let file = std::fs::File::open(path).map_err(|error| Error::reading(path, error))?;
    let mut csv = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(file);
    let header = csv.headers().map_err(|error| wrong("the sample sheet cannot be read").caused_by(error))?.clone();
    let column = |name: &str| header.iter().position(|column| column.trim() == name);
    let (Some(sample), Some(file)) = (column("sample"), column("file")) else {
        let found = header.iter().collect::<Vec<_>>().join(" ");
        return Err(wrong("the sample sheet has no such column").line(1).found(found));
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut inputs = Vec::new();
    for row in csv.records() {
        let row = row.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            wrong("a row of the sample sheet has a different number of columns than the header")
                .line(line)
                .caused_by(error)
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        let (sample, file) = (row[sample].trim(), row[file].trim());
        if sample.is_empty() || file.is_empty() {
            return Err(wrong("a row of the sample sheet has an empty cell").line(line));
        }
        // A sample names rows of tables: nothing in it may end a cell or move a terminal.
        if sample.chars().any(char::is_control) {
            return Err(wrong("a sample's name holds a control character").line(line).found(sample));
        }
        inputs.push(Input { sample: sample.to_owned(), path: folder.join(file) });
    }
    if inputs.is_empty() {
        return Err(wrong("the sample sheet lists no files"));
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Input>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.tsv");
        std::fs::write(&path, text).unwrap();
        let mut inputs = inputs(&[path])?;
        for input in &mut inputs {
            input.path = input.path.strip_prefix(folder.path()).unwrap_or(&input.path).to_owned();
        }
        Ok(inputs)
    }

    #[test]
    fn a_sheet_lists_files_beside_it_and_others_by_full_path() {
        let inputs = read("sample\tnote\tfile\ns1\tx\treads/a.fq.gz\ns1\t\t/data/b.fa\n").unwrap();
        let input = |path: &str| Input { sample: "s1".into(), path: path.into() };
        assert_eq!(inputs, [input("reads/a.fq.gz"), input("/data/b.fa")]);
    }

    #[test]
    fn what_is_no_sheet_is_named_by_its_line() {
        for (text, line) in [("sample,file\na,b\n", 1), ("sample\tfile\na\n", 2), ("sample\tfile\na\tb\n\tc\n", 3)] {
            let error = read(text).unwrap_err();
            assert_eq!(error.fault(), Fault::InputSheet);
            assert!(error.report("v").contains(&format!("line {line}")), "{}", error.report("v"));
        }
        assert!(read("sample\tfile\n").is_err());
    }

    #[test]
    fn a_sample_is_named_after_its_file() {
        for (path, sample) in [
            ("a/b.fasta.gz", "b"),
            ("x.y.fa", "x.y"),
            ("reads.fq", "reads"),
            ("-", "stdin"),
            (".fa", ".fa"),
            ("r", "r"),
        ] {
            assert_eq!(inputs(&[path.into()]).unwrap()[0].sample, sample);
        }
        assert_eq!(inputs(&["-".into(), "-".into()]).unwrap_err().fault(), Fault::Usage);
    }
}
