//! The state of each thread of a process with respect to its GIL, as the kernel reports it.
//!
//! A thread that waits for the GIL sleeps in futex(2) at an address inside the GIL: `take_gil` in Python/ceval_gil.c
//! waits on its condition, and a thread that dropped it on request waits on `switch_cond`. Other locks, sleeps and I/O
//! have other addresses or system calls. /proc/PID/task/TID/syscall contains both (proc_pid_syscall(5)).

use super::error::RemoteError;
use super::sample::{Holder, Sample};
use super::target::Target;
use busy_core::cpu::{DescriptorBudget, KeptFile, Sampler};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// The state of a thread with respect to the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It holds the GIL.
    Holds,
    /// It sleeps until it acquires the GIL.
    Waits,
    /// It runs without the GIL, or is runnable: a single reading can't distinguish the two.
    Runs,
    /// It is runnable without the GIL, and has had no CPU for at least 12 ms.
    Runnable,
    /// It sleeps without the GIL, waiting for something else: a lock, I/O, time.
    Sleeps,
    /// The kernel does not report the state; or, in a stripped Python 2.7, the thread waits for the GIL or for another
    /// lock.
    Unknown,
}

/// One thread at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadState {
    /// The thread's id, as gettid(2) returns it.
    pub tid: u32,
    /// Its name according to the kernel (proc_pid_comm(5)), at most 15 bytes; read up to a second ago.
    pub name: Arc<str>,
    /// Its state.
    pub state: State,
    /// Its CPU time, as in [`busy_core::cpu::ThreadSample`].
    pub cpu: Duration,
    /// Its run delay, as in [`busy_core::cpu::ThreadSample`].
    pub run_delay: Duration,
}

#[derive(Debug)]
pub(super) struct Threads {
    threads: BTreeMap<u32, Thread>,
    budget: DescriptorBudget,
}

#[derive(Debug)]
struct Thread {
    /// Its file /proc/PID/task/TID/syscall, if the file is kept open.
    syscall: Option<KeptFile>,
    name: Arc<str>,
    named_ns: u64,
    /// Its CPU time, and the start of the time in which this has not changed although the thread was runnable.
    cpu: Duration,
    since_ns: u64,
}

/// The activity of a thread, regardless of the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Running,
    /// Sleeping in futex(2), at this address.
    Futex(u64),
    Sleeping,
    Unknown,
}

impl Threads {
    /// A duration above the longest tick, which is 10 ms. The kernel updates the CPU time of a running thread at each
    /// tick.
    const TICK_NS: u64 = 12_000_000;
    const RENAMED_NS: u64 = 1_000_000_000;

    pub fn new() -> Self {
        Self { threads: BTreeMap::new(), budget: DescriptorBudget::of_process() }
    }

    /// Returns the states of all live threads, in the order of their ids. `waiting_at` is the result of
    /// `Gil::waiting_at`.
    pub fn states(
        &mut self,
        target: &Target,
        sampler: &mut Sampler,
        sample: Sample,
        waiting_at: &[Range<u64>],
    ) -> Result<Vec<ThreadState>, RemoteError> {
        let seen = sampler.sample().map_err(|error| target.failed("read the threads' CPU time", error))?;
        let living = |tid: &u32| seen.threads.binary_search_by_key(tid, |thread| thread.tid).is_ok();
        self.threads.retain(|tid, _| living(tid));
        let mut states = Vec::with_capacity(seen.threads.len());
        for usage in &seen.threads {
            let tid = usage.tid;
            let thread = self.threads.entry(tid).or_insert_with(|| Thread {
                syscall: None,
                name: "".into(),
                named_ns: 0,
                cpu: usage.cpu,
                since_ns: sample.at_ns,
            });
            if thread.named_ns == 0 || sample.at_ns > thread.named_ns + Self::RENAMED_NS {
                thread.name = name(target, tid).unwrap_or_else(|| Arc::clone(&thread.name));
                thread.named_ns = sample.at_ns;
            }
            let activity = match thread.read(target, tid, &self.budget) {
                Ok(activity) => activity,
                // The thread has ended since its CPU time was read.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => continue,
                Err(_) => Activity::Unknown,
            };
            if activity != Activity::Running || thread.cpu != usage.cpu {
                (thread.cpu, thread.since_ns) = (usage.cpu, sample.at_ns);
            }
            let starves = sample.at_ns - thread.since_ns >= Self::TICK_NS;
            let state = state(activity, sample.holder == Holder::Thread(tid), starves, waiting_at);
            let name = Arc::clone(&thread.name);
            states.push(ThreadState { tid, name, state, cpu: usage.cpu, run_delay: usage.run_delay });
        }
        Ok(states)
    }
}

impl Thread {
    fn read(&mut self, target: &Target, tid: u32, budget: &DescriptorBudget) -> io::Result<Activity> {
        // The file has nine numbers of at most 18 characters.
        let mut bytes = [0; 192];
        let length = if let Some(kept) = &self.syscall {
            kept.read_at(&mut bytes, 0)?
        } else {
            let file = target.open_file(&format!("task/{tid}/syscall"))?;
            let length = file.read_at(&mut bytes, 0)?;
            self.syscall = budget.keep(file);
            length
        };
        Ok(parse(&bytes[..length]))
    }
}

fn name(target: &Target, tid: u32) -> Option<Arc<str>> {
    let name = target.file(&format!("task/{tid}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into())
}

fn state(activity: Activity, holds: bool, starves: bool, waiting_at: &[Range<u64>]) -> State {
    match activity {
        // The activity was read after the holder, so a thread that waits no longer holds the GIL.
        Activity::Futex(address) if waiting_at.iter().any(|range| range.contains(&address)) => State::Waits,
        _ if holds => State::Holds,
        Activity::Futex(_) if waiting_at.is_empty() => State::Unknown,
        Activity::Futex(_) | Activity::Sleeping => State::Sleeps,
        Activity::Running if starves => State::Runnable,
        Activity::Running => State::Runs,
        Activity::Unknown => State::Unknown,
    }
}

/// Parses `running`, or the number of a system call with its arguments, or -1 for a sleep outside a system call.
fn parse(line: &[u8]) -> Activity {
    const FUTEX: &str = "202";
    let Ok(line) = str::from_utf8(line) else { return Activity::Unknown };
    let mut fields = line.split_ascii_whitespace();
    match (fields.next(), fields.next()) {
        (Some("running"), None) => Activity::Running,
        (Some(FUTEX), Some(address)) => {
            let address = address.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            address.map_or(Activity::Unknown, Activity::Futex)
        }
        (Some(number), Some(_)) if number.parse::<i64>().is_ok() => Activity::Sleeping,
        _ => Activity::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_activity_is_parsed_or_unknown() {
        assert_eq!(parse(b"running\n"), Activity::Running);
        assert_eq!(parse(b"202 0x7f0010 0x189 0x0 0x7ffe 0x0 0xffffffff 0x7ffe 0x7f12\n"), Activity::Futex(0x7f0010));
        assert_eq!(parse(b"35 0x7ffe 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f12\n"), Activity::Sleeping);
        assert_eq!(parse(b"-1 0x7ffe 0x7f12\n"), Activity::Sleeping);
        for other in [&b""[..], b"\n", b"x y", b"202", b"202 7f", b"\xff"] {
            assert_eq!(parse(other), Activity::Unknown, "{other:?}");
        }
    }

    #[test]
    fn a_wait_for_the_gil_is_distinguished_from_a_wait_for_another_lock() {
        let gil = [100..200, 300..400];
        assert_eq!(state(Activity::Futex(132), false, false, &gil), State::Waits);
        assert_eq!(state(Activity::Futex(132), true, false, &gil), State::Waits);
        assert_eq!(state(Activity::Futex(200), false, false, &gil), State::Sleeps);
        assert_eq!(state(Activity::Futex(200), true, false, &gil), State::Holds);
        assert_eq!(state(Activity::Futex(132), false, false, &[]), State::Unknown);
        assert_eq!(state(Activity::Sleeping, false, false, &[]), State::Sleeps);
        assert_eq!(state(Activity::Running, true, true, &gil), State::Holds);
        assert_eq!(state(Activity::Running, false, true, &gil), State::Runnable);
        assert_eq!(state(Activity::Running, false, false, &gil), State::Runs);
    }
}
