//! The CUDA part of libtorch, opened at run time.
//!
//! The executable is linked with the CPU part alone. libtorch decides once for the process whether there is CUDA, when it
//! is asked its first question about it: the CUDA part must be open by then. So call [`cuda_devices`], or
//! `Placement::resolve`, before anything else that needs libtorch.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tch::Cuda;

use crate::error::{Error, Fault, Result};

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

/// Whether looking for a GPU is worth opening the CUDA library, which takes seconds.
pub(super) fn expects_gpu() -> bool {
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

pub(super) fn has_nvidia_device(dev: &Path) -> bool {
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
