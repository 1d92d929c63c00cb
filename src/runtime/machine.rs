//! What this process may use of the machine, and why that much: affinity, cgroup, scheduler, free memory.

use std::env;
use std::fmt;
use std::thread;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// A derived number and the reason for it, for `info` and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The number.
    pub value: usize,
    /// Where it comes from.
    pub reason: String,
}

impl fmt::Display for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.reason)
    }
}

/// Processors this process may use: affinity and cgroup quota, and never more than the SLURM allocation.
pub fn cpus() -> Derived {
    let allowed = thread::available_parallelism().map_or(1, usize::from);
    let slurm = env::var("SLURM_CPUS_PER_TASK").ok().and_then(|text| text.parse::<usize>().ok());
    match slurm {
        Some(cpus) if (1..allowed).contains(&cpus) => {
            Derived { value: cpus, reason: format!("SLURM_CPUS_PER_TASK; affinity and cgroup allow {allowed}") }
        }
        _ => Derived { value: allowed, reason: "affinity and cgroup quota".to_owned() },
    }
}

/// Threads that tokenise and plan: `min(cpus / gpus, 8)`, at least one.
pub fn dataloader_workers(gpus: usize) -> Derived {
    let cpus = cpus().value;
    let value = (cpus / gpus.max(1)).clamp(1, 8);
    Derived { value, reason: format!("min(cpus / gpus, 8) of {cpus} cpus, {gpus} gpus") }
}

/// Memory this process may use, in bytes: the smaller of the machine's and the cgroup's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What is free now.
    pub available: u64,
    /// Whether a cgroup sets the limit.
    pub limited_by_cgroup: bool,
}

/// Host memory.
pub fn memory() -> Memory {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh);
    let (total, available) = (system.total_memory(), system.available_memory());
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 && limits.total_memory < total => {
            Memory { total: limits.total_memory, available: available.min(limits.free_memory), limited_by_cgroup: true }
        }
        _ => Memory { total, available, limited_by_cgroup: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_rule() {
        let cpus = cpus().value;
        assert_eq!(dataloader_workers(0).value, cpus.clamp(1, 8));
        assert_eq!(dataloader_workers(usize::MAX).value, 1);
    }

    #[test]
    fn memory_is_not_more_than_the_machine_has() {
        let memory = memory();
        assert!(memory.total > 0 && memory.available <= memory.total);
    }
}
