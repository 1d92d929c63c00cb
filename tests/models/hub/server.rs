//! A small HTTP server on the loopback device: what it answers is up to the test, what it was asked is kept.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub at: Instant,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First byte asked for.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Bytes of the body after which the connection ends.
    pub cut: Option<usize>,
    /// The connection stays open after the cut for so long, and nothing comes.
    pub silence: Duration,
    /// Bytes that are sent at once, and the time between.
    pub pace: Option<(usize, Duration)>,
    /// Length that is announced; that of the body if none is given.
    pub length: Option<u64>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let (body, headers) = (body.into(), Vec::new());
        Self { status, headers, body, cut: None, silence: Duration::ZERO, pace: None, length: None }
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub fn paced(mut self, bytes: usize, pause: Duration) -> Self {
        self.pace = Some((bytes, pause));
        self
    }

    fn send(&self, to: &mut TcpStream, head: bool) -> std::io::Result<()> {
        let length = self.length.unwrap_or(self.body.len() as u64);
        let mut text = format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {length}\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        to.write_all(format!("{text}\r\n").as_bytes())?;
        if head {
            return Ok(());
        }
        let body = &self.body[..self.cut.unwrap_or(self.body.len()).min(self.body.len())];
        let (bytes, pause) = self.pace.unwrap_or((body.len().max(1), Duration::ZERO));
        for piece in body.chunks(bytes) {
            to.write_all(piece)?;
            to.flush()?;
            thread::sleep(pause);
        }
        thread::sleep(self.silence);
        Ok(())
    }
}

/// A running server; ends with the value.
pub struct Server {
    pub host: &'static str,
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request with what `answer` gives.
    pub fn start(host: &'static str, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(host, move |request, mut stream| {
            let reply = answer(request);
            // The client may have gone.
            let _ = reply.send(&mut stream, request.method == "HEAD");
            let _ = stream.shutdown(std::net::Shutdown::Write);
            // Closing with unread bytes would take back what was sent.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            let _ = stream.read(&mut [0; 64]);
        })
    }

    /// A proxy that connects to where it is asked to, and to nothing else.
    pub fn proxy() -> Self {
        Self::serve("127.0.0.1", |request, mut stream| {
            let Ok(mut server) = TcpStream::connect(&request.target) else { return };
            let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
            let (mut from, mut to) = (stream.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let _ = std::io::copy(&mut server, &mut stream);
        })
    }

    fn serve(host: &'static str, work: impl Fn(&Request, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, ended) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let (log, end, work) = (Arc::clone(&seen), Arc::clone(&ended), Arc::new(work));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (log, work) = (Arc::clone(&log), Arc::clone(&work));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    log.lock().unwrap().push(request.clone());
                    work(&request, stream);
                });
            }
        });
        Self { host, port, seen, ended, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// What was asked for a target that holds `part`.
    pub fn asked(&self, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.target.contains(part)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((self.host, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Some(Request { method, target, headers, at: Instant::now() })
}
