//! How each thread of a process stands to its GIL, by what the kernel tells of it.
//!
//! A thread that waits for the GIL sleeps in futex(2) at an address inside the GIL (`take_gil` in Python/ceval_gil.c waits
//! on its condition, a thread that was asked to release it on `switch_cond`); other locks, sleeps and I/O show other
//! addresses or calls. /proc/PID/task/TID/syscall tells both (proc_pid_syscall(5)).

use super::error::RemoteError;
use super::target::Target;
use super::{Holder, Sample};
use busy_core::cpu::Sampler;
use rustix::process::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// How a thread stands to the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has it.
    Holds,
    /// It sleeps until it gets it.
    Waits,
    /// It runs without it, or could run at once: the kernel does not tell the two apart at a single look.
    Runs,
    /// It could run, without it, and has got no CPU for 12 ms at least.
    Runnable,
    /// It sleeps, without it, for something else: a lock, I/O, time.
    Sleeps,
    /// The kernel does not tell (or, in a stripped Python 2.7: it may wait for the GIL or for another lock).
    Untold,
}

/// One thread at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadState {
    /// As gettid(2) has it.
    pub tid: u32,
    /// As the kernel has it (proc_pid_comm(5)), at most 15 bytes; up to a second old.
    pub name: Arc<str>,
    /// How it stands to the GIL.
    pub state: State,
    /// Its CPU time, as of [`busy_core::cpu::ThreadSample`].
    pub cpu: Duration,
    /// Time that it could have run but had no CPU, likewise.
    pub run_delay: Duration,
}

#[derive(Debug)]
pub(super) struct Threads {
    threads: BTreeMap<u32, Thread>,
    /// How many more descriptors may be kept.
    spare: u64,
}

#[derive(Debug)]
struct Thread {
    /// Its file of that name, if it is kept open.
    syscall: Option<File>,
    name: Arc<str>,
    named_ns: u64,
    /// Its CPU time, and since when it has been that while it could run.
    cpu: Duration,
    since_ns: u64,
}

/// What a thread does, whatever the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Running,
    /// Sleeping in futex(2), at this address.
    Futex(u64),
    Sleeping,
    Untold,
}

impl Threads {
    /// The kernel brings a running thread's account up to date at each tick, 10 ms apart at the most.
    const TICK_NS: u64 = 12_000_000;
    const RENAMED_NS: u64 = 1_000_000_000;

    pub fn new() -> Self {
        // A quarter, as the sampler of the CPU times does.
        let spare = getrlimit(Resource::Nofile).current.map_or(u64::MAX, |limit| limit / 4);
        Self { threads: BTreeMap::new(), spare }
    }

    /// All threads that live, in the order of their ids. `waiting_at` as `Gil::waiting_at` tells.
    pub fn states(
        &mut self,
        target: &Target,
        sampler: &mut Sampler,
        sample: Sample,
        waiting_at: &[Range<u64>],
    ) -> Result<Vec<ThreadState>, RemoteError> {
        let seen = sampler.sample().map_err(|error| target.failed("read the threads' CPU time", error))?;
        let living = |tid: &u32| seen.threads.binary_search_by_key(tid, |thread| thread.tid).is_ok();
        self.threads.retain(|tid, thread| {
            let lives = living(tid);
            self.spare += u64::from(!lives && thread.syscall.is_some());
            lives
        });
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
            let doing = match thread.look(target, tid, &mut self.spare) {
                Ok(doing) => doing,
                // It has ended since its CPU time was read.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => continue,
                Err(_) => Doing::Untold,
            };
            if doing != Doing::Running || thread.cpu != usage.cpu {
                (thread.cpu, thread.since_ns) = (usage.cpu, sample.at_ns);
            }
            let starves = sample.at_ns - thread.since_ns >= Self::TICK_NS;
            let state = stand(doing, sample.holder == Holder::Thread(tid), starves, waiting_at);
            let name = Arc::clone(&thread.name);
            states.push(ThreadState { tid, name, state, cpu: usage.cpu, run_delay: usage.run_delay });
        }
        Ok(states)
    }
}

impl Thread {
    fn look(&mut self, target: &Target, tid: u32, spare: &mut u64) -> io::Result<Doing> {
        // Nine numbers of at most 18 characters.
        let mut bytes = [0; 192];
        let length = if let Some(kept) = &self.syscall {
            kept.read_at(&mut bytes, 0)?
        } else {
            let file = target.open_file(&format!("task/{tid}/syscall"))?;
            let length = file.read_at(&mut bytes, 0)?;
            if let Some(less) = spare.checked_sub(1) {
                *spare = less;
                self.syscall = Some(file);
            }
            length
        };
        Ok(parse(&bytes[..length]))
    }
}

fn name(target: &Target, tid: u32) -> Option<Arc<str>> {
    let name = target.file(&format!("task/{tid}/comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into())
}

fn stand(doing: Doing, holds: bool, starves: bool, waiting_at: &[Range<u64>]) -> State {
    match doing {
        // It was read after the holder: who waits has it no longer.
        Doing::Futex(address) if waiting_at.iter().any(|range| range.contains(&address)) => State::Waits,
        _ if holds => State::Holds,
        Doing::Futex(_) if waiting_at.is_empty() => State::Untold,
        Doing::Futex(_) | Doing::Sleeping => State::Sleeps,
        Doing::Running if starves => State::Runnable,
        Doing::Running => State::Runs,
        Doing::Untold => State::Untold,
    }
}

/// `running`, or the number of the system call and its arguments, or -1 for a sleep outside of one.
fn parse(line: &[u8]) -> Doing {
    const FUTEX: &str = "202";
    let Ok(line) = str::from_utf8(line) else { return Doing::Untold };
    let mut fields = line.split_ascii_whitespace();
    match (fields.next(), fields.next()) {
        (Some("running"), None) => Doing::Running,
        (Some(FUTEX), Some(address)) => {
            let address = address.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            address.map_or(Doing::Untold, Doing::Futex)
        }
        (Some(number), Some(_)) if number.parse::<i64>().is_ok() => Doing::Sleeping,
        _ => Doing::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_does_is_read_or_left_untold() {
        assert_eq!(parse(b"running\n"), Doing::Running);
        assert_eq!(parse(b"202 0x7f0010 0x189 0x0 0x7ffe 0x0 0xffffffff 0x7ffe 0x7f12\n"), Doing::Futex(0x7f0010));
        assert_eq!(parse(b"35 0x7ffe 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f12\n"), Doing::Sleeping);
        assert_eq!(parse(b"-1 0x7ffe 0x7f12\n"), Doing::Sleeping);
        for other in [&b""[..], b"\n", b"x y", b"202", b"202 7f", b"\xff"] {
            assert_eq!(parse(other), Doing::Untold, "{other:?}");
        }
    }

    #[test]
    fn who_waits_for_the_gil_is_told_from_who_waits_for_another_lock() {
        let gil = [100..200, 300..400];
        assert_eq!(stand(Doing::Futex(132), false, false, &gil), State::Waits);
        assert_eq!(stand(Doing::Futex(132), true, false, &gil), State::Waits);
        assert_eq!(stand(Doing::Futex(200), false, false, &gil), State::Sleeps);
        assert_eq!(stand(Doing::Futex(200), true, false, &gil), State::Holds);
        assert_eq!(stand(Doing::Futex(132), false, false, &[]), State::Untold);
        assert_eq!(stand(Doing::Sleeping, false, false, &[]), State::Sleeps);
        assert_eq!(stand(Doing::Running, true, true, &gil), State::Holds);
        assert_eq!(stand(Doing::Running, false, true, &gil), State::Runnable);
        assert_eq!(stand(Doing::Running, false, false, &gil), State::Runs);
    }
}
