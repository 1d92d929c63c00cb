//! Sample sheets: tables that say which files belong to which sample.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::identity::Identity;
use super::inputs::{STDIN, not_a_path, sample_name};
use crate::error::{Error, Fault, Result};
use crate::fs::text::decode_file;
use crate::units::counted;

/// Columns that name files of a sample. A row may leave some of them empty, not all.
const FILES: [&str; 4] = ["file", "fasta", "fastq_1", "fastq_2"];

/// Larger than any table that a person or a workflow writes.
const LARGEST: u64 = 64 << 20;

/// What separates the cells, if the path is named like a sample sheet.
pub(super) fn delimiter(path: &Path) -> Option<u8> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "tsv" => Some(b'\t'),
        "csv" => Some(b','),
        _ => None,
    }
}

/// A file of a sample.
#[derive(Debug)]
pub(super) struct Listed {
    /// Name of the sample.
    pub(super) sample: String,
    /// The file as the sheet writes it, and with the sheet's folder before it.
    name: String,
    pub(super) path: PathBuf,
    line: u64,
}

/// Files of a sample sheet, in order. Paths are relative to the sheet's folder or, where nothing is there, to the working
/// folder, as workflow engines have it.
pub(super) fn read(path: &Path, delimiter: u8) -> Result<Vec<Listed>> {
    let sheet = Sheet { path, delimiter };
    let bytes = sheet.bytes()?;
    let listed = sheet.listed(decode_file(&bytes, path, Fault::InputSheet)?)?;
    listed.iter().try_for_each(|listed| sheet.check(listed))?;
    let folder = parent(path);
    let mut elsewhere = listed.iter().filter(|row| row.path != folder.join(&row.name));
    if let Some(first) = elsewhere.next() {
        let more = match elsewhere.count() {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        log::info!("{}: {} is read from the working folder, not from the sheet's{more}", path.display(), first.name);
    }
    Ok(listed)
}

/// The file that a row names.
fn place_of(name: &str, folder: &Path) -> PathBuf {
    let (beside, here) = (folder.join(name), PathBuf::from(name));
    if !beside.exists() && here.exists() { here } else { beside }
}

/// The folder of a sheet, as paths in it begin.
fn parent(sheet: &Path) -> &Path {
    sheet.parent().unwrap_or(Path::new(""))
}

struct Sheet<'a> {
    path: &'a Path,
    delimiter: u8,
}

impl Sheet<'_> {
    fn listed(&self, text: &str) -> Result<Vec<Listed>> {
        let mut csv = csv::ReaderBuilder::new().delimiter(self.delimiter).flexible(true).from_reader(text.as_bytes());
        let unreadable = |error| self.wrong("the sample sheet cannot be read").caused_by(error);
        let header = csv.headers().map_err(unreadable)?.clone();
        if header.iter().any(spans_lines) {
            return Err(self.open_quote(1));
        }
        let (sample, files) = self.columns(&header)?;
        let folder = parent(self.path);
        let (mut listed, mut lines) = (Vec::new(), HashMap::new());
        let mut row = csv::StringRecord::new();
        while csv.read_record(&mut row).map_err(unreadable)? {
            let (line, raw) = place(&row, text.get(..csv.position().byte() as usize).unwrap_or(text));
            let mut wanted = [sample].into_iter().chain(files.iter().copied()).filter_map(|column| row.get(column));
            let uneven = row.len() != header.len();
            if wanted.any(spans_lines) || is_open(&row, raw) || uneven && row.iter().any(spans_lines) {
                return Err(self.open_quote(line));
            }
            if uneven {
                return Err(self.uneven(header.len(), row.len()).line(line));
            }
            let cell = |column: usize| row.get(column).unwrap_or_default().trim();
            let sample = self.sample(cell(sample), line)?;
            let named: Vec<&str> = files.iter().map(|&file| cell(file)).filter(|name| !name.is_empty()).collect();
            if named.is_empty() {
                return Err(self.wrong("a row of the sample sheet names no file").line(line));
            }
            for name in named {
                let path = place_of(name, folder);
                if let Some(first) = lines.insert((sample.to_owned(), Identity::of(&path)), line) {
                    return Err(self
                        .wrong("the sample sheet lists a file twice for one sample")
                        .line(line)
                        .found(format!("{name} of {sample}, as in line {first}"))
                        .advice("remove one of the two: its sequences would count twice"));
                }
                listed.push(Listed { sample: sample.to_owned(), name: name.to_owned(), path, line });
            }
        }
        if listed.is_empty() { Err(self.wrong("the sample sheet lists no files")) } else { Ok(listed) }
    }

    /// Refuses a file that cannot be read, while the line that names it is known.
    fn check(&self, listed: &Listed) -> Result<()> {
        let Listed { sample, name, path, line } = listed;
        let found = format!("{name} of {sample}");
        if name == STDIN {
            let wrong = self.wrong("a row of the sample sheet names standard input").line(*line).found(found);
            return Err(wrong.advice("a sheet lists files: give - on the command line"));
        }
        let start = readable(path).map_err(|error| {
            let absent = error.kind() == io::ErrorKind::NotFound;
            let wrong = Error::reading(path, error).file(self.path).line(*line).found(found.clone());
            match not_a_path(name) {
                Some(advice) if absent => wrong.advice(advice),
                None if absent && !Path::new(name).is_absolute() => wrong.advice(
                    "check the path: paths in a sheet start at the sheet's folder, or else at the working folder",
                ),
                _ => wrong,
            }
        })?;
        if delimiter(path).is_some() && content(&start).is_none() {
            let wrong = self.wrong("a row of the sample sheet names another sheet").line(*line).found(found);
            return Err(wrong.expected("a file of sequences").advice(
                "sheets do not nest: list the files of that sheet in this one, or give both on the command line",
            ));
        }
        Ok(())
    }

    fn open_quote(&self, line: u64) -> Error {
        self.wrong("a quotation mark in the sample sheet is not closed")
            .line(line)
            .found("a cell that goes on in the next line")
            .advice("close it at the end of its cell, or remove it: the lines after it are read as part of the cell")
    }

    fn wrong(&self, message: &str) -> Error {
        let (kind, tab) = if self.delimiter == b',' { ("comma", ",") } else { ("tab", "<TAB>") };
        Error::new(Fault::InputSheet, message)
            .file(self.path)
            .expected(format!(
                "a {kind}-separated table with the columns `sample` and `file` (or `fasta`), or `fastq_1` and `fastq_2`"
            ))
            .advice(format!("a first line of `sample{tab}file`, then one line per file"))
    }

    /// The whole file, unless its first bytes tell that it holds sequences: those files are large.
    fn bytes(&self) -> Result<Vec<u8>> {
        let reading = |error: io::Error| Error::reading(self.path, error);
        let file = File::open(self.path).map_err(reading)?;
        let mut bytes = Vec::new();
        let mut start = file.take(512);
        start.read_to_end(&mut bytes).map_err(reading)?;
        if let Some(content) = content(&bytes) {
            let wrong = self.wrong(&format!("{} is named like a sample sheet", self.path.display()));
            return Err(wrong.found(content.found).advice(content.advice));
        }
        start.into_inner().take(LARGEST).read_to_end(&mut bytes).map_err(reading)?;
        if bytes.len() as u64 > LARGEST {
            return Err(self.wrong("the sample sheet is too large").found("more than 64 MiB"));
        }
        Ok(bytes)
    }

    /// Places of the sample and of its files.
    fn columns(&self, header: &csv::StringRecord) -> Result<(usize, Vec<usize>)> {
        let at = |place: usize| header.get(place).unwrap_or_default().trim();
        let places = |name: &'static str| (0..header.len()).filter(move |&place| at(place) == name);
        let shown = header.iter().collect::<Vec<_>>().join(" ");
        if let Some(twice) = FILES.into_iter().chain(["sample"]).find(|name| places(name).count() > 1) {
            return Err(self.wrong(&format!("the sample sheet has two columns `{twice}`")).line(1).found(shown));
        }
        let files: Vec<usize> = FILES.into_iter().flat_map(places).collect();
        match places("sample").next() {
            Some(sample) if !files.is_empty() => Ok((sample, files)),
            Some(_) => Err(self
                .wrong("the sample sheet has no column `file`, `fasta`, `fastq_1` or `fastq_2`")
                .line(1)
                .found(shown)),
            None => {
                let wrong = self.wrong("the sample sheet has no column `sample`").line(1).found(shown);
                Err(match other_delimiter(header) {
                    Some(advice) => wrong.advice(advice),
                    None => wrong,
                })
            }
        }
    }

    fn sample<'a>(&self, sample: &'a str, line: u64) -> Result<&'a str> {
        if sample.is_empty() {
            return Err(self.wrong("a row of the sample sheet names no sample").line(line));
        }
        sample_name(sample).map_err(|wrong| self.wrong(&format!("a sample's name {wrong}")).line(line).found(sample))
    }

    fn uneven(&self, expected: usize, found: usize) -> Error {
        let columns = |number: usize| counted(number as u64, "column");
        self.wrong("a row of the sample sheet has a different number of columns than the header")
            .expected(columns(expected))
            .found(columns(found))
    }
}

/// The first line of a row, counted from 1, and its text, where `text` ends with it. Blank lines before it are not part of
/// it.
fn place<'a>(row: &csv::StringRecord, text: &'a str) -> (u64, &'a str) {
    let (line, byte) = row.position().map_or((0, 0), |position| (position.line(), position.byte()));
    let rest = text.get(byte as usize..).unwrap_or_default();
    let raw = rest.trim_start_matches(['\r', '\n']);
    let blank = rest[..rest.len() - raw.len()].matches('\n').count();
    (line + blank as u64, raw)
}

fn spans_lines(cell: &str) -> bool {
    cell.contains(['\n', '\r'])
}

/// Whether the last cell of a row goes on to its end without a closing quotation mark.
fn is_open(row: &csv::StringRecord, raw: &str) -> bool {
    row.iter().next_back().is_some_and(spans_lines) && !raw.trim_end_matches(['\r', '\n']).ends_with('"')
}

/// The first bytes of a file that can be read; of pipes none, as they can be read only once.
fn readable(path: &Path) -> io::Result<Vec<u8>> {
    let kind = path.metadata()?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut start = Vec::new();
    if kind.is_file() {
        File::open(path)?.take(512).read_to_end(&mut start)?;
    }
    Ok(start)
}

/// What a file holds in place of a table.
struct Content {
    found: &'static str,
    advice: &'static str,
}

fn content(start: &[u8]) -> Option<Content> {
    const RENAME: &str = "give the file a name that does not end in .tsv or .csv, such as .fa or .fq.gz";
    let found = match start {
        [b'>', ..] => "FASTA",
        [b'@', ..] => "FASTQ",
        [0x1F, 0x8B, ..] => "a file compressed with gzip",
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => "a file compressed with bzip2",
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => "a file compressed with xz",
        [0x28, 0xB5, 0x2F, 0xFD, ..] => "a file compressed with zstd",
        [b'P', b'K', 3, 4, ..] => {
            let advice = "save the table as text: .tsv with tabs or .csv with commas between the cells";
            return Some(Content { found: "a zip file, such as a workbook (.xlsx)", advice });
        }
        _ => return None,
    };
    let packed = "if it holds sequences, name it .fa.gz or the like; if it is a sample sheet, unpack it";
    Some(Content { found, advice: if found.starts_with("FAST") { RENAME } else { packed } })
}

/// What to do about cells that something else separates, if the header tells.
fn other_delimiter(header: &csv::StringRecord) -> Option<&'static str> {
    let [only] = header.iter().collect::<Vec<_>>()[..] else { return None };
    Some(match only {
        text if text.contains('\t') => "tabs separate the cells of this table: name it .tsv",
        text if text.contains(',') => "commas separate the cells of this table: name it .csv",
        text if text.contains(';') => {
            "semicolons separate the cells of this table: save it with commas (.csv) or tabs (.tsv)"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, content: &[u8]) -> Result<Vec<(String, String)>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let shown = |path: &Path| path.strip_prefix(folder.path()).unwrap_or(path).display().to_string();
        // The files themselves are not here.
        let sheet = Sheet { path: &path, delimiter: delimiter(&path).unwrap() };
        let bytes = sheet.bytes()?;
        let listed = sheet.listed(decode_file(&bytes, &path, Fault::InputSheet)?)?;
        Ok(listed.into_iter().map(|row| (row.sample, shown(&row.path))).collect())
    }

    fn row(sample: &str, path: &str) -> (String, String) {
        (sample.to_owned(), path.to_owned())
    }

    #[track_caller]
    fn refused(name: &str, content: &[u8], says: &[&str]) {
        let error = written(name, content).unwrap_err();
        assert_eq!(error.fault(), Fault::InputSheet);
        let report = error.report("v");
        for part in says.iter().chain(&["to do:", name]) {
            assert!(report.contains(part), "'{part}' is missing: {report}");
        }
    }

    #[test]
    fn a_sheet_lists_files_beside_it_and_others_by_full_path() {
        let rows = written("s.tsv", b"sample\tnote\tfile\ns1\tx\treads/a.fq.gz\ns1\t\t/data/b.fa\n").unwrap();
        assert_eq!(rows, [row("s1", "reads/a.fq.gz"), row("s1", "/data/b.fa")]);
    }

    #[test]
    fn commas_tabs_quotes_windows_line_ends_and_a_byte_order_mark_make_no_difference() {
        let expected = [row("s 1", "a,b.fa"), row("s2", "c.fa")];
        for (name, content) in [
            ("s.csv", "sample,file\n\"s 1\",\"a,b.fa\"\ns2,c.fa\n"),
            ("S.CSV", "\u{feff}sample,file\r\ns 1,\"a,b.fa\"\r\ns2,c.fa\r\n"),
            ("S.TSV", "\u{feff}sample\tfile\r\n\"s 1\"\ta,b.fa\r\ns2\tc.fa"),
            ("s.Tsv", "fasta\tsample\n\"a,b.fa\"\ts 1\nc.fa\ts2\n"),
            ("t.csv", "sample,run,fastq_1,fastq_2,fasta\ns 1,1,,,\"a,b.fa\"\ns2,1,c.fa,,\n"),
        ] {
            assert_eq!(written(name, content.as_bytes()).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn both_files_of_a_pair_belong_to_the_sample() {
        let rows = written("s.csv", b"sample,fastq_1,fastq_2\na,a_1.fq,a_2.fq\nb,b_1.fq,\n").unwrap();
        assert_eq!(rows, [row("a", "a_1.fq"), row("a", "a_2.fq"), row("b", "b_1.fq")]);
    }

    #[test]
    fn what_is_not_a_sheet_is_told_by_line_and_reason() {
        refused("s.tsv", b"sample,file\na,b\n", &["line 1", "name it .csv"]);
        refused("s.csv", b"sample\tfile\na\tb\n", &["line 1", "name it .tsv"]);
        refused("s.csv", b"sample;file\na;b\n", &["line 1", "semicolons"]);
        refused("s.tsv", b"sample\treads\na\tb\n", &["line 1", "no column `file`"]);
        refused("s.tsv", b"sample\tfile\tfile\na\tb\tc\n", &["line 1", "two columns `file`"]);
        refused("s.tsv", b"sample\tfile\na\n", &["line 2", "2 columns", "1 column"]);
        refused("s.tsv", b"sample\tfile\na\tb\n\tc\n", &["line 3", "no sample"]);
        refused("s.csv", b"sample,fastq_1,fastq_2\na,,\n", &["line 2", "no file"]);
        refused("s.tsv", b"sample\tfile\n", &["no files"]);
        refused("s.tsv", b"sample\tfile\na\tx.fa\nb\tx.fa\na\tx.fa\n", &["line 4", "x.fa of a, as in line 2"]);
        refused("s.tsv", b"sample\tfile\na\x1Bb\tx.fa\n", &["control character"]);
    }

    #[test]
    fn a_quotation_mark_that_is_not_closed_is_told_with_its_line() {
        for text in [
            "sample,file,note\nz,z.fa,\na,\"x.fa,\nb,y.fa,\n",
            "sample,file,note\nz,z.fa,\na,x.fa,\"5 mm\nb,y.fa,\n",
            "sample,file,note\nz,z.fa,\na,\"x.fa,\nb,\"y.fa,\n",
            "sample,file,note\nz,z.fa,\n\"a,x.fa,\nb,y.fa,\n",
        ] {
            refused("s.csv", text.as_bytes(), &["line 3", "quotation mark", "not closed"]);
        }
        refused("s.csv", b"sample,\"file\na,x.fa\n", &["line 1", "not closed"]);
        // Marks within a cell, and a note of two lines, are what they are.
        let right = "sample,file,note\na,x.fa,5\" disk\nb,y.fa,\"two\nlines\"\nc,z.fa,5\" disk\n";
        assert_eq!(written("s.csv", right.as_bytes()).unwrap().len(), 3);
    }

    #[test]
    fn blank_lines_count_as_lines() {
        refused("s.tsv", b"sample\tfile\n\n\r\na\tx.fa\n\n\tx.fa\n", &["line 6", "no sample"]);
    }

    #[test]
    fn another_encoding_is_named_with_line_and_byte() {
        refused(
            "s.tsv",
            b"sample\tfile\nK\xF6ln\tx.fa\n",
            &["line 2", "not UTF-8", "byte 2 of the line is 0xF6", "iconv"],
        );
        let wide: Vec<u8> = "\u{feff}sample\tfile\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        refused("s.tsv", &wide, &["iconv -f UTF-16LE"]);
    }

    #[test]
    fn sequences_that_are_named_like_a_sheet_are_told_as_such() {
        for (content, found) in [
            (&b">a\nACGT\n"[..], "FASTA"),
            (b"@a\nACGT\n+\nFFFF\n", "FASTQ"),
            (b"\x1F\x8B\x08\x00", "gzip"),
            (b"PK\x03\x04", "xlsx"),
        ] {
            refused("x.tsv", content, &[found]);
            refused("x.csv", content, &[found]);
        }
    }
}
