//! What dead processes left of their downloads: whose it was, and who may continue it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::fs::owner;
use crate::runtime::interrupt;

pub const SUFFIX: &str = ".incomplete";
/// A leftover whose owner cannot be asked for, because it is on another machine, is abandoned after this time.
pub const ABANDONED: Duration = Duration::from_secs(120);
/// Nobody may have written to a leftover for so long: a process in another container may only seem dead.
const SETTLED: Duration = Duration::from_secs(2);

/// A name beside `target` that no other process uses, not even an earlier one with the same number.
pub fn temporary_path(target: &Path) -> PathBuf {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AtomicU64::new(now.as_millis() as u64)
    });
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{name}.{}-{n}{SUFFIX}", owner::this()))
}

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
    let stem = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(Ok(entries)) = target.parent().map(fs::read_dir) else { return Vec::new() };
    let leftover = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let made = name.to_str()?.strip_prefix(&stem)?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
        let (made_by, _) = made.rsplit_once('-')?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        (owner::is_dead(made_by) || is_old(&metadata)).then(|| (entry.path(), metadata))
    };
    entries.flatten().filter_map(leftover).collect()
}

fn is_old(metadata: &fs::Metadata) -> bool {
    metadata.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > ABANDONED)
}
