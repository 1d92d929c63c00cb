//! Devices of libtorch, and what its errors mean.
//!
//! The executable is linked with the CPU part of libtorch alone. The CUDA part is opened at run time,
//! before libtorch is asked its first question about CUDA: it decides then, once for the process,
//! whether there is CUDA. So call [`Placement::resolve`] before anything else that needs libtorch.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use tch::{Cuda, Device, Kind, TchError};

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
        match self.device {
            Device::Cuda(index) => write!(f, "cuda:{index} {}", self.precision()),
            _ => write!(f, "cpu {}", self.precision()),
        }
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

/// Number of GPUs this process can use, at least 1. The first call opens the CUDA part of libtorch.
///
/// # Errors
/// [`Fault::DeviceUnavailable`], saying what was looked for.
pub fn cuda_devices() -> Result<usize> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    let none = |message: &str| {
        Error::new(Fault::DeviceUnavailable, message)
            .advice("check nvidia-smi and the GPUs assigned to the job; --device cpu runs without a GPU")
    };
    if let Err(tried) = OPENED.get_or_init(open_cuda) {
        return Err(none("the CUDA part of libtorch cannot be opened")
            .expected("libtorch_cuda.so beside libtorch_cpu.so, and the libraries it needs")
            .found(tried.as_str())
            .advice(
                "a GPU needs the whole of torch 2.11.0, see README.md, 'With a GPU'; --device cpu runs without a GPU",
            ));
    }
    match usize::try_from(Cuda::device_count()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(none("libtorch sees no GPU")
            .expected("an NVIDIA GPU with a driver for CUDA 13 (R580 or newer), as libtorch 2.11 requires")
            .found(match std::env::var("CUDA_VISIBLE_DEVICES") {
                Ok(list) => format!("none; CUDA_VISIBLE_DEVICES is '{list}'"),
                Err(_) => "none; CUDA_VISIBLE_DEVICES is not set".to_owned(),
            })),
    }
}

/// Lets libtorch use `threads` threads within an operation and one between operations.
/// Holds for the calling thread: call it in every thread that runs a model.
pub fn set_threads(threads: usize) {
    static BETWEEN: Once = Once::new();
    BETWEEN.call_once(|| tch::set_num_interop_threads(1));
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// Beginnings of the messages for memory that is used up.
const OUT_OF_MEMORY: &[&str] = &[
    "CUDA out of memory. Tried to allocate",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
];

/// Beginnings of the messages for a GPU that cannot be used at all.
const UNAVAILABLE: &[&str] = &[
    "CUDA error: no kernel image is available",
    "CUDA error: all CUDA-capable devices are busy or unavailable",
    "CUDA error: CUDA driver version is insufficient",
    "CUDA error: no CUDA-capable device is detected",
    "CUDA error: invalid device ordinal",
    "Found no NVIDIA driver",
    "The NVIDIA driver on your system is too old",
];

/// Beginnings of the messages for a GPU that stopped working: every later call to it fails as well.
const LOST: &[&str] = &[
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: an illegal instruction was encountered",
    "CUDA error: misaligned address",
    "CUDA error: invalid address space",
    "CUDA error: invalid program counter",
    "CUDA error: hardware stack error",
    "CUDA error: unspecified launch failure",
    "CUDA error: the launch timed out and was terminated",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: uncorrectable NVLink error detected",
    "CUDA error: device-side assert triggered",
    "CUDA error: context is destroyed",
    "CUDA error: an exception occurred on the device",
    "CUDA error: unknown error",
    "CUDA driver error: an illegal memory access was encountered",
    "CUDA driver error: unspecified launch failure",
    "CUDA driver error: unknown error",
];

/// What a message of libtorch means. Only its beginning counts: names of files and tensors come later.
fn meaning(message: &str) -> Fault {
    let assertion = message.strip_prefix("[enforce fail at ").and_then(|rest| rest.split_once("] "));
    // as in "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: ..."
    let start = match assertion.map(|(_, rest)| rest) {
        Some(rest) => rest.split_once(". ").map_or(rest, |(_, rest)| rest),
        None => message,
    };
    let begins = |texts: &[&str]| texts.iter().any(|text| start.starts_with(text));
    if begins(OUT_OF_MEMORY) {
        Fault::OutOfMemory
    } else if begins(UNAVAILABLE) {
        Fault::DeviceUnavailable
    } else if begins(LOST) {
        Fault::DeviceLost
    } else {
        Fault::Torch
    }
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        let text = match &error {
            TchError::Torch(text) => text.clone(),
            other => other.to_string(),
        };
        // The C++ stack follows from the second line on.
        let message = text.lines().next().unwrap_or_default().trim_end();
        let fault = match &error {
            TchError::Torch(_) => meaning(message),
            _ => Fault::Torch,
        };
        let error = Error::new(fault, format!("libtorch: {message}"));
        match fault {
            Fault::OutOfMemory => {
                error.advice("give a smaller --batch-tokens, --dtype f16 on a GPU, or a device with more memory")
            }
            Fault::DeviceUnavailable => error.advice("check nvidia-smi; --device cpu runs without a GPU"),
            Fault::DeviceLost => error.advice(
                "check nvidia-smi and the kernel's log (dmesg, Xid), then run the same command again, on other GPUs \
                 (--device cuda:1) if it comes back",
            ),
            _ => error,
        }
    }
}

thread_local! {
    /// Whether a panic of tch is on its way to be an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Computes, and makes an error of a panic inside tch. Its calls that take a number free that number before they ask how the
/// call went; a failure, such as out of memory, is then found where tch can only panic.
///
/// # Errors
/// Those of `compute`; what libtorch reported where tch panicked. Any other panic goes on.
pub fn caught<T>(compute: impl FnOnce() -> Result<T>) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() || reported(info.payload()).is_none() {
                before(info);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(compute));
    CAUGHT.set(outer);
    outcome.unwrap_or_else(|payload| match reported(payload.as_ref()) {
        Some(error) => Err(error.into()),
        None => panic::resume_unwind(payload),
    })
}

/// What libtorch reported, in a panic of tch over it.
fn reported(payload: &(dyn Any + Send)) -> Option<TchError> {
    let (_, report) = payload.downcast_ref::<String>()?.split_once("on an `Err` value: Torch(\"")?;
    // As Rust shows a text: its line breaks are escaped.
    let line = report.split("\\n").next().unwrap_or(report);
    Some(TchError::Torch(line.trim_end_matches("\")").to_owned()))
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

/// Whether looking for a GPU is worth opening the CUDA library, which takes seconds.
fn expects_gpu() -> bool {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    leaves_devices(visible.as_deref()) && has_nvidia_device(Path::new("/dev"))
}

/// CUDA reads the list up to its first invalid entry, so an empty one or one that starts with -1 hides all.
fn leaves_devices(cuda_visible_devices: Option<&str>) -> bool {
    cuda_visible_devices.is_none_or(|list| {
        let first = list.split(',').next().unwrap_or_default().trim();
        !first.is_empty() && !first.starts_with('-')
    })
}

fn has_nvidia_device(dev: &Path) -> bool {
    std::fs::read_dir(dev).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            // dxg: the Windows Subsystem for Linux
            name.as_bytes().starts_with(b"nvidia") || name.as_bytes() == b"dxg"
        })
    })
}

/// Opens `libtorch_cuda.so` for the whole process; says what was tried when it cannot.
fn open_cuda() -> Result<(), String> {
    let mut candidates = vec![PathBuf::from("libtorch_cuda.so")];
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    // Links to the libraries of a wheel are common: the CUDA part lies beside the real file.
    let folder = loaded_library(&maps, "libtorch_cpu.so").and_then(|path| path.canonicalize().ok());
    if let Some(beside) = folder.as_deref().and_then(Path::parent).map(|folder| folder.join("libtorch_cuda.so")) {
        candidates.insert(0, beside);
    }
    let mut tried = Vec::new();
    for path in candidates {
        match open_library(&path) {
            Ok(()) => return Ok(()),
            Err(reason) => tried.push(format!("{}: {reason}", path.display())),
        }
    }
    Err(tried.join("; "))
}

#[allow(unsafe_code)]
fn open_library(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the name is a terminated string; libtorch's libraries may be loaded at any time, and this one
    // is never closed. dlerror gives null or a terminated string that is copied at once.
    unsafe {
        if !libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() {
            return Ok(());
        }
        let reason = libc::dlerror();
        match reason.is_null() {
            true => Err("no reason given".to_owned()),
            false => Err(CStr::from_ptr(reason).to_string_lossy().into_owned()),
        }
    }
}

/// Path of a loaded library, from the text of `/proc/self/maps`.
fn loaded_library(maps: &str, file_name: &str) -> Option<PathBuf> {
    maps.lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .find_map(|path| (path.file_name()? == file_name).then(|| path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    fn fault(message: &str) -> Fault {
        Error::from(TchError::Torch(message.to_owned())).fault()
    }

    #[test]
    fn out_of_memory_is_recognised_by_the_beginning_of_the_message() {
        for message in [
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.64 GiB",
            "CUDA error: out of memory\nCUDA kernel errors might be reported later",
            "CUDA driver error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
            "[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
            "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
            "std::bad_alloc",
        ] {
            assert_eq!(fault(message), Fault::OutOfMemory, "{message}");
        }
    }

    #[test]
    fn other_messages_that_speak_of_memory_are_not_out_of_memory() {
        for message in [
            "",
            "cannot open /data/room/zoom.fa",
            "bloom filter oom",
            "Expected all tensors to be on the same device",
            "open file '/data/CUDA out of memory. Tried to allocate/model.safetensors'",
            "[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file data/0",
            "first line\nCUDA out of memory. Tried to allocate 20.00 MiB",
        ] {
            assert_eq!(fault(message), Fault::Torch, "{message}");
        }
        assert_eq!(Error::from(TchError::Shape("CUDA error: out of memory".into())).fault(), Fault::Torch);
    }

    #[test]
    fn an_unusable_gpu_is_told_from_a_failed_computation() {
        let message = "CUDA error: no kernel image is available for execution on the device";
        assert_eq!(fault(message), Fault::DeviceUnavailable);
    }

    #[test]
    fn a_gpu_that_stopped_working_is_told_from_a_failed_computation_and_never_seen_on_a_cpu() {
        for message in [
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later",
            "CUDA error: unspecified launch failure",
            "CUDA error: uncorrectable ECC error encountered",
            "CUDA error: the launch timed out and was terminated",
            "CUDA error: device-side assert triggered",
            "CUDA error: unknown error",
        ] {
            assert_eq!(fault(message), Fault::DeviceLost, "{message}");
        }
        for message in
            ["unknown error", "misaligned address", "CUDA error: invalid argument", "an illegal memory access"]
        {
            assert_eq!(fault(message), Fault::Torch, "{message}");
        }
    }

    #[test]
    fn a_real_allocation_that_cannot_succeed_is_out_of_memory() {
        let error: Error = tch::Tensor::f_empty([1 << 46], (Kind::Float, Device::Cpu)).unwrap_err().into();
        assert_eq!(error.fault(), Fault::OutOfMemory, "{error}");
    }

    #[test]
    fn a_panic_of_tch_over_a_failed_call_is_that_failure_and_any_other_panic_goes_on() {
        // What tch itself does with an error that it does not pass on.
        let failing = || -> Result<Tensor> { Ok(Tensor::empty([1 << 46], (Kind::Float, Device::Cpu))) };
        assert_eq!(caught(failing).unwrap_err().fault(), Fault::OutOfMemory);
        assert_eq!(caught(|| Ok(7)).unwrap(), 7);
        let other = panic::catch_unwind(|| caught(|| -> Result<()> { panic!("another") }));
        assert_eq!(other.unwrap_err().downcast_ref::<&str>(), Some(&"another"));
    }

    #[test]
    fn the_stack_of_libtorch_is_left_out() {
        let error = Error::from(TchError::Torch("size mismatch\nException raised from f at a.cpp:1".into()));
        assert_eq!(error.to_string(), "libtorch: size mismatch");
    }

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

    #[test]
    fn hidden_devices_are_not_looked_for() {
        for (list, expected) in [
            (None, true),
            (Some("0"), true),
            (Some("GPU-3f2a"), true),
            (Some("0,-1"), true),
            (Some(""), false),
            (Some(" "), false),
            (Some("-1"), false),
            (Some("-1,0"), false),
        ] {
            assert_eq!(leaves_devices(list), expected, "{list:?}");
        }
    }

    #[test]
    fn the_loaded_library_is_found_in_the_memory_map() {
        let maps = "7f00-7f01 r--p 0000 08:01 12 /usr/lib/libc.so.6\n\
                    7f02-7f03 r-xp 0000 08:01 13                 /opt/my torch/lib/libtorch_cpu.so\n\
                    7f04-7f05 rw-p 0000 00:00 0 [heap]\n";
        assert_eq!(loaded_library(maps, "libtorch_cpu.so"), Some("/opt/my torch/lib/libtorch_cpu.so".into()));
        assert_eq!(loaded_library(maps, "libtorch_cuda.so"), None);
    }
}
