//! Where models are kept, and whether servers may be asked: what the environment says, under the names that the hub's
//! own client knows. What connections need is read when one is about to be opened: `access.rs`.

use std::env::{self, VarError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};

/// Variables that folders follow from.
const FOLDERS: [&str; 5] = ["HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME"];

/// Where models go to, and whether the network may be used.
#[derive(Clone, Debug)]
pub struct Settings {
    cache: Option<PathBuf>,
    downloads: Option<PathBuf>,
    /// The variable that moves the cache.
    cache_by: &'static str,
    /// Whether a server may be asked.
    pub network: Network,
}

/// Whether a server may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It may.
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
            Self::OffByOption => "leave --offline out",
            Self::Allowed | Self::OffByVariable => "unset HF_HUB_OFFLINE",
        }
    }
}

impl Settings {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// [`Fault::Config`] for the name of a folder that is no UTF-8.
    pub fn from_environment() -> Result<Self> {
        for name in FOLDERS {
            if let Err(VarError::NotUnicode(value)) = env::var(name) {
                return Err(Error::new(Fault::Config, format!("{name} is no UTF-8 text"))
                    .expected("the path of a folder")
                    .found(value.to_string_lossy())
                    .advice(format!("set {name} to a folder with a plain name")));
            }
        }
        Ok(Self::read(&|name| env::var(name).ok()))
    }

    /// Reads variables as `variable` gives them. One that is set to nothing is not set.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let variables = Variables(variable);
        let hub = variables.hub();
        let own = variables.path("HF_HUB_CACHE");
        let cache_by = if own.is_some() { "HF_HUB_CACHE" } else { "HF_HOME" };
        let data = variables.below_home("XDG_DATA_HOME", ".local/share").or_else(|| hub.clone());
        let off = variables.set("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value));
        Self {
            cache: own.or_else(|| Some(hub?.join("hub"))),
            downloads: data.map(|data| data.join("virnucpro/downloads")),
            cache_by,
            network: if off { Network::OffByVariable } else { Network::Allowed },
        }
    }

    /// Cache of repositories: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    ///
    /// # Errors
    /// [`Fault::Config`] when no variable says where it is.
    pub fn cache(&self) -> Result<&Path> {
        self.cache.as_deref().ok_or_else(|| nowhere("HF_HOME"))
    }

    /// Folder of files that no repository holds: `virnucpro/downloads` in `XDG_DATA_HOME`.
    ///
    /// # Errors
    /// [`Fault::Config`] when no variable says where it is.
    pub fn downloads(&self) -> Result<&Path> {
        self.downloads.as_deref().ok_or_else(|| nowhere("XDG_DATA_HOME"))
    }

    /// The variable that moves the cache: the one that is set.
    pub(super) fn cache_by(&self) -> &'static str {
        self.cache_by
    }
}

fn nowhere(wanted: &str) -> Error {
    Error::new(Fault::Config, "there is no folder to keep models in: HOME is not set")
        .expected(wanted)
        .advice(format!("set {wanted} to a folder that this user can write to"))
}

/// Variables, with what follows from several of them.
pub(super) struct Variables<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// A variable that is not set to nothing.
    pub(super) fn set(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// The path in a variable; `~/` is the home folder.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.set(name)?;
        match (value.strip_prefix("~/"), self.set("HOME")) {
            (Some(rest), Some(home)) => Some(Path::new(&home).join(rest)),
            _ => Some(PathBuf::from(value)),
        }
    }

    /// Folder of the hub's client.
    pub(super) fn hub(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| Some(self.below_home("XDG_CACHE_HOME", ".cache")?.join("huggingface")))
    }

    fn below_home(&self, name: &str, folder: &str) -> Option<PathBuf> {
        let base = self.path(name).filter(|path| path.is_absolute());
        base.or_else(|| Some(Path::new(&self.set("HOME")?).join(folder)))
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::read(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
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
            assert_eq!((settings.cache().unwrap(), settings.cache_by()), (Path::new(cache), by), "{variables:?}");
        }
        let downloads = |variables| read(variables).downloads().unwrap().to_owned();
        assert_eq!(downloads(&[("HOME", "/h")]), Path::new("/h/.local/share/virnucpro/downloads"));
        assert_eq!(downloads(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]), Path::new("/d/virnucpro/downloads"));
    }

    #[test]
    fn a_folder_that_nothing_tells_is_missed_when_it_is_needed() {
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
}
