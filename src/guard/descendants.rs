//! Finds every descendant of this process, and ends them all.

use rustix::process::{Pid, Signal, WaitOptions, getpgid, getpgrp, kill_process, kill_process_group, wait};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

/// A process that could not be ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The kernel's name for it (comm), as ps shows it.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.name, self.pid)
    }
}

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

/// Ends every descendant, this process's own children among them, and returns those that are still there after
/// `patience`.
pub fn end_all(patience: Duration) -> Vec<Process> {
    let give_up = Instant::now() + patience;
    loop {
        kill_all();
        // ECHILD, wait(2): there is no child left, so no descendant either.
        while let Some(reaped) = wait(WaitOptions::NOHANG).transpose() {
            if reaped.is_err() {
                return Vec::new();
            }
        }
        if Instant::now() >= give_up {
            return all().into_iter().filter_map(living).collect();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends SIGKILL to every descendant. They are stopped first, all of them, so that none can start another meanwhile.
fn kill_all() {
    let own = getpgrp();
    let (mut stopped, mut groups) = (HashSet::new(), HashSet::new());
    loop {
        let fresh: Vec<_> = all().difference(&stopped).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            stopped.insert(pid);
            let Some(pid) = to_pid(pid) else { continue };
            // A signal to a group misses no process that is just being forked, so it stops at once even those that
            // fork faster than they can be counted. A group that is not this process's own has only descendants.
            if let Ok(group) = getpgid(Some(pid))
                && group != own
                && groups.insert(group)
            {
                let _ = kill_process_group(group, Signal::STOP);
            }
            let _ = kill_process(pid, Signal::STOP);
        }
    }
    for group in groups {
        let _ = kill_process_group(group, Signal::KILL);
    }
    // One that has gone meanwhile needs no signal; its number can't be another's before it is reaped.
    for pid in all().into_iter().filter_map(to_pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// `pid` with its name, unless it is a zombie.
fn living(pid: u32) -> Option<Process> {
    // proc_pid_stat(5): "PID (NAME) STATE ...", where the name may have parentheses of its own.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, state) = stat.split_once(" (")?.1.rsplit_once(") ")?;
    (!state.starts_with(['Z', 'X'])).then(|| Process { pid, name: name.to_owned() })
}
