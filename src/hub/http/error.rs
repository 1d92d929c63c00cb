//! What servers answer in place of a file, as errors that say what to do.

use std::time::{Duration, SystemTime};

use super::client::text;
use super::exchange::{Broken, Head};
use super::retry::Failed;
use super::url::Url;
use crate::error::{Error, Fault};
use crate::weights::placeholder::Placeholder;

/// Seconds; who wants to be left alone for longer is not waited for either.
const DAY: u64 = 24 * 60 * 60;

/// Where an address comes from, and so what to do when nothing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Origin {
    /// A repository of the hub.
    Hub,
    /// The catalogue of this program.
    Catalogue,
    /// The user.
    User,
}

impl Origin {
    /// What to check first.
    pub(in crate::hub) fn check(self) -> &'static str {
        match self {
            Self::Hub => "check HF_ENDPOINT and the proxy",
            Self::Catalogue => "check the proxy",
            Self::User => "check the address and the proxy",
        }
    }
}

/// The error of an answer that never came, or ended early.
pub(in crate::hub) fn broken(broken: Broken, url: &Url, through: Option<&str>) -> Failed {
    let error = |message: String| {
        let error = Error::new(Fault::Network, message);
        match through {
            Some(proxy) => error.record(format!("through the proxy {proxy}")),
            None => error,
        }
    };
    match broken {
        Broken::Stop(error) => Failed::Finally(error),
        Broken::Silence => Failed::again(
            error(format!("{url} stands still"))
                .advice("try again later: what was downloaded is kept; --timeout sets how long to wait"),
        ),
        Broken::Failure(cause) if is_certificate(&cause) => {
            Failed::Finally(error(format!("no encrypted connection to {url}")).found(cause.to_string()).advice(
                "set SSL_CERT_FILE to the certificates of your system or, where a proxy opens connections, to \
                     the file your network's administrators give out",
            ))
        }
        Broken::Failure(cause) => {
            let message = match &cause {
                _ if is_unknown_host(&cause) && through.is_some() => "there is no host of the proxy's name".to_owned(),
                _ if is_unknown_host(&cause) => format!("there is no host {}", url.host()),
                ureq::Error::ConnectProxyFailed(_) => format!("the proxy does not connect to {}", url.host()),
                ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    format!("{url} cannot be reached")
                }
                _ => format!("the connection to {url} broke"),
            };
            Failed::again(
                error(message)
                    .advice(
                        "check the network and HTTPS_PROXY, then run the same command again: what was downloaded is \
                         kept; on a machine without a network, bring the cache from another (HF_HUB_OFFLINE=1)",
                    )
                    .caused_by(cause),
            )
        }
    }
}

/// Whether a name could not be looked up. The standard library has no kind of error for it.
fn is_unknown_host(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => error.to_string().contains("failed to lookup address"),
        _ => false,
    }
}

fn is_certificate(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// The error of a status. `token` if one was sent.
pub(in crate::hub) fn status(head: &Head, url: &Url, token: bool, origin: Origin) -> Failed {
    let Head { status, headers } = head;
    let says = text(headers, "x-error-message").map(|words| format!(": {words}")).unwrap_or_default();
    let found = format!("HTTP status {status}{says}");
    let refused = |message: String, advice: &str| {
        Failed::Finally(Error::new(Fault::DownloadRefused, message).found(found.clone()).advice(advice))
    };
    match *status {
        401 | 403 if token => refused(
            format!("{url} is refused to this token"),
            "accept the licence on the model's page with your account, or make a new token there that may read it; \
             without HF_TOKEN a public model is open to all; check the name too",
        ),
        401 | 403 if origin != Origin::Hub => refused(
            format!("{url} is not open to all, or not there"),
            "check the address; this program logs in nowhere but at the hub: download the file yourself and give its path",
        ),
        401 | 403 => refused(
            format!("{url} is not open to all, or not there"),
            "check the name; if the model's page asks for it, accept the licence there and set HF_TOKEN to a token of \
             your account",
        ),
        404 | 410 if origin == Origin::User => refused(format!("{url} is not there"), "check the address"),
        404 | 410 if origin == Origin::Catalogue => refused(
            format!("{url} is not there"),
            "its authors have moved or withdrawn it: get the file from them, and give its path",
        ),
        404 | 410 => refused(
            format!("{url} is not there"),
            "check the name and --revision; 'virnucpro models fetch' lists known models; a private model needs HF_TOKEN",
        ),
        407 => refused(
            format!("the proxy wants a password for {url}"),
            "put it into HTTPS_PROXY, as http://user:password@host:port",
        ),
        408 | 425 | 429 | 500..=599 => {
            let after = text(headers, "retry-after").and_then(|value| seconds(value.trim(), SystemTime::now()));
            let wish = after.map(|seconds| format!(", to come back in {seconds} s")).unwrap_or_default();
            let error = Error::new(Fault::Network, format!("{url} is not to be had now"))
                .found(format!("{found}{wish}"))
                .advice("try again later: what was downloaded is kept");
            Failed::Again { error, after: after.map(|seconds| Duration::from_secs(seconds.min(DAY))) }
        }
        _ if origin == Origin::Hub => refused(format!("{url} is refused"), "check the name, HF_ENDPOINT and the proxy"),
        _ => refused(format!("{url} is refused"), origin.check()),
    }
}

/// Seconds that a `Retry-After` stands for: it is a number of them, or a date (RFC 9110, 10.2.3).
fn seconds(value: &str, now: SystemTime) -> Option<u64> {
    value.parse().ok().or_else(|| {
        let left = httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default();
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    })
}

/// Refuses what commonly comes in place of a file with status 200: a web page or a Git-LFS pointer. `start` is the
/// start of the body.
pub(in crate::hub) fn check_start(start: &[u8], url: &Url, origin: Origin) -> Result<(), Error> {
    let Some(other) = Placeholder::of(start) else { return Ok(()) };
    let what = other.name();
    let advice = match (other, origin) {
        (Placeholder::Pointer, Origin::Hub) => {
            "the server holds no content for this file: fetch from another one (HF_ENDPOINT)"
        }
        (Placeholder::Pointer, Origin::Catalogue | Origin::User) => {
            "the address leads to the pointer, not to the file: take the address of its download (on a hub with \
             /resolve/ in it, on GitHub under media.githubusercontent.com)"
        }
        (Placeholder::Page, Origin::Hub) => {
            "log in to your network if it asks for that; check HF_ENDPOINT and the proxy"
        }
        (Placeholder::Page, Origin::Catalogue | Origin::User) => {
            "take the address of the file itself, not of the page about it; log in to your network if it asks for that"
        }
    };
    Err(Error::new(Fault::ModelPointer, format!("{what} comes from {url} in place of a file"))
        .found(what)
        .advice(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_or_lasts_until_a_date() {
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:59:00 GMT").unwrap();
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(59)),
            ("Friday, 31-Dec-99 23:59:59 GMT", Some(59)),
            ("Fri Dec 31 23:59:59 1999", Some(59)),
            ("Fri, 31 Dec 1999 23:58:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(seconds(value, now), expected, "{value}");
        }
        assert_eq!(seconds("Fri, 31 Dec 1999 23:59:59 GMT", now + Duration::from_millis(1)), Some(59));
    }
}
