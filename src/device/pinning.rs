//! Whether host memory is pinned for a GPU.

use std::fmt;

use crate::units::{Auto, Bytes, counted};

/// Free host memory per GPU from which on some of it is pinned: pinned memory cannot be swapped out, so a machine that is
/// short of memory should not give any. What a GPU needs is far less.
const FREE_PER_GPU: u64 = 1 << 30;

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinning {
    /// Whether it is pinned.
    pub on: bool,
    /// In words.
    pub reason: String,
}

impl fmt::Display for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.on { "on" } else { "off" }, self.reason)
    }
}

impl Pinning {
    /// For so many GPUs and so many bytes of host memory that are free.
    pub fn decide(choice: Auto<bool>, gpus: usize, free: u64) -> Self {
        let enough = (gpus as u64).saturating_mul(FREE_PER_GPU);
        let (on, reason) = match choice {
            _ if gpus == 0 => (false, "no GPU".to_owned()),
            Auto::Value(on) => (on, "--pin-memory".to_owned()),
            Auto::Auto => {
                let gpus = counted(gpus as u64, "GPU");
                (free >= enough, format!("{} of host memory free, {} wanted for {gpus}", Bytes(free), Bytes(enough)))
            }
        };
        Self { on, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_pinned_for_gpus_where_enough_is_free() {
        const GIB: u64 = 1 << 30;
        for (choice, gpus, free, on, reason) in [
            (Auto::Auto, 0, 64 * GIB, false, "no GPU"),
            (Auto::Value(true), 0, 64 * GIB, false, "no GPU"),
            (Auto::Auto, 1, 64 * GIB, true, "1.1 GB wanted for 1 GPU"),
            (Auto::Auto, 1, GIB - 1, false, "1.1 GB of host memory free"),
            (Auto::Auto, 8, 7 * GIB, false, "8 GPUs"),
            (Auto::Auto, 8, 8 * GIB, true, "8 GPUs"),
            (Auto::Value(true), 8, 0, true, "--pin-memory"),
            (Auto::Value(false), 1, 64 * GIB, false, "--pin-memory"),
        ] {
            let decided = Pinning::decide(choice, gpus, free);
            assert!(decided.on == on && decided.reason.contains(reason), "{choice:?} {gpus} {free}: {decided}");
        }
    }
}
