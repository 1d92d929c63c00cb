//! What this process may use of the machine, and why that much: affinity, cgroup, scheduler, free memory.

use std::env;
use std::fmt;
use std::fs;
use std::sync::Once;
use std::thread;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::error::printable;
use crate::units::counted;

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
/// A variable that holds something else gets a warning, once.
pub fn cpus() -> Derived {
    static WARNED: Once = Once::new();
    let allowed = thread::available_parallelism().map_or(1, usize::from);
    let limits = LIMITS.map(|name| (name, env::var_os(name).map(|text| text.to_string_lossy().into_owned())));
    WARNED.call_once(|| unusable(&limits).iter().for_each(|warning| log::warn!("{warning}")));
    let (value, reason) = fewest(allowed, &limits);
    Derived { value, reason }
}

/// The smallest of `allowed` and of the variables that hold a number, and what it comes from.
fn fewest(allowed: usize, limits: &[(&str, Option<String>)]) -> (usize, String) {
    let limits = limits.iter().filter_map(|(name, text)| Some((limit(text.as_ref()?)?, *name)));
    match limits.filter(|(limit, _)| *limit < allowed).min() {
        Some((limit, name)) => (limit, format!("{name}; affinity and cgroup allow {allowed}")),
        None => (allowed, "affinity and cgroup quota".to_owned()),
    }
}

/// The number of processors that a variable holds. OMP_NUM_THREADS may be a list; its first number is that of the outermost
/// level.
fn limit(text: &str) -> Option<usize> {
    text.split(',').next()?.trim().parse().ok().filter(|limit| *limit > 0)
}

/// What is wrong with variables that hold something else.
fn unusable(limits: &[(&str, Option<String>)]) -> Vec<String> {
    let held = limits.iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
    let wrong = held.filter(|(_, text)| !text.trim().is_empty() && limit(text).is_none());
    let told = wrong.map(|(name, text)| {
        let text = printable(text, 100);
        format!("{name} is '{text}', which is not a number of processors: it is ignored")
    });
    told.collect()
}

/// Threads that tokenise and plan: the processors of each GPU, at least one and at most 8.
pub fn dataloader_workers(gpus: usize) -> Derived {
    let cpus = cpus().value;
    let value = (cpus / gpus.max(1)).clamp(1, 8);
    let [processors, gpus] = [(cpus, "processor"), (gpus, "GPU")].map(|(number, noun)| counted(number as u64, noun));
    Derived { value, reason: format!("processors per GPU, at most 8: {processors}, {gpus}") }
}

/// The processor's name, as the system gives it.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    name.map_or(env::consts::ARCH.to_owned(), |(_, name)| printable(name.trim(), 100))
}

/// The widest vectors of the processor, which decide how libtorch and our own kernels compute.
pub fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bf16") {
            return "AVX-512 with BF16";
        }
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    env::consts::ARCH
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
            // Pages of files count as used there, but the kernel takes them back when memory is asked for.
            let free = limits.total_memory.saturating_sub(limits.rss);
            Memory { total: limits.total_memory, available: available.min(free), limited_by_cgroup: true }
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
    fn a_variable_that_holds_no_number_of_processors_is_told() {
        let told = |text: &str| unusable(&[("SLURM_CPUS_PER_TASK", Some(text.to_owned())), ("OMP_NUM_THREADS", None)]);
        for wrong in ["abc", "0", "-1", "1.5", "4x,2"] {
            let warnings = told(wrong);
            assert!(warnings.len() == 1 && warnings[0].contains("SLURM_CPUS_PER_TASK"), "{wrong}: {warnings:?}");
            assert!(warnings[0].contains(&format!("'{wrong}'")), "{warnings:?}");
        }
        for right in ["4", " 4 ", "4,1", "", "1000"] {
            assert_eq!(told(right), [""; 0], "{right}");
        }
    }

    #[test]
    fn memory_is_not_more_than_the_machine_has() {
        let memory = memory();
        assert!(memory.total > 0 && memory.available <= memory.total);
    }
}
