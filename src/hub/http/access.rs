//! What asking a server takes besides the address: which hub, who asks, and through which proxy.

use std::fmt;

use super::proxy::Proxies;
use super::url::Url;
use crate::error::{Error, Fault, Result};

/// How servers are reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// The hub.
    pub endpoint: Url,
    /// Sent to the hub and to nobody else.
    pub token: Option<Token>,
    pub proxies: Proxies,
}

impl Access {
    /// The token, if the address is one of the hub itself.
    pub fn token_for(&self, url: &Url) -> Option<&Token> {
        self.token.as_ref().filter(|_| url.same_origin(&self.endpoint))
    }

    /// Whether the token travels unencrypted over a network.
    pub fn exposes_token(&self) -> bool {
        let host = self.endpoint.host();
        let local = ["localhost", "[::1]"].contains(&host) || host.starts_with("127.");
        self.token.is_some() && !self.endpoint.is_secure() && !local
    }
}

/// A user's key to the hub. Never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads a token. `place` is where it was found, for messages.
    ///
    /// # Errors
    /// [`Fault::Config`] for text that cannot be one.
    pub fn read(text: &str, place: &str) -> Result<Self> {
        let text = text.trim();
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(Fault::Config, format!("{place} does not hold a token"))
            .expected("one word of letters, digits and signs, such as hf_...")
            .advice("create a token in the settings of your account at the hub, and store that"))
    }

    /// Value of the header `Authorization`.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
