//! Requests: redirects followed by hand, so that the token goes to the hub and nowhere else.

use std::time::Duration;

use ureq::http::{HeaderMap, Request, header};

use super::access::Access;
use super::error::{self, GivenBy};
use super::exchange::{Exchange, Peer};
use super::retry::{Failed, Tries, persist};
use super::url::Url;
use crate::error::{Error, Fault, Result};
use crate::hub::expected::Expected;
use crate::weights::hub_cache::Checksum;

/// The most redirects of one request.
const REDIRECTS: usize = 6;
/// The longest time to open a connection.
const CONNECT: Duration = Duration::from_secs(30);

/// Asks servers.
pub struct Client {
    agent: ureq::Agent,
    access: Access,
    patience: Patience,
}

/// How patient to be with a server.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long it may be silent.
    pub timeout: Duration,
    /// Wait after the first failure; it doubles each time.
    pub first_wait: Duration,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub url: &'a Url,
    /// Only the headers.
    pub headers_only: bool,
    /// First byte wanted.
    pub from: u64,
    /// Only if the file still has this ETag; else the whole.
    pub etag: Option<&'a str>,
    /// Where the address comes from.
    pub given_by: GivenBy,
}

/// An answer whose body is still to come.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// What the hub says of the file, before it sends the client elsewhere.
    pub announced: Expected,
    exchange: Exchange,
}

impl Client {
    /// Address of the hub.
    pub fn endpoint(&self) -> &Url {
        &self.access.endpoint
    }

    /// A client that opens no connection yet.
    pub fn new(access: Access, patience: Patience) -> Self {
        let limit = patience.timeout;
        let roots = ureq::tls::RootCerts::PlatformVerifier; // respects SSL_CERT_FILE and SSL_CERT_DIR
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("virnucpro/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(CONNECT.min(limit)))
            .timeout_per_read(Some(limit))
            .timeout_per_write(Some(limit))
            .build();
        Self { agent: config.into(), access, patience }
    }

    /// A text of at most `most` bytes from an address of the hub.
    ///
    /// # Errors
    /// [`Fault::Network`], [`Fault::DownloadRefused`], or a signal has arrived.
    pub fn text(&self, url: &Url, most: usize) -> Result<Vec<u8>> {
        let ask = Ask { url, headers_only: false, from: 0, etag: None, given_by: GivenBy::Hub };
        persist(self.tries(), || self.ask(ask)?.read(most))
    }

    /// What the headers of an address of the hub say of the file.
    ///
    /// # Errors
    /// Those of [`Self::text`].
    pub fn announced(&self, url: &Url) -> Result<Expected> {
        let ask = Ask { url, headers_only: true, from: 0, etag: None, given_by: GivenBy::Hub };
        persist(self.tries(), || Ok(self.ask(ask)?.announced))
    }

    /// Tries of one thing.
    pub fn tries(&self) -> Tries {
        Tries::new(self.patience.first_wait)
    }

    /// Asks, and follows redirects. Returns successful answers, and status 416 if a part was asked for.
    pub fn ask(&self, ask: Ask) -> Result<Answer, Failed> {
        let mut url = ask.url.clone();
        let mut announced = Expected::default();
        for _ in 0..=REDIRECTS {
            let peer = Peer { url: url.clone(), through: self.access.proxies.of(&url).map(|via| via.shown()) };
            let mut exchange =
                Exchange::start(self.agent.clone(), self.request(&ask, &url)?, peer, self.patience.timeout)?;
            let head = exchange.head()?;
            if url.same_origin(&self.access.endpoint) {
                announced = announced_by(&head.headers, ask.headers_only && head.status == 200).or(announced);
            }
            if matches!(head.status, 301 | 302 | 303 | 307 | 308) {
                let next = redirected(&url, &head.headers, ask.given_by)?;
                // Whoever asks for headers only has all of them once the hub sends to another server.
                let complete = announced.sum.is_some() && announced.bytes.is_some();
                if !(ask.headers_only && complete && !next.same_origin(&self.access.endpoint)) {
                    url = next;
                    continue;
                }
            } else if !((200..300).contains(&head.status) || (head.status == 416 && ask.from > 0)) {
                return Err(error::status(&head, &url, self.access.token_for(&url).is_some(), ask.given_by));
            }
            return Ok(Answer { status: head.status, headers: head.headers, announced, exchange });
        }
        Err(Failed::Finally(
            Error::new(Fault::Network, format!("{} redirects in a circle", ask.url))
                .expected(format!("at most {REDIRECTS} redirects"))
                .found(format!("one more, at {url}"))
                .advice(format!("{}; try again later", ask.given_by.check())),
        ))
    }

    fn request(&self, ask: &Ask, url: &Url) -> Result<Request<()>> {
        let refused = |error: ureq::http::Error| {
            Error::new(Fault::Network, format!("{url} cannot be requested")).caused_by(error)
        };
        let mut request =
            Request::builder().method(if ask.headers_only { "HEAD" } else { "GET" }).uri(url.for_request());
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
            if let Some(etag) = ask.etag {
                request = request.header(header::IF_RANGE, etag);
            }
        }
        if let Some(token) = self.access.token_for(url) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        let request = request.body(()).map_err(refused)?;
        let via = self.access.proxies.of(url).map(|via| via.proxy());
        Ok(self.agent.configure_request(request).proxy(via).build())
    }
}

fn redirected(from: &Url, headers: &HeaderMap, given_by: GivenBy) -> Result<Url> {
    let wrong = |found: String| {
        Error::new(Fault::Network, format!("{from} redirects to an address that is not allowed"))
            .found(found)
            .advice(given_by.check())
    };
    let location = text(headers, "location")
        .filter(|location| !location.trim().is_empty())
        .ok_or_else(|| wrong("no address".to_owned()))?;
    let next = from.join(location).map_err(wrong)?;
    if from.is_secure() && !next.is_secure() {
        return Err(wrong(format!("{next}, without encryption")));
    }
    Ok(next)
}

/// What one answer of the hub says of a file. `whole` if it describes the file itself, not a redirect.
fn announced_by(headers: &HeaderMap, whole: bool) -> Expected {
    let sum = |name| text(headers, name).and_then(Checksum::parse);
    let length = number(headers, "content-length").filter(|_| whole);
    Expected { bytes: number(headers, "x-linked-size").or(length), sum: sum("x-linked-etag").or_else(|| sum("etag")) }
}

impl Answer {
    /// The next piece of the body; none at its end.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        self.exchange.piece()
    }

    /// The address that answered in the end.
    pub fn url(&self) -> &Url {
        self.exchange.url()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// Size of the body in bytes, if it is announced.
    pub fn length(&self) -> Option<u64> {
        number(&self.headers, "content-length")
    }

    /// A whole body of at most `most` bytes.
    fn read(mut self, most: usize) -> Result<Vec<u8>, Failed> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece()? {
            if body.len() + piece.len() > most {
                return Err(Failed::Finally(
                    Error::new(Fault::Network, format!("the answer from {} is too long", self.url()))
                        .expected(format!("at most {most} bytes"))
                        .found("more")
                        .advice("check HF_ENDPOINT"),
                ));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(from: &str, location: &str) -> Result<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        redirected(&from.parse().unwrap(), &headers, GivenBy::Hub).map(|url| url.for_request())
    }

    #[test]
    fn a_redirect_never_gives_up_encryption() {
        assert_eq!(next("https://h.org/a", "https://o.org/b?c").unwrap(), "https://o.org/b?c");
        assert_eq!(next("http://h.org/a", "https://o.org/b").unwrap(), "https://o.org/b");
        let error = next("https://h.org/a", "http://h.org/a?signature").unwrap_err();
        let report = error.report("virnucpro");
        assert!(report.contains("without encryption") && !report.contains("signature"), "{report}");
    }

    #[test]
    fn what_the_hub_says_of_a_large_file_comes_before_what_it_says_of_the_answer() {
        let (large, small) = ("a".repeat(64), "b".repeat(40));
        let mut headers = HeaderMap::new();
        headers.insert("etag", format!("W/\"{small}\"").parse().unwrap());
        headers.insert("content-length", "7".parse().unwrap());
        let announced = |headers: &HeaderMap, whole| {
            let Expected { bytes, sum } = announced_by(headers, whole);
            (sum, bytes)
        };
        assert_eq!(announced(&headers, false), (Checksum::parse(&small), None));
        assert_eq!(announced(&headers, true), (Checksum::parse(&small), Some(7)));
        headers.insert("x-linked-etag", format!("\"{large}\"").parse().unwrap());
        headers.insert("x-linked-size", "9".parse().unwrap());
        assert_eq!(announced(&headers, true), (Checksum::parse(&large), Some(9)));
    }
}
