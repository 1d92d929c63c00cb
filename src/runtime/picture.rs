//! What the memory of a device looks like, for the person who reads that it did not suffice.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::runtime::{machine, memory};
use crate::units::{Bytes, Share};

/// Memory of a device or of this machine at one moment, in bytes; `None` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPicture {
    /// Held by tensors; on this machine, by the process.
    pub allocated: Option<u64>,
    /// Held by the allocator: for tensors, or kept for the next ones.
    pub reserved: Option<u64>,
    /// Left.
    pub free: Option<u64>,
    /// All of it.
    pub total: Option<u64>,
    /// The most that was held.
    pub peak: Option<u64>,
}

impl MemoryPicture {
    /// The memory of this machine, or of the job where that is less.
    pub fn host() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let machine = machine::memory();
        let (mut free, mut total) = (machine.available, machine.total);
        if let Some(limit) = memory::address_space_limit() {
            total = total.min(limit);
            free = free.min(limit.saturating_sub(status_bytes(&status, "VmSize:").unwrap_or(0)));
        }
        Self {
            allocated: status_bytes(&status, "VmRSS:"),
            reserved: None,
            free: Some(free),
            total: Some(total),
            peak: status_bytes(&status, "VmHWM:"),
        }
    }

    /// Share of the reserved memory that no tensor holds. A large one where memory runs out means gaps that are too small.
    pub fn fragmentation(&self) -> Option<Share> {
        let (allocated, reserved) = (self.allocated?, self.reserved?);
        Share::of(reserved.saturating_sub(allocated), reserved)
    }

    /// What tensors can still get: what is left on the device, and what the allocator keeps.
    pub fn available(&self) -> Option<u64> {
        let kept = self.reserved.unwrap_or(0).saturating_sub(self.allocated.unwrap_or(0));
        Some(self.free?.saturating_add(kept))
    }
}

impl fmt::Display for MemoryPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.allocated, self.peak) {
            (Some(now), Some(peak)) => parts.push(format!("{} allocated (peak {})", Bytes(now), Bytes(peak))),
            (Some(now), None) => parts.push(format!("{} allocated", Bytes(now))),
            (None, Some(peak)) => parts.push(format!("peak {}", Bytes(peak))),
            (None, None) => {}
        }
        if let Some(reserved) = self.reserved {
            let unused = self.fragmentation().map(|share| format!(" ({:.0} % of it unused)", 100.0 * share.value()));
            parts.push(format!("{} reserved{}", Bytes(reserved), unused.unwrap_or_default()));
        }
        match (self.free, self.total) {
            (Some(free), Some(total)) => parts.push(format!("{} of {} free", Bytes(free), Bytes(total))),
            (Some(free), None) => parts.push(format!("{} free", Bytes(free))),
            (None, Some(total)) => parts.push(format!("{} in all", Bytes(total))),
            (None, None) => {}
        }
        if parts.is_empty() { f.write_str("not known") } else { f.write_str(&parts.join(", ")) }
    }
}

/// A size that the kernel gives in kB.
fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn picture(free: u64) -> MemoryPicture {
        MemoryPicture { free: Some(free), ..MemoryPicture::default() }
    }

    #[test]
    fn the_machine_is_told_in_words() {
        let host = MemoryPicture::host();
        assert!(host.free <= host.total && host.allocated <= host.peak && host.peak > Some(1 << 20), "{host:?}");
        for part in ["free", "allocated", "peak"] {
            assert!(host.to_string().contains(part), "{host}");
        }
        assert_eq!(host.fragmentation(), None);
    }

    #[test]
    fn a_picture_is_told_in_words_and_leaves_out_what_is_not_known() {
        let whole = MemoryPicture {
            allocated: Some(6 * GB),
            reserved: Some(8 * GB),
            free: Some(15 * GB),
            total: Some(24 * GB),
            peak: Some(7 * GB),
        };
        assert_eq!(
            whole.to_string(),
            "6.0 GB allocated (peak 7.0 GB), 8.0 GB reserved (25 % of it unused), 15.0 GB of 24.0 GB free"
        );
        assert_eq!(picture(15 * GB).to_string(), "15.0 GB free");
        assert_eq!(MemoryPicture::default().to_string(), "not known");
        let of_a_process = MemoryPicture { allocated: Some(GB), total: Some(4 * GB), ..MemoryPicture::default() };
        assert_eq!(of_a_process.to_string(), "1.0 GB allocated, 4.0 GB in all");
    }

    #[test]
    fn fragmentation_is_the_unused_share_of_what_is_reserved() {
        let of = |allocated, reserved| {
            MemoryPicture { allocated, reserved, ..MemoryPicture::default() }.fragmentation().map(Share::value)
        };
        assert_eq!(of(Some(6), Some(8)), Some(0.25));
        assert_eq!(of(Some(8), Some(8)), Some(0.0));
        // Both numbers are read one after the other.
        assert_eq!(of(Some(9), Some(8)), Some(0.0));
        assert_eq!(of(Some(0), Some(0)), None);
        assert_eq!(of(None, Some(8)), None);
    }

    #[test]
    fn what_the_allocator_keeps_is_available_too() {
        let kept = MemoryPicture { allocated: Some(2 * GB), reserved: Some(5 * GB), ..picture(GB) };
        assert_eq!(kept.available(), Some(4 * GB));
        assert_eq!(picture(GB).available(), Some(GB));
        assert_eq!(MemoryPicture::default().available(), None);
    }
}
