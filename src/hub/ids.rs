//! Names that come from a user or a server and become parts of paths and addresses: checked once, here.

use std::fmt;
use std::str::FromStr;

/// A repository of the hub: `organisation/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoId {
    org: String,
    name: String,
}

impl RepoId {
    /// Its folder in the cache, as the hub's own client names it.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.org, self.name)
    }
}

impl FromStr for RepoId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((org, name)) if is_word(org) && is_word(name) => {
                Ok(Self { org: org.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("'{}' is no repository of the hub: organisation/name", shortened(text))),
        }
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.name)
    }
}

fn is_word(text: &str) -> bool {
    (1..=96).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
        && !text.contains("--")
        && !text.contains("..")
}

/// A branch, tag or commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// The name as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The revision as a commit, where it is one.
    pub(super) fn commit(&self) -> Option<Commit> {
        self.0.parse().ok()
    }

    /// One segment of an address: the hub wants `/` encoded.
    pub(super) fn encoded(&self) -> String {
        encoded(&self.0).replace('/', "%2F")
    }
}

/// A name as a user gives it, `NAME` or `NAME@REVISION`, as its two parts.
///
/// # Errors
/// What follows the `@` is no revision.
pub fn split_revision(text: &str) -> Result<(&str, Option<Revision>), String> {
    match text.split_once('@') {
        Some((name, revision)) => Ok((name, Some(revision.parse()?))),
        None => Ok((text, None)),
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
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.contains("..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
        };
        if text.len() <= 200 && text.split('/').all(part) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("'{}' is no branch, tag or commit", shortened(text)))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        Err(format!("'{}' is no commit: 40 hexadecimal digits", shortened(text)))
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a file may have this name: letters, digits, `.`, `_`, `-`, `+`; no path, nothing hidden.
pub(super) fn is_file_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
        && !name.starts_with(['.', '-'])
}

/// Text as part of an address: everything but letters, digits and `-._~/` in percent notation.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Text from outside, short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    crate::error::printable(text, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_two_plain_words() {
        let id: RepoId = "facebook/esm2_t6_8M_UR50D".parse().unwrap();
        assert_eq!(id.folder(), "models--facebook--esm2_t6_8M_UR50D");
        for text in ["", "a", "a/", "/a", "a/b/c", "../b", "a/..", "a/b--c", ".a/b", "a/b ", "a/é", "a/-b"] {
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
        assert_eq!("refs/pr/1".parse::<Revision>().unwrap().encoded(), "refs%2Fpr%2F1");
    }

    #[test]
    fn a_name_may_carry_its_revision() {
        assert_eq!(split_revision("org/x").unwrap(), ("org/x", None));
        assert_eq!(split_revision("org/x@refs/pr/1").unwrap(), ("org/x", Some("refs/pr/1".parse().unwrap())));
        for text in ["org/x@", "org/x@../y", "org/x@a@b"] {
            assert!(split_revision(text).is_err(), "{text}");
        }
    }

    #[test]
    fn file_names_are_no_paths() {
        assert!(is_file_name("model-00001-of-00002.safetensors"));
        for name in ["", "..", "../x", "/etc/x", "a/b", ".x", "a\\b", "a\nb", "-rf"] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
