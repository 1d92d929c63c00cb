//! `bundle.yaml`: what a bundle is, where it came from, and the digest of each of its files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::component::{Component, Family};
use crate::calibration::Calibration;
use crate::error::{Error, Fault, Result};
use crate::fs::digest::Digest;
use crate::units::{BUNDLE_NAME_RULE, FrameRule, is_bundle_name};
use crate::weights::bytes;

/// Name of the file that makes a folder a bundle.
pub const BUNDLE_YAML: &str = "bundle.yaml";

/// The format this program writes.
pub const FORMAT: u32 = 2;

/// The formats it reads. Format 1 has both encoders and a head, and reads every open frame.
const READ: [u32; 2] = [1, FORMAT];

/// Content of `bundle.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Format of this file: 1 or [`FORMAT`].
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
    /// Window length in bases where the user asks for none: that of the head's training data.
    pub window: u32,
    /// Which frames of a window are read.
    #[serde(default)]
    pub frames: FrameRule,
    /// The encoder of the nucleotide side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnabert: Option<EncoderSpec>,
    /// The encoder of the protein side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esm: Option<EncoderSpec>,
    /// The classifier; none in a bundle that one only embeds with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadSpec>,
    /// What makes probabilities of the head's logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<u32>,
    /// Which rows of it are averaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
}

/// The classifier of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// What computes the scores.
    pub family: Family,
    /// Width of a merged vector: the encoders side by side.
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
        if !READ.contains(&head.format) {
            return Err(Error::new(Fault::ModelFormat, "this bundle has a format that this program does not read")
                .file(file)
                .expected(format!("format {} or {FORMAT}", READ[0]))
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

    /// What computes a part; none where the bundle lacks it.
    pub fn family(&self, component: Component) -> Option<Family> {
        match component {
            Component::Dnabert | Component::Esm => self.encoder(component).map(|encoder| encoder.family),
            Component::Head => self.head.map(|head| head.family),
        }
    }

    /// The encoder of a side.
    pub fn encoder(&self, component: Component) -> Option<EncoderSpec> {
        match component {
            Component::Dnabert => self.dnabert,
            Component::Esm => self.esm,
            Component::Head => None,
        }
    }

    /// The encoders, the nucleotide side first.
    pub fn encoders(&self) -> impl Iterator<Item = (Component, EncoderSpec)> {
        let encoders = [(Component::Dnabert, self.dnabert), (Component::Esm, self.esm)];
        encoders.into_iter().filter_map(|(component, encoder)| Some((component, encoder?)))
    }

    /// Whether the vectors of all sides cost less to compute than to store.
    pub fn is_cheap(&self) -> bool {
        self.encoders().all(|(_, encoder)| encoder.family.is_cheap())
    }

    /// Width of a merged vector.
    pub fn merged_dim(&self) -> u32 {
        self.encoders().map(|(_, encoder)| encoder.dim).sum()
    }

    /// Digest of what vectors depend on: the encoders and their files. Bundles that differ in their heads alone have one.
    pub fn encoders_digest(&self) -> Digest {
        let files = self.encoders().flat_map(|(component, encoder)| component.files(encoder.family));
        let files: Vec<_> =
            files.map(|name| (self.files.get(&name).map(|file| file.sha256.to_string()), name)).collect();
        let encoders: Vec<_> = self.encoders().map(|(component, encoder)| (component.key(), encoder)).collect();
        Digest::of(serde_json::json!([encoders, files]).to_string().as_bytes())
    }

    /// Paths of the files that the models need, `bundle.yaml` left out.
    pub fn required_files(&self) -> Vec<String> {
        let parts = Component::ALL.into_iter().filter_map(|component| Some((component, self.family(component)?)));
        parts.flat_map(|(component, family)| component.files(family)).collect()
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
        self.check_parts()?;
        self.calibration.iter().try_for_each(Calibration::check)?;
        let merged = self.merged_dim();
        match self.head {
            Some(head) if head.dim != merged => {
                let sides: Vec<_> = self.encoders().map(|(_, encoder)| encoder.dim.to_string()).collect();
                Err(Error::new(Fault::ModelMismatch, "the head does not fit the encoders")
                    .expected(format!("{} inputs", sides.join(" + ")))
                    .found(format!("a head of {} inputs", head.dim))
                    .advice("take a head that was trained on vectors of these encoders"))
            }
            _ => Ok(()),
        }
    }

    /// Whether each part is what it can be.
    fn check_parts(&self) -> Result<()> {
        if self.encoders().next().is_none() {
            return Err(wrong("list of encoders", "dnabert, esm or both", "neither"));
        }
        if self.format == 1 && Component::ALL.iter().any(|&component| self.family(component).is_none()) {
            return Err(wrong("list of parts", "dnabert, esm and head in format 1", "fewer"));
        }
        for component in Component::ALL {
            let Some(family) = self.family(component) else { continue };
            if !component.families().contains(&family) {
                let expected: Vec<_> = component.families().iter().map(|family| format!("{family:?}")).collect();
                let (what, expected) = (format!("family of {}", component.key()), expected.join(" or "));
                return Err(wrong(&what, &expected, &format!("{family:?}")));
            }
        }
        for (component, encoder) in self.encoders() {
            let EncoderSpec { family, dim, layer, pooling } = encoder;
            if !(1..=1 << 20).contains(&dim) {
                return Err(wrong(&format!("width of {}", component.key()), "1 to 1048576", &dim.to_string()));
            }
            let pooled = layer.is_some_and(|layer| (1..=1 << 16).contains(&layer)) && pooling.is_some();
            if family.is_pooled() != pooled || !family.is_pooled() && layer.is_some() {
                let expected = if family.is_pooled() { "a layer from 1 on, and a pooling" } else { "neither" };
                return Err(wrong(
                    &format!("layer or pooling of {}", component.key()),
                    expected,
                    &format!("{layer:?}, {pooling:?}"),
                ));
            }
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
        assert_eq!((spec.required_files().len(), spec.esm.unwrap().dim, spec.trained), (0, 16, false));
    }

    #[test]
    fn every_fault_is_named_with_its_kind() {
        let cases = [
            ("format: 1", "format: 3", Fault::ModelFormat),
            ("format: 1", "format: 0", Fault::ModelFormat),
            ("head: {family: mock, dim: 24}\n", "", Fault::ModelFormat),
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

    const COMPOSITION: &str = "format: 2\nname: toy\nversion: '1'\ntrained: true\nlicence: MIT\nsource: none\nwindow: 500\n\
        frames: longest\ndnabert: {family: composition, dim: 494}\nhead: {family: mock, dim: 494}\n\
        calibration: {windows: [{length: 500, slope: 1, intercept: 0}], sequences: {slope_per_ln: 0, intercept_per_ln: 0}}\n\
        files: {}\n";

    #[test]
    fn a_bundle_of_format_2_may_lack_a_side_or_the_head() {
        let spec = parse(COMPOSITION).unwrap();
        assert_eq!((spec.esm, spec.frames, spec.merged_dim()), (None, FrameRule::Longest, 494));
        assert_eq!(parse(&spec.to_yaml().unwrap()).unwrap(), spec);
        let without_head = parse(&COMPOSITION.replace("head: {family: mock, dim: 494}\n", "")).unwrap();
        assert_eq!((without_head.head, without_head.encoders_digest()), (None, spec.encoders_digest()));
        assert_ne!(parse(MOCK).unwrap().encoders_digest(), spec.encoders_digest());
        for (old, new) in [
            ("dnabert: {family: composition, dim: 494}\n", ""),
            ("family: composition, dim: 494", "family: composition, dim: 494, layer: 1, pooling: all-tokens"),
            ("family: composition", "family: esm2"),
            ("family: composition", "family: dnabert2"),
            ("slope: 1", "slope: 0"),
            ("frames: longest", "frames: all"),
        ] {
            assert_eq!(parse(&COMPOSITION.replace(old, new)).unwrap_err().fault(), Fault::ModelFormat, "{new}");
        }
    }

    #[test]
    fn a_file_the_models_do_not_need_is_refused() {
        let digest = "0".repeat(64);
        let yaml = MOCK.replace("files: {}", &format!("files: {{../../etc/passwd: {{bytes: 1, sha256: '{digest}'}}}}"));
        assert_eq!(parse(&yaml).unwrap_err().fault(), Fault::ModelFormat);
    }
}
