//! The safetensors format, one file: a header in JSON, then the values.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use safetensors::{SafeTensorError, SafeTensors};
use serde::de::IgnoredAny;

use super::unique_names::UniqueNames;
use super::{ModelBytes, TensorInfo, TensorSource};
use crate::error::{Error, Fault, Result};

/// A file in the safetensors format.
pub(super) struct Safetensors {
    bytes: ModelBytes,
    tensors: Vec<TensorInfo>,
    ranges: Vec<Range<usize>>,
}

/// Bytes of the header's length, which stands before the header.
const LENGTH: usize = 8;
/// The largest header of a real model, 15 billion parameters, is below 200 KB.
const MAX_HEADER: u64 = 16 << 20;

impl Safetensors {
    /// Reads the header; the values stay where they are.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`].
    pub(super) fn read(bytes: ModelBytes, path: &Path) -> Result<Self> {
        let refused = |found: String| {
            Error::new(Fault::ModelFormat, "this is no complete safetensors file")
                .file(path)
                .expected("the safetensors format")
                .found(found)
                .advice("the file may be cut short or damaged: download it again and compare its size")
        };
        check_header(&bytes).map_err(refused)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| refused(unreadable(&bytes, error)))?;
        let start = LENGTH + header;
        let mut infos: Vec<_> = metadata.tensors().into_iter().collect();
        infos.sort_by(|(a, _), (b, _)| a.cmp(b));
        let ranges = infos.iter().map(|(_, info)| start + info.data_offsets.0..start + info.data_offsets.1).collect();
        let tensors =
            infos.into_iter().map(|(name, info)| TensorInfo { name, dtype: info.dtype, shape: info.shape.clone() });
        let tensors = tensors.collect();
        Ok(Self { bytes, tensors, ranges })
    }
}

impl TensorSource for Safetensors {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let range = self.ranges.get(index).cloned().unwrap_or_default();
        self.bytes.populate(range.clone());
        Ok(Cow::Borrowed(self.bytes.get(range).unwrap_or_default()))
    }

    fn format(&self) -> &'static str {
        "safetensors"
    }

    fn maps(&self) -> Vec<&ModelBytes> {
        vec![&self.bytes]
    }

    fn release(&self, index: usize) {
        if let Some(range) = self.ranges.get(index) {
            self.bytes.release(range.clone());
        }
    }
}

/// The tensors of a file whose content is `bytes`: all of it, each byte of one tensor.
///
/// # Errors
/// What was found instead.
#[cfg(feature = "torch")]
pub(crate) fn parse(bytes: &[u8]) -> Result<SafeTensors<'_>, String> {
    check_header(bytes)?;
    SafeTensors::deserialize(bytes).map_err(|error| unreadable(bytes, error))
}

/// Bounds the work a header can cause before it is parsed, and refuses names that stand twice, which the format
/// forbids and parsers let pass.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let found = |what: String| format!("{} bytes, {what}", bytes.len());
    let (length, rest) =
        bytes.split_first_chunk::<LENGTH>().ok_or_else(|| found("too short for a header".to_owned()))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(found(format!("a header of {length} bytes; {MAX_HEADER} are read at most")));
    }
    let header = rest.get(..length as usize).ok_or_else(|| found(format!("a header of {length} bytes, cut")))?;
    let entries = serde_json::from_slice::<UniqueNames<IgnoredAny>>(header);
    entries.map(drop).map_err(|error| found(format!("a header that cannot be read: {error}")))
}

fn unreadable(bytes: &[u8], error: SafeTensorError) -> String {
    format!("{} bytes: {error}", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(content: &[u8]) -> Result<Safetensors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, content).unwrap();
        Safetensors::read(ModelBytes::open(&path)?, &path)
    }

    fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    const HEADER: &str = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}"#;

    #[test]
    fn tensors_come_in_order_of_their_names_with_their_own_bytes() {
        let source = open(&with_header(HEADER, b"bbbbaaaa")).unwrap();
        let names: Vec<_> = source.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((&*source.bytes(0).unwrap(), &*source.bytes(1).unwrap()), (&b"aaaa"[..], &b"bbbb"[..]));
    }

    #[test]
    fn what_is_no_safetensors_file_is_refused() {
        let twice = HEADER.replace("\"a\"", "\"b\"");
        // Covers the data without a hole whichever of the two entries is taken.
        let again = HEADER.replace("}}", r#"},"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#);
        let overlap = HEADER.replace("[4,8]", "[0,4]");
        let cases = [
            (vec![], Fault::ModelFormat),
            (b"short".to_vec(), Fault::ModelFormat),
            (with_header(HEADER, b"bbbbaaa"), Fault::ModelFormat),
            (with_header(HEADER, b"bbbbaaaa "), Fault::ModelFormat),
            (with_header(&twice, b"bbbbaaaa"), Fault::ModelFormat),
            (with_header(&overlap, b"bbbbaaaa"), Fault::ModelFormat),
            (with_header(&again, b"bbbbaaaa"), Fault::ModelFormat),
            (with_header("[]", b""), Fault::ModelFormat),
            (with_header(&"[".repeat(100_000), b""), Fault::ModelFormat),
            ((1u64 << 63).to_le_bytes().to_vec(), Fault::ModelFormat),
        ];
        for (content, fault) in cases {
            let error = open(&content).err().unwrap_or_else(|| panic!("{content:?} is accepted"));
            assert_eq!(error.fault(), fault, "{}", String::from_utf8_lossy(&content[..content.len().min(40)]));
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = with_header(HEADER, b"bbbbaaaa");
        for length in 0..whole.len() {
            assert_eq!(open(&whole[..length]).err().map(|error| error.fault()), Some(Fault::ModelFormat), "{length}");
        }
    }
}
