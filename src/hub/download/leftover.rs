//! What dead processes left of their downloads: whose it was, and who may continue it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Result;
use crate::fs::partial;
use crate::runtime::interrupt;

/// A leftover whose owner cannot be asked for, because it is on another machine, is abandoned after this time.
pub const ABANDONED: Duration = Duration::from_secs(120);
/// Nobody may have written to a leftover for so long: a process in another container may only seem dead.
const SETTLED: Duration = Duration::from_secs(2);

/// Gives the largest abandoned download of `target` to this process, as `own`, and removes the others. None is taken
/// unless the whole is `provable` at the end.
///
/// # Errors
/// A signal has arrived.
pub fn take_over(target: &Path, own: &Path, provable: bool) -> Result<bool> {
    let mut leftovers = abandoned(target);
    leftovers.sort_by_key(|(_, metadata)| metadata.len());
    let largest = if provable { leftovers.pop() } else { None };
    for (path, _) in leftovers {
        let _ = fs::remove_file(path);
    }
    match largest {
        Some((path, before)) if before.len() > 0 && is_settled(&path, &before)? => Ok(fs::rename(&path, own).is_ok()),
        _ => Ok(false),
    }
}

/// Whether nobody writes to the file. A young one is watched for a moment.
fn is_settled(path: &Path, before: &fs::Metadata) -> Result<bool> {
    let age = before.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
    interrupt::sleep(SETTLED.saturating_sub(age))?;
    let same = |now: fs::Metadata| now.len() == before.len() && now.modified().ok() == before.modified().ok();
    Ok(fs::metadata(path).is_ok_and(same))
}

/// Bytes of the largest abandoned download of `target`.
pub fn leftover_bytes(target: &Path) -> u64 {
    abandoned(target).into_iter().map(|(_, metadata)| metadata.len()).max().unwrap_or_default()
}

fn abandoned(target: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let left = partial::of(target).into_iter().filter_map(|unfinished| {
        let metadata = fs::symlink_metadata(&unfinished.path).ok().filter(fs::Metadata::is_file)?;
        (unfinished.is_abandoned() || is_old(&metadata)).then_some((unfinished.path, metadata))
    });
    left.collect()
}

fn is_old(metadata: &fs::Metadata) -> bool {
    metadata.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > ABANDONED)
}
