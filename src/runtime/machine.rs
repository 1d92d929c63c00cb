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

/// Variables that limit the processors of a job, the scheduler's and OpenMP's own.
const LIMITS: [&str; 2] = ["SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"];

/// Processors this process may use: affinity and cgroup quota, and never more than the scheduler or OpenMP's variable allow.
pub fn cpus() -> Derived {
    let allowed = thread::available_parallelism().map_or(1, usize::from);
    let limits = LIMITS.map(|name| (name, env::var(name).ok()));
    let (value, reason) = fewest(allowed, &limits);
    Derived { value, reason }
}

/// The smallest of `allowed` and of the variables that hold a number, and what it comes from.
fn fewest(allowed: usize, limits: &[(&str, Option<String>)]) -> (usize, String) {
    // OMP_NUM_THREADS may be a list; its first number is that of the outermost level.
    let number = |text: &String| text.split(',').next().and_then(|first| first.trim().parse::<usize>().ok());
    let limits = limits.iter().filter_map(|(name, text)| Some((number(text.as_ref()?)?, *name)));
    match limits.filter(|(limit, _)| (1..allowed).contains(limit)).min() {
        Some((limit, name)) => (limit, format!("{name}; affinity and cgroup allow {allowed}")),
        None => (allowed, "affinity and cgroup quota".to_owned()),
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
    fn the_smallest_limit_on_processors_holds() {
        let of = |slurm: &str, omp: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            fewest(8, &[("SLURM_CPUS_PER_TASK", given(slurm)), ("OMP_NUM_THREADS", given(omp))])
        };
        for (slurm, omp, value, named) in [
            ("", "", 8, "affinity"),
            ("4", "", 4, "SLURM_CPUS_PER_TASK"),
            ("", "1", 1, "OMP_NUM_THREADS"),
            ("4", "2", 2, "OMP_NUM_THREADS"),
            ("2", "4,1", 2, "SLURM_CPUS_PER_TASK"),
            ("", "3,1", 3, "OMP_NUM_THREADS"),
            ("64", "16", 8, "affinity"),
            ("x", "0", 8, "affinity"),
        ] {
            let (found, reason) = of(slurm, omp);
            assert!(found == value && reason.contains(named), "'{slurm}' '{omp}': {found}, {reason}");
        }
    }

    #[test]
    fn memory_is_not_more_than_the_machine_has() {
        let memory = memory();
        assert!(memory.total > 0 && memory.available <= memory.total);
    }
}
