//! `run` with encoders whose vectors cost less to compute than to store: each frame goes from the cut through encoder and
//! head, and nothing but its logit is kept, in a file without a name. The tables are those of the stages one by one.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use crossbeam_channel::{Sender, bounded};

use super::chunk::{self, Cut, Layout};
use super::cut_windows::CutWindows;
use super::frame_scores::Scores;
use super::predict;
use super::shards::{FrameSink, Shard};
use crate::bundle::Bundle;
use crate::config;
use crate::embed::load;
use crate::embed::{Input, Sequence};
use crate::error::{Error, Fault, Result};
use crate::model::Score;
use crate::runtime::progress::Progress;
use crate::runtime::threads;
use crate::seq::{FrameId, Reading};
use crate::store::{Manifest, VectorBlock};

/// Frames on their way from the cut to the session.
const WAITING: usize = 1024;

/// Windows and their tables, before anything of an earlier run was replaced.
pub struct Scored {
    /// The windows.
    pub cut: Cut,
    logits: Logits,
}

/// Cuts the input, and scores the frames of its windows as they come.
///
/// # Errors
/// Those of `chunk`, of loading the bundle and of its models; no room for the logits.
pub fn score(settings: &config::Run, bundle: &Bundle, layout: Layout, progress: &Progress) -> Result<Scored> {
    let mut session = load::scoring_session(bundle, &settings.predict.compute)?;
    let (sender, receiver) = bounded(WAITING);
    let mut logits = LogitWriter::create(&settings.predict.output)?;
    let (cut, scored) = thread::scope(|scope| {
        let embed = || {
            let mut sink = |block: VectorBlock| logits.push(&block.values);
            session.embed(receiver.into_iter(), &mut sink)
        };
        let scoring = threads::spawn_scoped(scope, "score", embed)?;
        let frames = Frames { sender, handed_on: 0 };
        let cut = chunk::cut(&settings.chunk, layout.without_shards(), Box::new(frames), progress);
        let panicked = |_| Err(Error::new(Fault::Bug, "a thread that scores panicked"));
        Ok::<_, Error>((cut, scoring.join().unwrap_or_else(panicked)))
    })?;
    let cut = match (cut, scored) {
        // What stops one stops the other: the cause is what did not merely notice.
        (Err(noticed), Err(cause)) if noticed.fault() == Fault::Bug => return Err(cause),
        (Err(error), _) | (_, Err(error)) => return Err(error),
        (Ok(cut), Ok(_)) => cut,
    };
    session.log();
    Ok(Scored { cut, logits: logits.finish()? })
}

impl Scored {
    /// Puts the windows in their place and writes the tables of verdicts.
    ///
    /// # Errors
    /// A folder cannot be written to.
    pub fn commit(self, settings: &config::Predict, bundle: &Bundle) -> Result<Manifest> {
        self.cut.commit()?;
        predict::tabulate(settings, bundle, &CutWindows::open(&settings.windows)?, self.logits)
    }
}

/// Hands frames to a session.
struct Frames {
    sender: Sender<Result<Input<()>>>,
    handed_on: u64,
}

impl Frames {
    fn send(&self, input: Input<()>) -> Result<()> {
        self.sender.send(Ok(input)).map_err(|_| Error::new(Fault::Bug, "nobody scores the frames that are cut"))
    }
}

impl FrameSink for Frames {
    fn push(&mut self, id: FrameId<'_>, frame: &Reading<'_>) -> Result<()> {
        self.handed_on += 1;
        let letters = frame.nucleotides.to_vec();
        self.send(Input::Sequence(Sequence { id: id.to_string(), letters, protein: None, known: None }))
    }

    fn finish(self: Box<Self>) -> Result<(u64, Vec<Shard>)> {
        self.send(Input::End(()))?;
        Ok((self.handed_on, Vec::new()))
    }
}

/// Logits of frames, written in order to a file that vanishes with the process.
struct LogitWriter {
    folder: PathBuf,
    file: BufWriter<File>,
    written: u64,
}

impl LogitWriter {
    fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(existing(folder)).map_err(|error| Error::writing(folder, error))?;
        Ok(Self { folder: folder.to_owned(), file: BufWriter::new(file), written: 0 })
    }

    fn push(&mut self, logits: &[f32]) -> Result<()> {
        self.written += logits.len() as u64;
        let mut write = || logits.iter().try_for_each(|logit| self.file.write_all(&logit.to_le_bytes()));
        write().map_err(|error| Error::writing(&self.folder, error))
    }

    fn finish(self) -> Result<Logits> {
        let Self { folder, file, written } = self;
        let rewound = file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        });
        let file = rewound.map_err(|error| Error::writing(&folder, error))?;
        Ok(Logits { folder, file: BufReader::new(file), left: written })
    }
}

/// The folder, or the nearest one above it that exists: the output may not be there yet.
fn existing(folder: &Path) -> &Path {
    let exists = folder.ancestors().find(|folder| folder.is_dir());
    exists.unwrap_or(Path::new("."))
}

/// The same logits, read again.
pub struct Logits {
    folder: PathBuf,
    file: BufReader<File>,
    left: u64,
}

impl Scores for Logits {
    fn expect(&mut self, id: &str) -> Result<Score> {
        let mut bytes = [0; 4];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => self.left -= 1,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(miscounted().record(id)),
            Err(error) => return Err(Error::reading(&self.folder, error)),
        }
        Ok(Score::of(f32::from_le_bytes(bytes)))
    }

    fn expect_end(&mut self) -> Result<()> {
        if self.left == 0 { Ok(()) } else { Err(miscounted()) }
    }
}

fn miscounted() -> Error {
    Error::new(Fault::Count, "the numbers of frames that were cut and scored differ")
}
