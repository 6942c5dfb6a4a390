//! Samples the threads of one process and the cores of the machine, through descriptors that stay open.
//!
//! An open descriptor of schedstat refers to the thread itself, not to its id: once the thread has ended, every read
//! fails with ESRCH, even if the thread id has been reused. The link count of /proc/PID/task is 2 plus the number of
//! threads (proc_task_getattr in fs/proc/base.c). So one read for each thread and one fstat(2) detect every change, and
//! the list of threads is read again only if threads have started. A thread whose read fails with ESRCH is removed. If
//! another thread has started in the meantime, the count then no longer matches. On a kernel that counts differently,
//! the list is read every time, at a higher cost.
//!
//! Most processes sleep most of the time. The process's CPU clock is the sum over its threads, including those that
//! have ended (thread_group_cputime in kernel/sched/cputime.c). If it has not advanced, no thread has run, and the
//! figures of the last sample are still correct. So a sample of a sleeping process takes two system calls.

use super::clocks::{own_thread, process};
use super::cores::{CoreUsage, ProcStat};
use super::descriptors::{DescriptorBudget, KeptFile};
use super::threads::{has_ended, parse_schedstat};
use crate::clock::monotonic_ns;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, fstat, open, openat, seek, statat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Reads the CPU time of one process's threads and of the cores, up to a thousand times per second.
///
/// It keeps one descriptor open for each thread, within [`DescriptorBudget::of_process`]. For threads beyond this
/// budget, the file is opened at each sample: the figures are the same, but the cost is about three times as high.
pub struct Sampler {
    pid: u32,
    /// True for the calling process, for which the CPU clock of each thread can be read.
    own: bool,
    /// Reports the end of the process even before its parent has waited for it. `None` for the calling process, and if
    /// the kernel has no pidfds (before 5.3) or a sandbox forbids them: then the end is detected only after the parent
    /// has waited.
    pidfd: Option<OwnedFd>,
    /// /proc/PID/task.
    task: OwnedFd,
    /// The threads, in the order of their ids.
    threads: Vec<Thread>,
    /// The process's CPU clock just before the threads were read; `None` if it is not reliable.
    clock: Option<Duration>,
    budget: DescriptorBudget,
    /// None if the cores are not read.
    stat: Option<ProcStat>,
    /// The time of the first reading of the cores.
    first_read_ns: u64,
    sample: Sample,
}

/// One sample. Subtract two samples to obtain the times between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// The time just before the first thread was read, in nanoseconds of CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// The live threads, in the order of their ids.
    pub threads: Vec<ThreadSample>,
    /// The cores that were online at `cores_monotonic_ns`; none after [`Sampler::without_cores`].
    pub cores: Vec<CoreUsage>,
    /// The time at which the cores were read, just before the threads of this sample or of an earlier one. They are
    /// read at most [`Sampler::CORES_HZ`] times per second.
    pub cores_monotonic_ns: u64,
}

/// The times of one thread since its start. If they are less than in an earlier sample, another thread has reused the
/// id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadSample {
    /// The thread's id, as gettid(2) and Python's `threading.get_native_id()` return it.
    pub tid: u32,
    /// The CPU time. It is exact in the calling process. In another process it is exact while the thread does not run,
    /// and up to one tick of the scheduler (1 to 10 ms) late while the thread runs.
    pub cpu: Duration,
    /// The run delay: the time that the thread was runnable without a CPU. It is counted when it is over.
    pub run_delay: Duration,
}

struct Thread {
    tid: u32,
    /// The thread's file schedstat, if it is kept open.
    schedstat: Option<KeptFile>,
}

impl Sampler {
    /// The maximum number of times per second that the cores are read. Their figures advance in steps of 10 ms, so
    /// between closer readings a core would seem to be idle or fully busy. Also, one reading costs as much as reading
    /// ten threads.
    pub const CORES_HZ: u32 = 20;

    /// Prepares to sample process `pid`, which may be the calling process.
    ///
    /// # Errors
    /// NotFound if there is no such process; PermissionDenied if /proc hides it; Unsupported if the kernel has no
    /// schedstat files (CONFIG_SCHED_INFO).
    pub fn open(pid: u32) -> io::Result<Self> {
        Self::open_within(pid, DescriptorBudget::of_process())
    }

    /// Returns the sampler, which no longer reads the cores: `cores` of its samples stays empty.
    #[must_use]
    pub fn without_cores(self) -> Self {
        Self { stat: None, ..self }
    }

    fn open_within(pid: u32, budget: DescriptorBudget) -> io::Result<Self> {
        let own = pid == std::process::id();
        // The pidfd is opened first: if another process reuses the id afterwards, the pidfd reports that the first
        // process has ended.
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| !own);
        let pidfd = id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
        let path = format!("/proc/{pid}/task");
        let task = open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("{path}: {error}")))?;
        expect_schedstat(&task)?;
        Ok(Self {
            pid,
            own,
            pidfd,
            task,
            threads: Vec::new(),
            clock: None,
            budget,
            stat: Some(ProcStat::open()?),
            first_read_ns: 0,
            sample: Sample::default(),
        })
    }

    /// Reads all threads, and the cores if their reading is due, into buffers that the next call reuses. Threads that
    /// have ended since the last call are left out; threads that have started are included.
    ///
    /// # Errors
    /// NotFound after the process has ended. If the process has more threads than the budget has descriptors, also the
    /// error of open(2) if the calling process has no descriptor left (EMFILE); a later call may succeed.
    pub fn sample(&mut self) -> io::Result<&Sample> {
        self.read_cores()?;
        self.sample.monotonic_ns = monotonic_ns();
        // The calling process is running now, so its clock always advances.
        let clock = if self.own { None } else { process(self.pid).ok() };
        if clock.is_none() || clock != self.clock || count(&self.task)? != self.sample.threads.len() {
            self.clock = None;
            self.read_threads()?;
            self.clock = clock;
        }
        // A process that has ended but has not been waited for still has its main thread, but no other.
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
        read_threads(&mut self.threads, samples, &self.task, self.own, &self.budget)?;
        // This happens not only in the first sample: threads that started while the others were read are missing, too.
        if count(&self.task)? != self.threads.len() {
            let mut new = started(&self.task, &self.threads)?;
            read_threads(&mut new, samples, &self.task, self.own, &self.budget)?;
            self.threads.append(&mut new);
            self.threads.sort_unstable_by_key(|thread| thread.tid);
            samples.sort_unstable_by_key(|thread| thread.tid);
        }
        Ok(())
    }

    fn read_cores(&mut self) -> io::Result<()> {
        let Some(stat) = &mut self.stat else { return Ok(()) };
        let now = monotonic_ns();
        let last = self.sample.cores_monotonic_ns;
        if last == 0 {
            self.first_read_ns = now;
        } else if !is_due(self.first_read_ns, last, now) {
            return Ok(());
        }
        stat.read(&mut self.sample.cores)?;
        self.sample.cores_monotonic_ns = now;
        Ok(())
    }

    fn process_has_ended(&self) -> io::Result<bool> {
        let Some(pidfd) = &self.pidfd else { return Ok(false) };
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&at_once))? > 0)
    }
}

/// Checks that the kernel has schedstat files. [`Sampler::sample`] treats a thread without such a file as ended.
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

/// Returns true if the cores should be read: in the first sample of each interval of [`Sampler::CORES_HZ`]. The first
/// reading is in the middle of its interval, so that samples at the same rate fall into one interval each, even if some
/// are late.
fn is_due(first_ns: u64, last_ns: u64, now_ns: u64) -> bool {
    const STEP_NS: u64 = 1_000_000_000 / Sampler::CORES_HZ as u64;
    let step = |ns: u64| (ns - first_ns + STEP_NS / 2) / STEP_NS;
    step(now_ns) != step(last_ns)
}

/// Reads `threads` into `samples` and removes threads that have ended.
fn read_threads(
    threads: &mut Vec<Thread>,
    samples: &mut Vec<ThreadSample>,
    task: &OwnedFd,
    own: bool,
    budget: &DescriptorBudget,
) -> io::Result<()> {
    let mut outcome = Ok(());
    threads.retain_mut(|thread| match thread.read(task, own, budget) {
        Ok(sample) => {
            samples.push(sample);
            true
        }
        Err(error) if has_ended(&error) => false,
        Err(error) => {
            outcome = Err(error);
            true
        }
    });
    outcome
}

impl Thread {
    fn read(&mut self, task: &OwnedFd, own: bool, budget: &DescriptorBudget) -> io::Result<ThreadSample> {
        let tid = self.tid;
        // This makes the kernel update its figures of the thread, including schedstat.
        let exact = if own { own_thread(tid).ok() } else { None };
        let mut buffer = [0; 64];
        let length = if let Some(kept) = &self.schedstat {
            kept.read_at(&mut buffer, 0)?
        } else {
            let path = format!("{tid}/schedstat");
            let file = File::from(openat(task, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
            let length = file.read_at(&mut buffer, 0)?;
            self.schedstat = budget.keep(file);
            length
        };
        let text = str::from_utf8(&buffer[..length]).unwrap_or_default();
        let (cpu, run_delay) = parse_schedstat(text).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("expected two numbers in the schedstat of thread {tid}, found {text:?}"),
            )
        })?;
        // The descriptor could be read, so the id still belonged to this thread when its clock was read.
        Ok(ThreadSample { tid, cpu: exact.unwrap_or(cpu), run_delay })
    }
}

/// Returns the number of threads of the process.
fn count(task: &OwnedFd) -> io::Result<usize> {
    Ok((fstat(task)?.st_nlink as usize).saturating_sub(2))
}

/// Returns the threads of the process that are not among `known`, which is in the order of ids.
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
    fn samplers_with_one_budget_stay_within_it_together() {
        let budget = DescriptorBudget::new(5);
        let open = || Sampler::open_within(process::id(), budget.clone()).unwrap();
        let kept = |sampler: &Sampler| sampler.threads.iter().filter(|thread| thread.schedstat.is_some()).count();
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let left = std::sync::Mutex::new(left);
        std::thread::scope(|scope| {
            // The process has at least five threads: these three, the main thread, and the thread of this test.
            for _ in 0..3 {
                scope.spawn(|| _ = left.lock().unwrap().recv());
            }
            let (mut first, mut second) = (open(), open());
            assert!(first.sample().unwrap().threads.len() >= 5);
            second.sample().unwrap();
            assert_eq!((kept(&first), kept(&second)), (5, 0));
            drop(first);
            second.sample().unwrap();
            assert_eq!(kept(&second), 5, "dropping a sampler must return its descriptors");
            drop(leave);
        });
    }

    #[test]
    fn a_thread_that_starts_under_a_low_id_gets_its_place() {
        // The process's first thread usually has the lowest id, but ids start again after the highest.
        let own = fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
        let mut sampler = Sampler::open(process::id()).unwrap();
        assert!(sampler.sample().unwrap().threads.len() > 1);
        for tid in [process::id(), own, process::id()] {
            // Forget the thread, so that it seems to start.
            sampler.threads.retain(|thread| thread.tid != tid);
            for sample in ["that finds it", "after that"] {
                let threads = &sampler.sample().unwrap().threads;
                assert!(threads.iter().any(|thread| thread.tid == tid), "sample {sample}: no {tid} in {threads:?}");
                assert!(threads.is_sorted_by(|one, next| one.tid < next.tid), "sample {sample}: {threads:?}");
            }
        }
    }

    #[test]
    fn without_a_pidfd_the_end_is_detected_once_the_parent_has_waited() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut sampler = Sampler { pidfd: None, ..Sampler::open(child.id()).unwrap() };
        assert_eq!(sampler.sample().unwrap().threads.len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(sampler.sample().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(sampler.sample().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_kernel_without_schedstat_is_distinguished_from_threads_that_have_ended() {
        let task = env::temp_dir().join(format!("busy-core-task-{}", process::id()));
        let check = || expect_schedstat(&open(&task, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap());
        let thread = task.join("7");
        fs::create_dir_all(&thread).unwrap();
        let ended = check();
        fs::write(thread.join("stat"), "").unwrap();
        let without = check();
        fs::write(thread.join("schedstat"), "").unwrap();
        let with = check();
        fs::remove_dir_all(&task).unwrap();
        assert!(ended.is_ok() && with.is_ok(), "{ended:?}, {with:?}");
        assert_eq!(without.unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn the_cores_are_read_at_their_own_rate_at_most() {
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
    fn samples_at_the_cores_rate_read_them_each_time_even_if_late() {
        let every = 1_000_000_000 / u64::from(Sampler::CORES_HZ);
        let lateness = [every * 2 / 5, 0, 100_000, every * 2 / 5, 0];
        let samples: Vec<u64> = (0..).zip(lateness).map(|(number, late)| number * every + late).collect();
        for pair in samples.windows(2) {
            assert!(is_due(samples[0], pair[0], pair[1]), "{pair:?}");
        }
    }
}
