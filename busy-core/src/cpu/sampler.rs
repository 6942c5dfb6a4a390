//! Samples one process's threads and the machine's cores again and again, on descriptors that stay open.
//!
//! A kept descriptor of schedstat stands for the thread itself, not for its id: once the thread has ended, every read
//! fails with ESRCH, whoever got the id since. The link count of /proc/PID/task is 2 and one for each thread
//! (proc_task_getattr in fs/proc/base.c). So one read of each thread and one fstat(2) show every change, and the list is
//! read anew only if threads have started: one that ended is dropped at its ESRCH, and if another one took its place,
//! one is missing from the count. Where a kernel counts otherwise, the list is read every time, at a higher cost.
//!
//! Most processes sleep most of the time. The process's CPU clock is the sum over its threads, those that have ended
//! included (thread_group_cputime in kernel/sched/cputime.c): if that has not moved, none of them has run, and what the
//! last sample said of each is still true. So a sample of a process that sleeps takes two system calls.

use super::cores::ProcStat;
use super::threads::{has_ended, parse_schedstat};
use super::{CoreUsage, own_thread, process};
use crate::clock::monotonic_ns;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, fstat, open, openat, seek, statat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Reads the CPU time of one process's threads and of the cores, up to a thousand times a second.
///
/// It keeps one descriptor a thread, but never more than a quarter of what RLIMIT_NOFILE allowed when it was opened.
/// Threads beyond that are opened at each sample: the figures are the same, their cost is some three times as high.
pub struct Sampler {
    pid: u32,
    /// True for the own process, whose threads' CPU clocks can be read.
    own: bool,
    /// Tells that the process has ended before its parent has waited for it. None for the own process, and where the
    /// kernel has none (before 5.3) or a sandbox forbids it: then the end is noticed once the parent has waited.
    pidfd: Option<OwnedFd>,
    /// /proc/PID/task.
    task: OwnedFd,
    /// In the order of their ids.
    threads: Vec<Thread>,
    /// The process's CPU clock just before the threads were read; None if that can't be relied on.
    clock: Option<Duration>,
    /// How many more descriptors may be kept.
    spare: u64,
    stat: ProcStat,
    /// When the cores were read first.
    first_read_ns: u64,
    sample: Sample,
}

/// What a [`Sampler`] saw. Differences of two samples are what was done in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// When the threads were read: nanoseconds of CLOCK_MONOTONIC, just before the first of them.
    pub monotonic_ns: u64,
    /// The threads that lived, in the order of their ids.
    pub threads: Vec<ThreadSample>,
    /// The cores that were online at `cores_monotonic_ns`.
    pub cores: Vec<CoreUsage>,
    /// When the cores were read, just before the threads of this sample or of an earlier one: they are read at most
    /// [`Sampler::CORES_HZ`] times a second.
    pub cores_monotonic_ns: u64,
}

/// Where one thread stands since its start. Less than before under the same id is another thread that got the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadSample {
    /// Thread id as the kernel counts it (gettid(2)); Python's `threading.get_native_id()`.
    pub tid: u32,
    /// CPU time. Exact in the own process; in another one exact while the thread does not run, and up to one tick of
    /// the scheduler (1 to 10 ms) late while it does.
    pub cpu: Duration,
    /// Time it could have run but had no CPU; a wait counts once it is over.
    pub run_delay: Duration,
}

struct Thread {
    tid: u32,
    /// Its schedstat, if it is kept open.
    schedstat: Option<File>,
}

impl Sampler {
    /// The cores are read so often a second at the most. Their figures move in steps of 10 ms, so between closer
    /// readings a core would seem to do nothing, or all; and a reading costs as much as those of ten threads.
    pub const CORES_HZ: u32 = 20;

    /// Makes ready to sample process `pid`, the own one included.
    ///
    /// # Errors
    /// NotFound if there is no such process; PermissionDenied where /proc hides it; Unsupported if the kernel keeps no
    /// schedstat (CONFIG_SCHED_INFO).
    pub fn open(pid: u32) -> io::Result<Self> {
        let own = pid == std::process::id();
        // The pidfd first: should the id go to another process in between, it says that the one meant has ended.
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| !own);
        let pidfd = id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
        let path = format!("/proc/{pid}/task");
        let task = open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("{path}: {error}")))?;
        expect_schedstat(&task)?;
        let limit = getrlimit(Resource::Nofile).current;
        Ok(Self {
            pid,
            own,
            pidfd,
            task,
            threads: Vec::new(),
            clock: None,
            spare: limit.map_or(u64::MAX, |limit| limit / 4),
            stat: ProcStat::open()?,
            first_read_ns: 0,
            sample: Sample::default(),
        })
    }

    /// Reads all threads, and the cores if it is their time, into buffers that the next call uses again. Threads that
    /// have ended since the last call are left out, those that have started are in.
    ///
    /// # Errors
    /// NotFound once the process has ended. Of a process with more threads than descriptors may be kept: what open(2)
    /// says while the own process has no descriptor left (EMFILE); a later call may succeed.
    pub fn sample(&mut self) -> io::Result<&Sample> {
        self.read_cores()?;
        self.sample.monotonic_ns = monotonic_ns();
        // The own process runs now.
        let clock = if self.own { None } else { process(self.pid).ok() };
        if clock.is_none() || clock != self.clock || count(&self.task)? != self.sample.threads.len() {
            self.clock = None;
            self.read_threads()?;
            self.clock = clock;
        }
        // What has ended and was not waited for still has its main thread, and no other.
        let ended = match self.sample.threads.len() {
            0 => true,
            1 => self.process_has_ended()?,
            _ => false,
        };
        if ended {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {} has ended", self.pid)));
        }
        Ok(&self.sample)
    }

    fn read_threads(&mut self) -> io::Result<()> {
        let samples = &mut self.sample.threads;
        samples.clear();
        read_threads(&mut self.threads, samples, &self.task, self.own, &mut self.spare)?;
        // Not at the first sample only: what started while the others were read is missing from the count as well.
        if count(&self.task)? != self.threads.len() {
            let mut new = started(&self.task, &self.threads)?;
            read_threads(&mut new, samples, &self.task, self.own, &mut self.spare)?;
            self.threads.append(&mut new);
            self.threads.sort_unstable_by_key(|thread| thread.tid);
            samples.sort_unstable_by_key(|thread| thread.tid);
        }
        Ok(())
    }

    fn read_cores(&mut self) -> io::Result<()> {
        let now = monotonic_ns();
        let last = self.sample.cores_monotonic_ns;
        if last == 0 {
            self.first_read_ns = now;
        } else if !is_due(self.first_read_ns, last, now) {
            return Ok(());
        }
        self.stat.read(&mut self.sample.cores)?;
        self.sample.cores_monotonic_ns = now;
        Ok(())
    }

    fn process_has_ended(&self) -> io::Result<bool> {
        let Some(pidfd) = &self.pidfd else { return Ok(false) };
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&at_once))? > 0)
    }
}

/// To `sample`, a thread without the file is one that has ended: so make sure that there are such files.
fn expect_schedstat(task: &OwnedFd) -> io::Result<()> {
    for Thread { tid, .. } in started(task, &[])? {
        let is_there = |path: String| statat(task, path, AtFlags::empty()).is_ok();
        if is_there(format!("{tid}/schedstat")) {
            break;
        }
        if is_there(format!("{tid}/stat")) {
            let message = "expected /proc/PID/task/TID/schedstat, found none: it needs a kernel with CONFIG_SCHED_INFO";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    }
    Ok(())
}

/// Whether to read the cores: in the first of those samples that lie in the same step of [`Sampler::CORES_HZ`]. The first
/// reading lies in the middle of its step, so that samples at that very rate, some of them late, stay clear of the
/// steps' ends.
fn is_due(first_ns: u64, last_ns: u64, now_ns: u64) -> bool {
    const STEP_NS: u64 = 1_000_000_000 / Sampler::CORES_HZ as u64;
    let step = |ns: u64| (ns - first_ns + STEP_NS / 2) / STEP_NS;
    step(now_ns) != step(last_ns)
}

/// Reads `threads` into `samples` and drops those that have ended.
fn read_threads(
    threads: &mut Vec<Thread>,
    samples: &mut Vec<ThreadSample>,
    task: &OwnedFd,
    own: bool,
    spare: &mut u64,
) -> io::Result<()> {
    let mut outcome = Ok(());
    threads.retain_mut(|thread| match thread.read(task, own, spare) {
        Ok(sample) => {
            samples.push(sample);
            true
        }
        Err(error) if has_ended(&error) => {
            *spare += u64::from(thread.schedstat.is_some());
            false
        }
        Err(error) => {
            outcome = Err(error);
            true
        }
    });
    outcome
}

impl Thread {
    fn read(&mut self, task: &OwnedFd, own: bool, spare: &mut u64) -> io::Result<ThreadSample> {
        let tid = self.tid;
        // It makes the kernel bring its account of the thread up to date, schedstat included.
        let exact = if own { own_thread(tid).ok() } else { None };
        let mut buffer = [0; 64];
        let length = if let Some(kept) = &self.schedstat {
            kept.read_at(&mut buffer, 0)?
        } else {
            let path = format!("{tid}/schedstat");
            let file = File::from(openat(task, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
            let length = file.read_at(&mut buffer, 0)?;
            if let Some(less) = spare.checked_sub(1) {
                *spare = less;
                self.schedstat = Some(file);
            }
            length
        };
        let text = str::from_utf8(&buffer[..length]).unwrap_or_default();
        let (cpu, run_delay) = parse_schedstat(text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("schedstat of thread {tid} reads {text:?}"))
        })?;
        // The descriptor could be read, so the id was this thread's when its clock was.
        Ok(ThreadSample { tid, cpu: exact.unwrap_or(cpu), run_delay })
    }
}

/// How many threads the process has.
fn count(task: &OwnedFd) -> io::Result<usize> {
    Ok((fstat(task)?.st_nlink as usize).saturating_sub(2))
}

/// The threads of the process that are not among `known`, which is in the order of ids.
fn started(task: &OwnedFd, known: &[Thread]) -> io::Result<Vec<Thread>> {
    seek(task, SeekFrom::Start(0))?;
    let mut ids = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(task, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => ids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok())),
            // The process has ended.
            Err(Errno::NOENT) => break,
            Err(other) => return Err(other.into()),
        }
    }
    ids.retain(|tid| known.binary_search_by_key(tid, |thread| thread.tid).is_err());
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.into_iter().map(|tid| Thread { tid, schedstat: None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::{env, fs, process};

    #[test]
    fn a_thread_that_starts_under_a_low_id_gets_its_place() {
        // The main thread's is the lowest id: make it one that is not known yet.
        let mut sampler = Sampler::open(process::id()).unwrap();
        assert!(sampler.sample().unwrap().threads.len() > 1);
        for _ in 0..3 {
            sampler.threads.remove(0);
            let threads = &sampler.sample().unwrap().threads;
            assert_eq!(threads[0].tid, process::id());
            assert!(threads.is_sorted_by(|one, next| one.tid < next.tid), "{threads:?}");
        }
    }

    #[test]
    fn without_a_pidfd_the_end_is_noticed_once_the_parent_has_waited() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut sampler = Sampler { pidfd: None, ..Sampler::open(child.id()).unwrap() };
        assert_eq!(sampler.sample().unwrap().threads.len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(sampler.sample().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(sampler.sample().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_kernel_without_schedstat_is_told_from_threads_that_have_ended() {
        let task = env::temp_dir().join(format!("busy-core-task-{}", process::id()));
        let look = || expect_schedstat(&open(&task, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap());
        let thread = task.join("7");
        fs::create_dir_all(&thread).unwrap();
        let ended = look();
        fs::write(thread.join("stat"), "").unwrap();
        let without = look();
        fs::write(thread.join("schedstat"), "").unwrap();
        let with = look();
        fs::remove_dir_all(&task).unwrap();
        assert!(ended.is_ok() && with.is_ok(), "{ended:?}, {with:?}");
        assert_eq!(without.unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn the_cores_are_read_so_often_and_no_more_whatever_the_rate() {
        let cores_hz = u64::from(Sampler::CORES_HZ);
        for hz in [1, 10, 19, cores_hz, 30, 100, 1000] {
            let mut last = 0;
            let mut readings = 1;
            for now in (1..10 * hz).map(|number| number * 1_000_000_000 / hz) {
                if is_due(0, last, now) {
                    (last, readings) = (now, readings + 1);
                }
            }
            let most = 10 * hz.min(cores_hz);
            assert!((most..=most + 1).contains(&readings), "{readings} in ten seconds at {hz} Hz");
        }
    }

    #[test]
    fn samples_at_the_cores_rate_read_them_each_time_even_if_some_are_late() {
        let every = 1_000_000_000 / u64::from(Sampler::CORES_HZ);
        let lateness = [every * 2 / 5, 0, 100_000, every * 2 / 5, 0];
        let samples: Vec<u64> = (0..).zip(lateness).map(|(number, late)| number * every + late).collect();
        for pair in samples.windows(2) {
            assert!(is_due(samples[0], pair[0], pair[1]), "{pair:?}");
        }
    }
}
