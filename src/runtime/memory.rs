//! Memory that the system refuses, as under `ulimit -v`: Rust would abort, this says so and ends the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Fault, Result};
use crate::units::Bytes;

/// The system's allocator; out of memory ends the process with a message and an exit code of the contract.
pub struct Reporting;

/// What is said, made while there is memory: where nothing can be made smaller, and where batches can.
static REPORTS: OnceLock<[(String, u8); 2]> = OnceLock::new();
/// Sessions under way that compute in batches.
static IN_BATCHES: AtomicUsize = AtomicUsize::new(0);

/// What is removed before the process ends.
static CLEAN_UP: OnceLock<fn()> = OnceLock::new();

/// Prepares the reports: `tell` is how a failure is told, `clean_up` must not ask for memory or wait.
pub fn prepare(tell: impl Fn(&Error) -> String, clean_up: fn()) {
    let _ = CLEAN_UP.set(clean_up);
    spare_address_space();
    let limits = "raise the memory of this job (ulimit -v, the scheduler's limit)";
    let smaller = format!(
        "give a smaller --batch-tokens, or leave it out and run again with --attempt one higher; or give fewer --threads, \
         or {limits}"
    );
    let refused = |fault| {
        let error = Error::new(fault, "the system does not give this process more memory");
        match address_space_limit() {
            Some(limit) => error.found(format!("an address space of at most {} (ulimit -v)", Bytes(limit))),
            None => error,
        }
    };
    let reports = [refused(Fault::HostMemory).advice(limits), refused(Fault::OutOfMemory).advice(smaller)];
    let _ = REPORTS.set(reports.map(|error| (tell(&error) + "\n", error.fault().exit_code())));
}

/// While it lives, a lack of memory is told as one that smaller batches can mend.
pub struct InBatches(());

impl InBatches {
    /// From here on.
    pub fn start() -> Self {
        IN_BATCHES.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for InBatches {
    fn drop(&mut self) {
        IN_BATCHES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether smaller batches can help where memory runs out now.
pub fn can_be_smaller() -> bool {
    IN_BATCHES.load(Ordering::Relaxed) > 0
}

/// The limit on the address space of this process (`ulimit -v`), in bytes.
pub fn address_space_limit() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// Address space that must be left before a batch is computed. oneDNN asks for small pieces without looking whether it gets
/// them: where none are left the process would end without a word.
const SPARE: u64 = 32 << 20;

/// Says so where the address space is limited and hardly any of it is left.
///
/// # Errors
/// [`Fault::OutOfMemory`].
pub fn check_address_space() -> Result<()> {
    let Some(limit) = address_space_limit() else { return Ok(()) };
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split_whitespace().next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let left = limit.saturating_sub(pages * rustix::param::page_size() as u64);
    if left >= SPARE {
        return Ok(());
    }
    Err(Error::new(Fault::OutOfMemory, "the address space is used up")
        .expected(format!("{} left of {}", Bytes(SPARE), Bytes(limit)))
        .found(Bytes(left).to_string())
        .advice("raise the limit (ulimit -v), or give a smaller --batch-tokens or fewer --threads"))
}

/// Gives memory that the allocator keeps for later back to the system.
pub fn release() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    // SAFETY: malloc_trim may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Where the address space is limited, all threads share one of the allocator's areas: each would take 64 MB of it.
fn spare_address_space() {
    if address_space_limit().is_some() {
        #[cfg(target_env = "gnu")]
        #[allow(unsafe_code)]
        // SAFETY: mallopt takes two numbers; a value that it does not know is ignored.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Memory that is given back is kept for the next tensor: asking the system for large pieces anew each time costs more than
/// what is computed in them. Not where the address space is limited: what is kept would be lacking elsewhere.
pub fn large_pieces() {
    if address_space_limit().is_some() {
        return;
    }
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    // SAFETY: mallopt takes two numbers; a value that it does not know is ignored.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Ends the process without asking for memory.
fn exhausted() -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    let reports = REPORTS.get();
    let report = reports.map(|reports| &reports[usize::from(can_be_smaller())]);
    // The first thread that gets here; what it does could get here again.
    if !ENDING.swap(true, Ordering::Relaxed) {
        if let Some(clean_up) = CLEAN_UP.get() {
            clean_up();
        }
        if let Some((text, _)) = report {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
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
