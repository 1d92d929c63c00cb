//! `bundle.yaml`: what a bundle is, where it came from, and the digest of each of its files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::component::{Component, Family};
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::units::{BUNDLE_NAME_RULE, is_bundle_name};
use crate::weights::bytes;

/// Name of the file that makes a folder a bundle.
pub const BUNDLE_YAML: &str = "bundle.yaml";

/// The format this program reads and writes.
pub const FORMAT: u32 = 1;

/// Content of `bundle.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Format of this file: [`FORMAT`].
    pub format: u32,
    /// Name the bundle is asked for by: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Version of the bundle, free text.
    pub version: String,
    /// Whether the weights were trained; every table and message of an untrained bundle says so.
    pub trained: bool,
    /// Licence of the weights, free text.
    pub licence: String,
    /// Where the weights came from, free text.
    pub source: String,
    /// Window length of the head's training data, in bases.
    pub window: u32,
    /// The nucleotide encoder.
    pub dnabert: EncoderSpec,
    /// The protein encoder.
    pub esm: EncoderSpec,
    /// The classifier.
    pub head: HeadSpec,
    /// Size and digest of every other file of the bundle, by path within it.
    pub files: BTreeMap<String, FileRecord>,
}

/// An encoder of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// What computes the vectors.
    pub family: Family,
    /// Width of a vector.
    pub dim: u32,
    /// Layer whose output is pooled, counted from 1; the last one of the encoder.
    pub layer: u32,
    /// Which rows of it are averaged.
    pub pooling: Pooling,
}

/// The classifier of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// What computes the scores.
    pub family: Family,
    /// Width of a merged vector: both encoders side by side.
    pub dim: u32,
}

/// Rows of a layer that are averaged to a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// Every token, special tokens included.
    #[serde(rename = "all-tokens")]
    AllTokens,
    /// Residues only, the first 1024 of them.
    #[serde(rename = "first-1024-residues")]
    First1024Residues,
}

impl Pooling {
    /// As `bundle.yaml` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllTokens => "all-tokens",
            Self::First1024Residues => "first-1024-residues",
        }
    }
}

/// Size and digest of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
}

impl Spec {
    /// Reads and checks the content of a `bundle.yaml`; `file` is named in errors.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`], [`Fault::ModelPointer`]; [`Fault::ModelMismatch`] when the models do not fit together.
    pub fn parse(yaml: &[u8], file: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let text = bytes::text(yaml, file)?;
        let refused = |error: serde_yaml::Error| {
            let refused = Error::new(Fault::ModelFormat, "this bundle.yaml cannot be read");
            let line = error.location().map(|location| location.line() as u64);
            line.into_iter()
                .fold(refused, Error::line)
                .file(file)
                .advice("make the bundle again with 'virnucpro models import', or fetch it again")
                .caused_by(error)
        };
        // The format comes first: a newer one may hold fields that this program does not know.
        let head: Head = serde_yaml::from_str(text).map_err(refused)?;
        if head.format != FORMAT {
            return Err(Error::new(Fault::ModelFormat, "this bundle has a format that this program does not read")
                .file(file)
                .expected(format!("format {FORMAT}"))
                .found(format!("format {}", head.format))
                .advice("use the version of virnucpro that made the bundle, or import the model again with this one"));
        }
        let spec: Self = serde_yaml::from_str(text).map_err(refused)?;
        spec.check().map_err(|error| error.file(file))?;
        Ok(spec)
    }

    /// The text of `bundle.yaml`, the same for the same bundle.
    ///
    /// # Errors
    /// The fields make no sense together, or the models do not fit: [`Fault::ModelFormat`], [`Fault::ModelMismatch`].
    pub fn to_yaml(&self) -> Result<String> {
        self.check()?;
        serde_yaml::to_string(self)
            .map_err(|error| Error::new(Fault::Bug, "bundle.yaml cannot be written").caused_by(error))
    }

    /// What computes a component.
    pub fn family(&self, component: Component) -> Family {
        match component {
            Component::Dnabert => self.dnabert.family,
            Component::Esm => self.esm.family,
            Component::Head => self.head.family,
        }
    }

    /// Paths of the files that the models need, `bundle.yaml` left out.
    pub fn required_files(&self) -> Vec<String> {
        let real = Component::ALL.into_iter().filter(|&component| self.family(component) != Family::Mock);
        real.flat_map(Component::files).collect()
    }

    fn check(&self) -> Result<()> {
        self.check_models()?;
        self.check_files()
    }

    /// Whether the fields make sense and the models fit together; files are not looked at.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`], [`Fault::ModelMismatch`].
    pub(super) fn check_models(&self) -> Result<()> {
        if !is_bundle_name(&self.name) {
            return Err(wrong("name", BUNDLE_NAME_RULE, &self.name));
        }
        for (what, text) in [("version", &self.version), ("licence", &self.licence), ("source", &self.source)] {
            if text.len() > 1000 || text.chars().any(char::is_control) {
                return Err(wrong(what, "one line of at most 1000 bytes", text));
            }
        }
        if !(1..=1_000_000).contains(&self.window) {
            return Err(wrong("window", "1 to 1000000 bases", &self.window.to_string()));
        }
        for component in Component::ALL {
            let (own, family) = (component.family(), self.family(component));
            if family != own && family != Family::Mock {
                let what = format!("family of {}", component.key());
                return Err(wrong(&what, &format!("{own:?} or Mock"), &format!("{family:?}")));
            }
        }
        for (component, encoder) in [("dnabert", &self.dnabert), ("esm", &self.esm)] {
            if !(1..=1 << 20).contains(&encoder.dim) || !(1..=1 << 16).contains(&encoder.layer) {
                let found = format!("dim {}, layer {}", encoder.dim, encoder.layer);
                return Err(wrong(&format!("size of {component}"), "a width and a layer above 0", &found));
            }
        }
        if self.head.dim != self.dnabert.dim + self.esm.dim {
            return Err(Error::new(Fault::ModelMismatch, "the head does not fit the encoders")
                .expected(format!("{} + {} inputs", self.dnabert.dim, self.esm.dim))
                .found(format!("a head of {} inputs", self.head.dim))
                .advice("take a head that was trained on vectors of these two encoders"));
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        let required = self.required_files();
        let missing: Vec<_> =
            required.iter().map(String::as_str).filter(|name| !self.files.contains_key(*name)).collect();
        let extra: Vec<_> = self.files.keys().filter(|name| !required.contains(name)).map(String::as_str).collect();
        if missing.is_empty() && extra.is_empty() {
            return Ok(());
        }
        let found = format!("missing: [{}]; not known: [{}]", missing.join(", "), extra.join(", "));
        Err(wrong("list of files", &required.join(", "), &found))
    }
}

fn wrong(what: &str, expected: &str, found: &str) -> Error {
    Error::new(Fault::ModelFormat, format!("the {what} of the bundle is wrong"))
        .expected(expected)
        .found(found)
        .advice("make the bundle again with 'virnucpro models import'")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOCK: &str = "format: 1\nname: toy\nversion: '1'\ntrained: false\nlicence: MIT\nsource: none\nwindow: 500\n\
        dnabert: {family: mock, dim: 8, layer: 1, pooling: all-tokens}\n\
        esm: {family: mock, dim: 16, layer: 1, pooling: first-1024-residues}\n\
        head: {family: mock, dim: 24}\nfiles: {}\n";

    fn parse(yaml: &str) -> Result<Spec> {
        Spec::parse(yaml.as_bytes(), Path::new(BUNDLE_YAML))
    }

    #[test]
    fn text_and_back() {
        let spec = parse(MOCK).unwrap();
        assert_eq!(parse(&spec.to_yaml().unwrap()).unwrap(), spec);
        assert_eq!((spec.required_files().len(), spec.esm.dim, spec.trained), (0, 16, false));
    }

    #[test]
    fn every_fault_is_named_with_its_kind() {
        let cases = [
            ("format: 1", "format: 2", Fault::ModelFormat),
            ("name: toy", "name: ../toy", Fault::ModelFormat),
            ("name: toy", "name: ''", Fault::ModelFormat),
            ("licence: MIT", "licence: \"a\\nb\"", Fault::ModelFormat),
            ("window: 500", "window: 0", Fault::ModelFormat),
            ("window: 500", "window: -5", Fault::ModelFormat),
            ("window: 500", "windows: 500", Fault::ModelFormat),
            ("trained: false\n", "", Fault::ModelFormat),
            ("esm: {family: mock", "esm: {family: mlp", Fault::ModelFormat),
            ("layer: 1", "layer: 0", Fault::ModelFormat),
            ("all-tokens", "some-tokens", Fault::ModelFormat),
            ("dim: 24", "dim: 25", Fault::ModelMismatch),
            ("head: {family: mock", "head: {family: mlp", Fault::ModelFormat),
            ("files: {}", "files: {../x: {bytes: 1, sha256: ''}}", Fault::ModelFormat),
            (MOCK, "version https://git-lfs.github.com/spec/v1", Fault::ModelPointer),
            (MOCK, "", Fault::ModelFormat),
            (MOCK, "- a\n- b", Fault::ModelFormat),
        ];
        for (old, new, fault) in cases {
            let error = parse(&MOCK.replace(old, new)).err().unwrap_or_else(|| panic!("{new} is accepted"));
            assert_eq!((error.fault(), error.path()), (fault, Some(Path::new(BUNDLE_YAML))), "{new}");
        }
    }

    #[test]
    fn a_file_the_models_do_not_need_is_refused() {
        let digest = "0".repeat(64);
        let yaml = MOCK.replace("files: {}", &format!("files: {{../../etc/passwd: {{bytes: 1, sha256: '{digest}'}}}}"));
        assert_eq!(parse(&yaml).unwrap_err().fault(), Fault::ModelFormat);
    }
}
