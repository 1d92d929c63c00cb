//! Requests: redirects followed by hand, so that the token goes to the hub and nowhere else.

use std::time::Duration;

use ureq::http::{HeaderMap, Request, header};

use super::error::{self, Origin};
use super::exchange::Exchange;
use super::retry::Failed;
use super::url::Url;
use crate::error::{Error, Fault, Result};
use crate::hub::credentials::{Credentials, Token};
use crate::hub::partial::sum::Sum;

/// Most redirects of one request.
const REDIRECTS: usize = 6;
/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(30);

/// Asks servers.
pub(in crate::hub) struct Client {
    agent: ureq::Agent,
    access: Credentials,
    limit: Duration,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub(in crate::hub) struct Ask<'a> {
    /// Where.
    pub(in crate::hub) url: &'a Url,
    /// Headers only.
    pub(in crate::hub) head: bool,
    /// First byte wanted.
    pub(in crate::hub) from: u64,
    /// The rest is wanted only if the file still has this ETag.
    pub(in crate::hub) etag: Option<&'a str>,
    /// Where the address comes from.
    pub(in crate::hub) origin: Origin,
}

impl<'a> Ask<'a> {
    /// For all of an address of the hub.
    pub(in crate::hub) fn whole(url: &'a Url) -> Self {
        Self { url, head: false, from: 0, etag: None, origin: Origin::Hub }
    }
}

/// What the hub itself says of a file, before it sends the client elsewhere.
#[derive(Clone, Debug, Default)]
pub(in crate::hub) struct Announced {
    /// Digest: of the file in LFS, else of the file in Git.
    pub(in crate::hub) sum: Option<Sum>,
    /// Size in bytes.
    pub(in crate::hub) bytes: Option<u64>,
}

/// An answer whose body is still to come.
pub(in crate::hub) struct Answer {
    pub(in crate::hub) status: u16,
    pub(in crate::hub) headers: HeaderMap,
    pub(in crate::hub) announced: Announced,
    /// Who answered in the end.
    pub(in crate::hub) url: Url,
    through: Option<String>,
    exchange: Exchange,
}

impl Client {
    /// Address of the hub.
    pub(in crate::hub) fn endpoint(&self) -> &Url {
        &self.access.endpoint
    }

    /// A client that gives a server up when it stands still for `limit`.
    pub(in crate::hub) fn new(access: Credentials, limit: Duration) -> Self {
        let roots = ureq::tls::RootCerts::PlatformVerifier; // heeds SSL_CERT_FILE and SSL_CERT_DIR
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
        Self { agent: config.into(), access, limit }
    }

    /// Asks, and follows redirects. Gives answers of success, and 416 to one who asked for a part.
    pub(in crate::hub) fn ask(&self, ask: Ask) -> Result<Answer, Failed> {
        let mut url = ask.url.clone();
        let mut announced = Announced::default();
        for _ in 0..=REDIRECTS {
            let via = self.access.proxies.of(&url);
            let through = via.map(|via| via.shown());
            let broken = |broken| error::broken(broken, &url, through.as_deref());
            let mut exchange = Exchange::start(self.agent.clone(), self.request(&ask, &url)?, self.limit)?;
            let head = exchange.head().map_err(broken)?;
            let from_hub = url.same_origin(&self.access.endpoint);
            if from_hub {
                announced.update(&head.headers, ask.head && head.status == 200);
            }
            if matches!(head.status, 301 | 302 | 303 | 307 | 308) {
                let next = redirected(&url, &head.headers, ask.origin)?;
                let elsewhere = !next.same_origin(&self.access.endpoint);
                if ask.head && elsewhere && announced.sum.is_some() && announced.bytes.is_some() {
                    return Ok(Answer { status: 200, headers: head.headers, announced, url, through, exchange });
                }
                url = next;
                continue;
            }
            if (200..300).contains(&head.status) || (head.status == 416 && ask.from > 0) {
                return Ok(Answer { status: head.status, headers: head.headers, announced, url, through, exchange });
            }
            let token = from_hub && self.access.token.is_some();
            return Err(error::status(&head, &url, token, ask.origin));
        }
        Err(Failed::Finally(
            Error::new(Fault::Network, format!("{} redirects in a circle", ask.url))
                .expected(format!("at most {REDIRECTS} redirects"))
                .found(format!("one more, at {url}"))
                .advice(format!("{}; try again later", ask.origin.check())),
        ))
    }

    fn request(&self, ask: &Ask, url: &Url) -> Result<Request<()>> {
        let unasked = |error: ureq::http::Error| {
            Error::new(Fault::Network, format!("{url} cannot be asked for")).caused_by(error)
        };
        let mut request = Request::builder().method(if ask.head { "HEAD" } else { "GET" }).uri(url.for_request());
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
            if let Some(etag) = ask.etag {
                request = request.header(header::IF_RANGE, etag);
            }
        }
        if let Some(token) = self.token_for(url) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        let request = request.body(()).map_err(unasked)?;
        let via = self.access.proxies.of(url).map(|via| via.proxy());
        Ok(self.agent.configure_request(request).proxy(via).build())
    }

    /// The token, for an address of the hub itself.
    fn token_for(&self, url: &Url) -> Option<&Token> {
        self.access.token.as_ref().filter(|_| url.same_origin(&self.access.endpoint))
    }
}

fn redirected(from: &Url, headers: &HeaderMap, origin: Origin) -> Result<Url> {
    let wrong = |found: String| {
        Error::new(Fault::Network, format!("{from} redirects to where this program does not go"))
            .found(found)
            .advice(origin.check())
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

impl Announced {
    /// Takes what one more answer of the hub says. `whole` if it describes the file itself, not a redirect.
    fn update(&mut self, headers: &HeaderMap, whole: bool) {
        let linked = text(headers, "x-linked-etag").and_then(Sum::parse);
        let own = || text(headers, "etag").and_then(Sum::parse);
        self.sum = linked.or_else(own).or_else(|| self.sum.take());
        let own = || number(headers, "content-length").filter(|_| whole);
        self.bytes = number(headers, "x-linked-size").or_else(own).or(self.bytes);
    }
}

impl Answer {
    /// The next piece of the body; nothing at its end.
    pub(in crate::hub) fn piece(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        self.exchange.piece().map_err(|broken| error::broken(broken, &self.url, self.through.as_deref()))
    }

    /// A header as text.
    pub(in crate::hub) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// Size of the body in bytes, where it is announced.
    pub(in crate::hub) fn length(&self) -> Option<u64> {
        number(&self.headers, "content-length")
    }

    /// A whole body of at most `most` bytes.
    pub(in crate::hub) fn read(mut self, most: usize) -> Result<Vec<u8>, Failed> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece()? {
            if body.len() + piece.len() > most {
                return Err(Failed::Finally(
                    Error::new(Fault::Network, format!("the answer of {} is too long", self.url))
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

pub(in crate::hub) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
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
        redirected(&from.parse().unwrap(), &headers, Origin::Hub).map(|url| url.for_request())
    }

    #[test]
    fn a_redirect_never_gives_encryption_up() {
        assert_eq!(next("https://h.org/a", "https://o.org/b?c").unwrap(), "https://o.org/b?c");
        assert_eq!(next("http://h.org/a", "https://o.org/b").unwrap(), "https://o.org/b");
        let error = next("https://h.org/a", "http://h.org/a?signature").unwrap_err();
        let report = error.report("virnucpro");
        assert!(report.contains("without encryption") && !report.contains("signature"), "{report}");
    }

    #[test]
    fn what_the_hub_says_of_large_files_comes_before_what_it_says_of_answers() {
        let (large, small) = ("a".repeat(64), "b".repeat(40));
        let mut headers = HeaderMap::new();
        headers.insert("etag", format!("W/\"{small}\"").parse().unwrap());
        headers.insert("content-length", "7".parse().unwrap());
        let mut announced = Announced::default();
        announced.update(&headers, false);
        assert_eq!((announced.sum.clone(), announced.bytes), (Sum::parse(&small), None));
        announced.update(&headers, true);
        assert_eq!(announced.bytes, Some(7));
        headers.insert("x-linked-etag", format!("\"{large}\"").parse().unwrap());
        headers.insert("x-linked-size", "9".parse().unwrap());
        announced.update(&headers, true);
        assert_eq!((announced.sum, announced.bytes), (Sum::parse(&large), Some(9)));
    }
}
