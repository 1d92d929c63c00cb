//! What processes that were killed left of their folders in the making.

use std::fs;
use std::path::{Path, PathBuf};

/// A name beside `target` for the folder in the making, which tells whose it is: `.NAME.partial-OWNER-PROCESS-COUNT`.
pub(super) fn partial(target: &Path, count: u32) -> Option<PathBuf> {
    Some(target.with_file_name(format!("{}{}-{}-{count}", prefix(target)?, owner(), std::process::id())))
}

/// Removes what processes of this machine that have ended left beside `target`. What cannot be removed stays: it is in
/// nobody's way.
pub(super) fn remove(target: &Path, folder: &Path) {
    let (Some(prefix), Ok(entries)) = (prefix(target), folder.read_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(|name| name.strip_prefix(&prefix)).is_some_and(is_dead) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn prefix(target: &Path) -> Option<String> {
    Some(format!(".{}.partial-", target.file_name()?.to_string_lossy()))
}

/// Whether `OWNER-PROCESS-COUNT` names a process that can be asked for here, and that has ended.
fn is_dead(leftover: &str) -> bool {
    let mut parts = leftover.rsplitn(3, '-').skip(1);
    let process = parts.next().and_then(|process| process.parse::<u32>().ok());
    let processes = Path::new("/proc");
    match (process, parts.next()) {
        (Some(process), Some(of)) => {
            of == owner() && processes.join("self").exists() && !processes.join(process.to_string()).exists()
        }
        _ => false,
    }
}

/// Host, and the numbering of processes on it: a container may have one of its own.
fn owner() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.chars().take_while(|c| *c != '.').filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let numbering = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let numbering: String = numbering.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{}-{numbering}", if host.is_empty() { "localhost" } else { &host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_left_of_the_same_bundle_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let (owner, dead) = (owner(), ended.id());
        let path = |name: &str| root.path().join(name);
        let gone = format!(".a.partial-{owner}-{dead}-0");
        let kept = [
            partial(&path("a"), 7).unwrap().file_name().unwrap().to_str().unwrap().to_owned(),
            format!(".a.partial-elsewhere-{dead}-0"),
            format!(".b.partial-{owner}-{dead}-0"),
            format!(".a.partial-{dead}-0"),
            ".a.partial-".to_owned(),
        ];
        for name in kept.iter().chain([&gone]) {
            fs::create_dir_all(path(name).join("esm")).unwrap();
        }
        remove(&path("a"), root.path());
        assert!(!path(&gone).exists());
        for name in &kept {
            assert!(path(name).exists(), "{name}");
        }
    }
}
