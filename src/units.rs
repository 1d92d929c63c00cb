//! Quantities and choices that cross module borders, read from text and written back the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of tokens, special tokens included; reads `4096`, `16k`, `1M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(pub usize);

impl FromStr for Tokens {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, factor) = match text.trim().to_ascii_lowercase() {
            t if t.ends_with('k') => (t[..t.len() - 1].to_owned(), 1 << 10),
            t if t.ends_with('m') => (t[..t.len() - 1].to_owned(), 1 << 20),
            t => (t, 1),
        };
        let count = digits.parse().ok().and_then(|count: usize| count.checked_mul(factor));
        match count.filter(|tokens| (1..=1 << 30).contains(tokens)) {
            Some(tokens) => Ok(Self(tokens)),
            None => Err("a number of tokens from 1 to 1024M is expected, as 4096 or 16k".to_owned()),
        }
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A size, shown as `812 B`, `5.4 kB`, `2.6 GB`: decimal, as disks and model hubs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scales = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
        let bytes = self.0 as f64;
        // What would be shown as 1000.0 of a unit is shown as 1.0 of the next.
        match scales.iter().find(|(_, scale)| bytes >= 0.99995 * scale) {
            Some((unit, scale)) => write!(f, "{:.1} {unit}", bytes / scale),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// A part of a whole, from 0 to 1, rounded to the four decimals that are printed: what is judged is what is seen.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(f64);

impl Share {
    /// `part` of `whole`; `None` of nothing.
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        let share = part as f64 / whole as f64;
        (whole > 0).then(|| Self(Self(share).to_string().parse().unwrap_or(share)))
    }

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.0)
    }
}

/// A number and what is counted, in words: `1 record`, `2 records`.
///
/// ```
/// assert_eq!(virnucpro::units::counted(1, "record"), "1 record");
/// assert_eq!(virnucpro::units::counted(0, "record"), "0 records");
/// ```
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Either a value, or what the program derives: reads `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    /// Derived by the program.
    Auto,
    /// Given by the user.
    Value(T),
}

impl<T> Auto<T> {
    /// The given value, or what `derive` says.
    pub fn or_else(self, derive: impl FnOnce() -> T) -> T {
        match self {
            Self::Auto => derive(),
            Self::Value(value) => value,
        }
    }
}

impl<T: FromStr> FromStr for Auto<T>
where
    T::Err: fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            text if text.eq_ignore_ascii_case("auto") => Ok(Self::Auto),
            text => text.parse().map(Self::Value).map_err(|error: T::Err| format!("{error} (or 'auto')")),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Auto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Value(value) => value.fmt(f),
        }
    }
}

/// Where models run: `auto`, `cpu`, `cuda`, `cuda:1`, `cuda:0,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU when there is a usable one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// These GPUs by index; every visible one when empty.
    Cuda(Vec<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let wrong = || {
            let meant =
                lower.strip_prefix("gpu").map(|index| format!("did you mean cuda{index}? ")).unwrap_or_default();
            format!("'{text}' is not a device; {meant}use auto, cpu, cuda, cuda:1 or cuda:0,2")
        };
        match lower.split_once(':') {
            None if lower == "auto" => Ok(Self::Auto),
            None if lower == "cpu" => Ok(Self::Cpu),
            None if lower == "cuda" => Ok(Self::Cuda(Vec::new())),
            Some(("cuda", list)) => {
                let mut devices = Vec::new();
                for index in list.split(',') {
                    let index: usize = index.parse().map_err(|_| wrong())?;
                    if devices.contains(&index) {
                        return Err(format!("device {index} is named twice in '{text}'"));
                    }
                    devices.push(index);
                }
                Ok(Self::Cuda(devices))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(devices) if devices.is_empty() => f.write_str("cuda"),
            Self::Cuda(devices) => {
                let list: Vec<_> = devices.iter().map(ToString::to_string).collect();
                write!(f, "cuda:{}", list.join(","))
            }
        }
    }
}

/// Number format of a model's computation; pooling and output are f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit.
    F32,
    /// bfloat16: 8 bits of exponent, 8 of precision.
    Bf16,
    /// 16-bit: 5 bits of exponent, 11 of precision.
    F16,
}

impl Precision {
    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(format!("'{text}' is not a number format; use f32, bf16 or f16")),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// Kernel that computes attention on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttentionChoice {
    /// The first that serves of flash, efficient and math.
    #[default]
    Auto,
    /// Flash attention.
    Flash,
    /// Memory-efficient attention.
    Efficient,
    /// Matrix products and a softmax.
    Math,
}

impl FromStr for AttentionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "flash" => Ok(Self::Flash),
            "efficient" => Ok(Self::Efficient),
            "math" => Ok(Self::Math),
            _ => Err(format!("'{text}' is not an attention kernel; use auto, flash, efficient or math")),
        }
    }
}

impl fmt::Display for AttentionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Flash => "flash",
            Self::Efficient => "efficient",
            Self::Math => "math",
        })
    }
}

/// Number format that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// As they are published.
    Keep,
    /// Converted.
    To(Precision),
}

impl FromStr for WeightFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "keep" => Ok(Self::Keep),
            _ => text.parse().map(Self::To).map_err(|error| format!("{error} (or 'keep')")),
        }
    }
}

/// Formats that tables are written in. Text is always among them: stages read it from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableFormats {
    /// Tab-separated text.
    #[serde(rename = "tsv")]
    Tsv,
    /// The same, and Parquet beside it.
    #[serde(rename = "tsv,parquet")]
    TsvAndParquet,
}

impl FromStr for TableFormats {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let mut names: Vec<&str> = lower.split(',').map(str::trim).collect();
        names.sort_unstable();
        match names[..] {
            ["tsv"] => Ok(Self::Tsv),
            ["parquet", "tsv"] => Ok(Self::TsvAndParquet),
            ["parquet"] => Err("the stages read each other's TSV: use tsv,parquet to get both".to_owned()),
            _ => Err(format!("'{text}' is not a choice of table formats; use tsv or tsv,parquet")),
        }
    }
}

impl fmt::Display for TableFormats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tsv => "tsv",
            Self::TsvAndParquet => "tsv,parquet",
        })
    }
}

/// Which frames of a window are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameRule {
    /// Every frame without a stop codon: what the published heads were trained on.
    #[default]
    Open,
    /// The one with the longest run of codons without a stop: an answer for every window with a whole codon.
    Longest,
}

impl FromStr for FrameRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "open" => Ok(Self::Open),
            "longest" => Ok(Self::Longest),
            _ => Err(format!("'{text}' is not a frame rule; use open or longest")),
        }
    }
}

impl fmt::Display for FrameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Longest => "longest",
        })
    }
}

/// What happens to the second record of one identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// It gets a number: `x__2`.
    Rename,
    /// It ends the run.
    Error,
}

impl FromStr for Duplicates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "rename" => Ok(Self::Rename),
            "error" => Ok(Self::Error),
            _ => Err(format!("'{text}' is not a policy; use rename or error")),
        }
    }
}

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rename => "rename",
            Self::Error => "error",
        })
    }
}

/// How U, the T of RNA, is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uracil {
    /// As T.
    #[default]
    T,
    /// As it stands, as in the original program: a letter without a codon.
    Drop,
}

impl FromStr for Uracil {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "t" => Ok(Self::T),
            "drop" => Ok(Self::Drop),
            _ => Err(format!("'{text}' is not a way to read U; use t or drop")),
        }
    }
}

impl fmt::Display for Uracil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::T => "t",
            Self::Drop => "drop",
        })
    }
}

/// What happens to letters that are not nucleotide codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownLetters {
    /// They end the run.
    #[default]
    Strict,
    /// They are read as N.
    Mask,
}

impl FromStr for UnknownLetters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "strict" => Ok(Self::Strict),
            "mask" => Ok(Self::Mask),
            _ => Err(format!("'{text}' is not a policy; use strict or mask")),
        }
    }
}

impl fmt::Display for UnknownLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Mask => "mask",
        })
    }
}

/// How sequences of nucleotides are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputPolicy {
    /// U.
    pub uracil: Uracil,
    /// Letters that are not nucleotide codes.
    pub letters: UnknownLetters,
    /// Whether signs of a damaged input are errors, not warnings.
    pub strict: bool,
}

impl InputPolicy {
    /// Every letter stays as it stands in the input.
    pub const AS_IT_STANDS: Self = Self { uracil: Uracil::Drop, letters: UnknownLetters::Strict, strict: false };
}

/// What happens to finished work in an output folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Whether work of the same input, settings and model is kept.
    pub keep: bool,
    /// Whether other work may be replaced; else it is an error.
    pub overwrite: bool,
}

impl Resume {
    /// Keep the same work, refuse to replace any other.
    pub const KEEP: Self = Self { keep: true, overwrite: false };
    /// Keep the same work, replace any other.
    pub const OVERWRITE: Self = Self { keep: true, overwrite: true };
    /// Do the same work again, refuse to replace any other.
    pub const AGAIN: Self = Self { keep: false, overwrite: false };
}

/// What the name of a bundle may be, in words.
pub const BUNDLE_NAME_RULE: &str = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit";

/// Whether a bundle may bear this name: it becomes part of paths, tables and messages.
pub fn is_bundle_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: FromStr<Err = String> + fmt::Display>(text: &str) -> String {
        text.parse::<T>().map_or_else(|error| error, |value| value.to_string())
    }

    #[test]
    fn sizes_have_at_most_one_decimal() {
        let shown =
            [0, 999, 1000, 5_440, 999_949, 999_950, 2_600_000_000, 3_000_000_000_000].map(|n| Bytes(n).to_string());
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "5.4 kB", "999.9 kB", "1.0 MB", "2.6 GB", "3.0 TB"]);
    }

    #[test]
    fn text_and_back() {
        for text in ["auto", "cpu", "cuda", "cuda:1", "cuda:0,2"] {
            assert_eq!(round_trip::<DeviceChoice>(text), text);
        }
        for text in ["auto", "f32", "bf16", "f16"] {
            assert_eq!(round_trip::<Auto<Precision>>(text), text);
        }
        for text in ["auto", "flash", "efficient", "math"] {
            assert_eq!(round_trip::<AttentionChoice>(text), text);
        }
        for text in ["t", "drop"] {
            assert_eq!(round_trip::<Uracil>(text), text);
        }
        for text in ["strict", "mask"] {
            assert_eq!(round_trip::<UnknownLetters>(text), text);
        }
        assert_eq!(round_trip::<Tokens>("16k"), "16384");
        for text in ["tsv", "tsv,parquet"] {
            assert_eq!(round_trip::<TableFormats>(text), text);
        }
        assert_eq!(round_trip::<TableFormats>("parquet, tsv"), "tsv,parquet");
    }

    #[test]
    fn upper_and_lower_case_are_the_same() {
        for (text, read) in [
            (round_trip::<DeviceChoice>("CPU"), "cpu"),
            (round_trip::<DeviceChoice>("Cuda:0,2"), "cuda:0,2"),
            (round_trip::<Auto<Precision>>("AUTO"), "auto"),
            (round_trip::<Auto<Precision>>("BF16"), "bf16"),
            (round_trip::<AttentionChoice>("FLASH"), "flash"),
            (round_trip::<Tokens>("16K"), "16384"),
            (round_trip::<TableFormats>("TSV,Parquet"), "tsv,parquet"),
            (round_trip::<Duplicates>("Error"), "error"),
            (round_trip::<Uracil>("T"), "t"),
            (round_trip::<UnknownLetters>("MASK"), "mask"),
        ] {
            assert_eq!(text, read);
        }
        assert_eq!("F16".parse(), Ok(WeightFormat::To(Precision::F16)));
        assert_eq!("KEEP".parse(), Ok(WeightFormat::Keep));
    }

    #[test]
    fn a_gpu_by_another_name_is_told_to_be_cuda() {
        assert!(round_trip::<DeviceChoice>("gpu").contains("did you mean cuda? "));
        assert!(round_trip::<DeviceChoice>("GPU:1").contains("did you mean cuda:1? "));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:1,1", "cpu:0"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
        for text in ["0", "-1", "1.5", "99999999999999999999", "18446744073709551615k", "k"] {
            assert!(text.parse::<Tokens>().is_err(), "{text}");
        }
        for text in ["", "csv", "parquet", "tsv,tsv", "tsv,", "tsv parquet"] {
            assert!(text.parse::<TableFormats>().is_err(), "{text}");
        }
    }
}
