//! Addresses: where a request goes, and what of it a message may show.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

use crate::error::printable;

/// An `http` or `https` address without user name and password. Shown without its query, which may hold a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    /// Path and query, with its leading `/`.
    target: String,
}

impl Url {
    /// The whole address, for a request.
    pub fn for_request(&self) -> String {
        format!("{}{}", self.origin(), self.target)
    }

    /// Scheme, host and port.
    fn origin(&self) -> String {
        let standard = self.port == standard_port(self.secure);
        let port = if standard { String::new() } else { format!(":{}", self.port) };
        format!("{}://{}{port}", if self.secure { "https" } else { "http" }, self.host)
    }

    /// Whether both have the same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// Whether the connection is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host name in lower case, or an IP address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path without query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The address of `path` below this one. `path` holds letters, digits and `-._~/+%?=` only.
    pub fn below(&self, path: &str) -> Self {
        // Some servers read a plus sign as a space.
        let path = path.replace('+', "%2B");
        Self { target: format!("{}/{path}", self.target.trim_end_matches('/')), ..self.clone() }
    }

    /// Where a `Location` header leads from here.
    pub fn join(&self, location: &str) -> Result<Self, String> {
        let location = location.trim();
        if location.starts_with("//") {
            return format!("{}:{location}", if self.secure { "https" } else { "http" }).parse();
        }
        if location.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':')) {
            return location.parse();
        }
        let folder = self.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = match location {
            _ if location.starts_with('/') => location.to_owned(),
            _ if location.starts_with('?') => format!("{}{location}", self.path()),
            _ => format!("{folder}/{location}"),
        };
        format!("{}{target}", self.origin()).parse()
    }
}

fn standard_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = text.split('#').next().unwrap_or_default();
        let shown = || printable(plain.split('?').next().unwrap_or_default(), 100);
        let unlike = || "text that is not like https://host/path".to_owned();
        let uri: Uri = plain.parse().map_err(|_| unlike())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(unlike()),
        };
        // Passwords in addresses end up in logs: they are refused, and not shown here.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("an address with a user name or password in it".to_owned());
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err(format!("'{}' has no host", shown()));
        }
        let port = uri.port_u16().unwrap_or_else(|| standard_port(secure));
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { secure, host, port, target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path() == "/" { "" } else { self.path() };
        write!(f, "{}{}", self.origin(), printable(path, 100))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_query_is_sent_and_never_shown() {
        let address = url("https://Host.org/a/b?sig=secret#top");
        assert_eq!(address.for_request(), "https://host.org/a/b?sig=secret");
        assert_eq!((address.to_string(), format!("{address:?}")), ("https://host.org/a/b".into(), address.to_string()));
    }

    #[test]
    fn a_location_leads_where_a_browser_would_go() {
        let base = url("https://h.org:8443/a/b?x=1");
        for (location, whole) in [
            ("/c?y=2", "https://h.org:8443/c?y=2"),
            ("c", "https://h.org:8443/a/c"),
            ("?z", "https://h.org:8443/a/b?z"),
            ("//o.org/d", "https://o.org/d"),
            ("http://o.org/d:e", "http://o.org/d:e"),
            ("/x:y", "https://h.org:8443/x:y"),
        ] {
            assert_eq!(base.join(location).unwrap().for_request(), whole, "{location}");
        }
        for location in ["file:///etc/passwd", "javascript:x", "ftp://h/x", "https://u:p@h/", "/a b"] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_origin() {
        let base = url("https://h.org/a");
        assert!(base.same_origin(&url("https://H.org:443/b")));
        for other in ["http://h.org/a", "https://h.org:444/a", "https://x.h.org/a"] {
            assert!(!base.same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn what_a_server_could_misread_is_encoded() {
        assert_eq!(url("https://h.org/a/").below("b+c?d=e").for_request(), "https://h.org/a/b%2Bc?d=e");
    }

    #[test]
    fn what_is_wrong_with_an_address_does_not_show_its_password() {
        let message = "https://ada:secret@h.org/".parse::<Url>().unwrap_err();
        assert!(!message.contains("secret") && message.contains("password"), "{message}");
    }
}
