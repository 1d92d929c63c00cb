//! Tensors of a weights file, taken out by name and checked.
//!
//! Loading is checking: a tensor is there, has the wanted shape and finite values, and none is left over.
//! Only safetensors is read; a bundle's names are those of Hugging Face without prefix. A value goes from the mapped
//! file to the device in its number format in one pass, and the pages it came from are given back: a model takes its
//! own size in memory, not twice that.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::ops::Range;
use std::rc::Rc;

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, TchError, Tensor};

use crate::device::Placement;
use crate::error::{Error, Fault, Result};
use crate::weights::placeholder::Placeholder;
use crate::weights::safetensors::parse;

/// Names listed in a message.
const MAX_NAMES: usize = 10;

const ADVICE: &str = "the file is damaged or of another model: import or fetch the model again";

/// A place in the name tree of a weights file, as `encoder.layer.3.`.
#[derive(Clone)]
pub struct Parameters<'a> {
    weights: Rc<Weights<'a>>,
    prefix: String,
    kind: Kind,
    in_place: bool,
}

struct Weights<'a> {
    bytes: &'a [u8],
    tensors: SafeTensors<'a>,
    source: String,
    device: Device,
    used: RefCell<HashSet<String>>,
    taken: Taken<'a>,
}

/// Is told which part of the bytes a tensor was made of; its error ends the loading.
pub type Taken<'a> = &'a dyn Fn(Range<usize>) -> Result<()>;

impl<'a> Parameters<'a> {
    /// Reads the header of a safetensors file whose content is `bytes`. `source` is its name in messages.
    ///
    /// # Errors
    /// [`Fault::ModelPointer`] for a Git-LFS pointer or web page, [`Fault::ModelFormat`] for anything else
    /// that is no whole safetensors file.
    pub fn parse(bytes: &'a [u8], source: &str, compute: &Placement) -> Result<Self> {
        Self::parse_mapped(bytes, source, compute, &|_| Ok(()))
    }

    /// As [`parse`](Self::parse); `taken` is told which parts of `bytes` are not needed any more.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn parse_mapped(bytes: &'a [u8], source: &str, compute: &Placement, taken: Taken<'a>) -> Result<Self> {
        let tensors = read(bytes).map_err(|error| error.file(source))?;
        let (source, device, used) = (source.to_owned(), compute.device, RefCell::default());
        let weights = Weights { bytes, tensors, source, device, used, taken };
        Ok(Self { weights: Rc::new(weights), prefix: String::new(), kind: compute.kind, in_place: false })
    }

    /// As [`parse`](Self::parse); on the CPU, tensors that are stored in the number format of the computation are not
    /// copied but lie in `bytes`, and are not looked at: their values must be known to be finite. `taken` is told which
    /// parts have become tensors.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    ///
    /// # Safety
    /// `bytes` must stay as they are, in content and place, until every tensor taken from here is dropped.
    #[allow(unsafe_code)]
    pub unsafe fn parse_in_place(bytes: &'a [u8], source: &str, compute: &Placement, taken: Taken<'a>) -> Result<Self> {
        Ok(Self { in_place: true, ..Self::parse_mapped(bytes, source, compute, taken)? })
    }

    /// The place `name` below this one; a number is the index of a layer.
    pub fn sub(&self, name: impl Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The same place, its tensors in f32 whatever the number format of the matrix products.
    pub fn in_f32(&self) -> Self {
        Self { kind: Kind::Float, ..self.clone() }
    }

    /// The same place, for layers whose rounding moves scores too far: in f32 where the products are bf16.
    /// f16 keeps three more bits and stays (`docs/numerics.md`).
    pub fn sensitive(&self) -> Self {
        let kind = if self.kind == Kind::BFloat16 { Kind::Float } else { self.kind };
        Self { kind, ..self.clone() }
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.weights.tensors.tensor(&self.full(name)).is_ok()
    }

    /// Shape of a tensor that must be there.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`] when it is not.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let full = self.full(name);
        match self.weights.tensors.tensor(&full) {
            Ok(view) => Ok(view.shape().to_vec()),
            Err(_) => Err(self.missing(&full, "any")),
        }
    }

    /// The tensor `name` of exactly this shape, on the device and in the number format of the computation.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`] when it is missing or holds no floating-point numbers,
    /// [`Fault::ModelShape`], [`Fault::ModelNonFinite`].
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let full = self.full(name);
        let Ok(view) = self.weights.tensors.tensor(&full) else {
            return Err(self.missing(&full, &Shape(shape).to_string()));
        };
        if view.shape() != shape {
            return Err(self
                .wrong(Fault::ModelShape, &full, "has another shape than the configuration asks for")
                .expected(Shape(shape).to_string())
                .found(Shape(view.shape()).to_string()));
        }
        let Some(stored) = float_kind(view.dtype()) else {
            return Err(self
                .wrong(Fault::ModelTensors, &full, "holds no floating-point numbers")
                .expected("F32, F16, BF16 or F64")
                .found(format!("{:?}", view.dtype())));
        };
        let size: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
        let (device, kind) = (self.weights.device, self.kind);
        // On a GPU the conversion is left to it.
        let as_stored = self.in_place && device == Device::Cpu && stored == kind;
        let tensor = with_tensor(view.data(), &size, stored, |raw| {
            if device != Device::Cpu {
                raw.f_to_device(device)?.f_to_kind(kind)
            } else if as_stored {
                Ok(raw.shallow_clone())
            } else {
                raw.f_to_dtype(kind, false, true)
            }
        })?;
        if !as_stored && let Some(place) = first_non_finite(&tensor)? {
            let value = with_tensor(view.data(), &size, stored, |raw| raw.f_reshape([-1])?.f_double_value(&[place]))?;
            return Err(self
                .wrong(Fault::ModelNonFinite, &full, "has a value that is not a finite number in the chosen format")
                .expected(format!("finite numbers in {:?}", self.kind))
                .found(format!("{value} at position {place}")));
        }
        let start = view.data().as_ptr() as usize - self.weights.bytes.as_ptr() as usize;
        (self.weights.taken)(start..start + view.data().len())?;
        self.weights.used.borrow_mut().insert(full);
        Ok(tensor)
    }

    /// Ends the loading: every tensor of the file must have been taken.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`], naming up to ten of those left over.
    pub fn finish(&self) -> Result<()> {
        let used = self.weights.used.borrow();
        let mut unused: Vec<_> =
            self.weights.tensors.names().into_iter().filter(|&name| !used.contains(name)).collect();
        if unused.is_empty() {
            return Ok(());
        }
        unused.sort_unstable();
        let count = unused.len();
        unused.truncate(MAX_NAMES);
        let more = if count > MAX_NAMES { ", and more" } else { "" };
        Err(Error::new(Fault::ModelTensors, format!("{count} tensors of the file have no place in the model"))
            .file(&self.weights.source)
            .expected(format!("{} tensors", used.len()))
            .found(format!("also {}{more}", unused.join(", ")))
            .advice(ADVICE))
    }

    /// Whether tensors lie in the file where they can.
    pub(super) fn in_place(&self) -> bool {
        self.in_place
    }

    /// Number format in which tensors are given out.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Device on which the tensors lie.
    pub fn device(&self) -> Device {
        self.weights.device
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn missing(&self, full: &str, shape: &str) -> Error {
        self.wrong(Fault::ModelTensors, full, "is missing")
            .expected(format!("a tensor '{full}' of shape {shape}"))
            .found(format!("{} tensors, none of that name", self.weights.tensors.len()))
    }

    fn wrong(&self, fault: Fault, full: &str, what: &str) -> Error {
        Error::new(fault, format!("tensor '{full}' {what}")).file(&self.weights.source).record(full).advice(ADVICE)
    }
}

fn read(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    if let Some(what) = not_a_model(bytes) {
        return Err(Error::new(Fault::ModelPointer, format!("the model file is {what}"))
            .expected("a safetensors file")
            .found(what)
            .advice("fetch the file itself: `git lfs pull`, or download it again and look at what came"));
    }
    let damaged = |found: String| {
        Error::new(Fault::ModelFormat, "the model file is no whole safetensors file")
            .expected("a header and all the data that it announces")
            .found(found)
            .advice("fetch the file again: it may be cut or damaged")
    };
    parse(bytes).map_err(damaged)
}

/// What stands in place of a model after a download that went wrong.
fn not_a_model(bytes: &[u8]) -> Option<&'static str> {
    if let Some(other) = Placeholder::of(bytes) {
        return Some(other.name());
    }
    // A safetensors file begins with a small number, whose upper bytes are zero.
    let start = bytes.get(..8.min(bytes.len()))?;
    if start.len() < 8 || start.contains(&0) {
        return None;
    }
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Some("a JSON message"),
        _ => None,
    }
}

fn float_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}

/// Calls `use_it` with a tensor over `data`, which does not own its values: only those of [`Parameters::parse_in_place`] may
/// outlive the call.
fn with_tensor<T>(
    data: &[u8],
    size: &[i64],
    kind: Kind,
    use_it: impl FnOnce(&Tensor) -> Result<T, TchError>,
) -> Result<T, TchError> {
    let aligned = data.as_ptr().align_offset(kind.elt_size_in_bytes()) == 0;
    if !aligned || data.is_empty() {
        return use_it(&Tensor::f_from_data_size(data, size, kind)?);
    }
    let strides: Vec<i64> = (0..size.len()).map(|dim| size.iter().skip(dim + 1).product()).collect();
    #[allow(unsafe_code)]
    // SAFETY: `data` holds as many values as `size` says, which safetensors checked against the offsets; they are
    // aligned; nothing here writes to them. The tensor is dropped before `data` can be, or whoever called
    // `parse_in_place` promised as much.
    let tensor = unsafe { Tensor::f_from_blob(data.as_ptr(), size, &strides, kind, Device::Cpu)? };
    use_it(&tensor)
}

/// Place in row-major order of the first NaN or infinity.
fn first_non_finite(tensor: &Tensor) -> Result<Option<i64>> {
    if tensor.numel() == 0 {
        return Ok(None);
    }
    // One pass; either end is NaN or infinite if any value is.
    let (least, greatest) = tensor.f_aminmax(None, false)?;
    if least.f_double_value(&[])?.is_finite() && greatest.f_double_value(&[])?.is_finite() {
        return Ok(None);
    }
    let finite = tensor.f_isfinite()?;
    Ok(Some(finite.f_to_kind(Kind::Uint8)?.f_reshape([-1])?.f_argmin(0, false)?.f_int64_value(&[])?))
}

struct Shape<'a>(&'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::{TensorView, serialize};

    fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
        serialize(views, None).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn small() -> Vec<u8> {
        let weight: Vec<f32> = (0..6).map(|value| value as f32).collect();
        file(&[("a.weight", Dtype::F32, &[2, 3], floats(&weight)), ("a.bias", Dtype::F32, &[2], floats(&[7.0, 8.0]))])
    }

    fn fault_of(bytes: &[u8], name: &str, shape: &[usize]) -> Fault {
        let parameters = Parameters::parse(bytes, "model.safetensors", &Placement::CPU).unwrap();
        parameters.sub("a").get(name, shape).unwrap_err().fault()
    }

    #[test]
    fn a_tensor_is_found_by_name_and_shape() {
        let bytes = small();
        let parameters = Parameters::parse(&bytes, "model.safetensors", &Placement::CPU).unwrap();
        let weight = parameters.sub("a").get("weight", &[2, 3]).unwrap();
        assert_eq!((weight.size(), weight.double_value(&[1, 2])), (vec![2, 3], 5.0));
        assert_eq!(parameters.shape("a.bias").unwrap(), [2]);
        assert!(parameters.has("a.bias") && !parameters.has("bias"));
    }

    #[test]
    fn values_are_the_same_at_any_address_and_their_place_is_given_back() {
        let bytes = small();
        for shift in 0..4 {
            let shifted = [vec![0; shift], bytes.clone()].concat();
            let content = &shifted[shift..];
            let released = RefCell::new(Vec::new());
            let release = |part: Range<usize>| {
                released.borrow_mut().push(content[part].to_vec());
                Ok(())
            };
            let parameters = Parameters::parse_mapped(content, "m", &Placement::CPU, &release).unwrap();
            let bias = parameters.get("a.bias", &[2]).unwrap();
            assert_eq!((bias.double_value(&[0]), bias.double_value(&[1])), (7.0, 8.0), "{shift}");
            assert_eq!(*released.borrow(), [floats(&[7.0, 8.0])]);
        }
    }

    #[test]
    fn loading_ends_where_it_is_told_to() {
        let bytes = small();
        let taken = |_: Range<usize>| Err(Error::new(Fault::Interrupted, "stopped"));
        let parameters = Parameters::parse_mapped(&bytes, "m", &Placement::CPU, &taken).unwrap();
        assert_eq!(parameters.get("a.bias", &[2]).unwrap_err().fault(), Fault::Interrupted);
    }

    #[test]
    fn a_missing_tensor_is_named_with_the_shape_wanted() {
        let bytes = small();
        let parameters = Parameters::parse(&bytes, "model.safetensors", &Placement::CPU).unwrap();
        let error = parameters.sub("a").sub(3).get("weight", &[4]).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelTensors);
        let report = error.report("virnucpro");
        for part in ["a.3.weight", "[4]", "model.safetensors"] {
            assert!(report.contains(part), "{part} in {report}");
        }
    }

    #[test]
    fn tensors_left_over_are_refused_and_named() {
        let tensors: Vec<_> = (0..12).map(|i| format!("extra{i:02}")).collect();
        let tensors: Vec<_> =
            tensors.iter().map(|name| (name.as_str(), Dtype::F32, &[1][..], floats(&[1.0]))).collect();
        let bytes = file(&tensors);
        let parameters = Parameters::parse(&bytes, "m", &Placement::CPU).unwrap();
        let _ = parameters.get("extra00", &[1]).unwrap();
        let error = parameters.finish().unwrap_err();
        assert_eq!(error.fault(), Fault::ModelTensors);
        let report = error.report("virnucpro");
        assert!(report.contains("extra01") && report.contains("extra10") && !report.contains("extra11"), "{report}");
        assert!(report.contains("11 tensors") && report.contains("and more"), "{report}");
        for name in 1..12 {
            let _ = parameters.get(&format!("extra{name:02}"), &[1]).unwrap();
        }
        parameters.finish().unwrap();
    }

    #[test]
    fn another_shape_is_refused_even_where_it_could_be_broadcast() {
        let bytes = file(&[
            ("a.scalar", Dtype::F32, &[], floats(&[1.0])),
            ("a.one", Dtype::F32, &[1], floats(&[1.0])),
            ("a.row", Dtype::F32, &[1, 3], floats(&[1.0; 3])),
            ("a.flat", Dtype::F32, &[6], floats(&[1.0; 6])),
            ("a.turned", Dtype::F32, &[3, 2], floats(&[1.0; 6])),
        ]);
        for name in ["scalar", "one", "row", "flat", "turned"] {
            assert_eq!(fault_of(&bytes, name, &[2, 3]), Fault::ModelShape, "{name}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_refused_with_their_place() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bytes = file(&[("a.x", Dtype::F32, &[2, 2], floats(&[0.0, 1.0, value, 3.0]))]);
            let parameters = Parameters::parse(&bytes, "m", &Placement::CPU).unwrap();
            let error = parameters.get("a.x", &[2, 2]).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelNonFinite);
            assert!(error.report("virnucpro").contains("position 2"), "{}", error.report("virnucpro"));
        }
    }

    #[test]
    fn a_value_beyond_the_range_of_the_chosen_format_is_refused() {
        let bytes = file(&[("a.x", Dtype::F32, &[1], floats(&[1e5]))]);
        let half = Placement { device: Device::Cpu, kind: Kind::Half };
        let error = Parameters::parse(&bytes, "m", &half).unwrap().get("a.x", &[1]).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelNonFinite);
    }

    #[test]
    fn all_floating_point_formats_are_read_and_others_refused() {
        let bytes = file(&[
            ("a.f16", Dtype::F16, &[1], 0x3E00u16.to_le_bytes().to_vec()),
            ("a.bf16", Dtype::BF16, &[1], 0x3FC0u16.to_le_bytes().to_vec()),
            ("a.f64", Dtype::F64, &[1], 1.5f64.to_le_bytes().to_vec()),
            ("a.i64", Dtype::I64, &[1], 1i64.to_le_bytes().to_vec()),
        ]);
        for kind in [Kind::Float, Kind::BFloat16] {
            let parameters = Parameters::parse(&bytes, "m", &Placement { device: Device::Cpu, kind }).unwrap();
            for name in ["a.f16", "a.bf16", "a.f64"] {
                let tensor = parameters.get(name, &[1]).unwrap();
                assert_eq!((tensor.kind(), tensor.double_value(&[0])), (kind, 1.5), "{name}");
                assert_eq!(parameters.in_f32().get(name, &[1]).unwrap().kind(), Kind::Float);
            }
        }
        assert_eq!(fault_of(&bytes, "i64", &[1]), Fault::ModelTensors);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let values = vec![0.5; 700];
        let bytes = file(&[("a", Dtype::F32, &[700], floats(&values))]);
        let cuts = (0..bytes.len()).step_by(256).chain([7, 8, 9, bytes.len() - 1]);
        for length in cuts {
            let error = Parameters::parse(&bytes[..length], "m", &Placement::CPU).map(|_| ()).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelFormat, "{length} bytes");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Parameters::parse(&longer, "m", &Placement::CPU).is_err());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 8]);
        let error = Parameters::parse(&bytes, "m", &Placement::CPU).map(|_| ()).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelFormat);
    }

    #[test]
    fn a_huge_header_is_refused_before_it_is_read() {
        for length in [17 << 20, 1 << 63, u64::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend([b'{'; 64]);
            let error = Parameters::parse(&bytes, "m", &Placement::CPU).map(|_| ()).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelFormat, "{length}");
        }
    }

    #[test]
    fn what_a_failed_download_leaves_is_recognised() {
        for text in [
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "<!DOCTYPE html><html></html>",
            "\n\n  <html><head></head></html>",
            "{\"error\":\"Repository not found\"}",
        ] {
            let error = Parameters::parse(text.as_bytes(), "m", &Placement::CPU).map(|_| ()).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelPointer, "{text}");
        }
        assert_eq!(
            Parameters::parse(&[0; 40], "m", &Placement::CPU).map(|_| ()).unwrap_err().fault(),
            Fault::ModelFormat
        );
    }
}
