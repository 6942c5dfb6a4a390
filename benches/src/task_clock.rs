//! Reads the CPU time of another process exactly, even while it runs.
//!
//! The kernel's usual values for a running thread of another process are up to one tick (1 to 10 ms) old. This is true
//! of schedstat, and of the process's CPU clock (thread_group_cputime() updates only the caller's own threads,
//! kernel/sched/cputime.c). So this module reads the CPU time in two other ways:
//!
//! - A perf event of each thread. Reading it makes the thread's core update the count (perf_event_read(),
//!   kernel/events/core.c). It excludes the context switches themselves, which are 0.1 points at 200 switches per
//!   second, so it is suitable for the differences between windows, but not for the total.
//! - The CPU clock of a process that is stopped for a moment. It is exact because none of the threads runs during the
//!   stop.

use crate::child::Trouble;
use busy_core::clock::monotonic_ns;
use busy_core::cpu;
use perf_event::events::Software;
use perf_event::{Builder, Counter};
use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// The CPU time of a process and of its descendants at the time of opening.
pub struct TaskClock {
    processes: Vec<Process>,
    threads: Vec<Counter>,
}

impl TaskClock {
    /// Opens the counters of process `pid`, its descendants, and all their threads.
    ///
    /// # Errors
    /// The process has exited, or this process has no permission to count (perf_event_paranoid).
    pub fn open(pid: u32) -> Result<Self, Trouble> {
        let pid = pid.try_into().map_err(|_| Trouble::Failed(format!("{pid} is not a process id")))?;
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

    /// Returns the CPU time since opening, without context switches. The processes keep running.
    ///
    /// # Errors
    /// None in practice.
    pub fn read(&mut self) -> Result<Duration, Trouble> {
        let counts = self.threads.iter_mut().map(Counter::read).sum::<Result<u64, _>>();
        Ok(Duration::from_nanos(counts?))
    }

    /// Stops the processes for about 0.1 ms, and returns the time of the stop (CLOCK_MONOTONIC, ns) and their total CPU
    /// time.
    ///
    /// # Errors
    /// The processes have exited, or belong to another user.
    pub fn read_stopped(&self) -> Result<(u64, Duration), Trouble> {
        let time = monotonic_ns();
        self.signal(Signal::STOP)?;
        let has_stopped = |process: &Process| {
            let tasks = process.tasks().into_iter().flatten().flatten();
            tasks.filter_map(|task| task.stat().ok()).all(|stat| matches!(stat.state, 'T' | 'Z'))
        };
        let deadline = monotonic_ns() + 100_000_000;
        while !self.processes.iter().all(has_stopped) && monotonic_ns() < deadline {}
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

/// Returns process `pid` and all its descendants.
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
        "perf_event_open(2) cannot read the CPU time of a running process: {error}; run as root, or set the sysctl \
         kernel.perf_event_paranoid to 2 or less"
    ))
}
