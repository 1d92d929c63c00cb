//! Streams and events of a GPU (`shim/accelerator.cpp`): who waits for whom without the processor in between.

use std::ffi::c_char;
use std::ptr::{self, NonNull};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::device::gpu::Gpu;
use crate::device::shim::check;
use crate::error::{Error, Fault, Result};

/// An event of libtorch, behind a pointer.
#[repr(C)]
struct RawEvent {
    _opaque: [u8; 0],
}

#[allow(unsafe_code)]
unsafe extern "C" {
    fn virnucpro_stream_new(device: i32, stream: *mut i64) -> *const c_char;
    fn virnucpro_stream_use(device: i32, stream: i64, before: *mut i64) -> *const c_char;
    fn virnucpro_stream_synchronize(device: i32, stream: i64) -> *const c_char;
    fn virnucpro_event_new(event: *mut *mut RawEvent) -> *const c_char;
    fn virnucpro_event_free(event: *mut RawEvent);
    fn virnucpro_event_record(event: *mut RawEvent, device: i32, stream: i64) -> *const c_char;
    fn virnucpro_event_block(event: *const RawEvent, device: i32, stream: i64) -> *const c_char;
    fn virnucpro_event_synchronize(event: *const RawEvent) -> *const c_char;
    fn virnucpro_copy(to: *mut C_tensor, from: *const C_tensor) -> *const c_char;
}

/// Work that a GPU does in order. Streams belong to libtorch's pool and are never given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    device: i32,
    id: i64,
}

impl Stream {
    /// A stream of libtorch's pool, beside the default one.
    ///
    /// # Errors
    /// The device has failed.
    pub fn new(gpu: Gpu) -> Result<Self> {
        let (device, mut id) = (gpu.number(), 0);
        #[allow(unsafe_code)]
        // SAFETY: a number is written.
        check(unsafe { virnucpro_stream_new(device, &raw mut id) })?;
        Ok(Self { device, id })
    }

    /// The stream that every device starts with.
    pub fn default_of(gpu: Gpu) -> Self {
        Self { device: gpu.number(), id: 0 }
    }

    /// Does `work` with this as the stream of the calling thread.
    ///
    /// # Errors
    /// Those of `work`; the device has failed.
    pub fn run<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.enter()?;
        let done = work();
        let back = before.enter();
        let done = done?;
        back.map(|_| done)
    }

    /// Makes it the stream of the calling thread; gives the one before.
    fn enter(self) -> Result<Self> {
        let mut before = 0;
        #[allow(unsafe_code)]
        // SAFETY: the stream came from libtorch; a number is written.
        check(unsafe { virnucpro_stream_use(self.device, self.id, &raw mut before) })?;
        Ok(Self { device: self.device, id: before })
    }

    /// Lets what is given to the stream from now on wait for an event. The caller does not wait.
    ///
    /// # Errors
    /// The device has failed.
    pub fn wait(self, event: &Event) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: the event is alive.
        check(unsafe { virnucpro_event_block(event.0.as_ptr(), self.device, self.id) })
    }

    /// Waits for everything that was given to the stream.
    ///
    /// # Errors
    /// What any of it failed with.
    pub fn synchronize(self) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: the stream came from libtorch.
        check(unsafe { virnucpro_stream_synchronize(self.device, self.id) })
    }
}

/// A place in a stream. One that was never recorded is past.
pub struct Event(NonNull<RawEvent>);

#[allow(unsafe_code)]
// SAFETY: an event is tied to a device, not to a thread; a lane moves it and never shares it.
unsafe impl Send for Event {}

impl Event {
    /// An event that was not recorded yet.
    ///
    /// # Errors
    /// There is no GPU.
    pub fn new() -> Result<Self> {
        let mut event = ptr::null_mut();
        #[allow(unsafe_code)]
        // SAFETY: a pointer is written.
        check(unsafe { virnucpro_event_new(&raw mut event) })?;
        NonNull::new(event).map(Self).ok_or_else(|| Error::new(Fault::Bug, "libtorch gave no event"))
    }

    /// Marks the place that the stream has come to; what was marked before is forgotten.
    ///
    /// # Errors
    /// The device has failed.
    pub fn record(&mut self, stream: Stream) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: the event is alive and only here.
        check(unsafe { virnucpro_event_record(self.0.as_ptr(), stream.device, stream.id) })
    }

    /// Waits until the stream is past it.
    ///
    /// # Errors
    /// What the work before it failed with.
    pub fn synchronize(&self) -> Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: the event is alive.
        check(unsafe { virnucpro_event_synchronize(self.0.as_ptr()) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        #[allow(unsafe_code)]
        // SAFETY: it came from the shim, and nobody has it any more.
        unsafe {
            virnucpro_event_free(self.0.as_ptr());
        }
    }
}

/// Copies values of the same shape on the current stream. Between a GPU and pinned memory the caller does not wait: both
/// tensors must be left alone until an event after the copy is past.
///
/// # Errors
/// The shapes differ, or the device has failed.
pub fn copy(to: &mut Tensor, from: &Tensor) -> Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: both tensors are alive during the call; libtorch keeps pinned memory until the copy is done.
    check(unsafe { virnucpro_copy(to.as_mut_ptr(), from.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::tests::absent;

    #[test]
    fn streams_and_events_are_errors_without_a_gpu() {
        let Some(gpu) = absent() else { return };
        Stream::new(gpu).unwrap_err();
        let stream = Stream::default_of(gpu);
        stream.run(|| Ok(())).unwrap_err();
        stream.synchronize().unwrap_err();
        assert!(Event::new().is_err_and(|error| error.fault() == Fault::DeviceUnavailable));
    }

    #[test]
    fn a_copy_on_the_cpu_is_a_copy() {
        let (from, mut to) = (Tensor::from_slice(&[1, 2, 3]), Tensor::from_slice(&[0, 0, 0]));
        copy(&mut to, &from).unwrap();
        assert_eq!(Vec::<i32>::try_from(&to).unwrap(), [1, 2, 3]);
        copy(&mut Tensor::from_slice(&[0, 0]), &from).unwrap_err();
    }
}
