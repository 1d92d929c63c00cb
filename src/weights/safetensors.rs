//! The safetensors format, one file: a header in JSON, then the values. Read in place, written tensor by tensor.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo as Entry};
use serde::de::IgnoredAny;

use super::unique_names::UniqueNames;
use super::{ModelBytes, TensorInfo, TensorSource, bytes};
use crate::error::{Error, Fault, Result};
use crate::fs::FileWriter;
use crate::fs::digest::ContentHash;

/// A file in the safetensors format.
pub struct Safetensors {
    path: PathBuf,
    bytes: ModelBytes,
    tensors: Vec<TensorInfo>,
    ranges: Vec<Range<usize>>,
}

/// Bytes of the header's length, which comes before the header.
const LENGTH: usize = 8;
/// The largest header of a real model, 15 billion parameters, is below 200 KB.
const MAX_HEADER: u64 = 16 << 20;

impl Safetensors {
    /// Reads the header; the values stay where they are. `path` is named in errors.
    ///
    /// # Errors
    /// [`Fault::ModelFormat`]; [`Fault::ModelPointer`] for a Git-LFS pointer or web page.
    pub fn read(bytes: ModelBytes, path: &Path) -> Result<Self> {
        bytes::refuse_pointer(&bytes, path)?;
        let refused = |found: String| {
            Error::new(Fault::ModelFormat, "this is not a complete safetensors file")
                .file(path)
                .expected("the safetensors format")
                .found(found)
                .advice("the file may be cut short or damaged: fetch it again and compare its size")
        };
        check_header(&bytes).map_err(refused)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| refused(format!("{} bytes: {error}", bytes.len())))?;
        let start = LENGTH + header;
        let mut entries: Vec<_> = metadata.tensors().into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let range = |entry: &Entry| start + entry.data_offsets.0..start + entry.data_offsets.1;
        let ranges = entries.iter().map(|(_, entry)| range(entry)).collect();
        let tensors = entries
            .into_iter()
            .map(|(name, entry)| TensorInfo { name, dtype: entry.dtype, shape: entry.shape.clone() })
            .collect();
        Ok(Self { path: path.to_owned(), bytes, tensors, ranges })
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
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

/// A file about to be written: the widest numbers first, then by name, so that the same tensors give the same bytes.
pub struct Layout {
    header: Vec<u8>,
    tensors: Vec<TensorInfo>,
}

impl Layout {
    /// The layout of a file with these tensors.
    ///
    /// # Errors
    /// None but a defect of this program.
    pub fn of(mut tensors: Vec<TensorInfo>) -> Result<Self> {
        tensors.sort_by(|a, b| (Reverse(a.dtype), &a.name).cmp(&(Reverse(b.dtype), &b.name)));
        let mut end = 0;
        let entry = |tensor: &TensorInfo| {
            let start = end;
            end += tensor.bytes();
            let data_offsets = (start as usize, end as usize);
            (tensor.name.clone(), Entry { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets })
        };
        let entries = tensors.iter().map(entry).collect();
        let defect = |error: String| Error::new(Fault::Bug, "tensors cannot be written").found(error);
        let metadata = Metadata::new(None, entries).map_err(|error| defect(error.to_string()))?;
        let mut json = serde_json::to_vec(&metadata).map_err(|error| defect(error.to_string()))?;
        json.resize(json.len().next_multiple_of(LENGTH), b' ');
        Ok(Self { header: [&(json.len() as u64).to_le_bytes()[..], &json].concat(), tensors })
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.header.len() as u64 + self.tensors.iter().map(TensorInfo::bytes).sum::<u64>()
    }

    /// Writes the file. `values` appends those of a tensor, little-endian and row-major.
    ///
    /// # Errors
    /// Those of `values` and of writing.
    pub fn write<H: ContentHash>(
        &self,
        out: &mut FileWriter<H>,
        mut values: impl FnMut(&TensorInfo, &mut FileWriter<H>) -> Result<()>,
    ) -> Result<()> {
        out.reserve(self.bytes())?;
        out.append(&self.header)?;
        for tensor in &self.tensors {
            let end = out.bytes() + tensor.bytes();
            values(tensor, out)?;
            if out.bytes() != end {
                return Err(Error::new(Fault::Bug, "a tensor was written with another size than its shape has")
                    .record(&tensor.name));
            }
        }
        Ok(())
    }
}

/// Bounds the work a header can cause before it is parsed, and refuses names that appear twice, which the format
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

#[cfg(test)]
mod tests {
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::fs::StagedFolder;

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
    fn anything_but_a_whole_safetensors_file_is_refused() {
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
            ([&(17u64 << 20).to_le_bytes()[..], &[b'{'; 64]].concat(), Fault::ModelFormat),
            ((1u64 << 63).to_le_bytes().to_vec(), Fault::ModelFormat),
            ([&u64::MAX.to_le_bytes()[..], &[b'{'; 64]].concat(), Fault::ModelFormat),
            (vec![0; 40], Fault::ModelFormat),
            (b"{\"error\":\"Repository not found\"}".to_vec(), Fault::ModelFormat),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(), Fault::ModelPointer),
            (b"<!DOCTYPE html><html></html>".to_vec(), Fault::ModelPointer),
            (b"\n\n  <html><head></head></html>".to_vec(), Fault::ModelPointer),
        ];
        for (content, fault) in cases {
            let error = open(&content).err().unwrap_or_else(|| panic!("{content:?} is accepted"));
            assert_eq!(error.fault(), fault, "{}", String::from_utf8_lossy(&content[..content.len().min(40)]));
        }
    }

    #[test]
    fn a_tensor_is_found_by_its_name() {
        let source = open(&with_header(HEADER, b"bbbbaaaa")).unwrap();
        assert_eq!((source.find("a"), source.find("b"), source.find("c")), (Some(0), Some(1), None));
    }

    fn info(name: &str, dtype: Dtype, shape: &[usize]) -> TensorInfo {
        TensorInfo { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    fn written(layout: &Layout, value: u8) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let mut folder = StagedFolder::create(&folder.path().join("f")).unwrap();
        folder.write("a", |out| {
            layout.write(out, |tensor, out| out.append(&vec![value; tensor.name.len() * tensor.bytes() as usize]))
        })?;
        Ok(std::fs::read(folder.path().join("a")).unwrap())
    }

    #[test]
    fn a_file_is_written_as_the_library_writes_it_whatever_the_order_of_the_tensors() {
        let tensors = [
            info("z", Dtype::F16, &[3, 2]),
            info("y", Dtype::F32, &[]),
            info("x", Dtype::F32, &[5]),
            info("w", Dtype::F64, &[0]),
        ];
        let data: Vec<_> = tensors.iter().map(|tensor| vec![7; tensor.bytes() as usize]).collect();
        let views = tensors.iter().zip(&data).map(|(tensor, data)| {
            (tensor.name.clone(), TensorView::new(tensor.dtype, tensor.shape.clone(), data).unwrap())
        });
        let expected = safetensors::serialize(views, None).unwrap();
        for rotation in 0..tensors.len() {
            let mut tensors = tensors.to_vec();
            tensors.rotate_left(rotation);
            let layout = Layout::of(tensors).unwrap();
            assert_eq!(layout.bytes() as usize, expected.len());
            assert_eq!(written(&layout, 7).unwrap(), expected);
        }
    }

    #[test]
    fn values_of_another_size_than_the_shape_are_a_defect() {
        let layout = Layout::of(vec![info("two", Dtype::F32, &[2])]).unwrap();
        assert_eq!(written(&layout, 7).unwrap_err().fault(), Fault::Bug);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = with_header(HEADER, b"bbbbaaaa");
        for length in 0..whole.len() {
            assert_eq!(open(&whole[..length]).err().map(|error| error.fault()), Some(Fault::ModelFormat), "{length}");
        }
    }
}
