//! One GPU, as far as tch does not know it: its memory, its compute capability, memory of the host that it reads by itself
//! (`shim/accelerator.cpp`).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::device::attention::Capability;
use crate::device::library::cuda_devices;
use crate::device::shim::check;
use crate::error::{Error, Fault, Result};
use crate::runtime::picture::MemoryPicture;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn virnucpro_allocator_settings(settings: *const c_char) -> *const c_char;
    fn virnucpro_gpu_open() -> *const c_char;
    fn virnucpro_gpu_memory(device: i32, bytes: *mut i64) -> *const c_char;
    fn virnucpro_gpu_reset_peak(device: i32) -> *const c_char;
    fn virnucpro_gpu_empty_cache() -> *const c_char;
    fn virnucpro_gpu_synchronize(device: i32) -> *const c_char;
    fn virnucpro_pinned(device: i32, like: *const C_tensor, tensor: *mut *mut C_tensor) -> *const c_char;
}

/// A GPU that libtorch can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpu {
    index: u8,
}

impl Gpu {
    /// Makes a GPU ready, by its index among the visible ones, counted from 0.
    ///
    /// # Errors
    /// [`Fault::DeviceUnavailable`].
    pub fn open(index: usize) -> Result<Self> {
        let count = cuda_devices()?;
        let gpu = u8::try_from(index).ok().filter(|_| index < count).map(|index| Self { index }).ok_or_else(|| {
            Error::new(Fault::DeviceUnavailable, format!("cuda:{index} does not exist"))
                .expected(format!("cuda:0 to cuda:{}", count - 1))
        })?;
        #[allow(unsafe_code)]
        // SAFETY: the CUDA part of libtorch is open.
        check(unsafe { virnucpro_gpu_open() })?;
        Ok(gpu)
    }

    /// As tch names it.
    pub fn device(self) -> Device {
        Device::Cuda(usize::from(self.index))
    }

    pub(super) fn number(self) -> i32 {
        i32::from(self.index)
    }

    /// What it can compute; `None` where the driver does not say.
    pub fn capability(self) -> Option<Capability> {
        capability_of(usize::from(self.index))
    }

    /// Memory of the device and of libtorch's allocator on it.
    ///
    /// # Errors
    /// The device has failed.
    pub fn memory(self) -> Result<MemoryPicture> {
        let mut bytes = [0i64; 5];
        #[allow(unsafe_code)]
        // SAFETY: five numbers are written.
        check(unsafe { virnucpro_gpu_memory(self.number(), bytes.as_mut_ptr()) })?;
        let [allocated, reserved, peak, free, total] = bytes.map(|number| u64::try_from(number).ok());
        Ok(MemoryPicture { allocated, reserved, free, total, peak })
    }

    /// Lets the peak start anew from what is allocated now.
    ///
    /// # Errors
    /// The device has failed.
    pub fn reset_peak(self) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: an index is checked by libtorch.
        check(unsafe { virnucpro_gpu_reset_peak(self.number()) })
    }

    /// Gives memory that no tensor holds back to the driver, on every GPU.
    ///
    /// # Errors
    /// A device has failed.
    pub fn empty_cache(self) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: takes nothing.
        check(unsafe { virnucpro_gpu_empty_cache() })
    }

    /// Waits for everything that was given to the device.
    ///
    /// # Errors
    /// What any of it failed with.
    pub fn synchronize(self) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: an index is checked by libtorch.
        check(unsafe { virnucpro_gpu_synchronize(self.number()) })
    }

    /// Memory of the host, of the shape and kind of `like`, that this GPU reads and writes while the processor does other
    /// things. Its values are undefined.
    ///
    /// # Errors
    /// The system does not allow so much memory to be pinned.
    pub fn pinned(self, like: &Tensor) -> Result<Tensor> {
        let mut tensor = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: the tensor is alive during the call, and what comes back is ours.
        unsafe {
            check(virnucpro_pinned(self.number(), like.as_ptr(), &raw mut tensor))?;
            Ok(Tensor::from_ptr(tensor))
        }
    }
}

/// Lets the allocator of GPUs grow its segments, which keeps batches of many sizes from leaving gaps. Before the first
/// memory of a GPU is asked for; no GPU is needed.
///
/// # Errors
/// libtorch does not know the setting.
pub fn use_expandable_segments() -> Result<()> {
    let setting = CString::new("expandable_segments:True").unwrap_or_default();
    #[allow(unsafe_code)]
    // SAFETY: a terminated string.
    check(unsafe { virnucpro_allocator_settings(setting.as_ptr()) })
}

/// What a GPU can compute, by its index, without making it ready; `None` where the driver does not say.
pub(super) fn capability_of(index: usize) -> Option<Capability> {
    const MAJOR: c_int = 75;
    const MINOR: c_int = 76;
    let device = c_int::try_from(index).ok()?;
    let [major, minor] = [MAJOR, MINOR].map(|attribute| attribute_of(device, attribute));
    Some(Capability { major: major?, minor: minor? })
}

/// An attribute of a device, asked of CUDA's runtime. libtorch tells the capability only through headers of CUDA; its
/// libcudart is loaded with libtorch_cpu in any case, and this call has been the same in all its versions.
fn attribute_of(device: c_int, attribute: c_int) -> Option<u32> {
    type DeviceGetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
    const NAME: &CStr = c"cudaDeviceGetAttribute";
    let mut value = 0;
    #[allow(unsafe_code)]
    // SAFETY: the name is a terminated string, and a function of this name has this signature.
    let refused = unsafe {
        let function: *mut c_void = libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr());
        if function.is_null() {
            return None;
        }
        let ask = std::mem::transmute::<*mut c_void, DeviceGetAttribute>(function);
        ask(&raw mut value, attribute, device)
    };
    if refused == 0 { u32::try_from(value).ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::print_stdout)] // says that it skips
pub(super) mod tests {
    use super::*;
    use crate::device::library::has_nvidia_device;
    use std::path::Path;

    /// A GPU that is not there, and whether the test makes sense on this machine.
    pub fn absent() -> Option<Gpu> {
        if has_nvidia_device(Path::new("/dev")) {
            println!("skipped: this machine has an NVIDIA device");
            return None;
        }
        Some(Gpu { index: 0 })
    }

    #[test]
    fn a_machine_without_a_gpu_says_so() {
        if absent().is_some() {
            assert_eq!(Gpu::open(0).unwrap_err().fault(), Fault::DeviceUnavailable);
        }
    }

    #[test]
    fn what_needs_a_gpu_is_an_error_without_one() {
        let Some(gpu) = absent() else { return };
        gpu.memory().unwrap_err();
        gpu.reset_peak().unwrap_err();
        gpu.empty_cache().unwrap_err();
        gpu.synchronize().unwrap_err();
        gpu.pinned(&Tensor::from_slice(&[1, 2])).unwrap_err();
        assert_eq!(gpu.capability(), None);
    }

    #[test]
    fn segments_can_be_made_expandable_before_there_is_a_gpu() {
        use_expandable_segments().unwrap();
    }
}
