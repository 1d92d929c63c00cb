//! Inputs as a user names them: files of sequences, `-`, and sample sheets that list files.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::{Input, sheet};
use crate::error::{Error, Fault, Result, printable};

/// What stands for standard input.
pub const STDIN: &str = "-";

/// The files that `paths` name, in order. A path that ends in `.tsv` or `.csv` is a sample sheet: a table with the
/// columns `sample` and `file` (or `fasta`, or `fastq_1` and `fastq_2`), relative to the sheet's folder. Every other file
/// is a sample of its own, named after it; files of one name are told apart by their endings and folders.
///
/// # Errors
/// A sheet is missing or is not such a table; or a file is given twice.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut found = Vec::new();
    for path in paths {
        match sheet::delimiter(path) {
            Some(delimiter) => found.extend(sheet::read(path, delimiter)?.into_iter().map(Found::stated)),
            None => found.push(Found::named(path)),
        }
    }
    refuse_repeated(&found)?;
    tell_apart(&mut found)?;
    Ok(found.into_iter().map(|found| found.input).collect())
}

/// An input, and who chose the name of its sample.
struct Found {
    input: Input,
    /// How long its name is, if it is named after its file; none if a sheet states it.
    length: Option<usize>,
}

impl Found {
    fn stated(input: Input) -> Self {
        Self { input, length: None }
    }

    fn named(path: &Path) -> Self {
        Self { input: Input { sample: name(path, 0), path: path.to_owned() }, length: Some(0) }
    }

    /// The file, however its path is written.
    fn file(&self) -> PathBuf {
        let path = &self.input.path;
        if path == Path::new(STDIN) { path.clone() } else { path.canonicalize().unwrap_or_else(|_| path.clone()) }
    }
}

/// A file of the command line must stand in no other place: its sequences would count twice.
fn refuse_repeated(found: &[Found]) -> Result<()> {
    let mut seen: HashMap<PathBuf, &Found> = HashMap::new();
    for found in found {
        let Some(first) = seen.insert(found.file(), found) else { continue };
        if found.length.is_none() && first.length.is_none() {
            continue; // a sheet may give one file to two samples
        }
        let (first, path) = (&first.input.path, &found.input.path);
        let twice = |what: &str| Error::new(Fault::Usage, format!("{what} is given twice"));
        return Err(match path == Path::new(STDIN) {
            true => twice("standard input").advice("name - once"),
            false => twice(&path.display().to_string())
                .found(format!("{} and {}", first.display(), path.display()))
                .advice("name each file once: its sequences would count twice"),
        });
    }
    Ok(())
}

/// Gives files of one name longer names until all differ, and says so.
fn tell_apart(found: &mut [Found]) -> Result<()> {
    while let Some(same) = same_names(found) {
        for place in same {
            let Found { input, length: Some(length) } = &mut found[place] else { continue };
            *length += 1;
            input.sample = name(&input.path, *length);
            if *length > 2 * input.path.components().count() + 1 {
                return Err(Error::new(Fault::Usage, "two inputs have names that cannot be told apart")
                    .found(input.path.display().to_string())
                    .advice("rename one of them, or name the samples in a sample sheet"));
            }
        }
    }
    for Found { input: Input { sample, path }, length } in found.iter() {
        if length.is_some_and(|length| length > 0) {
            log::info!("the sample in {} is called {sample}: another input has the same file name", path.display());
        }
    }
    Ok(())
}

/// Places of the files whose names are those of another sample, if there are any. Rows of sheets may share a sample.
fn same_names(found: &[Found]) -> Option<Vec<usize>> {
    let mut names: HashMap<&str, (usize, bool)> = HashMap::new(); // files of the name; whether a sheet has it too
    for found in found {
        let (files, stated) = names.entry(&found.input.sample).or_default();
        *files += usize::from(found.length.is_some());
        *stated |= found.length.is_none();
    }
    let shared = |found: &Found| {
        let (files, stated) = names.get(found.input.sample.as_str()).copied().unwrap_or_default();
        found.length.is_some() && files + usize::from(stated) > 1
    };
    let same: Vec<usize> = (0..found.len()).filter(|&place| shared(&found[place])).collect();
    Some(same).filter(|same| !same.is_empty())
}

/// A name for the sample in a file: at 0 the stem, at 1 the file's name, then both with one folder before them, and so on.
fn name(path: &Path, length: usize) -> String {
    if path == Path::new(STDIN) {
        return format!("stdin{}", "-".repeat(length));
    }
    let last = match length.is_multiple_of(2) {
        true => stem(path),
        false => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let folders: Vec<Component<'_>> = path.parent().into_iter().flat_map(Path::components).collect();
    let folders: Vec<_> = folders.into_iter().filter(|folder| *folder != Component::CurDir).collect();
    let kept = folders.iter().skip(folders.len().saturating_sub(length / 2)).collect::<PathBuf>();
    printable(&kept.join(last).to_string_lossy(), usize::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(paths: &[&str]) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        inputs(&paths).unwrap().into_iter().map(|input| input.sample).collect()
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
            assert_eq!(samples(&[path]), [sample]);
        }
    }

    #[test]
    fn files_of_one_name_are_told_apart_by_endings_and_folders() {
        for (paths, expected) in [
            (&["s1/contigs.fasta", "s2/contigs.fasta"][..], &["s1/contigs", "s2/contigs"][..]),
            (&["x/a/c.fa", "y/a/c.fa", "d.fa"], &["x/a/c", "y/a/c", "d"]),
            (&["contigs.fa", "s2/contigs.fa"], &["contigs", "s2/contigs"]),
            (&["/c.fa", "c.fa", "../c.fa"], &["/c", "c", "../c"]),
            (&["s1/a.fa", "s1/a.fq.gz"], &["a.fa", "a.fq.gz"]),
            (&["-", "stdin.fa"], &["stdin-", "stdin.fa"]),
            (&["a.fa", "a.fq", "a.fa.fa"], &["a", "a.fq", "a.fa.fa"]),
        ] {
            assert_eq!(samples(paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn a_file_given_twice_is_refused_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("x.fa"), ">a\nACGT\n").unwrap();
        std::os::unix::fs::symlink(path("x.fa"), path("link.fa")).unwrap();
        std::fs::write(path("s.tsv"), "sample\tfile\na\tx.fa\n").unwrap();
        for other in ["x.fa", "./x.fa", "link.fa", "s.tsv"] {
            let error = inputs(&[path("x.fa"), path(other)]).unwrap_err();
            assert_eq!(error.fault(), Fault::Usage, "{other}");
            assert!(error.report("v").contains("given twice"), "{}", error.report("v"));
        }
        assert_eq!(inputs(&["-".into(), "-".into()]).unwrap_err().fault(), Fault::Usage);
        assert_eq!(inputs(&["gone.fa".into(), "gone.fa".into()]).unwrap_err().fault(), Fault::Usage);
    }

    #[test]
    fn a_file_never_takes_the_name_of_a_sheets_sample() {
        let folder = tempfile::tempdir().unwrap();
        let sheet = folder.path().join("s.tsv");
        std::fs::write(&sheet, "sample\tfile\ncontigs\tx.fa\ncontigs\ty.fa\n").unwrap();
        let sheet = sheet.to_str().unwrap();
        assert_eq!(samples(&[sheet]), ["contigs", "contigs"]);
        assert_eq!(samples(&["contigs.fa", sheet, "z.fa"]), ["contigs.fa", "contigs", "contigs", "z"]);
    }
}
