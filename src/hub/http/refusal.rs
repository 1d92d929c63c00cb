//! What servers answer in place of a file, as errors that say what to do.

use std::time::Duration;

use ureq::http::HeaderMap;

use super::client::text;
use super::exchange::Broken;
use super::retry::Failed;
use super::url::Url;
use crate::error::{Error, Fault};
use crate::lookalike::Lookalike;

/// Seconds; who wants to be left alone for longer is not waited for either.
const DAY: u64 = 24 * 60 * 60;

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
                ureq::Error::HostNotFound => format!("there is no host {}", url.host()),
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

fn is_certificate(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// The error of a status. `token` if one was sent.
pub(in crate::hub) fn status(status: u16, headers: &HeaderMap, url: &Url, token: bool) -> Failed {
    let says = text(headers, "x-error-message").map(|words| format!(": {words}")).unwrap_or_default();
    let found = format!("HTTP status {status}{says}");
    let refused = |message: String, advice: &str| {
        Failed::Finally(Error::new(Fault::DownloadRefused, message).found(found.clone()).advice(advice))
    };
    match status {
        401 | 403 if token => refused(
            format!("{url} is refused to this token"),
            "accept the licence on the model's page with your account, or make a new token there that may read it; \
             without HF_TOKEN a public model is open to all; check the name too",
        ),
        401 | 403 => refused(
            format!("{url} is not open to all, or not there"),
            "check the name; if the model's page asks for it, accept the licence there and set HF_TOKEN to a token of \
             your account",
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
            let after = text(headers, "retry-after").and_then(|value| value.trim().parse().ok());
            let wish = after.map(|seconds: u64| format!(", to come back in {seconds} s")).unwrap_or_default();
            let error = Error::new(Fault::Network, format!("{url} is not to be had now"))
                .found(format!("{found}{wish}"))
                .advice("try again later: what was downloaded is kept");
            Failed::Again { error, after: after.map(|seconds| Duration::from_secs(seconds.min(DAY))) }
        }
        _ => refused(format!("{url} is refused"), "check the name, HF_ENDPOINT and the proxy"),
    }
}

/// Refuses what commonly comes in place of a file with status 200: a web page or a Git-LFS pointer. `start` is the
/// start of the body.
pub(in crate::hub) fn check_start(start: &[u8], url: &Url) -> Result<(), Error> {
    let Some(other) = Lookalike::of(start) else { return Ok(()) };
    let what = other.name();
    let advice = match other {
        Lookalike::Pointer => "the server holds no content for this file: fetch from another one (HF_ENDPOINT)",
        Lookalike::Page => {
            "check the address: it may lead to a page about the file; log in to your network if it asks for that; check \
             HF_ENDPOINT and the proxy"
        }
    };
    Err(Error::new(Fault::ModelPointer, format!("{what} comes from {url} in place of a file"))
        .found(what)
        .advice(advice))
}
