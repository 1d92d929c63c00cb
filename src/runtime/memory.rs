//! Memory that the system refuses, as under `ulimit -v`: Rust would abort, this says so and ends the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Fault};

/// The system's allocator; out of memory ends the process with a message and an exit code of the contract.
pub struct Reporting;

/// What is said, made while there is memory: where nothing can be made smaller, and where batches can.
static REPORTS: OnceLock<[(String, u8); 2]> = OnceLock::new();
static IN_BATCHES: AtomicBool = AtomicBool::new(false);

/// Prepares the reports. `tell` is how a failure is told.
pub fn prepare(tell: impl Fn(&Error) -> String) {
    let limits = "raise the memory of this job (ulimit -v, the scheduler's limit)";
    let fixed = Error::new(Fault::HostMemory, "the system does not give this process more memory").advice(limits);
    let batches = Error::new(Fault::OutOfMemory, "the system does not give this process more memory")
        .advice(format!("give a smaller --batch-tokens, fewer --threads, or {limits}"));
    let _ = REPORTS.set([fixed, batches].map(|error| (tell(&error) + "\n", error.fault().exit_code())));
}

/// From here on smaller batches can help.
pub fn work_in_batches() {
    IN_BATCHES.store(true, Ordering::Relaxed);
}

/// Ends the process without asking for memory.
fn exhausted() -> ! {
    let reports = REPORTS.get();
    let report = reports.map(|reports| &reports[usize::from(IN_BATCHES.load(Ordering::Relaxed))]);
    if let Some((text, _)) = report {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    signal_hook::low_level::exit(report.map_or(1, |(_, code)| i32::from(*code)))
}

fn given(memory: *mut u8) -> *mut u8 {
    if memory.is_null() { exhausted() } else { memory }
}

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system's allocator as it came; memory that it refuses is not returned.
unsafe impl GlobalAlloc for Reporting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        given(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        given(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}
