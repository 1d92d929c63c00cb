//! Which proxy a request goes through: the variables that curl and Python use, read as they read them.

use std::net::Ipv4Addr;

use super::url::Url;
use crate::error::{Error, Fault, Result};

/// Proxies of the environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Via>,
    http: Option<Via>,
    except: Vec<Exception>,
}

/// A proxy, and the variable that names it.
#[derive(Clone, Debug)]
pub struct Via {
    proxy: ureq::Proxy,
    variable: String,
}

impl Via {
    pub fn proxy(&self) -> ureq::Proxy {
        self.proxy.clone()
    }

    /// Host, port and variable, for messages; never its user name or password.
    pub fn shown(&self) -> String {
        format!("{}:{} of {}", self.proxy.host(), self.proxy.port(), self.variable)
    }
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` and their lower-case twins, which come first.
    ///
    /// # Errors
    /// [`Fault::Config`] for a proxy that is not an address, or of a kind that cannot be used.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let named = |name: &str| {
            [name.to_lowercase(), name.to_owned()].into_iter().find_map(|name| {
                let value = variable(&name)?.trim().to_owned();
                (!value.is_empty()).then_some((name, value))
            })
        };
        let proxy = |name: &str| match named(name).or_else(|| named("ALL_PROXY")) {
            Some((name, value)) => via(name, &value).map(Some),
            None => Ok(None),
        };
        let except = named("NO_PROXY").map(|(_, value)| value.split([',', ' ']).filter_map(Exception::parse).collect());
        Ok(Self { https: proxy("HTTPS_PROXY")?, http: proxy("HTTP_PROXY")?, except: except.unwrap_or_default() })
    }

    /// The proxy for an address.
    pub fn of(&self, url: &Url) -> Option<&Via> {
        let via = if url.is_secure() { &self.https } else { &self.http };
        via.as_ref().filter(|_| !self.except.iter().any(|exception| exception.covers(url)))
    }
}

fn via(variable: String, value: &str) -> Result<Via> {
    let wrong = |found: &str| {
        Error::new(Fault::Config, format!("the proxy of {variable} cannot be used"))
            .expected("http://host:port or https://host:port")
            .found(found)
            .advice(format!("correct or unset {variable}"))
    };
    if value.to_ascii_lowercase().starts_with("socks") {
        return Err(wrong("a SOCKS proxy"));
    }
    let proxy = ureq::Proxy::new(value).map_err(|_| wrong("text that is not an address"))?;
    Ok(Via { proxy, variable })
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Exception {
    Everything,
    /// A host and its subdomains, on one port or any.
    Host(String, Option<u16>),
    /// Addresses that share their first bits.
    Network(u32, u32),
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let (address, bits) = (address.parse::<Ipv4Addr>().ok()?, bits.parse::<u32>().ok()?);
            let mask = u32::MAX.checked_shl(32u32.checked_sub(bits)?).unwrap_or(0);
            return Some(Self::Network(address.to_bits() & mask, mask));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (entry.as_str(), None),
        };
        let host = host.trim_start_matches('*').trim_start_matches('.').trim_matches(['[', ']']);
        (!host.is_empty()).then(|| Self::Host(host.to_owned(), port))
    }

    fn covers(&self, url: &Url) -> bool {
        let host = url.host().trim_matches(['[', ']']);
        match self {
            Self::Everything => true,
            Self::Host(name, port) => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && port.is_none_or(|port| port == url.port())
            }
            Self::Network(network, mask) => {
                host.parse::<Ipv4Addr>().is_ok_and(|address| address.to_bits() & mask == *network)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies> {
        let variables: Vec<(String, String)> = variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Proxies::read(&move |name| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()))
    }

    fn through(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().unwrap()).map(Via::shown)
    }

    #[test]
    fn each_scheme_has_its_variable_and_the_rest_all_proxy() {
        let found = proxies(&[("HTTPS_PROXY", "http://u:secret@p:1"), ("ALL_PROXY", "q:2")]).unwrap();
        assert_eq!(through(&found, "https://h/").as_deref(), Some("p:1 of HTTPS_PROXY"));
        assert_eq!(through(&found, "http://h/").as_deref(), Some("q:2 of ALL_PROXY"));
        let found = proxies(&[("HTTPS_PROXY", "p:1"), ("https_proxy", "q:2")]).unwrap();
        assert_eq!(through(&found, "https://h/").as_deref(), Some("q:2 of https_proxy"));
        assert_eq!(through(&found, "http://h/"), None);
    }

    #[test]
    fn exceptions_are_hosts_domains_ports_and_networks() {
        let except = "localhost, .lab.org,*.x.net,10.0.0.0/8 h:8080 ::1";
        let found = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", except)]).unwrap();
        for url in ["localhost", "lab.org", "a.lab.org", "b.x.net", "10.1.2.3", "h:8080", "[::1]"] {
            assert_eq!(through(&found, &format!("http://{url}/")), None, "{url}");
        }
        for url in ["mylab.org", "11.1.2.3", "h", "h:80", "lab.org.evil.net", "[::2]"] {
            assert!(through(&found, &format!("http://{url}/")).is_some(), "{url}");
        }
        let found = proxies(&[("ALL_PROXY", "p:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(through(&found, "https://h/"), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
        for value in ["socks5://u:secret@h:1", "ftp://u:secret@h", "http://"] {
            let error = proxies(&[("HTTPS_PROXY", value)]).unwrap_err();
            let report = error.report("virnucpro");
            assert!(report.contains("HTTPS_PROXY") && !report.contains("secret"), "{report}");
        }
    }
}
