//! Tensors of a bundle's file on their way to the device.
//!
//! Loading is checking: names, shapes and number formats are proved at once against the model's schema, values as each
//! tensor is taken. A value goes from the mapped file to the device in one pass, and the pages it came from are given
//! back: a model takes its own size in memory, not twice that.

use std::fmt::Display;
use std::ops::Deref;

use safetensors::Dtype;
use tch::{Device, Kind, TchError, Tensor};

use crate::device::Placement;
use crate::error::{Error, Fault, Result};
use crate::model::schema::{NamedTensors, Schema, TensorSpec};
use crate::weights::TensorSource;

/// A tensor that a model is made of, or that follows from those. Clones share its memory, so a cloned model can compute on
/// a thread of its own: nothing writes to parameters once they are loaded.
pub(super) struct Parameter(Tensor);

impl Clone for Parameter {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Deref for Parameter {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl From<Tensor> for Parameter {
    fn from(tensor: Tensor) -> Self {
        Self(tensor)
    }
}

/// A place in the name tree of a weights file, as `encoder.layer.3.`.
#[derive(Clone)]
pub(super) struct Parameters<'a> {
    source: &'a dyn TensorSource,
    schema: &'a Schema,
    device: Device,
    kind: Kind,
    prefix: String,
    proceed: &'a dyn Fn() -> Result<()>,
}

impl<'a> Parameters<'a> {
    /// The tensors of `source`, which are proved to be those of `schema`. `proceed` is asked at every tensor; its error
    /// ends the loading.
    ///
    /// # Errors
    /// [`Fault::ModelTensors`], [`Fault::ModelShape`].
    pub(super) fn open(
        source: &'a dyn TensorSource,
        schema: &'a Schema,
        placement: &Placement,
        proceed: &'a dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        schema.check(&tensors_of(source))?;
        Ok(Self { source, schema, device: placement.device, kind: placement.kind, prefix: String::new(), proceed })
    }

    /// The place `name` below this one; a number is the index of a layer.
    pub(super) fn sub(&self, name: impl Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The same place, its tensors in f32 for any number format of the matrix products.
    pub(super) fn in_f32(&self) -> Self {
        Self { kind: Kind::Float, ..self.clone() }
    }

    /// Number format in which tensors are given out.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where tensors go.
    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// The tensor `name`, in the shape of the schema, on the device and in the number format of the computation.
    ///
    /// # Errors
    /// [`Fault::ModelNonFinite`] for values that the schema does not allow, or that are not finite in that format.
    pub(super) fn get(&self, name: &str) -> Result<Parameter> {
        let defect = || Error::new(Fault::Bug, "the schema lacks a tensor of the model").record(self.full(name));
        self.find(name)?.ok_or_else(defect)
    }

    /// As [`get`](Self::get); none where the schema has no such tensor.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(super) fn find(&self, name: &str) -> Result<Option<Parameter>> {
        let full = self.full(name);
        match (self.schema.get(&full), self.source.find(&full)) {
            (Some(spec), Some(index)) => self.take(index, spec).map(|tensor| Some(tensor.into())),
            _ => Ok(None),
        }
    }

    fn take(&self, index: usize, spec: &TensorSpec) -> Result<Tensor> {
        (self.proceed)()?;
        let tensors = self.source.tensors();
        let Some((info, stored)) = tensors.get(index).and_then(|info| Some((info, float_kind(info.dtype)?))) else {
            return Err(Error::new(Fault::Bug, "a tensor was taken that the schema does not have"));
        };
        let size: Vec<i64> = spec.shape.iter().map(|&length| length as i64).collect();
        let data = self.source.bytes(index)?;
        // On a GPU the conversion is left to it.
        let tensor = with_tensor(&data, &size, stored, |raw| match self.device {
            Device::Cpu => raw.f_to_dtype(self.kind, false, true),
            device => raw.f_to_device(device)?.f_to_kind(self.kind),
        })?;
        if let Some(place) = first_wrong(&tensor, spec.is_variance)? {
            let value = with_tensor(&data, &size, stored, |raw| raw.f_reshape([-1])?.f_double_value(&[place]))?;
            let format = precision_name(self.kind);
            return Err(spec.refuse(value, format, info, place as usize));
        }
        self.source.release(index);
        Ok(tensor)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// The tensors of a bundle's file, whose names are the model's.
pub(super) fn tensors_of(source: &dyn TensorSource) -> NamedTensors<'_> {
    source.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
}

/// Calls `use_it` with a tensor over `data`, which must not outlive the call.
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
    // aligned; nothing here writes to them.
    let tensor = unsafe { Tensor::f_from_blob(data.as_ptr(), size, &strides, kind, Device::Cpu)? };
    use_it(&tensor)
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

fn precision_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Half => "f16",
        Kind::BFloat16 => "bf16",
        _ => "f32",
    }
}

/// Place in row-major order of the first value that is not allowed.
fn first_wrong(tensor: &Tensor, is_variance: bool) -> Result<Option<i64>> {
    if tensor.numel() == 0 {
        return Ok(None);
    }
    // One pass; either end is NaN or infinite if any value is.
    let (least, greatest) = tensor.f_aminmax(None, false)?;
    let (least, greatest) = (least.f_double_value(&[])?, greatest.f_double_value(&[])?);
    let least_allowed = if is_variance { 0.0 } else { f64::MIN };
    if least >= least_allowed && greatest.is_finite() {
        return Ok(None);
    }
    let allowed = tensor.f_isfinite()?.f_logical_and(&tensor.f_ge(least_allowed)?)?;
    Ok(Some(allowed.f_to_kind(Kind::Uint8)?.f_reshape([-1])?.f_argmin(0, false)?.f_int64_value(&[])?))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use safetensors::tensor::{TensorView, serialize};

    use super::*;
    use crate::model::schema::head;
    use crate::weights::{ModelBytes, Safetensors};

    const CONFIG: head::Config = head::Config::Published { hidden: 2, inputs: 3 };

    /// A head of two hidden units and three inputs, some of its tensors replaced.
    fn file(replaced: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Safetensors {
        let names = [
            ("hidden_layer.weight", &[2, 3][..]),
            ("hidden_layer.bias", &[2]),
            ("bn1.weight", &[2]),
            ("bn1.bias", &[2]),
            ("bn1.running_mean", &[2]),
            ("bn1.running_var", &[2]),
            ("output_layer.weight", &[2, 2]),
            ("output_layer.bias", &[2]),
        ];
        let kept = names.iter().filter(|(name, _)| replaced.iter().all(|(other, ..)| other != name));
        let floats = |shape: &[usize]| floats(&(0..shape.iter().product()).map(|n| n as f32).collect::<Vec<_>>());
        let kept: Vec<_> = kept.map(|(name, shape)| (*name, Dtype::F32, *shape, floats(shape))).collect();
        let views = kept
            .iter()
            .chain(replaced)
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
        let bytes = ModelBytes::from(serialize(views, None).unwrap());
        Safetensors::read(bytes, Path::new("head.safetensors")).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn taken(file: &Safetensors, name: &str, kind: Kind) -> Result<Tensor> {
        let schema = CONFIG.tensors();
        let place = Placement { device: Device::Cpu, kind };
        Ok(Parameters::open(file, &schema, &place, &|| Ok(()))?.get(name)?.shallow_clone())
    }

    #[test]
    fn a_tensor_is_found_by_its_place_and_has_its_shape_and_values() {
        let (file, schema) = (file(&[]), CONFIG.tensors());
        let parameters = Parameters::open(&file, &schema, &Placement::CPU, &|| Ok(())).unwrap();
        let weight = parameters.sub("hidden_layer").get("weight").unwrap();
        assert_eq!((weight.size(), weight.double_value(&[1, 2])), (vec![2, 3], 5.0));
        assert!(parameters.find("bias").unwrap().is_none() && parameters.sub(3).find("weight").unwrap().is_none());
    }

    #[test]
    fn loading_ends_when_it_must() {
        let (file, schema, asked) = (file(&[]), CONFIG.tensors(), Cell::new(0));
        let proceed = || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Ok(()) } else { Err(Error::new(Fault::Interrupted, "stopped")) }
        };
        let parameters = Parameters::open(&file, &schema, &Placement::CPU, &proceed).unwrap();
        let bias = || parameters.get("bn1.bias").map(drop);
        assert_eq!((bias().is_ok(), bias().is_ok(), bias().unwrap_err().fault()), (true, true, Fault::Interrupted));
    }

    #[test]
    fn another_shape_is_refused_even_where_it_could_be_broadcast() {
        for shape in [&[][..], &[1], &[1, 3], &[6], &[3, 2]] {
            let data = floats(&vec![1.0; shape.iter().product()]);
            let file = file(&[("hidden_layer.weight", Dtype::F32, shape, data)]);
            assert_eq!(taken(&file, "bn1.bias", Kind::Float).unwrap_err().fault(), Fault::ModelShape, "{shape:?}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_refused_with_their_place() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let file = file(&[("output_layer.weight", Dtype::F32, &[2, 2], floats(&[0.0, 1.0, value, 3.0]))]);
            let error = taken(&file, "output_layer.weight", Kind::Float).unwrap_err();
            assert_eq!(error.fault(), Fault::ModelNonFinite);
            let report = error.report("virnucpro");
            assert!(report.contains("value 2 of shape [2, 2]"), "{report}");
        }
    }

    #[test]
    fn a_value_beyond_the_range_of_the_chosen_format_is_refused() {
        let file = file(&[("bn1.bias", Dtype::F32, &[2], floats(&[0.0, 1e5]))]);
        let error = taken(&file, "bn1.bias", Kind::Half).unwrap_err();
        assert_eq!(error.fault(), Fault::ModelNonFinite);
        let report = error.report("virnucpro");
        assert!(report.contains("100000") && report.contains("f16 cannot hold"), "{report}");
        let _ = taken(&file, "bn1.bias", Kind::BFloat16).unwrap();
    }

    #[test]
    fn only_a_variance_may_not_be_below_zero() {
        for (value, allowed) in [(-1e-30f32, false), (-0.0, true), (0.0, true)] {
            let data = floats(&[1.0, value]);
            let file = file(&[
                ("bn1.running_var", Dtype::F32, &[2], data.clone()),
                ("bn1.running_mean", Dtype::F32, &[2], data),
            ]);
            let _ = taken(&file, "bn1.running_mean", Kind::Float).unwrap();
            let error = taken(&file, "bn1.running_var", Kind::Float).err();
            assert_eq!(error.is_none(), allowed, "{value}");
            if let Some(error) = error {
                assert_eq!(error.fault(), Fault::ModelNonFinite);
                assert!(
                    error.report("virnucpro").contains("bn1.running_var, value 1"),
                    "{}",
                    error.report("virnucpro")
                );
            }
        }
    }

    #[test]
    fn all_floating_point_formats_are_read_and_others_refused() {
        for (dtype, bytes) in [
            (Dtype::F16, [0x3E00u16; 2].map(u16::to_le_bytes).concat()),
            (Dtype::BF16, [0x3FC0u16; 2].map(u16::to_le_bytes).concat()),
            (Dtype::F64, [1.5f64; 2].map(f64::to_le_bytes).concat()),
        ] {
            let (file, schema) = (file(&[("bn1.bias", dtype, &[2], bytes)]), CONFIG.tensors());
            for kind in [Kind::Float, Kind::BFloat16] {
                let placement = Placement { device: Device::Cpu, kind };
                let parameters = Parameters::open(&file, &schema, &placement, &|| Ok(())).unwrap();
                let tensor = parameters.get("bn1.bias").unwrap();
                assert_eq!((tensor.kind(), tensor.double_value(&[0])), (kind, 1.5), "{dtype:?}");
                assert_eq!(parameters.in_f32().get("bn1.bias").unwrap().kind(), Kind::Float);
            }
        }
        let file = file(&[("bn1.bias", Dtype::I64, &[2], [1i64; 2].map(i64::to_le_bytes).concat())]);
        assert_eq!(taken(&file, "bn1.weight", Kind::Float).unwrap_err().fault(), Fault::ModelTensors);
    }
}
