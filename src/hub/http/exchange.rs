//! One request and its answer, on a thread of its own, so that a silent server never keeps a signal waiting.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::HeaderMap;

use super::error;
use super::retry::Failed;
use super::url::Url;
use crate::error::{Error, Fault, Result};
use crate::runtime::interrupt;

/// The most bytes of a body that are handed over together.
const PIECE: usize = 256 << 10;
/// The most pieces that wait to be taken.
const PIECES: usize = 8;
/// A server that sends fewer bytes than this within the time limit counts as silent.
const LEAST: u64 = 1024;

enum Event {
    Head(AnswerHead),
    Piece(Vec<u8>),
    End,
}

/// Who is talked to.
pub struct Peer {
    pub url: Url,
    /// The proxy between, for events.
    pub through: Option<String>,
}

/// The answer to a request, as it comes in.
pub struct Exchange {
    peer: Peer,
    events: Receiver<Result<Event, ureq::Error>>,
    limit: Duration,
    since: Instant,
    bytes: u64,
}

/// Status and headers of an answer.
pub struct AnswerHead {
    pub status: u16,
    pub headers: HeaderMap,
}

impl Exchange {
    /// Sends a request. `limit` is how long the server may be silent.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(agent: ureq::Agent, request: ureq::http::Request<()>, peer: Peer, limit: Duration) -> Result<Self> {
        let (sender, events) = sync_channel(PIECES);
        let work = move || talk(&agent, request, &sender).unwrap_or_default();
        thread::Builder::new().name("download".to_owned()).spawn(work).map_err(|error| {
            Error::new(Fault::Network, "the system cannot start a thread for a download")
                .advice("end other programs, or raise the limit of processes (ulimit -u)")
                .caused_by(error)
        })?;
        Ok(Self { peer, events, limit, since: Instant::now(), bytes: 0 })
    }

    /// The address that is asked.
    pub fn url(&self) -> &Url {
        &self.peer.url
    }

    /// Waits for status and headers.
    pub fn head(&mut self) -> Result<AnswerHead, Failed> {
        let Event::Head(head) = self.next()? else { return Err(error::silent(&self.peer)) };
        self.since = Instant::now();
        Ok(head)
    }

    /// Waits for the next piece of the body; none at its end.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        match self.next()? {
            Event::Piece(piece) => Ok(Some(piece)),
            Event::Head(_) | Event::End => Ok(None),
        }
    }

    fn next(&mut self) -> Result<Event, Failed> {
        loop {
            interrupt::check()?;
            let piece = match self.events.recv_timeout(interrupt::TICK) {
                Ok(Ok(Event::Piece(piece))) => Some(piece),
                Ok(other) => return other.map_err(|cause| error::broken(cause, &self.peer)),
                Err(RecvTimeoutError::Disconnected) => return Err(error::silent(&self.peer)),
                Err(RecvTimeoutError::Timeout) => None,
            };
            self.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            if self.since.elapsed() >= self.limit {
                if self.bytes < LEAST {
                    return Err(error::silent(&self.peer));
                }
                (self.since, self.bytes) = (Instant::now(), 0);
            }
            if let Some(piece) = piece {
                return Ok(Event::Piece(piece));
            }
        }
    }
}

/// The thread's work. It ends early when nobody listens any more.
fn talk(
    agent: &ureq::Agent,
    request: ureq::http::Request<()>,
    to: &SyncSender<Result<Event, ureq::Error>>,
) -> Option<()> {
    let (head, body) = match agent.run(request) {
        Ok(response) => response.into_parts(),
        Err(error) => return to.send(Err(error)).ok(),
    };
    to.send(Ok(Event::Head(AnswerHead { status: head.status.as_u16(), headers: head.headers }))).ok()?;
    let mut body = body.into_reader();
    loop {
        let mut piece = vec![0; PIECE];
        match body.read(&mut piece) {
            Ok(0) => return to.send(Ok(Event::End)).ok(),
            Ok(n) => {
                piece.truncate(n);
                to.send(Ok(Event::Piece(piece))).ok()?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return to.send(Err(error.into())).ok(),
        }
    }
}
