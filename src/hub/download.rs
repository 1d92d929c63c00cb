//! One file from one address to one place: resumed where it broke off, proved before it has its name.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::http::client::{Announced, Answer, Ask, Client};
use super::http::error::{self, Origin};
use super::http::retry::{Failed, Tries};
use super::http::url::Url;
use super::partial::partial::{Expected, Partial};
use super::partial::sum::Sum;
use crate::error::{Error, Fault, Result};
use crate::runtime::progress::Task;
use crate::weights::placeholder;

/// Most bytes of a file whose size nobody announces.
const MOST_UNANNOUNCED: u64 = 16 << 30;
/// A try that brings this much, or a hundredth of the file, is worth another.
const PROGRESS: u64 = 1 << 20;

/// What to download.
pub(super) struct Wanted<'a> {
    pub(super) url: &'a Url,
    pub(super) target: &'a Path,
    pub(super) expected: Expected,
    /// Where the address comes from.
    pub(super) origin: Origin,
    /// The variable that moves the folder of the target.
    pub(super) by: &'static str,
}

/// An error of writing, with the variable that chooses another folder.
pub(super) fn placed(error: Error, by: &str) -> Error {
    if error.fault() == Fault::Write {
        return error.advice(format!("make this folder writable for this user, or set {by} to another one"));
    }
    error
}

/// Counts the bytes of one file of several.
#[derive(Clone, Copy)]
pub(super) struct Meter<'a> {
    pub(super) task: &'a Task,
    /// Bytes of the files before it.
    pub(super) base: u64,
}

impl Meter<'_> {
    /// Counts `bytes` more of this file.
    pub(super) fn add(&self, bytes: u64) {
        self.task.add(bytes);
    }

    /// `bytes` of this file are there.
    pub(super) fn set(&self, bytes: u64) {
        self.task.set(self.base + bytes);
    }
}

/// Downloads a file. `meter` counts its bytes.
///
/// # Errors
/// [`Fault::Network`], [`Fault::DownloadRefused`], [`Fault::DownloadDigest`], [`Fault::ModelPointer`], and those of
/// writing. The target is untouched then.
pub(super) fn download(client: &Client, wanted: &Wanted, first_wait: Duration, meter: Meter) -> Result<()> {
    if let Some(folder) = wanted.target.parent() {
        fs::create_dir_all(folder).map_err(|error| placed(Error::writing(folder, error), wanted.by))?;
    }
    let mut partial = Partial::open(wanted.target, &wanted.expected).map_err(|error| placed(error, wanted.by))?;
    let outcome = pursue(client, wanted, &mut partial, first_wait, meter);
    if outcome.is_err() && (partial.bytes() == 0 || wanted.expected.sum.is_none()) {
        partial.discard(); // nobody can go on with it
    }
    outcome
}

/// Tries until the file has its name.
fn pursue(client: &Client, wanted: &Wanted, partial: &mut Partial, first_wait: Duration, meter: Meter) -> Result<()> {
    let mut tries = Tries::new(first_wait);
    let mut second = false;
    meter.set(partial.bytes());
    let mut known = Version::default();
    loop {
        let before = partial.bytes();
        let outcome = if partial.is_full() { Ok(()) } else { transfer(client, wanted, partial, &mut known, meter) };
        match outcome {
            Ok(()) => {
                let (proved, found) = partial.proved()?;
                if proved && partial.is_ours() {
                    return partial.publish();
                }
                if !proved {
                    again(wanted, partial, &mut second, || unproved(wanted, found.as_ref()))?;
                }
                known = Version::default();
            }
            Err(Stopped::TooLong) => {
                again(wanted, partial, &mut second, || too_long(wanted))?;
                known = Version::default();
            }
            Err(Stopped::Other(failed)) => {
                if let Failed::Finally(error) = &failed
                    && matches!(error.fault(), Fault::ModelPointer | Fault::DownloadRefused | Fault::DownloadDigest)
                {
                    partial.discard();
                    return tries.wait(failed);
                }
                let gained = partial.bytes().saturating_sub(before);
                if gained > 0 && gained >= PROGRESS.min(wanted.expected.bytes.unwrap_or(u64::MAX) / 100) {
                    tries.progress();
                }
                let lost = !partial.is_ours();
                tries.wait(match failed {
                    Failed::Finally(error) if lost && error.fault() == Fault::Write => Failed::again(error),
                    failed => failed,
                })?;
            }
        }
        if !partial.is_ours() {
            // Another process took the file over while this one stood still; it may be done by now.
            if wanted.expected.holds(wanted.target, &mut |_| ())? {
                return Ok(());
            }
            *partial = Partial::open(wanted.target, &wanted.expected)?;
            known = Version::default();
        }
        meter.set(partial.bytes());
    }
}

/// Wrong bytes are thrown away, and asked for a second time only.
fn again(wanted: &Wanted, partial: &mut Partial, second: &mut bool, error: impl FnOnce() -> Error) -> Result<()> {
    if *second {
        partial.discard();
        return Err(error());
    }
    partial.restart()?;
    log::warn!("{} did not come as it was announced; once more", wanted.url);
    *second = true;
    Ok(())
}

/// What the server said of the file that the bytes so far are of.
#[derive(Default)]
struct Version {
    /// Strong ETag.
    etag: Option<String>,
    /// Size of the whole in bytes.
    total: Option<u64>,
    /// First bytes, which come in pieces of any size.
    start: Vec<u8>,
}

impl Version {
    /// Refuses what is no file of a model by its start. `piece` begins at byte `at`.
    fn check_start(&mut self, at: u64, piece: &[u8], url: &Url, origin: Origin) -> Result<(), Failed> {
        if self.start.len() as u64 != at || self.start.len() >= placeholder::START {
            return Ok(());
        }
        self.start.extend(piece.iter().take(placeholder::START - self.start.len()));
        error::check_start(&self.start, url, origin).map_err(Failed::Finally)
    }
}

/// Why a transfer did not reach its end.
enum Stopped {
    /// More bytes than announced.
    TooLong,
    Other(Failed),
}

impl<E: Into<Failed>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// One request for what is missing.
fn transfer(
    client: &Client,
    wanted: &Wanted,
    partial: &mut Partial,
    known: &mut Version,
    meter: Meter,
) -> Result<(), Stopped> {
    if partial.bytes() > 0 && wanted.expected.sum.is_none() && known.etag.is_none() {
        // Nothing could tell that the rest belongs to what is there.
        partial.restart()?;
        meter.set(0);
        *known = Version::default();
    }
    let ask =
        Ask { url: wanted.url, head: false, from: partial.bytes(), etag: known.etag.as_deref(), origin: wanted.origin };
    let mut answer = client.ask(ask)?;
    agrees(&answer.announced, wanted)?;
    if !continues(&answer, partial.bytes(), known, wanted) {
        let in_part = answer.status == 206 || answer.status == 416;
        partial.restart()?;
        meter.set(0);
        *known = Version::default();
        if in_part {
            // This body is of no use; the next try asks for the whole file.
            let error = Error::new(Fault::Network, format!("{} has changed or gives no parts", answer.url));
            return Err(Failed::again(error.advice("run the same command again")).into());
        }
    }
    known.etag = strong(answer.header("etag"));
    if answer.status == 200 {
        known.total = answer.length();
    }
    let most = match (wanted.expected.bytes, answer.length()) {
        (Some(bytes), _) => bytes,
        (None, Some(rest)) => partial.bytes().saturating_add(rest).min(MOST_UNANNOUNCED),
        (None, None) => MOST_UNANNOUNCED,
    };
    while let Some(piece) = answer.piece()? {
        known.check_start(partial.bytes(), &piece, &answer.url, wanted.origin)?;
        if partial.bytes() + piece.len() as u64 > most {
            return Err(Stopped::TooLong);
        }
        partial.write(&piece)?;
        meter.add(piece.len() as u64);
    }
    let short = wanted.expected.bytes.or(known.total).filter(|bytes| partial.bytes() < *bytes);
    match short {
        // A body that is whole and short is another file; one that broke off goes on.
        Some(_) if answer.length().is_some() && answer.status == 200 => Ok(()),
        Some(bytes) => Err(Failed::again(
            Error::new(Fault::Network, format!("{} broke off", answer.url))
                .found(format!("{} of {bytes} bytes", partial.bytes()))
                .advice("run the same command again: what was downloaded is kept"),
        )
        .into()),
        None if partial.bytes() == 0 && wanted.expected.sum.is_none() => Err(Failed::Finally(
            Error::new(Fault::ModelPointer, format!("nothing comes from {} in place of a file", answer.url))
                .expected("a file with content")
                .found("0 bytes")
                .advice("check the address; try again later"),
        )
        .into()),
        None => Ok(()),
    }
}

/// Whether the body goes on from `from`, or is the start when `from` is 0.
///
/// Where no digest will prove the whole, only a strong ETag and the size tell that both parts are of one version.
fn continues(answer: &Answer, from: u64, known: &Version, wanted: &Wanted) -> bool {
    if from == 0 {
        return answer.status == 200;
    }
    let provable = wanted.expected.sum.is_some();
    let same = match (&known.etag, strong(answer.header("etag"))) {
        (Some(before), Some(now)) => *before == now,
        _ => provable,
    };
    let range = answer.header("content-range").and_then(content_range);
    let place = range.is_some_and(|(start, total)| {
        let same_size = match (total, wanted.expected.bytes.or(known.total)) {
            (Some(total), Some(bytes)) => total == bytes,
            _ => provable,
        };
        start == from && same_size
    });
    answer.status == 206 && same && place
}

/// First byte and size of the whole of `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

/// An ETag that stands for the very bytes.
fn strong(etag: Option<&str>) -> Option<String> {
    etag.map(str::trim).filter(|etag| etag.starts_with('"') && etag.ends_with('"')).map(str::to_owned)
}

/// The hub must say the same of a file in its listing and when it hands it out.
fn agrees(announced: &Announced, wanted: &Wanted) -> Result<()> {
    let same_kind = |a: &Sum, b: &Sum| std::mem::discriminant(a) == std::mem::discriminant(b);
    let (Some(now), Some(before)) = (&announced.sum, &wanted.expected.sum) else { return Ok(()) };
    if now == before || !same_kind(now, before) {
        return Ok(());
    }
    Err(Error::new(Fault::DownloadDigest, format!("{} is not the file that was listed", wanted.url))
        .file(wanted.target)
        .expected(before.to_string())
        .found(now.to_string())
        .advice("run the same command again: the repository may have changed just now"))
}

fn unproved(wanted: &Wanted, found: Option<&Sum>) -> Error {
    let expected = wanted.expected.sum.as_ref().map_or_else(String::new, |sum| format!(" with the digest {sum}"));
    let size = wanted.expected.bytes.map_or_else(|| "a file".to_owned(), |bytes| format!("{bytes} bytes"));
    let error = Error::new(Fault::DownloadDigest, format!("{} is not the file that was announced", wanted.url))
        .file(wanted.target)
        .expected(format!("{size}{expected}"))
        .advice(match wanted.origin {
            Origin::User => {
                "twice these bytes came: make sure that --sha256 is the digest of this very file; else a proxy may hold \
                 a damaged copy: try over another network. Nothing of it was kept"
            }
            Origin::Hub | Origin::Catalogue => {
                "twice the wrong bytes came: a proxy may hold a damaged copy; try again later or over another network. \
                 Nothing of it was kept"
            }
        });
    match found {
        Some(sum) => error.found(format!("the digest {sum}")),
        None => error.found("another size or digest"),
    }
}

fn too_long(wanted: &Wanted) -> Error {
    let size = wanted.expected.bytes.map_or_else(|| "the announced size".to_owned(), |bytes| format!("{bytes} bytes"));
    Error::new(Fault::DownloadDigest, format!("{} is longer than announced", wanted.url))
        .file(wanted.target)
        .expected(size)
        .found("more")
        .advice("try again later or over another network. Nothing of it was kept")
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
