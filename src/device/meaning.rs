//! What an error of libtorch means.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use tch::TchError;

use crate::error::{Error, Fault, Result};

/// Beginnings of the messages for memory that is used up.
const OUT_OF_MEMORY: &[&str] = &[
    "CUDA out of memory. Tried to allocate",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
    // Where what cuBLAS needs for itself cannot be had; a GPU that cannot be used at all is found before there are products.
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasLtCreate",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
];

/// The whole of what oneDNN says where it gets no memory for a tensor or for the code it makes. What it cannot compute at all
/// fails earlier, with a "primitive descriptor".
const OUT_OF_MEMORY_OF_ONEDNN: &[&str] = &["could not create a primitive", "could not create a memory object"];

/// Beginnings of the messages for a GPU that cannot be used at all.
const UNAVAILABLE: &[&str] = &[
    "CUDA error: no kernel image is available",
    "CUDA error: all CUDA-capable devices are busy or unavailable",
    "CUDA error: CUDA driver version is insufficient",
    "CUDA error: no CUDA-capable device is detected",
    "CUDA error: invalid device ordinal",
    "Found no NVIDIA driver",
    "PyTorch is not linked with support for cuda devices",
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
    if begins(OUT_OF_MEMORY) || OUT_OF_MEMORY_OF_ONEDNN.contains(&start) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

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
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
            "[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
            "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
            "std::bad_alloc",
            "could not create a primitive",
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
            "could not create a primitive descriptor for a matmul primitive",
            "Expected all tensors to be on the same device",
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasGemmEx`",
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
}
