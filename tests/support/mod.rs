//! What tests share: a folder of its own for each, the program run in it, and the data they compare with.

#![allow(dead_code, unused_imports)] // each test file uses a part

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use virnucpro::bundle::Bundle;

pub mod bundle_parts;
mod reference;
pub mod torch_files;

pub use reference::{repository, shared};

/// A folder of its own, gone with the value.
pub struct Sandbox(TempDir);

impl Sandbox {
    /// A new, empty folder.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Path of a name in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Content of a text file.
    pub fn text(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A JSON file.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A table of the folder.
    pub fn table(&self, name: &str) -> Table {
        Table::parse(&self.text(name))
    }

    /// The program, to be run in the folder, with no setting from the environment but the bundle of encoders for tests.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_virnucpro"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VIRNUCPRO_") {
                command.env_remove(name);
            }
        }
        command.env_remove("COLUMNS").env_remove("NO_COLOR");
        if !args.contains(&"--config") {
            // It would win over what the file says.
            command.env("VIRNUCPRO_MODEL", untrained_folder());
        }
        command.args(args).current_dir(self.folder()).stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// Runs the program with `stdin` as its standard input.
    pub fn run_with_stdin(&self, args: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = shown(&command);
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let content = stdin.to_vec();
        let writer = std::thread::spawn(move || drop(pipe.write_all(&content))); // the program may stop reading
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran::from_output(shown, output)
    }

    /// Content of every file below `name`, by path relative to it; none where there is no such folder.
    pub fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.path(name);
        if folder.exists() { files_of(&folder) } else { BTreeMap::new() }
    }
}

/// Content of every file below `folder`, by path relative to it.
pub fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Asserts that two folders hold the same files with the same bytes.
pub fn assert_same_files(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>, what: &str) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "{what}: files");
    let differing: Vec<&String> =
        a.iter().filter(|(name, content)| b[*name] != **content).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "{what}: {differing:?} differ");
}

/// How a run of the program ended.
pub struct Ran {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    command: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Self {
        let shown = shown(&command);
        let output = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Self::from_output(shown, output)
    }

    /// Of a process that has ended.
    pub fn from_output(command: String, output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let ran = Self {
            code,
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
            command,
        };
        assert!(!ran.stderr.contains("panicked at"), "a panic:\n{}", ran.told());
        ran
    }

    /// Everything, for the message of a failed test.
    pub fn told(&self) -> String {
        format!("{}\nexit code {}\nstdout:\n{}\nstderr:\n{}", self.command, self.code, self.stdout, self.stderr)
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.code == 0, "a failure:\n{}", self.told());
        self
    }

    /// Asserts a failure of the contract: exit code and fault agree between the process, the JSON in the last
    /// line of stderr and the message for a person. Gives the JSON.
    #[track_caller]
    pub fn fails(&self, code: i32, fault: &str) -> Value {
        assert!(self.code == code, "exit code {code} was expected:\n{}", self.told());
        let last = self.stderr.lines().last().unwrap_or_default();
        let json: Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("the last line is no JSON:\n{}", self.told()));
        assert!(json["exit"] == code && json["code"] == fault, "{fault}, {code} were expected:\n{}", self.told());
        assert!(self.stderr.contains(&format!("error[{fault}]")), "no message for a person:\n{}", self.told());
        json
    }

    /// Asserts that stderr holds every one of `parts`.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "'{part}' is missing:\n{}", self.told());
        }
    }
}

fn shown(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    format!("virnucpro {}", args.join(" "))
}

/// A tab-separated table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a table with the quoting rules of CSV.
    pub fn parse(text: &str) -> Self {
        let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(text.as_bytes());
        let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        Self { header, rows }
    }

    /// Cells of one column.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<&str> {
        let index = self.header.iter().position(|column| column == name);
        let index = index.unwrap_or_else(|| panic!("no column {name} in {:?}", self.header));
        self.rows.iter().map(|row| row[index].as_str()).collect()
    }

    /// Cells of one column as numbers.
    #[track_caller]
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        self.column(name).iter().map(|cell| cell.parse().unwrap_or_else(|_| panic!("{name}: '{cell}'"))).collect()
    }

    /// Sum of a column of whole numbers.
    #[track_caller]
    pub fn sum(&self, name: &str) -> u64 {
        self.column(name).iter().map(|cell| cell.parse::<u64>().unwrap_or_else(|_| panic!("{name}: '{cell}'"))).sum()
    }

    /// The table without some columns.
    pub fn without(&self, columns: &[&str]) -> Self {
        let kept: Vec<usize> =
            (0..self.header.len()).filter(|&i| !columns.contains(&self.header[i].as_str())).collect();
        let pick = |row: &Vec<String>| kept.iter().map(|&i| row[i].clone()).collect();
        Self { header: pick(&self.header), rows: self.rows.iter().map(pick).collect() }
    }
}

/// Runs the test `name` in a process of its own, where `body` finds nothing of other tests: for peaks of memory.
pub fn alone(name: &str, body: impl FnOnce()) {
    const ALONE: &str = "VIRNUCPRO_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Peak resident memory of this process so far, in bytes.
pub fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Sends a signal to a process that was started here and not waited for yet.
#[allow(unsafe_code)]
pub fn send(child: &Child, signal: libc::c_int) {
    // SAFETY: kill takes no pointer; the process is our child, so that its number is nobody else's.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

/// Folder of the bundle of tiny encoders with random weights.
pub fn untrained_folder() -> PathBuf {
    repository().join("bundles/untrained")
}

/// The same.
pub fn untrained() -> Bundle {
    Bundle::open_folder(&untrained_folder()).unwrap()
}

/// Folder of the mock bundle, whose vectors need no libtorch.
pub fn mock() -> String {
    repository().join("bundles/mock").display().to_string()
}

/// Letters that look random and are the same each time.
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// The next number (splitmix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// A sequence of `length` bases with few stop codons: T is rare.
    pub fn dna(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b"ACGCGACGGCCAGCTG"[self.below(16)])).collect()
    }

    /// FASTA of `records` records of `length` bases, called r1, r2, ...
    pub fn fasta(&mut self, records: usize, length: usize) -> String {
        (1..=records).map(|n| format!(">r{n}\n{}\n", self.dna(length))).collect()
    }
}
