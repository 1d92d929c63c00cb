//! What the environment says of the hub, under the names that the hub's own client knows.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::http::proxy::Proxies;
use super::http::url::Url;
use crate::error::{Error, Fault, Result};

const ENDPOINT: &str = "https://huggingface.co";

/// Where models come from and go to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hub: `HF_ENDPOINT`.
    pub endpoint: Url,
    /// Cache of repositories: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// Folder of files that no repository holds: `virnucpro/downloads` in `XDG_DATA_HOME`.
    pub downloads: PathBuf,
    /// Whether no server may be asked: `HF_HUB_OFFLINE`.
    pub offline: bool,
    pub(super) token: Option<Token>,
    pub(super) proxies: Proxies,
}

impl Settings {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// [`Fault::Config`] for a variable that cannot be followed.
    pub fn from_environment() -> Result<Self> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads variables as `variable` gives them. One that is set to nothing is not set.
    ///
    /// # Errors
    /// [`Fault::Config`] for a variable that cannot be followed.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let home = set("HOME").map(PathBuf::from);
        let path = |name: &str| set(name).map(|value| expanded(&value, home.as_deref()));
        let below_home = |name: &str, folder: &str| {
            let base = path(name).filter(|path| path.is_absolute());
            base.or_else(|| home.as_ref().map(|home| home.join(folder)))
        };
        let nowhere = |wanted: &str| {
            Error::new(Fault::Config, "there is no folder to keep models in: HOME is not set")
                .expected(wanted)
                .advice(format!("set {wanted} to a folder that this user can write to"))
        };
        let hub = path("HF_HOME").or_else(|| Some(below_home("XDG_CACHE_HOME", ".cache")?.join("huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| Some(hub.as_ref()?.join("hub")));
        let downloads = below_home("XDG_DATA_HOME", ".local/share").or_else(|| hub.clone());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').parse().map_err(|found: String| {
            Error::new(Fault::Config, "HF_ENDPOINT is no address of a hub")
                .expected(format!("an address as {ENDPOINT}"))
                .found(found)
                .advice("correct or unset HF_ENDPOINT")
        })?;
        let token = match set("HF_TOKEN") {
            Some(text) => Some(Token::of(&text, "HF_TOKEN")?),
            None => {
                let file = path("HF_TOKEN_PATH").or_else(|| Some(hub.as_ref()?.join("token")));
                file.as_deref().map(Token::in_file).transpose()?.flatten()
            }
        };
        Ok(Self {
            endpoint,
            cache: cache.ok_or_else(|| nowhere("HF_HOME"))?,
            downloads: downloads.ok_or_else(|| nowhere("XDG_DATA_HOME"))?.join("virnucpro/downloads"),
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
            token,
            proxies: Proxies::read(variable)?,
        })
    }
}

fn expanded(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
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

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn folders_are_those_of_the_hubs_own_client() {
        for (variables, cache) in [
            (&[("HOME", "/h")][..], "/h/.cache/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("HOME", "/h"), ("HF_HOME", "~/f")], "/h/f/hub"),
            (&[("HOME", "/h"), ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/u")], "/u"),
            (&[("HF_HOME", "/f")], "/f/hub"),
        ] {
            assert_eq!(read(variables).unwrap().cache, Path::new(cache), "{variables:?}");
        }
        let downloads = |variables| read(variables).unwrap().downloads;
        assert_eq!(downloads(&[("HOME", "/h")]), Path::new("/h/.local/share/virnucpro/downloads"));
        assert_eq!(downloads(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]), Path::new("/d/virnucpro/downloads"));
        assert_eq!(read(&[]).unwrap_err().fault(), Fault::Config);
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
        let settings = read(&[("HF_HOME", home)]).unwrap();
        assert!(!format!("{settings:?}").contains("hf_file"));
        let error = read(&[("HF_HOME", home), ("HF_TOKEN", "hf secret\u{7}")]).unwrap_err();
        assert!(!error.report("virnucpro").contains("secret"));
    }

    #[test]
    fn words_for_yes_switch_the_network_off() {
        let offline = |value| read(&[("HF_HOME", "/f"), ("HF_HUB_OFFLINE", value)]).unwrap().offline;
        assert!(["1", "true", "YES", "on"].into_iter().all(offline));
        assert!(!["0", "false", "", "no"].into_iter().any(offline));
    }

    #[test]
    fn an_endpoint_is_an_address_without_a_password() {
        let endpoint = |value| read(&[("HF_HOME", "/f"), ("HF_ENDPOINT", value)]).map(|s| s.endpoint.to_string());
        assert_eq!(endpoint("https://mirror.org/hf/").unwrap(), "https://mirror.org/hf");
        for value in ["mirror.org", "ftp://h", "https://u:secret@h.org"] {
            let report = endpoint(value).unwrap_err().report("virnucpro");
            assert!(report.contains("HF_ENDPOINT") && !report.contains("secret"), "{report}");
        }
    }
}
