//! What a connection needs: the hub's address, the token and the proxies. Read when one is about to be opened, so that
//! nothing of it is in the way of work without a network.

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;

use super::http::proxy::Proxies;
use super::http::url::Url;
use super::settings::Variables;
use crate::error::{Error, Fault, Result};

const ENDPOINT: &str = "https://huggingface.co";

/// How servers are reached.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// The hub: `HF_ENDPOINT`.
    pub(super) endpoint: Url,
    pub(super) token: Option<Token>,
    pub(super) proxies: Proxies,
}

impl Credentials {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// [`Fault::Config`] for a variable that cannot be followed.
    pub(super) fn from_environment() -> Result<Self> {
        Self::read(&|name| env::var(name).ok())
    }

    fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let variables = Variables(variable);
        let token = match variables.set("HF_TOKEN") {
            Some(text) => Some(Token::of(&text, "HF_TOKEN")?),
            None => {
                let file = variables.path("HF_TOKEN_PATH").or_else(|| Some(variables.hub()?.join("token")));
                file.as_deref().map(Token::in_file).transpose()?.flatten()
            }
        };
        Ok(Self { endpoint: endpoint_of(&variables)?, token, proxies: Proxies::read(variable)? })
    }
}

/// Address of the hub, as the environment of the process has it.
///
/// # Errors
/// [`Fault::Config`] for text that is no address.
pub fn endpoint() -> Result<Url> {
    endpoint_of(&Variables(&|name| env::var(name).ok()))
}

fn endpoint_of(variables: &Variables) -> Result<Url> {
    let endpoint = variables.set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
    endpoint.trim().trim_end_matches('/').parse().map_err(|found: String| {
        Error::new(Fault::Config, "HF_ENDPOINT is no address of a hub")
            .expected(format!("an address as {ENDPOINT}"))
            .found(found)
            .advice("correct or unset HF_ENDPOINT")
    })
}

/// What proves to the hub who asks. Never shown.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    fn of(text: &str, place: &str) -> Result<Self> {
        let text = text.trim();
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(Fault::Config, format!("the token of {place} is none"))
            .expected("one word of letters, digits and signs, as hf_...")
            .advice("make a token in the settings of your account at the hub, and store that"))
    }

    /// The token that the hub's own client stored, if it did.
    fn in_file(path: &Path) -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
        if text.trim().is_empty() { Ok(None) } else { Self::of(&text, &path.display().to_string()).map(Some) }
    }

    /// Value of the header `Authorization`.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Credentials> {
        Credentials::read(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn a_token_is_found_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| read(variables).unwrap().token.map(|token| token.header());
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("Bearer hf_file"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", "hf_env")]).as_deref(), Some("Bearer hf_env"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN_PATH", "/gone")]), None);
        let access = read(&[("HF_HOME", home)]).unwrap();
        assert!(!format!("{access:?}").contains("hf_file"));
        let error = read(&[("HF_HOME", home), ("HF_TOKEN", "hf secret\u{7}")]).unwrap_err();
        assert!(!error.report("virnucpro").contains("secret"));
    }

    #[test]
    fn an_endpoint_is_an_address_without_a_password() {
        let endpoint =
            |value| read(&[("HF_HOME", "/f"), ("HF_ENDPOINT", value)]).map(|access| access.endpoint.to_string());
        assert_eq!(endpoint("https://mirror.org/hf/").unwrap(), "https://mirror.org/hf");
        for value in ["mirror.org", "ftp://h", "https://u:secret@h.org"] {
            let report = endpoint(value).unwrap_err().report("virnucpro");
            assert!(report.contains("HF_ENDPOINT") && !report.contains("secret"), "{report}");
        }
    }
}
