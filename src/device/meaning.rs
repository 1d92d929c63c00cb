//! What an error of libtorch means.

use tch::TchError;

use crate::error::{Error, Fault};

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
    "PyTorch is not linked with support for cuda devices",
    "The NVIDIA driver on your system is too old",
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
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

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
            "CUDA error: an illegal memory access was encountered",
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
    fn a_real_allocation_that_cannot_succeed_is_out_of_memory() {
        let error: Error = tch::Tensor::f_empty([1 << 46], (Kind::Float, Device::Cpu)).unwrap_err().into();
        assert_eq!(error.fault(), Fault::OutOfMemory, "{error}");
    }

    #[test]
    fn the_stack_of_libtorch_is_left_out() {
        let error = Error::from(TchError::Torch("size mismatch\nException raised from f at a.cpp:1".into()));
        assert_eq!(error.to_string(), "libtorch: size mismatch");
    }
}
