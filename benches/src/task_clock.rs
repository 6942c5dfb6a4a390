//! The CPU time of another process, exact also while it runs.
//!
//! What the kernel tells otherwise of a running thread of another process is up to one tick (1 to 10 ms) old: schedstat, and
//! the process's CPU clock too (thread_group_cputime() updates the caller's own threads only, kernel/sched/cputime.c).
//! So there are two ways here, each for its own use:
//!
//! - A perf event of a thread: reading it makes the thread's core bring the count up to date (perf_event_read(),
//!   kernel/events/core.c). It leaves out the context switches themselves, 0.1 points where there are 200 a second: good for
//!   what differs from window to window, not for the whole.
//! - The CPU clock of a process that is stopped for the moment: the clock that it sees itself, and nothing runs meanwhile.

use crate::child::Trouble;
use busy_core::clock::monotonic_ns;
use busy_core::cpu;
use perf_event::events::Software;
use perf_event::{Builder, Counter};
use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// The CPU time of a program, and of all that it had started by then.
pub struct TaskClock {
    processes: Vec<Process>,
    threads: Vec<Counter>,
}

impl TaskClock {
    /// Of process `pid`, its descendants, and all their threads.
    ///
    /// # Errors
    /// It has ended, or this process may not count (perf_event_paranoid).
    pub fn open(pid: u32) -> Result<Self, Trouble> {
        let pid = pid.try_into().map_err(|_| Trouble::Failed(format!("{pid} is no process id")))?;
        let processes = family(pid);
        let mut threads = Vec::new();
        for thread in processes.iter().filter_map(|process| process.tasks().ok()).flatten().flatten() {
            let mut counter =
                Builder::new().kind(Software::TASK_CLOCK).observe_pid(thread.tid).build().map_err(refused)?;
            counter.enable().map_err(refused)?;
            threads.push(counter);
        }
        Ok(Self { processes, threads })
    }

    /// CPU time used since it was opened, without context switches, while all goes on.
    ///
    /// # Errors
    /// None in practice.
    pub fn read(&mut self) -> Result<Duration, Trouble> {
        let counts = self.threads.iter_mut().map(Counter::read).sum::<Result<u64, _>>();
        Ok(Duration::from_nanos(counts?))
    }

    /// Stops all for the moment, some 0.1 ms, and returns when that was (CLOCK_MONOTONIC, ns) and all CPU time so far.
    ///
    /// # Errors
    /// They have ended, or are another user's.
    pub fn read_stopped(&self) -> Result<(u64, Duration), Trouble> {
        let time = monotonic_ns();
        self.signal(Signal::STOP)?;
        let has_stopped = |process: &Process| {
            let tasks = process.tasks().into_iter().flatten().flatten();
            tasks.filter_map(|task| task.stat().ok()).all(|stat| matches!(stat.state, 'T' | 'Z'))
        };
        let give_up = monotonic_ns() + 100_000_000;
        while !self.processes.iter().all(has_stopped) && monotonic_ns() < give_up {}
        let clocks =
            self.processes.iter().map(|process| cpu::process(process.pid.unsigned_abs())).sum::<Result<_, _>>();
        self.signal(Signal::CONT)?;
        Ok((time, clocks?))
    }

    fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        let mut pids = self.processes.iter().filter_map(|process| Pid::from_raw(process.pid));
        Ok(pids.try_for_each(|pid| kill_process(pid, signal)).map_err(std::io::Error::from)?)
    }
}

/// `pid` and all its descendants.
fn family(pid: i32) -> Vec<Process> {
    let mut all: Vec<_> = all_processes().into_iter().flatten().flatten().collect();
    let mut family: Vec<Process> = Vec::new();
    loop {
        let belongs = |process: &Process| {
            process.pid == pid
                || process.stat().is_ok_and(|stat| family.iter().any(|ancestor| ancestor.pid == stat.ppid))
        };
        let (more, others): (Vec<_>, Vec<_>) = all.into_iter().partition(belongs);
        if more.is_empty() {
            return family;
        }
        family.extend(more);
        all = others;
    }
}

fn refused(error: std::io::Error) -> Trouble {
    Trouble::Failed(format!(
        "the CPU time of a running process can't be read by perf_event_open(2): {error}; run as root, or with \
         kernel.perf_event_paranoid at 2 or less"
    ))
}
