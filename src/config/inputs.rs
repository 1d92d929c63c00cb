//! Inputs as a user names them: files of sequences, `-`, and sample sheets that list files.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::identity::{Identity, repeated};
use super::{Input, sheet};
use crate::error::{Error, Fault, Result, printable};
use crate::units::counted;

/// What stands for standard input.
pub const STDIN: &str = "-";

/// The files that `paths` name, in order. A path that ends in `.tsv` or `.csv` is a sample sheet: a table with the
/// columns `sample` and `file` (or `fasta`, or `fastq_1` and `fastq_2`), relative to the sheet's folder. Every other file
/// is a sample of its own, named after it; files of one name are told apart by their endings and folders.
///
/// # Errors
/// A sheet is missing, is not such a table or lists a file that cannot be read; a file is given twice; or a path is
/// none.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>> {
    refuse_addresses_and_lists(paths)?;
    if let Some((first, second)) = repeated(paths.iter().map(PathBuf::as_path)) {
        return Err(twice(first, second));
    }
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

/// The files that `paths` name, in order, all of one sample.
///
/// # Errors
/// A path is a sample sheet, which names samples itself; a file is given twice; or a path is none.
pub fn inputs_of_sample(sample: &str, paths: &[PathBuf]) -> Result<Vec<Input>> {
    refuse_addresses_and_lists(paths)?;
    if let Some(sheet) = paths.iter().find(|path| sheet::delimiter(path).is_some()) {
        return Err(Error::new(Fault::Usage, "--sample and a sample sheet contradict each other")
            .file(sheet)
            .expected("files of sequences, which all belong to the sample")
            .found(format!("--sample {sample} and {}", sheet.display()))
            .advice("the sheet names the samples: leave out --sample and unset VIRNUCPRO_SAMPLE"));
    }
    match repeated(paths.iter().map(PathBuf::as_path)) {
        Some((first, second)) => Err(twice(first, second)),
        None => Ok(paths.iter().map(|path| Input { sample: sample.to_owned(), path: path.clone() }).collect()),
    }
}

/// The name of a sample as it stands in tables: without blanks around it.
///
/// # Errors
/// What is wrong with it: nothing in it may end a cell or move a terminal.
pub fn sample_name(name: &str) -> std::result::Result<&str, &'static str> {
    match name.trim() {
        "" => Err("is empty"),
        name if name.chars().any(char::is_control) => Err("holds a control character"),
        name => Ok(name),
    }
}

/// Refuses an argument that is plainly not the path of a file: an address, or several files with commas between them.
///
/// # Errors
/// [`Fault::InputMissing`] or [`Fault::Usage`].
pub fn refuse_addresses_and_lists(paths: &[PathBuf]) -> Result<()> {
    for path in paths.iter().filter(|path| path.symlink_metadata().is_err()) {
        let text = path.to_string_lossy();
        if let Some(advice) = not_a_path(&text) {
            return Err(Error::new(Fault::InputMissing, format!("cannot read {text}")).file(path).advice(advice));
        }
        let files: Vec<&str> = text.split(',').collect();
        if files.len() > 1 && files.iter().all(|file| Path::new(file).exists()) {
            return Err(Error::new(Fault::Usage, format!("{text} is not a file"))
                .expected("files with blanks between them, not commas")
                .found(counted(files.len() as u64, "name") + " in one argument")
                .advice(format!("write {}", files.join(" "))));
        }
    }
    Ok(())
}

/// What to do about a name that no file can be opened by.
pub(super) fn not_a_path(name: &str) -> Option<&'static str> {
    match name {
        _ if name.contains("://") => Some("addresses are not read: download the file first, and name it here"),
        _ if name.starts_with('~') => {
            Some("only a shell expands ~, and not within quotation marks: write the whole path")
        }
        _ => None,
    }
}

/// An input, and who chose the name of its sample.
struct Found {
    input: Input,
    /// How long its name is, if it is named after its file; none if a sheet states it.
    length: Option<usize>,
}

impl Found {
    fn stated(listed: sheet::Listed) -> Self {
        Self { input: Input { sample: listed.sample, path: listed.path }, length: None }
    }

    fn named(path: &Path) -> Self {
        Self { input: Input { sample: name(path, 0), path: path.to_owned() }, length: Some(0) }
    }
}

fn twice(first: &Path, second: &Path) -> Error {
    let twice = |what: &str| Error::new(Fault::Usage, format!("{what} is given twice"));
    let stdin = [STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].map(Path::new);
    match stdin.contains(&first) && stdin.contains(&second) {
        true => twice("standard input").advice("name - once"),
        false => twice(&if second == Path::new(STDIN) { first } else { second }.display().to_string())
            .found(format!("{} and {}", first.display(), second.display()))
            .advice("name each file once: its sequences would count twice"),
    }
}

/// A file must stand in one place: its sequences would count twice. Sheets may give it to two samples, which gets a
/// warning.
fn refuse_repeated(found: &[Found]) -> Result<()> {
    let mut seen: HashMap<Identity, Vec<&Found>> = HashMap::new();
    let mut shared = Vec::new();
    for found in found {
        let before = seen.entry(Identity::of(&found.input.path)).or_default();
        let stated = |one: &Found| one.length.is_none();
        let other = |first: &&&Found| stated(first) && stated(found) && first.input.sample != found.input.sample;
        if let Some(first) = before.iter().find(|first| !other(first)) {
            return Err(twice(&first.input.path, &found.input.path));
        }
        if let Some(first) = before.first() {
            shared.push((&first.input.sample, &found.input));
        }
        before.push(found);
    }
    if let Some((first, Input { sample, path })) = shared.first() {
        let more = match shared.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        log::warn!(
            "{} is listed for two samples, {first} and {sample}: its sequences count in both{more}",
            path.display()
        );
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
    if let Some(message) = renamed(found) {
        log::info!("{message}");
    }
    Ok(())
}

/// Says which samples have another name than that of their file alone, and why; one of them is the example.
fn renamed(found: &[Found]) -> Option<String> {
    let renamed: Vec<&Found> =
        found.iter().filter(|one| one.length.is_some() && one.input.sample != name(&one.input.path, 0)).collect();
    let Input { sample, path } = &renamed.first()?.input;
    let short = name(path, 0);
    let owner = match found.iter().any(|one| one.length.is_none() && one.input.sample == short) {
        true => "a sample of a sheet",
        false => "another input",
    };
    let more = match renamed.len() {
        1 => String::new(),
        n => format!("; {} got a longer name likewise", counted(n as u64 - 1, "other sample")),
    };
    Some(format!("the sample in {} is called {sample}: {owner} would also be called {short}{more}", path.display()))
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
        return format!("stdin{}", "-".repeat(length.saturating_sub(1))); // a file named stdin.fa gives way
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
            (&["-", "stdin.fa"], &["stdin", "stdin.fa"]),
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
        std::fs::hard_link(path("x.fa"), path("hard.fa")).unwrap();
        for other in ["x.fa", "./x.fa", "link.fa", "hard.fa", "s.tsv"] {
            let error = inputs(&[path("x.fa"), path(other)]).unwrap_err();
            assert_eq!(error.fault(), Fault::Usage, "{other}");
            assert!(error.report("v").contains("given twice"), "{}", error.report("v"));
        }
        for (first, second) in [("-", "-"), ("-", "/dev/stdin"), ("/dev/stdin", "/dev/fd/0")] {
            assert_eq!(inputs(&[first.into(), second.into()]).unwrap_err().fault(), Fault::Usage, "{first} {second}");
        }
        assert_eq!(inputs(&["gone.fa".into(), "gone.fa".into()]).unwrap_err().fault(), Fault::Usage);
    }

    #[test]
    fn a_file_never_takes_the_name_of_a_sheets_sample() {
        let folder = tempfile::tempdir().unwrap();
        let sheet = folder.path().join("s.tsv");
        std::fs::write(&sheet, "sample\tfile\ncontigs\tx.fa\ncontigs\ty.fa\n").unwrap();
        for file in ["x.fa", "y.fa"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let sheet = sheet.to_str().unwrap();
        assert_eq!(samples(&[sheet]), ["contigs", "contigs"]);
        assert_eq!(samples(&["contigs.fa", sheet, "z.fa"]), ["contigs.fa", "contigs", "contigs", "z"]);
    }

    /// The inputs of a folder with these files, by name.
    fn of_folder(files: &[(&str, &str)], named: &[&str]) -> Result<Vec<Input>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        std::os::unix::fs::symlink("a.fa", folder.path().join("link.fa")).unwrap();
        inputs(&named.iter().map(|name| folder.path().join(name)).collect::<Vec<_>>())
    }

    #[test]
    fn a_sheet_counts_no_file_twice_for_one_sample() {
        let a = ("a.fa", ">a\nACGT\n");
        let refused = |files: &[(&str, &str)], named: &[&str]| of_folder(files, named).unwrap_err().fault();
        for second in ["a.fa", "./a.fa", "link.fa"] {
            let sheet = format!("sample,file\nx,a.fa\nx,{second}\n");
            assert_eq!(refused(&[a, ("s.csv", &sheet)], &["s.csv"]), Fault::InputSheet, "{second}");
        }
        let sheet = "sample,file\nx,a.fa\n";
        assert_eq!(refused(&[a, ("s.csv", sheet)], &["s.csv", "s.csv"]), Fault::Usage);
        assert_eq!(refused(&[a, ("s.csv", sheet), ("t.csv", sheet)], &["s.csv", "t.csv"]), Fault::Usage);
        // Two samples may share a file.
        let sheet = "sample,file\nx,a.fa\ny,a.fa\n";
        assert_eq!(of_folder(&[a, ("s.csv", sheet)], &["s.csv"]).unwrap().len(), 2);
    }

    #[test]
    fn names_that_grow_are_told_once_with_the_reason() {
        let told = |paths: &[&str]| {
            let mut found: Vec<Found> = paths.iter().map(|path| Found::named(Path::new(path))).collect();
            tell_apart(&mut found).unwrap();
            renamed(&found)
        };
        assert_eq!(told(&["a.fa", "b.fa"]), None);
        assert_eq!(
            told(&["c.fa", "x/c.fa"]).as_deref(),
            Some("the sample in x/c.fa is called x/c: another input would also be called c")
        );
        let many: Vec<String> = (0..60).map(|n| format!("many/{n}/c.fa")).collect();
        let many = told(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert!(many.contains("many/0/c.fa is called 0/c") && many.contains("59 other samples"), "{many}");
        let stated = Found { input: Input { sample: "c".into(), path: "x.fa".into() }, length: None };
        let mut found = [stated, Found::named(Path::new("c.fa"))];
        tell_apart(&mut found).unwrap();
        assert!(renamed(&found).unwrap().contains("a sample of a sheet would also be called c"));
    }
}
