//! What can go wrong, said so that a person and a workflow engine both know what to do.
//!
//! A [`Fault`] is a stable identifier with an exit code; an [`Error`] is a fault with its circumstances:
//! file, record, line, what was expected, what was found and what to do. This module knows nothing of
//! the rest of the crate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $exit:literal;)+) => {
        /// A kind of failure: a stable identifier and the exit code it leads to (`docs/exit-codes.md`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $($(#[doc = $doc])+ $name,)+ }

        impl Fault {
            /// Every fault, in the order of the documentation.
            pub const ALL: &[Fault] = &[$(Fault::$name),+];

            /// Stable identifier, as `VN-IN-EMPTY`.
            pub fn id(self) -> &'static str {
                match self { $(Fault::$name => $id),+ }
            }

            /// Whether the same command can succeed another time, or with a smaller batch.
            pub fn is_retryable(self) -> bool {
                matches!(self, Fault::Network | Fault::DownloadDigest) || matches!(self.exit_code(), 4 | 130 | 143)
            }

            /// Exit code of the process.
            pub fn exit_code(self) -> u8 {
                match self { $(Fault::$name => $exit),+ }
            }
        }
    };
}

faults! {
    /// The arguments contradict each other or the contract.
    Usage = "VN-USAGE", 64;

    /// No sequence in the input.
    InputEmpty = "VN-IN-EMPTY", 65;
    /// Text before the first header.
    InputNoHeader = "VN-IN-NOHEADER", 65;
    /// A header without an identifier.
    InputNoId = "VN-IN-NOID", 65;
    /// An identifier longer than the limit.
    InputIdTooLong = "VN-IN-IDLONG", 65;
    /// Two records of one identifier, and `--duplicates error`; or a record with a name made for another.
    InputDuplicateId = "VN-IN-DUPID", 65;
    /// A last record or line that is not whole: the file may be cut.
    InputTruncated = "VN-IN-TRUNC", 65;
    /// A character that is not a nucleotide code.
    InputCharacter = "VN-IN-CHAR", 65;
    /// A binary file.
    InputBinary = "VN-IN-BINARY", 65;
    /// Lines ended by a carriage return alone.
    InputCarriageReturn = "VN-IN-CRONLY", 65;
    /// Text in UTF-16 or another encoding of several bytes.
    InputEncoding = "VN-IN-ENCODING", 65;
    /// Proteins where nucleotides are wanted.
    InputProtein = "VN-IN-PROTEIN", 65;
    /// A file of another format, or nucleotides where proteins are wanted.
    InputFormat = "VN-IN-FORMAT", 65;
    /// A compression or archive that is not read.
    InputCompression = "VN-IN-COMPRESSION", 65;
    /// A compressed stream that ends too early.
    InputCompressedTruncated = "VN-IN-ZTRUNC", 65;
    /// A compressed stream that is damaged.
    InputCompressedCorrupt = "VN-IN-ZCORRUPT", 65;
    /// A BGZF file without its end-of-file block, for a strict reader.
    InputBgzfEof = "VN-IN-BGZFEOF", 65;
    /// A FASTQ record that is damaged or has more than four lines.
    InputFastq = "VN-IN-FASTQ", 65;
    /// The input changed while it was read.
    InputChanged = "VN-IN-CHANGED", 65;
    /// A sample sheet that cannot be read as one, or in place of sequences.
    InputSheet = "VN-IN-SHEET", 65;
    /// Labels that cannot be read, or that do not fit what they are given with.
    InputLabels = "VN-IN-LABELS", 65;
    /// A table or vector file that is not what the stage wants.
    InputStage = "VN-IN-STAGE", 65;

    /// An input that is not there or cannot be opened.
    InputMissing = "VN-IN-MISSING", 66;

    /// No such device on this machine, or this build cannot use it.
    DeviceUnavailable = "VN-DEVICE-NONE", 69;
    /// A device that stopped working.
    DeviceLost = "VN-DEVICE-LOST", 69;

    /// A bundle or model file that is not there.
    ModelMissing = "VN-MODEL-MISSING", 78;
    /// A model file that cannot be read as one.
    ModelFormat = "VN-MODEL-FORMAT", 78;
    /// A Git-LFS pointer or web page in place of a model file.
    ModelPointer = "VN-MODEL-LFS", 78;
    /// A pickle that cannot be read without executing it, or that is damaged.
    ModelPickle = "VN-MODEL-PICKLE", 78;
    /// Tensors missing from a weights file, or left over.
    ModelTensors = "VN-MODEL-TENSORS", 78;
    /// A tensor of another shape.
    ModelShape = "VN-MODEL-SHAPE", 78;
    /// A tensor with NaN or infinite values.
    ModelNonFinite = "VN-MODEL-NONFINITE", 78;
    /// A model configuration this product cannot follow exactly.
    ModelConfig = "VN-MODEL-CONFIG", 78;
    /// A tokeniser that does not belong to the model.
    ModelTokenizer = "VN-MODEL-TOKENIZER", 78;
    /// A file of a bundle with another digest than recorded.
    ModelDigest = "VN-MODEL-HASH", 78;
    /// A bundle whose parts do not fit together, or that does not fit the data.
    ModelMismatch = "VN-MODEL-FIT", 78;
    /// Stored vectors of a bundle that its models do not give any more.
    ModelVectors = "VN-MODEL-VECTORS", 78;
    /// A download that the server refuses: no such model, or no right to it.
    DownloadRefused = "VN-NET-REFUSED", 78;
    /// A configuration file or variable that cannot be followed.
    Config = "VN-CONFIG", 78;

    /// A manifest or shard that is damaged.
    CheckpointCorrupt = "VN-CKPT-HASH", 3;
    /// Finished work of another stage, other settings or another model in the output folder.
    CheckpointForeign = "VN-CKPT-FOREIGN", 3;
    /// Work that was made from another input.
    CheckpointInput = "VN-CKPT-INPUT", 3;
    /// A stage's output that is not complete.
    CheckpointIncomplete = "VN-CKPT-INCOMPLETE", 3;
    /// An output folder that another process writes to.
    CheckpointLocked = "VN-CKPT-LOCKED", 3;
    /// The two sides of a join do not hold the same identifiers.
    MergeIds = "VN-MERGE-IDS", 3;

    /// Out of memory, and a smaller batch can help.
    OutOfMemory = "VN-OOM", 4;

    /// Stopped by SIGINT after a clean flush.
    Interrupted = "VN-INTERRUPTED", 130;
    /// Stopped by SIGTERM or SIGHUP after a clean flush.
    Terminated = "VN-TERMINATED", 143;

    /// A server that cannot be reached, or that breaks off again and again.
    Network = "VN-NET", 1;
    /// A download with another size or digest than announced.
    DownloadDigest = "VN-NET-HASH", 1;
    /// An input that gave nothing for too long.
    Stalled = "VN-IN-STALLED", 1;
    /// A sequence that does not fit even alone.
    TooLong = "VN-IN-TOOLONG", 1;
    /// A model that does not fit the device.
    ModelTooLarge = "VN-DEVICE-MODELFIT", 1;
    /// No space left where output is written.
    NoSpace = "VN-IO-NOSPACE", 1;
    /// The quota is used up where output is written.
    Quota = "VN-IO-QUOTA", 1;
    /// A file that would grow beyond the limit on file sizes.
    FileSize = "VN-IO-FILESIZE", 1;
    /// Memory is used up, and no batch can be smaller.
    HostMemory = "VN-SYS-MEMORY", 1;
    /// The system gives no further thread.
    Threads = "VN-SYS-THREADS", 1;
    /// The limit on open files is reached.
    OpenFiles = "VN-SYS-FILES", 1;
    /// Output cannot be written.
    Write = "VN-IO-WRITE", 1;
    /// A file cannot be read although it is there.
    Read = "VN-IO-READ", 1;
    /// The output folder holds somebody else's files.
    OutputForeign = "VN-OUT-FOREIGN", 1;
    /// The encoder gave a value that is not finite.
    NonFinite = "VN-NONFINITE", 1;
    /// libtorch refused a computation.
    Torch = "VN-TORCH", 1;
    /// Rows in and rows out differ: a defect of this program.
    Count = "VN-COUNT", 1;
    /// A defect of this program.
    Bug = "VN-BUG", 1;
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failure with its circumstances.
///
/// ```
/// use virnucpro::error::{Error, Fault};
///
/// let error = Error::new(Fault::Usage, "the window is too short").expected("at least 3 bases").found("1");
/// assert_eq!((error.fault().id(), error.fault().exit_code()), ("VN-USAGE", 64));
/// eprintln!("{}", error.report("virnucpro chunk"));
/// ```
#[derive(Debug)]
pub struct Error(Box<Circumstances>);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[derive(Debug)]
struct Circumstances {
    fault: Fault,
    message: String,
    file: Option<PathBuf>,
    record: Option<String>,
    line: Option<u64>,
    expected: Option<String>,
    found: Option<String>,
    advice: Option<String>,
    source: Option<Cause>,
}

impl Error {
    /// A failure in one sentence, without final full stop.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self(Box::new(Circumstances {
            fault,
            message: message.into(),
            file: None,
            record: None,
            line: None,
            expected: None,
            found: None,
            advice: None,
            source: None,
        }))
    }

    /// A thread that could not be started.
    pub fn starting_thread(error: io::Error) -> Self {
        Self::new(Fault::Threads, "the system does not allow another thread")
            .advice(
                "raise the limits of this job on processes (ulimit -u) and memory (ulimit -v); models run on fewer threads \
                 with --threads and --dataloader-workers",
            )
            .caused_by(error)
    }

    /// The fault of too many open files, if that is what `error` says.
    pub fn of_open_files(path: &Path, error: &io::Error) -> Option<Self> {
        matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)).then(|| {
            Self::new(Fault::OpenFiles, format!("cannot open {}: too many files are open", path.display()))
                .file(path)
                .advice("raise the limit on open files (ulimit -n), then run the same command again")
        })
    }

    /// An input that could not be opened or read.
    pub fn reading(path: &Path, error: io::Error) -> Self {
        use io::ErrorKind as K;
        if let Some(limit) = Self::of_open_files(path, &error) {
            return limit.caused_by(error);
        }
        let (fault, advice) = match error.kind() {
            K::NotADirectory => (Fault::InputMissing, "check the path: part of it is a file, not a folder"),
            _ if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENAMETOOLONG)) => {
                (Fault::InputMissing, "check the path: its links form a loop, or a name is too long")
            }
            K::NotFound => (Fault::InputMissing, "check the path; it may be a broken link"),
            K::PermissionDenied => (Fault::InputMissing, "make the file readable for this user"),
            K::IsADirectory => (Fault::InputMissing, "give a file, not a folder"),
            _ => (Fault::Read, "check the disk or the network file system, then run the same command again"),
        };
        Self::new(fault, format!("cannot read {}", path.display())).file(path).advice(advice).caused_by(error)
    }

    /// An output that could not be written.
    pub fn writing(path: &Path, error: io::Error) -> Self {
        use io::ErrorKind as K;
        if let Some(limit) = Self::of_open_files(path, &error) {
            return limit.caused_by(error);
        }
        let (fault, advice) = match error.kind() {
            K::StorageFull => (Fault::NoSpace, "free space, then run the same command again: finished work is kept"),
            K::QuotaExceeded => (
                Fault::Quota,
                "your quota is used up, though the disk is not full: free space, then run the same command again",
            ),
            K::FileTooLarge => (
                Fault::FileSize,
                "raise the limit on file sizes (ulimit -f), or have chunk cut smaller shards (--shard-frames); finished work is kept",
            ),
            K::AlreadyExists | K::NotADirectory => (Fault::Write, "give a folder; this path is a file"),
            K::PermissionDenied | K::ReadOnlyFilesystem => {
                (Fault::Write, "choose a folder that this user can write to")
            }
            _ => (Fault::Write, "check the disk or the network file system, then run the same command again"),
        };
        Self::new(fault, format!("cannot write {}", path.display())).file(path).advice(advice).caused_by(error)
    }

    /// Names the file.
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.0.file = Some(path.as_ref().to_owned());
        self
    }

    /// Names the record (sequence, frame or tensor).
    pub fn record(mut self, record: impl Into<String>) -> Self {
        self.0.record = Some(record.into());
        self
    }

    /// Gives the line of the file, counted from 1.
    pub fn line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// Says what should have been there.
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.0.expected = Some(text.into());
        self
    }

    /// Says what was there.
    pub fn found(mut self, text: impl Into<String>) -> Self {
        self.0.found = Some(text.into());
        self
    }

    /// Says what the user can do.
    pub fn advice(mut self, text: impl Into<String>) -> Self {
        self.0.advice = Some(text.into());
        self
    }

    /// Keeps the underlying error.
    pub fn caused_by(mut self, error: impl Into<Cause>) -> Self {
        self.0.source = Some(error.into());
        self
    }

    /// The message on one line, with what was expected and what to do.
    pub fn brief(&self) -> String {
        let expected = self.0.expected.as_ref().map(|expected| format!("expected: {expected}"));
        [Some(self.0.message.clone()), expected, self.0.advice.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// The kind of failure.
    pub fn fault(&self) -> Fault {
        self.0.fault
    }

    /// The file concerned, if one is.
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// First lines of the errors that led to this one, the nearest first: libtorch appends its C++ stack to the first. An
    /// error that only repeats the one it came from is left out.
    fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            let cause = error.to_string().lines().next().unwrap_or_default().to_owned();
            if causes.last() != Some(&cause) {
                causes.push(cause);
            }
            next = error.source();
        }
        causes
    }

    /// The message for a person: what happened, where, why, what to do. Several lines.
    pub fn report(&self, command: &str) -> String {
        let c = &self.0;
        let mut text = format!("{command}: error[{}]: {}", c.fault.id(), printable(&c.message, 400));
        let mut field = |name: &str, value: String| {
            text.push_str(&format!("\n  {:<10}{value}", format!("{name}:")));
        };
        if let Some(file) = &c.file {
            let line = c.line.map(|n| format!(", line {n}")).unwrap_or_default();
            field("file", format!("{}{line}", printable(&file.to_string_lossy(), 400)));
        } else if let Some(line) = c.line {
            field("line", line.to_string());
        }
        for (name, value) in [("record", &c.record), ("expected", &c.expected), ("found", &c.found)] {
            if let Some(value) = value {
                field(name, printable(value, 600));
            }
        }
        for cause in self.causes() {
            field("cause", printable(&cause, 600));
        }
        if let Some(advice) = &c.advice {
            field("to do", printable(advice, 600));
        }
        field("exit", c.fault.exit_code().to_string());
        text
    }

    /// The same for a program: one JSON object on one line.
    pub fn json(&self) -> String {
        let c = &self.0;
        let shown = |text: &str| shortened(text, LONGEST);
        let field = |text: &Option<String>| text.as_deref().map(shown);
        serde_json::json!({
            "message_type": "exit_error",
            "code": c.fault.id(),
            "exit": c.fault.exit_code(),
            "retryable": c.fault.is_retryable(),
            "message": shown(&c.message),
            "file": c.file.as_ref().map(|path| shown(&path.to_string_lossy())),
            "record": field(&c.record),
            "line": c.line,
            "expected": field(&c.expected),
            "found": field(&c.found),
            "causes": self.causes().iter().map(|cause| shown(cause)).collect::<Vec<_>>(),
            "advice": field(&c.advice),
        })
        .to_string()
    }
}

/// Most characters of a field for programs: no path is longer.
const LONGEST: usize = 4096;

/// Text from outside, fit for a terminal: control and bidirectional characters escaped, at most `limit`
/// characters, the middle left out.
pub fn printable(text: &str, limit: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_bidi(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    shortened(&escaped, limit)
}

/// A word as a shell reads it: in quotation marks where it would change it.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// At most `limit` characters of a text, the middle left out.
fn shortened(text: &str, limit: usize) -> String {
    let length = text.chars().count();
    if length <= limit {
        return text.to_owned();
    }
    let head: String = text.chars().take(limit / 2).collect();
    let tail: String = text.chars().skip(length - limit / 2).collect();
    format!("{head}…{tail}")
}

/// Characters that reorder the text around them on a terminal.
pub(crate) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn identifiers_are_unique_and_codes_are_of_the_contract() {
        let ids: HashSet<_> = Fault::ALL.iter().map(|fault| fault.id()).collect();
        assert_eq!(ids.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert!([1, 3, 4, 64, 65, 66, 69, 78, 130, 143].contains(&fault.exit_code()), "{fault}");
        }
    }

    #[test]
    fn a_report_names_everything_and_escapes_what_came_from_outside() {
        let error = Error::new(Fault::InputCharacter, "no nucleotide code")
            .file("a\u{1b}[2J.fa")
            .record("x\u{202e}y")
            .line(7)
            .expected("A")
            .found("0x3E '>'")
            .advice("look at the line")
            .caused_by(io::Error::other("first\nsecond"));
        let text = error.report("virnucpro chunk");
        for part in ["VN-IN-CHAR", "a\\u{1b}[2J.fa, line 7", "x\\u{202e}y", "0x3E '>'", "first", "exit:     65"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("second") && !text.contains('\u{1b}'));
        let json: serde_json::Value = serde_json::from_str(&error.json()).unwrap();
        assert_eq!((json["code"].as_str(), json["exit"].as_u64()), (Some("VN-IN-CHAR"), Some(65)));
    }

    #[test]
    fn every_cause_is_kept_and_told_the_nearest_first() {
        let disk = io::Error::other("the disk said no");
        let inner = Error::new(Fault::Read, "cannot read the header").caused_by(disk);
        let error = Error::new(Fault::ModelFormat, "the model cannot be used").caused_by(inner);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "cannot read the header");
        assert_eq!(source.source().unwrap().to_string(), "the disk said no");
        let report = error.report("virnucpro");
        let [nearer, farther] = ["cause:    cannot read the header", "cause:    the disk said no"];
        assert!(report.find(nearer).unwrap() < report.find(farther).unwrap(), "{report}");
        let json: serde_json::Value = serde_json::from_str(&error.json()).unwrap();
        assert_eq!(json["causes"], serde_json::json!(["cannot read the header", "the disk said no"]));
        // Wrapping an error without adding a word tells nothing new.
        let twice =
            Error::new(Fault::Read, "x").caused_by(Error::new(Fault::Read, "y").caused_by(io::Error::other("y")));
        assert_eq!(twice.report("v").matches("cause:").count(), 1);
    }

    #[test]
    fn long_text_is_cut_in_the_middle() {
        assert_eq!(printable(&"a".repeat(100), 10).chars().count(), 11);
        let long = "é".repeat(1 << 20);
        let error = Error::new(Fault::ModelFormat, &long).file(&long).record(&long).expected(&long).found(&long);
        let json = error.advice(&long).caused_by(io::Error::other(long.as_str())).json();
        assert!(json.len() < 7 * 2 * (LONGEST + 2) + 200, "{}", json.len());
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_change_it() {
        for (word, quoted) in [
            ("/a/b-1.x", "/a/b-1.x"),
            ("/a b", "'/a b'"),
            ("./it's", "'./it'\\''s'"),
            ("/$HOME", "'/$HOME'"),
            ("/~x;", "'/~x;'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(word), quoted);
        }
    }
}
