//! One file from one address to one place: resumed where it broke off, proved before it gets its name.

mod leftover;
mod partial;

use std::path::Path;

pub(super) use self::leftover::leftover_bytes;

use self::partial::Partial;
use super::expected::Expected;
use super::http::client::{Answer, Ask, Client};
use super::http::error::{GivenBy, check_start};
use super::http::retry::{Failed, Tries};
use super::http::url::Url;
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::TaskProgress;
use crate::weights::placeholder;

/// The most bytes of a file whose size nobody announces.
const MOST_UNANNOUNCED: u64 = 16 << 30;
/// A try that brings this much, or a hundredth of the file, makes up for earlier failures.
const PROGRESS: u64 = 1 << 20;

/// What to download.
pub(super) struct Wanted<'a> {
    pub(super) url: &'a Url,
    pub(super) target: &'a Path,
    pub(super) expected: Expected,
    pub(super) given_by: GivenBy,
}

/// Counts the bytes of one file among several.
#[derive(Clone, Copy)]
pub(super) struct FileProgress<'a> {
    pub(super) task: &'a TaskProgress,
    /// Bytes of the files before it.
    pub(super) base: u64,
}

impl FileProgress<'_> {
    /// So many bytes of this file are there.
    pub(super) fn set(&self, bytes: u64) {
        self.task.set(self.base + bytes);
    }
}

/// Downloads a file.
///
/// # Errors
/// [`Fault::Network`], [`Fault::DownloadRefused`], [`Fault::DownloadDigest`], [`Fault::ModelPointer`], and those of
/// writing. The target is left as it was.
pub(super) fn download(client: &Client, wanted: &Wanted, progress: FileProgress) -> Result<()> {
    let partial = Partial::open(wanted.target, &wanted.expected)?;
    let mut download = Download { client, wanted, progress, partial, version: Version::default() };
    let outcome = download.run(client.tries());
    if let Err(error) = &outcome {
        let wrong = [Fault::ModelPointer, Fault::DownloadRefused, Fault::DownloadDigest].contains(&error.fault());
        if wrong || download.partial.bytes() == 0 || wanted.expected.sum.is_none() {
            download.partial.discard(); // of no use to a later process
        }
    }
    outcome
}

/// A download under way.
struct Download<'a> {
    client: &'a Client,
    wanted: &'a Wanted<'a>,
    progress: FileProgress<'a>,
    partial: Partial,
    version: Version,
}

/// What the server said of the file that the bytes so far belong to.
#[derive(Default)]
struct Version {
    /// Strong ETag.
    etag: Option<String>,
    /// Size of the whole file in bytes.
    total: Option<u64>,
    /// First bytes, which may arrive in small pieces.
    start: Vec<u8>,
}

impl Download<'_> {
    /// Tries until the file has its name.
    fn run(&mut self, mut tries: Tries) -> Result<()> {
        loop {
            let before = self.partial.bytes();
            self.progress.set(before);
            match self.attempt() {
                Ok(()) if self.partial.is_ours() => return self.partial.publish(),
                Ok(()) => {}
                Err(failed) => {
                    if matches!(failed, Failed::Wrong(_)) {
                        self.restart()?;
                    }
                    let enough = PROGRESS.min(self.wanted.expected.bytes.unwrap_or(u64::MAX) / 100).max(1);
                    if self.partial.bytes().saturating_sub(before) >= enough {
                        tries.progress();
                    }
                    tries.wait(failed)?;
                }
            }
            if !self.partial.is_ours() {
                // Another process took the file over while this one was silent; it may be done by now.
                if self.wanted.expected.holds(self.wanted.target)? {
                    return Ok(());
                }
                self.partial = Partial::open(self.wanted.target, &self.wanted.expected)?;
                self.version = Version::default();
            }
        }
    }

    /// Downloads what is missing, and proves the whole.
    fn attempt(&mut self) -> Result<(), Failed> {
        if !self.partial.is_full() {
            self.transfer()?;
        }
        match self.partial.mismatch()? {
            Some(found) => Err(self.wrong(found)),
            None => Ok(()),
        }
    }

    /// Forgets what has come.
    fn restart(&mut self) -> Result<()> {
        self.version = Version::default();
        self.progress.set(0);
        self.partial.restart()
    }

    /// One request for what is missing.
    fn transfer(&mut self) -> Result<(), Failed> {
        let Wanted { url, expected, given_by, .. } = self.wanted;
        let provable = expected.sum.is_some();
        if self.partial.bytes() > 0 && !provable && self.version.etag.is_none() {
            self.restart()?; // nothing could tell that the rest belongs to what is there
        }
        let (from, etag) = (self.partial.bytes(), self.version.etag.as_deref());
        let mut answer = self.client.ask(Ask { url, headers_only: false, from, etag, given_by: *given_by })?;
        self.check_announced(&answer)?;
        if !self.continues(&answer) {
            self.restart()?;
            if matches!(answer.status, 206 | 416) {
                // This body is of no use; the next try asks for the whole file.
                let error = Error::new(Fault::Network, format!("{} has changed or is not sent in parts", answer.url()));
                return Err(Failed::again(error.advice("run the same command again")));
            }
        }
        self.version.etag = strong(answer.header("etag"));
        if answer.status == 200 {
            self.version.total = answer.length();
        }
        let most = match (expected.bytes, answer.length()) {
            (Some(bytes), _) => bytes,
            (None, Some(rest)) => self.partial.bytes().saturating_add(rest).min(MOST_UNANNOUNCED),
            (None, None) => MOST_UNANNOUNCED,
        };
        while let Some(piece) = answer.piece()? {
            self.check_start(&piece, answer.url())?;
            if self.partial.bytes() + piece.len() as u64 > most {
                return Err(self.wrong(format!("more than {most} bytes")));
            }
            self.partial.write(&piece)?;
            self.progress.task.add(piece.len() as u64);
        }
        let bytes = self.partial.bytes();
        match expected.bytes.or(self.version.total).filter(|total| bytes < *total) {
            // A complete body that is too short is another file; one that broke off is continued.
            Some(_) if answer.length().is_some() && answer.status == 200 => Ok(()),
            Some(total) => Err(Failed::again(
                Error::new(Fault::Network, format!("{} broke off", answer.url()))
                    .found(format!("{bytes} of {total} bytes"))
                    .advice("run the same command again: what was downloaded is kept"),
            )),
            None if bytes == 0 && !provable => {
                Err(Error::new(Fault::ModelPointer, format!("{} sends an empty file", answer.url()))
                    .expected("a file with content")
                    .found("0 bytes")
                    .advice("check the address; try again later")
                    .into())
            }
            None => Ok(()),
        }
    }

    /// Refuses what cannot be a file of a model by its start. `piece` is what comes next.
    fn check_start(&mut self, piece: &[u8], url: &Url) -> Result<()> {
        let start = &mut self.version.start;
        if start.len() as u64 != self.partial.bytes() || start.len() >= placeholder::START {
            return Ok(());
        }
        start.extend(piece.iter().take(placeholder::START - start.len()));
        check_start(start, url, self.wanted.given_by)
    }

    /// Whether the body continues what is there, or is the start if nothing is.
    ///
    /// If no checksum will prove the whole, only a strong ETag and the size tell that both parts are of one version.
    fn continues(&self, answer: &Answer) -> bool {
        let (from, provable) = (self.partial.bytes(), self.wanted.expected.sum.is_some());
        if from == 0 {
            return answer.status == 200;
        }
        let same_version = match (&self.version.etag, strong(answer.header("etag"))) {
            (Some(before), Some(now)) => *before == now,
            _ => provable,
        };
        let fits = answer.header("content-range").and_then(content_range).is_some_and(|(start, total)| {
            let same_size = match (total, self.wanted.expected.bytes.or(self.version.total)) {
                (Some(total), Some(bytes)) => total == bytes,
                _ => provable,
            };
            start == from && same_size
        });
        answer.status == 206 && same_version && fits
    }

    /// The hub must say the same of a file in its listing and when it sends it.
    fn check_announced(&self, answer: &Answer) -> Result<()> {
        let (Some(now), Some(before)) = (&answer.announced.sum, &self.wanted.expected.sum) else { return Ok(()) };
        if now == before || std::mem::discriminant(now) != std::mem::discriminant(before) {
            return Ok(());
        }
        Err(Error::new(Fault::DownloadDigest, format!("{} is not the file that was listed", self.wanted.url))
            .file(self.wanted.target)
            .expected(before.to_string())
            .found(now.to_string())
            .advice("run the same command again: the repository may have just changed"))
    }

    fn wrong(&self, found: String) -> Failed {
        let Expected { bytes, sum } = &self.wanted.expected;
        let size = bytes.map_or_else(|| "a file".to_owned(), |bytes| format!("{bytes} bytes"));
        let sum = sum.as_ref().map_or_else(String::new, |sum| format!(" with the digest {sum}"));
        let advice = match self.wanted.given_by {
            GivenBy::User => {
                "these bytes came twice: make sure that --sha256 is the digest of this very file; if it is, a proxy may \
                 hold a damaged copy: try another network. Nothing of it was kept"
            }
            GivenBy::Hub | GivenBy::Catalogue => {
                "the wrong bytes came twice: a proxy may hold a damaged copy; try again later or over another network. \
                 Nothing of it was kept"
            }
        };
        Failed::Wrong(
            Error::new(Fault::DownloadDigest, format!("{} is not the file that was announced", self.wanted.url))
                .file(self.wanted.target)
                .expected(format!("{size}{sum}"))
                .found(found)
                .advice(advice),
        )
    }
}

/// First byte and size of the whole from `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

/// An ETag that stands for these very bytes.
fn strong(etag: Option<&str>) -> Option<String> {
    etag.map(str::trim).filter(|etag| etag.starts_with('"') && etag.ends_with('"')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_part_is_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes */10", "items 5-9/10", "bytes x-9/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_strong_etag_vouches_for_bytes() {
        assert_eq!(strong(Some("\"a\"")).as_deref(), Some("\"a\""));
        assert_eq!(strong(Some("W/\"a\"")), None);
        assert_eq!(strong(None), None);
    }
}
