//! What the environment says, under the names that the hub's own client knows: where models are kept, and how servers
//! are reached.

use std::env::{self, VarError};
use std::path::{Path, PathBuf};

use super::http::access::{Access, Token};
use super::http::proxy::Proxies;
use super::http::url::Url;
use crate::error::{Error, Fault, Result};
use crate::fs::text;

/// Variables that tell where folders are.
const FOLDERS: [&str; 5] = ["HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME"];
/// The hub, unless `HF_ENDPOINT` names another one.
const ENDPOINT: &str = "https://huggingface.co";

/// Where models are kept, and whether the network may be used.
#[derive(Clone, Debug)]
pub struct Settings {
    cache: Option<PathBuf>,
    downloads: Option<PathBuf>,
    /// The variable that moves the cache: the one that is set.
    pub(super) cache_variable: &'static str,
    /// Whether servers may be asked.
    pub network: Network,
}

/// Whether servers may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// They may.
    Allowed,
    /// `HF_HUB_OFFLINE` forbids it.
    OffByVariable,
    /// `--offline` forbids it.
    OffByOption,
}

impl Network {
    /// Whether no server may be asked.
    pub fn is_off(self) -> bool {
        self != Self::Allowed
    }

    /// How to switch it on.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::OffByOption => "leave out --offline",
            Self::Allowed | Self::OffByVariable => "unset HF_HUB_OFFLINE",
        }
    }
}

impl Settings {
    /// Reads the environment of the process, all but what connections need.
    ///
    /// # Errors
    /// [`Fault::Config`] for a folder whose name is not UTF-8.
    pub fn from_environment() -> Result<Self> {
        for name in FOLDERS {
            if let Err(VarError::NotUnicode(value)) = env::var(name) {
                return Err(Error::new(Fault::Config, format!("{name} is not UTF-8 text"))
                    .expected("the path of a folder")
                    .found(value.to_string_lossy())
                    .advice(format!("set {name} to a folder with a plain name")));
            }
        }
        Ok(Self::of(&PROCESS))
    }

    fn of(variables: &Variables) -> Self {
        let hub = variables.hub_home();
        let own = variables.path("HF_HUB_CACHE");
        let cache_variable = if own.is_some() { "HF_HUB_CACHE" } else { "HF_HOME" };
        let data = variables.below_home("XDG_DATA_HOME", ".local/share").or_else(|| hub.clone());
        let off = variables.get("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value));
        Self {
            cache: own.or_else(|| Some(hub?.join("hub"))),
            downloads: data.map(|data| data.join("virnucpro/downloads")),
            cache_variable,
            network: if off { Network::OffByVariable } else { Network::Allowed },
        }
    }

    /// Cache of repositories: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    ///
    /// # Errors
    /// [`Fault::Config`] if no variable says where it is.
    pub fn cache(&self) -> Result<&Path> {
        self.cache.as_deref().ok_or_else(|| nowhere("HF_HOME"))
    }

    /// Folder of single files: `virnucpro/downloads` in `XDG_DATA_HOME`.
    ///
    /// # Errors
    /// [`Fault::Config`] if no variable says where it is.
    pub fn downloads(&self) -> Result<&Path> {
        self.downloads.as_deref().ok_or_else(|| nowhere("XDG_DATA_HOME"))
    }
}

fn nowhere(variable: &str) -> Error {
    Error::new(Fault::Config, "no folder to keep models in is known: HOME is not set")
        .expected(variable)
        .advice(format!("set {variable} to a folder that this user can write to"))
}

/// Address of the hub: `HF_ENDPOINT`, or the public one.
///
/// # Errors
/// [`Fault::Config`] for text that is not an address.
pub fn endpoint() -> Result<Url> {
    PROCESS.endpoint()
}

/// Variables of the environment; one that is empty counts as not set.
pub(super) struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

/// Those of this process.
pub(super) const PROCESS: Variables<'static> = Variables(&|name| env::var(name).ok());

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// The path in a variable; `~/` is the home folder.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.get(name)?;
        match (value.strip_prefix("~/"), self.get("HOME")) {
            (Some(rest), Some(home)) => Some(Path::new(&home).join(rest)),
            _ => Some(PathBuf::from(value)),
        }
    }

    /// Folder of the hub's own client.
    fn hub_home(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| Some(self.below_home("XDG_CACHE_HOME", ".cache")?.join("huggingface")))
    }

    fn below_home(&self, name: &str, folder: &str) -> Option<PathBuf> {
        let base = self.path(name).filter(|path| path.is_absolute());
        base.or_else(|| Some(Path::new(&self.get("HOME")?).join(folder)))
    }

    /// What connections need. Read only when one is about to be opened, so that mistakes in it do not stop work that
    /// needs no network.
    ///
    /// # Errors
    /// [`Fault::Config`] for a variable that cannot be followed.
    pub(super) fn access(&self) -> Result<Access> {
        let stored = || {
            let file = self.path("HF_TOKEN_PATH").or_else(|| Some(self.hub_home()?.join("token")))?;
            Some((file.display().to_string(), text::read(&file, Fault::Config).ok()?))
        };
        let token = match self.get("HF_TOKEN") {
            Some(text) => Some(("HF_TOKEN".to_owned(), text)),
            None => stored().map(|(place, text)| Ok::<_, Error>((place, text?))).transpose()?,
        };
        let token = token.filter(|(_, text)| !text.trim().is_empty());
        let token = token.map(|(place, text)| Token::read(&text, &place)).transpose()?;
        Ok(Access { endpoint: self.endpoint()?, token, proxies: Proxies::read(self.0)? })
    }

    fn endpoint(&self) -> Result<Url> {
        let endpoint = self.get("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        endpoint.trim().trim_end_matches('/').parse().map_err(|found: String| {
            Error::new(Fault::Config, "HF_ENDPOINT is not the address of a hub")
                .expected(format!("an address such as {ENDPOINT}"))
                .found(found)
                .advice("correct or unset HF_ENDPOINT")
        })
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn variable(variables: &[(&str, &str)], name: &str) -> Option<String> {
        variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string())
    }

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::of(&Variables(&|name| variable(variables, name)))
    }

    fn access(variables: &[(&str, &str)]) -> Result<Access> {
        Variables(&|name| variable(variables, name)).access()
    }

    #[test]
    fn folders_are_those_of_the_hubs_own_client() {
        for (variables, cache, by) in [
            (&[("HOME", "/h")][..], "/h/.cache/huggingface/hub", "HF_HOME"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub", "HF_HOME"),
            (&[("HOME", "/h"), ("HF_HOME", "~/f")], "/h/f/hub", "HF_HOME"),
            (&[("HOME", "/h"), ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/u")], "/u", "HF_HUB_CACHE"),
            (&[("HF_HOME", "/f")], "/f/hub", "HF_HOME"),
        ] {
            let settings = read(variables);
            assert_eq!((settings.cache().unwrap(), settings.cache_variable), (Path::new(cache), by), "{variables:?}");
        }
        let downloads = |variables| read(variables).downloads().unwrap().to_owned();
        assert_eq!(downloads(&[("HOME", "/h")]), Path::new("/h/.local/share/virnucpro/downloads"));
        assert_eq!(downloads(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]), Path::new("/d/virnucpro/downloads"));
    }

    #[test]
    fn an_unknown_folder_is_an_error_only_where_it_is_needed() {
        let settings = read(&[("HF_HUB_CACHE", "/u")]);
        assert_eq!(settings.cache().unwrap(), Path::new("/u"));
        assert_eq!(settings.downloads().unwrap_err().fault(), Fault::Config);
        let settings = read(&[("XDG_DATA_HOME", "/d")]);
        assert_eq!(settings.cache().unwrap_err().fault(), Fault::Config);
        assert_eq!(settings.downloads().unwrap(), Path::new("/d/virnucpro/downloads"));
    }

    #[test]
    fn words_for_yes_switch_the_network_off() {
        let off = |value| read(&[("HF_HOME", "/f"), ("HF_HUB_OFFLINE", value)]).network.is_off();
        assert!(["1", "true", "YES", "on"].into_iter().all(off));
        assert!(!["0", "false", "", "no"].into_iter().any(off));
    }

    #[test]
    fn a_token_is_found_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| access(variables).unwrap().token.map(|token| token.header());
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("Bearer hf_file"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", "hf_env")]).as_deref(), Some("Bearer hf_env"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN_PATH", "/gone")]), None);
        let found = access(&[("HF_HOME", home)]).unwrap();
        assert!(!format!("{found:?}").contains("hf_file"));
        let error = access(&[("HF_HOME", home), ("HF_TOKEN", "hf secret\u{7}")]).unwrap_err();
        assert!(!error.report("virnucpro").contains("secret"));
    }

    #[test]
    fn a_token_file_of_another_encoding_is_read_or_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let read_token = |content: &[u8]| {
            fs::write(folder.path().join("token"), content).unwrap();
            access(&[("HF_HOME", home)])
        };
        let token = read_token(b"\xEF\xBB\xBFhf_file\r\n").unwrap().token.map(|token| token.header());
        assert_eq!(token.as_deref(), Some("Bearer hf_file"));
        let error = read_token(b"\xFF\xFEh\0f\0").unwrap_err();
        assert_eq!(error.fault(), Fault::Config);
        assert!(error.report("virnucpro").contains("UTF-16"));
    }

    #[test]
    fn an_endpoint_is_an_address_without_a_password() {
        let endpoint =
            |value| access(&[("HF_HOME", "/f"), ("HF_ENDPOINT", value)]).map(|access| access.endpoint.to_string());
        assert_eq!(endpoint("https://mirror.org/hf/").unwrap(), "https://mirror.org/hf");
        for value in ["mirror.org", "ftp://h", "https://u:secret@h.org"] {
            let report = endpoint(value).unwrap_err().report("virnucpro");
            assert!(report.contains("HF_ENDPOINT") && !report.contains("secret"), "{report}");
        }
    }
}
