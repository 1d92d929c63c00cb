//! One request and its answer, on a thread of its own: a server that says nothing never keeps a signal waiting.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::HeaderMap;

use crate::error::{Error, Fault, Result};
use crate::runtime::interrupt;

/// Bytes of a body that travel together, at most; so many pieces are on their way.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;
/// Time between two looks for a signal.
const TICK: Duration = Duration::from_millis(100);
/// A server that sends fewer bytes than this within the time limit stands still.
const LEAST: u64 = 1024;

enum Message {
    Head(u16, HeaderMap),
    Piece(Vec<u8>),
    End,
    Failed(ureq::Error),
}

/// The answer to a request, as it comes in.
pub(in crate::hub) struct Exchange {
    messages: Receiver<Message>,
    limit: Duration,
    since: Instant,
    bytes: u64,
}

/// Status and headers of an answer.
pub(in crate::hub) struct Head {
    pub(in crate::hub) status: u16,
    pub(in crate::hub) headers: HeaderMap,
}

/// Why an answer did not come.
pub(in crate::hub) enum Broken {
    /// No bytes, or hardly any, within the time limit.
    Silence,
    /// The connection failed or ended early.
    Failure(ureq::Error),
    /// A signal has arrived, or the machine has no thread left.
    Stop(Error),
}

impl Exchange {
    /// Sends a request. `limit` is how long the server may stand still.
    pub(in crate::hub) fn start(agent: ureq::Agent, request: ureq::http::Request<()>, limit: Duration) -> Result<Self> {
        let (sender, messages) = sync_channel(PIECES);
        let work = move || talk(&agent, request, &sender).unwrap_or_default();
        thread::Builder::new().name("download".to_owned()).spawn(work).map_err(|error| {
            Error::new(Fault::Network, "no thread can be started for a download")
                .advice("end other programs, or raise the limit of processes (ulimit -u)")
                .caused_by(error)
        })?;
        Ok(Self { messages, limit, since: Instant::now(), bytes: 0 })
    }

    /// Waits for status and headers.
    pub(in crate::hub) fn head(&mut self) -> Result<Head, Broken> {
        match self.next()? {
            Message::Head(status, headers) => {
                self.since = Instant::now();
                Ok(Head { status, headers })
            }
            Message::Failed(error) => Err(Broken::Failure(error)),
            Message::Piece(_) | Message::End => Err(Broken::Silence),
        }
    }

    /// Waits for the next piece of the body; nothing at its end.
    pub(in crate::hub) fn piece(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match self.next()? {
            Message::Piece(piece) => Ok(Some(piece)),
            Message::Failed(error) => Err(Broken::Failure(error)),
            Message::Head(..) | Message::End => Ok(None),
        }
    }

    fn next(&mut self) -> Result<Message, Broken> {
        loop {
            interrupt::check().map_err(Broken::Stop)?;
            let message = match self.messages.recv_timeout(TICK) {
                Ok(Message::Piece(piece)) => {
                    self.bytes += piece.len() as u64;
                    Some(Message::Piece(piece))
                }
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Disconnected) => return Err(Broken::Silence),
                Err(RecvTimeoutError::Timeout) => None,
            };
            if self.since.elapsed() >= self.limit {
                if self.bytes < LEAST {
                    return Err(Broken::Silence);
                }
                (self.since, self.bytes) = (Instant::now(), 0);
            }
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }
}

/// The thread's work. Ends early when nobody listens any more.
fn talk(agent: &ureq::Agent, request: ureq::http::Request<()>, to: &SyncSender<Message>) -> Option<()> {
    let (head, body) = match agent.run(request) {
        Ok(response) => response.into_parts(),
        Err(error) => return to.send(Message::Failed(error)).ok(),
    };
    to.send(Message::Head(head.status.as_u16(), head.headers)).ok()?;
    let mut body = body.into_reader();
    loop {
        let mut piece = vec![0; PIECE];
        match body.read(&mut piece) {
            Ok(0) => return to.send(Message::End).ok(),
            Ok(n) => {
                piece.truncate(n);
                to.send(Message::Piece(piece)).ok()?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return to.send(Message::Failed(error.into())).ok(),
        }
    }
}
