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

/// True if more than `most` processes descend from this one, zombies included. It looks no further than it must.
pub fn are_more_than(most: usize) -> bool {
    let mut count = 0;
    walk(|_| {
        count += 1;
        count <= most
    });
    count > most
}

/// Finds every process that descends from this one, zombies included; orphans, too, if this process is their subreaper.
/// Tells each to `found` before it looks for that one's children, as long as `found` says true.
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

/// What [`end_all`] has found.
pub struct Found {
    /// How many descendants there were.
    pub count: usize,
    /// Those that are still there.
    pub survivors: Vec<Process>,
}

/// Ends every descendant, this process's own children among them, and waits for their end: asks them by SIGTERM and, after
/// `asked` at the most, kills them, and waits for `killed` at the most.
pub fn end_all(asked: Duration, killed: Duration) -> Found {
    let kill_at = Instant::now() + asked;
    let give_up = kill_at + killed;
    let mut pause = Duration::from_millis(1);
    let mut found = Found { count: 0, survivors: Vec::new() };
    let mut asked = HashSet::new();
    loop {
        if Instant::now() < kill_at {
            ask_all(&mut asked);
            found.count = asked.len();
        } else {
            found.count = found.count.max(kill_all());
        }
        // ECHILD, wait(2): there is no child left, so no descendant either.
        while let Some(reaped) = wait(WaitOptions::NOHANG).transpose() {
            if reaped.is_err() {
                return found;
            }
        }
        if Instant::now() >= give_up {
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

/// Sends SIGTERM to every descendant that is not yet among those `asked`.
fn ask_all(asked: &mut HashSet<u32>) {
    walk(|pid| {
        if asked.insert(pid) {
            let _ = to_pid(pid).map(|pid| kill_process(pid, Signal::TERM));
        }
        true
    });
}

/// Sends SIGKILL to every descendant, and returns how many there are. They are stopped first, all of them, each before
/// its children are looked for, so that it can start no other meanwhile.
fn kill_all() -> usize {
    let own = getpgrp();
    let (mut stopped, mut groups) = (HashSet::new(), HashSet::new());
    loop {
        let before = stopped.len();
        walk(|number| {
            if stopped.insert(number)
                && let Some(pid) = to_pid(number)
            {
                // A signal to a group misses no process that is just being forked, so it stops at once even those that
                // fork faster than they can be found. A group that is not this process's own has only descendants.
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
    // One that has gone meanwhile needs no signal; its number can't be another's before it is reaped.
    walk(|pid| {
        let _ = to_pid(pid).map(|pid| kill_process(pid, Signal::KILL));
        true
    });
    stopped.len()
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
