//! Finds every descendant of this process, and ends them all.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::fs;

/// Every process that descends from this one, zombies included. Orphans count, if this process is their subreaper.
pub fn all() -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut unvisited = vec![std::process::id()];
    while let Some(pid) = unvisited.pop() {
        for child in children(pid) {
            if found.insert(child) {
                unvisited.push(child);
            }
        }
    }
    found
}

/// The children of all threads of `pid` (/proc/PID/task/TID/children). The kernel may leave some out while others come
/// and go, see proc_tid_children(5): who must have all asks again until none is left.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Sends SIGKILL to every descendant. They are stopped first, all of them, so that none can start another meanwhile.
pub fn kill_all() {
    let mut stopped = HashSet::new();
    loop {
        let fresh: Vec<_> = all().difference(&stopped).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            signal(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    for pid in stopped {
        signal(pid, Signal::KILL);
    }
}

/// A process that has gone meanwhile needs no signal; its number can't be another's before this process reaps it.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
