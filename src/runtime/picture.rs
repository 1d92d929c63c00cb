//! What the memory of a device looks like, for the person who reads that it did not suffice.

use std::fmt;
use std::fs;

use crate::runtime::{machine, memory};
use crate::units::Bytes;

/// Memory of a device or of this machine, in bytes, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryPicture {
    /// In use by this process.
    pub allocated: Option<u64>,
    /// Held by this process, whether in use or not.
    pub reserved: Option<u64>,
    /// Still to be had.
    pub free: Option<u64>,
    /// All of it.
    pub total: Option<u64>,
    /// The most that this process has had.
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

    /// The share of what is held that is not in use, from 0 to 1: pieces too small for what was asked for.
    pub fn fragmentation(&self) -> Option<f64> {
        let (allocated, reserved) = (self.allocated?, self.reserved.filter(|&reserved| reserved > 0)?);
        Some(reserved.saturating_sub(allocated) as f64 / reserved as f64)
    }
}

/// A size that the kernel gives in kB.
fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl fmt::Display for MemoryPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = [
            (self.free, "free"),
            (self.total, "in all"),
            (self.allocated, "in use by this process"),
            (self.reserved, "held by it"),
            (self.peak, "at its peak"),
        ];
        let known = sizes.iter().filter_map(|(size, what)| size.map(|size| format!("{} {what}", Bytes(size))));
        let mut parts: Vec<String> = known.collect();
        parts.extend(self.fragmentation().map(|share| format!("{:.0} % of what it holds in pieces", 100.0 * share)));
        if parts.is_empty() { f.write_str("memory unknown") } else { write!(f, "memory: {}", parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_told_in_words() {
        let host = MemoryPicture::host();
        assert!(host.free <= host.total && host.allocated <= host.peak && host.peak > Some(1 << 20), "{host:?}");
        for part in ["free", "in all", "at its peak"] {
            assert!(host.to_string().contains(part), "{host}");
        }
        assert_eq!(host.fragmentation(), None);
    }

    #[test]
    fn what_is_held_and_not_in_use_is_fragmentation() {
        let gpu = MemoryPicture { allocated: Some(6 << 30), reserved: Some(8 << 30), ..MemoryPicture::default() };
        assert_eq!(gpu.fragmentation(), Some(0.25));
        assert_eq!(
            gpu.to_string(),
            "memory: 6.4 GB in use by this process, 8.6 GB held by it, 25 % of what it holds in pieces"
        );
        assert_eq!(MemoryPicture { reserved: Some(0), ..gpu }.fragmentation(), None);
        assert_eq!(MemoryPicture::default().to_string(), "memory unknown");
    }
}
