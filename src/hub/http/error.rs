//! What servers answer instead of a file, as errors that say what to do.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use super::client::text;
use super::exchange::{AnswerHead, Peer};
use super::retry::Failed;
use super::url::Url;
use crate::error::{Error, Fault};
use crate::weights::placeholder::Placeholder;

/// Seconds. A server that asks for more is treated as if it asked for this.
const DAY: u64 = 24 * 60 * 60;

/// Who gave an address. What to do about a failure depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBy {
    /// The hub, for a file of a repository.
    Hub,
    /// The catalogue of this program.
    Catalogue,
    /// The user.
    User,
}

impl GivenBy {
    /// What to check first.
    pub fn check(self) -> &'static str {
        match self {
            Self::Hub => "check HF_ENDPOINT and the proxy",
            Self::Catalogue => "check the proxy",
            Self::User => "check the address and the proxy",
        }
    }
}

/// The error for a server that sends nothing, or hardly anything, within the time limit.
pub fn silent(peer: &Peer) -> Failed {
    let advice = "try again later: what was downloaded is kept; --timeout sets how long to wait";
    Failed::again(network(format!("{} has stopped sending", peer.url), peer).advice(advice))
}

/// The error for a connection that failed or ended early.
pub fn broken(cause: ureq::Error, peer: &Peer) -> Failed {
    let Peer { url, through } = peer;
    if is_certificate(&cause) {
        let error = network(format!("cannot connect to {url} securely"), peer);
        return Failed::Finally(error.found(cause.to_string()).advice(
            "set SSL_CERT_FILE to the certificates of your system or, if a proxy decrypts connections, to the file that \
             your network's administrators give out",
        ));
    }
    let message = match &cause {
        _ if is_unknown_host(&cause) && through.is_some() => "the host of the proxy is unknown".to_owned(),
        _ if is_unknown_host(&cause) => format!("the host {} is unknown", url.host()),
        ureq::Error::ConnectProxyFailed(_) => format!("the proxy does not connect to {}", url.host()),
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => format!("{url} cannot be reached"),
        _ => format!("the connection to {url} broke"),
    };
    let advice = "check the network and HTTPS_PROXY, then run the same command again: what was downloaded is kept; for a \
                  machine without a network, copy the cache from another one (HF_HUB_OFFLINE=1)";
    Failed::again(network(message, peer).advice(advice).caused_by(cause))
}

fn network(message: String, peer: &Peer) -> Error {
    let error = Error::new(Fault::Network, message);
    match &peer.through {
        Some(proxy) => error.record(format!("through the proxy {proxy}")),
        None => error,
    }
}

/// Whether a host name could not be looked up. The standard library has no kind of error for that.
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
        ureq::Error::Io(error) => error.kind() == ErrorKind::InvalidData,
        _ => false,
    }
}

/// The error for a status. `with_token` if a token was sent.
pub fn status(head: &AnswerHead, url: &Url, with_token: bool, given_by: GivenBy) -> Failed {
    use GivenBy::{Catalogue, Hub, User};
    let AnswerHead { status, headers } = head;
    let says = text(headers, "x-error-message").map(|words| format!(": {words}")).unwrap_or_default();
    let found = format!("HTTP status {status}{says}");
    let (message, advice) = match (*status, given_by) {
        (408 | 425 | 429 | 500..=599, _) => {
            let after = text(headers, "retry-after").and_then(|value| seconds(value.trim(), SystemTime::now()));
            let wish = after.map(|seconds| format!(", to come back in {seconds} s")).unwrap_or_default();
            let error = Error::new(Fault::Network, format!("{url} is not available now"))
                .found(format!("{found}{wish}"))
                .advice("try again later: what was downloaded is kept");
            return Failed::Again { error, after: after.map(|seconds| Duration::from_secs(seconds.min(DAY))) };
        }
        (401 | 403, _) if with_token => (
            "is refused to this token",
            "accept the licence on the model's page with your account, or create a new token there that may read it; a \
             public model needs no HF_TOKEN; check the name too",
        ),
        (401 | 403, Hub) => (
            "is not public, or does not exist",
            "check the name; if the model's page asks for it, accept the licence there and set HF_TOKEN to a token of \
             your account",
        ),
        (401 | 403, Catalogue | User) => (
            "is not public, or does not exist",
            "check the address; this program logs in at the hub only: download the file yourself and give its path",
        ),
        (404 | 410, Hub) => (
            "does not exist",
            "check the name and --revision; 'virnucpro models fetch' lists known models; a private model needs HF_TOKEN",
        ),
        (404 | 410, Catalogue) => {
            ("does not exist", "its authors have moved or withdrawn it: get the file from them, and give its path")
        }
        (404 | 410, User) => ("does not exist", "check the address"),
        (407, _) => ("needs a password for the proxy", "put it into HTTPS_PROXY, as http://user:password@host:port"),
        (_, Hub) => ("is refused", "check the name, HF_ENDPOINT and the proxy"),
        (_, Catalogue | User) => ("is refused", given_by.check()),
    };
    Failed::Finally(Error::new(Fault::DownloadRefused, format!("{url} {message}")).found(found).advice(advice))
}

/// Seconds that `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3).
fn seconds(value: &str, now: SystemTime) -> Option<u64> {
    value.parse().ok().or_else(|| {
        let left = httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default();
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    })
}

/// Refuses what servers send instead of a file with status 200: a web page or a Git-LFS pointer. `start` is the start
/// of the body.
pub fn check_start(start: &[u8], url: &Url, given_by: GivenBy) -> Result<(), Error> {
    let Some(other) = Placeholder::of(start) else { return Ok(()) };
    let what = other.name();
    let advice = match (other, given_by) {
        (Placeholder::Pointer, GivenBy::Hub) => {
            "the server holds no content for this file: fetch from another one (HF_ENDPOINT)"
        }
        (Placeholder::Pointer, GivenBy::Catalogue | GivenBy::User) => {
            "this is the address of the pointer, not of the file: use the address of its download (on a hub with \
             /resolve/ in it, on GitHub under media.githubusercontent.com)"
        }
        (Placeholder::Page, GivenBy::Hub) => {
            "log in to your network if it asks for that; check HF_ENDPOINT and the proxy"
        }
        (Placeholder::Page, GivenBy::Catalogue | GivenBy::User) => {
            "use the address of the file itself, not of the page about it; log in to your network if it asks for that"
        }
    };
    Err(Error::new(Fault::ModelPointer, format!("{url} sends {what} instead of a file")).found(what).advice(advice))
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
