//! Names of repositories, revisions and commits. They become parts of paths and addresses, so each is checked when it
//! is read.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::printable;

/// A repository of the hub: `organisation/name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RepoId(String);

impl FromStr for RepoId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = |word: &str| {
            word.len() <= 96
                && is_safe_name(word)
                && !word.ends_with(['.', '-'])
                && !["--", "..", "+"].into_iter().any(|wrong| word.contains(wrong))
        };
        match text.split_once('/') {
            Some((org, name)) if is_word(org) && is_word(name) => Ok(Self(text.to_owned())),
            _ => Err(format!("'{}' is not a repository; write organisation/name", printable(text, 100))),
        }
    }
}

impl TryFrom<String> for RepoId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A branch, tag or commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The revision as a commit, if it is one.
    pub fn commit(&self) -> Option<Commit> {
        self.0.parse().ok()
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for Revision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() <= 200 && text.split('/').all(|part| is_safe_name(part) && !part.contains("..")) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("'{}' is not a branch, tag or commit", printable(text, 100)))
    }
}

/// A commit: 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit(String);

impl Commit {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("'{}' is not a commit, which has 40 hexadecimal digits", printable(text, 100)))
    }
}

macro_rules! shown {
    ($($name:ident)+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}
shown!(RepoId Revision Commit);

/// Whether a file may have this name: letters, digits, `.`, `_`, `-` and `+`; not a path, not hidden, not an option.
pub fn is_safe_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
        && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_two_plain_words() {
        assert!("facebook/esm2_t6_8M_UR50D".parse::<RepoId>().is_ok());
        let long = format!("a/{}", "b".repeat(97));
        for text in
            ["", "a", "a/", "/a", "a/b/c", "../b", "a/..", "a/b--c", ".a/b", "a/b ", "a/é", "a/-b", "a/b+", &long]
        {
            assert!(text.parse::<RepoId>().is_err(), "{text}");
        }
    }

    #[test]
    fn revisions_stay_below_their_folder() {
        for text in ["main", "v1.0", "refs/pr/1", "0f93f2755a7ea1acd3ff1bcf182892f960ef3326"] {
            assert!(text.parse::<Revision>().is_ok(), "{text}");
        }
        for text in ["", "/main", "main/", "a//b", "..", "a/../b", ".git", "a b", "a?b", "-x"] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }

    #[test]
    fn safe_names_are_not_paths() {
        assert!(is_safe_name("model-00001-of-00002.safetensors"));
        for name in ["", "..", "../x", "/etc/x", "a/b", ".x", "a\\b", "a\nb", "-rf"] {
            assert!(!is_safe_name(name), "{name}");
        }
    }
}
