//! Which process an unfinished file belongs to: its name says so, so that leftovers of dead processes can be told from work
//! in progress.

use std::fs;
use std::path::Path;

/// This process, as names give it: `HOST-NUMBERING-PROCESS`, letters, digits and `-` only.
pub fn this() -> String {
    of(std::process::id())
}

/// A process of this machine, as names give it.
pub fn of(process: u32) -> String {
    format!("{}-{process}", here())
}

/// This process in words, with the job of a scheduler that it belongs to.
pub fn in_words() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let job = std::env::var("SLURM_JOB_ID").map_or_else(|_| String::new(), |job| format!(", SLURM job {job}"));
    let host = if host.trim().is_empty() { "this machine" } else { host.trim() };
    format!("process {} on {host}{job}", std::process::id())
}

/// Whether an owner is a process of this machine that has ended. Of other machines nothing is known here.
pub fn is_dead(owner: &str) -> bool {
    let process = owner.rsplit_once('-').filter(|(place, _)| *place == here());
    let Some(process) = process.and_then(|(_, process)| process.parse::<u32>().ok()) else { return false };
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(process.to_string()).exists()
}

/// First label of the host's name, and the numbering of processes: a container may have one of its own.
fn here() -> String {
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
    fn only_an_ended_process_of_this_machine_is_dead() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let dead = of(ended.id());
        assert!(is_dead(&dead));
        let (place, process) = dead.rsplit_once('-').unwrap();
        let numbering = place.rsplit_once('-').unwrap().1;
        for other in [
            this(),
            process.to_owned(),
            format!("{place}-x"),
            format!("{place}1-{process}"),
            format!("elsewhere-{numbering}-{process}"),
            String::new(),
        ] {
            assert!(!is_dead(&other), "{other}");
        }
        assert!(this().chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    }
}
