//! Where a model runs, and in which number format.

use std::fmt;
use std::sync::Once;

use tch::{Device, Kind};

use crate::device::attention::Processor;
use crate::device::gpu::{Gpu, capability_of};
use crate::device::library::{cuda_devices, expects_gpu};
use crate::error::{Error, Fault, Result};
use crate::units::{Auto, DeviceChoice, Precision};

/// Where a model runs, and in which number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// CPU or one GPU.
    pub device: Device,
    /// Format of weights and matrix products.
    pub kind: Kind,
}

impl Placement {
    /// The CPU in f32: the reference for all numbers.
    pub const CPU: Self = Self { device: Device::Cpu, kind: Kind::Float };

    /// One `Placement` for every device of `choice`, at least one.
    ///
    /// `auto` takes every visible GPU, and the CPU where there is none; it opens no library on a machine
    /// without an NVIDIA device. The automatic format is f32 on the CPU and f16 on a GPU.
    ///
    /// # Errors
    /// [`Fault::DeviceUnavailable`] when a GPU is asked for that cannot be used, [`Fault::Usage`] for
    /// f16 on the CPU, and bf16 on one that does not multiply it.
    pub fn resolve(choice: &DeviceChoice, precision: Auto<Precision>) -> Result<Vec<Self>> {
        let devices = match choice {
            DeviceChoice::Cpu => vec![Device::Cpu],
            DeviceChoice::Auto => match expects_gpu() {
                true => match cuda_devices() {
                    Ok(count) => (0..count).map(Device::Cuda).collect(),
                    Err(error) => {
                        log::warn!(
                            "this machine has a GPU that cannot be used ({error}); running on the CPU instead, much slower"
                        );
                        vec![Device::Cpu]
                    }
                },
                false => vec![Device::Cpu],
            },
            DeviceChoice::Cuda(wanted) => chosen(wanted, cuda_devices()?)?,
        };
        devices.into_iter().map(|device| Self::on(device, precision)).collect()
    }

    /// Number format of weights and matrix products.
    pub fn precision(&self) -> Precision {
        match self.kind {
            Kind::BFloat16 => Precision::Bf16,
            Kind::Half => Precision::F16,
            _ => Precision::F32,
        }
    }

    /// Whether the device is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.device != Device::Cpu
    }

    /// The GPU, made ready; none on a CPU.
    ///
    /// # Errors
    /// [`Fault::DeviceUnavailable`].
    pub fn gpu(&self) -> Result<Option<Gpu>> {
        match self.device {
            Device::Cuda(index) => Gpu::open(index).map(Some),
            _ => Ok(None),
        }
    }

    /// The device alone, as `cuda:1`.
    pub fn device_name(&self) -> String {
        match self.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".to_owned(),
        }
    }

    /// The device as kernels for attention see it.
    pub fn processor(&self) -> Processor {
        match self.device {
            Device::Cuda(index) => Processor::Gpu(capability_of(index)),
            _ => Processor::Cpu,
        }
    }

    fn on(device: Device, precision: Auto<Precision>) -> Result<Self> {
        let automatic = if device == Device::Cpu { Precision::F32 } else { Precision::F16 };
        let kind = match precision.or_else(|| automatic) {
            Precision::F32 => Kind::Float,
            Precision::Bf16 if device == Device::Cpu && !multiplies_bf16() => {
                return Err(Error::new(
                    Fault::Usage,
                    "bf16 is not available on this processor, where it would be slower than f32",
                )
                .expected("a processor with AVX512-BF16 or AMX")
                .found("neither")
                .advice("give --dtype f32, or use a GPU"));
            }
            Precision::Bf16 => Kind::BFloat16,
            Precision::F16 if device == Device::Cpu => {
                return Err(Error::new(
                    Fault::Usage,
                    "f16 is not available on the CPU, where it would be slower than f32",
                )
                .expected("f32 or bf16")
                .found("f16")
                .advice("give --dtype f32 or --dtype bf16, or use a GPU"));
            }
            Precision::F16 => Kind::Half,
        };
        Ok(Self { device, kind })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.device_name(), self.precision())
    }
}

/// Whether the processor multiplies matrices of bf16: with AVX512-BF16, which those with AMX have as well. Others take many
/// times as long as for f32.
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Lets libtorch use `threads` threads within an operation and one between operations.
/// Holds for the calling thread: call it in every thread that runs a model.
pub fn set_threads(threads: usize) {
    static BETWEEN: Once = Once::new();
    BETWEEN.call_once(|| tch::set_num_interop_threads(1));
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

fn chosen(wanted: &[usize], count: usize) -> Result<Vec<Device>> {
    if wanted.is_empty() {
        return Ok((0..count).map(Device::Cuda).collect());
    }
    match wanted.iter().find(|&&index| index >= count) {
        None => Ok(wanted.iter().copied().map(Device::Cuda).collect()),
        Some(index) => Err(Error::new(Fault::DeviceUnavailable, format!("cuda:{index} does not exist"))
            .expected(format!("cuda:0 to cuda:{}, as CUDA_VISIBLE_DEVICES allows", count - 1))
            .found(format!("cuda:{index}"))
            .advice("GPUs are numbered from 0 among those assigned to the job")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::library::has_nvidia_device;
    use std::path::Path;

    #[test]
    fn half_precision_is_refused_on_the_cpu_with_the_reason() {
        let error = Placement::resolve(&DeviceChoice::Cpu, Auto::Value(Precision::F16)).unwrap_err();
        assert_eq!(error.fault(), Fault::Usage);
        assert!(error.to_string().contains("slower"), "{error}");
    }

    #[test]
    fn the_automatic_format_follows_the_device() {
        assert_eq!(Placement::resolve(&DeviceChoice::Cpu, Auto::Auto).unwrap(), [Placement::CPU]);
        assert_eq!(Placement::on(Device::Cuda(1), Auto::Auto).unwrap().to_string(), "cuda:1 f16");
        assert_eq!(Placement::on(Device::Cuda(0), Auto::Value(Precision::F16)).unwrap().kind, Kind::Half);
    }

    #[test]
    fn devices_beyond_the_last_are_refused() {
        assert_eq!(chosen(&[], 2).unwrap(), [Device::Cuda(0), Device::Cuda(1)]);
        assert_eq!(chosen(&[1], 2).unwrap(), [Device::Cuda(1)]);
        assert_eq!(chosen(&[0, 2], 2).unwrap_err().fault(), Fault::DeviceUnavailable);
    }

    #[test]
    #[allow(clippy::print_stdout)] // says that it skips
    fn without_a_gpu_the_request_fails_and_auto_takes_the_cpu() {
        if has_nvidia_device(Path::new("/dev")) {
            println!("skipped: this machine has an NVIDIA device");
            return;
        }
        assert_eq!(Placement::resolve(&DeviceChoice::Auto, Auto::Auto).unwrap(), [Placement::CPU]);
        let error = Placement::resolve(&DeviceChoice::Cuda(vec![]), Auto::Auto).unwrap_err();
        assert_eq!(error.fault(), Fault::DeviceUnavailable);
    }
}
