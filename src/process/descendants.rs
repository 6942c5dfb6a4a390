//! Finds every descendant of this process, and can end them all.

use rustix::process::{Pid, Signal, WaitOptions, getpgid, getpgrp, kill_process, kill_process_group, wait};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

/// A process that could not be killed.
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

/// Returns true if more than `most` processes descend from this one, zombies included. It stops counting there.
pub fn are_more_than(most: usize) -> bool {
    let mut count = 0;
    walk(|_| {
        count += 1;
        count <= most
    });
    count > most
}

/// Returns every process that descends from this one, zombies included.
pub fn descendants() -> Vec<u32> {
    let mut all = Vec::new();
    walk(|pid| {
        all.push(pid);
        true
    });
    all
}

/// Returns the process id of the parent, from /proc/PID/status; 0 if it is unknown, as for a process without one.
pub fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|parent| parent.trim().parse().ok()).unwrap_or(0)
}

/// Visits every process that descends from this one, zombies included, and orphans if this process is their subreaper.
/// Calls `found` with each before it looks for its children, and stops when `found` returns false.
fn walk(mut found: impl FnMut(u32) -> bool) {
    let mut known = HashSet::new();
    let mut unvisited = vec![std::process::id()];
    while let Some(pid) = unvisited.pop() {
        for child in children(pid) {
            if known.insert(child) {
                unvisited.push(child);
                if !found(child) {
                    return;
                }
            }
        }
    }
}

/// Returns the children of all threads of `pid` (/proc/PID/task/TID/children). The kernel may omit some while others start
/// and end (proc_tid_children(5)): a caller that needs all of them repeats until none is left.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The result of [`end_all`].
pub struct Found {
    /// The number of descendants.
    pub count: usize,
    /// Those that are still alive.
    pub survivors: Vec<Process>,
}

/// Ends every descendant, this process's own children included, and waits for their end. Sends SIGTERM, then SIGKILL after
/// `term_patience`, and gives up after another `kill_patience`.
pub fn end_all(term_patience: Duration, kill_patience: Duration) -> Found {
    let kill_at = Instant::now() + term_patience;
    let deadline = kill_at + kill_patience;
    let mut pause = Duration::from_millis(1);
    let mut found = Found { count: 0, survivors: Vec::new() };
    let mut signalled = HashSet::new();
    loop {
        if Instant::now() < kill_at {
            terminate_all(&mut signalled);
            found.count = signalled.len();
        } else {
            found.count = found.count.max(kill_all());
        }
        // ECHILD (wait(2)): no child is left, so no descendant either.
        while let Some(reaped) = wait(WaitOptions::NOHANG).transpose() {
            if reaped.is_err() {
                return found;
            }
        }
        if Instant::now() >= deadline {
            walk(|pid| {
                found.survivors.extend(living(pid));
                true
            });
            return found;
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// Sends SIGTERM to every descendant that is not among `signalled`, and adds it there.
fn terminate_all(signalled: &mut HashSet<u32>) {
    walk(|pid| {
        if signalled.insert(pid) {
            let _ = to_pid(pid).map(|pid| kill_process(pid, Signal::TERM));
        }
        true
    });
}

/// Sends SIGKILL to every descendant and returns their number. All of them are stopped first, each before its children are
/// looked for, so that it can't start another one meanwhile.
fn kill_all() -> usize {
    let own = getpgrp();
    let (mut stopped, mut groups) = (HashSet::new(), HashSet::new());
    loop {
        let before = stopped.len();
        walk(|number| {
            if stopped.insert(number)
                && let Some(pid) = to_pid(number)
            {
                // A signal to a process group also reaches a process that is just being forked, so it stops even processes
                // that fork faster than they can be found. A group other than this process's own has only descendants.
                if let Ok(group) = getpgid(Some(pid))
                    && group != own
                    && groups.insert(group)
                {
                    let _ = kill_process_group(group, Signal::STOP);
                }
                let _ = kill_process(pid, Signal::STOP);
            }
            true
        });
        if stopped.len() == before {
            break;
        }
    }
    for group in groups {
        let _ = kill_process_group(group, Signal::KILL);
    }
    // A process that has ended meanwhile needs no signal, and its id is not reused before it is reaped.
    walk(|pid| {
        let _ = to_pid(pid).map(|pid| kill_process(pid, Signal::KILL));
        true
    });
    stopped.len()
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Returns `pid` with its name, unless it is a zombie.
fn living(pid: u32) -> Option<Process> {
    // proc_pid_stat(5): "PID (NAME) STATE ...", where the name may itself contain parentheses.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, state) = stat.split_once(" (")?.1.rsplit_once(") ")?;
    (!state.starts_with(['Z', 'X'])).then(|| Process { pid, name: name.to_owned() })
}
