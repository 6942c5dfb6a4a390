//! The CPU time of any process's threads, from /proc.

use super::ticks;
use std::time::Duration;
use std::{fs, io};

/// The times of one thread since its start. Subtract two readings to obtain the times between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadUsage {
    /// The thread's id, as gettid(2) and Python's `threading.get_native_id()` return it.
    pub tid: u32,
    /// The CPU time, schedstat's first field: exact while the thread does not run, up to one tick late while it runs.
    pub cpu: Duration,
    /// The run delay, schedstat's second field: the time that the thread was runnable without a CPU. It does not
    /// include waits for locks.
    pub run_delay: Duration,
    /// The CPU time in user mode, in steps of 10 ms.
    pub user: Duration,
    /// The CPU time in the kernel, in steps of 10 ms.
    pub system: Duration,
    /// The number of context switches that happened because the thread waited for something.
    pub voluntary_switches: u64,
    /// The number of context switches that happened because the kernel gave the CPU to another thread.
    pub involuntary_switches: u64,
}

/// Returns all live threads of process `pid`, in the order of their ids. Threads that end during the call are left out.
///
/// # Errors
/// NotFound if there is no such process; PermissionDenied if /proc hides it; InvalidData if the kernel has no schedstat
/// files (CONFIG_SCHED_INFO).
pub fn threads(pid: u32) -> io::Result<Vec<ThreadUsage>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match thread(pid, tid) {
            Ok(usage) => found.push(usage),
            Err(gone) if has_ended(&gone) => {}
            Err(other) => return Err(other),
        }
    }
    found.sort_by_key(|usage| usage.tid);
    Ok(found)
}

/// Returns true if the error means that the thread has ended: ENOENT if its file is opened, ESRCH if it was open
/// already.
pub(super) fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn thread(pid: u32, tid: u32) -> io::Result<ThreadUsage> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}"));
    let (schedstat, stat, status) = (read("schedstat")?, read("stat")?, read("status")?);
    let bad = |file: &str, text: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("expected the format of proc(5) in /proc/{pid}/task/{tid}/{file}, found {text:?}"),
        )
    };

    let (cpu, run_delay) = parse_schedstat(&schedstat).ok_or_else(|| bad("schedstat", &schedstat))?;
    let (user, system) = user_and_system_ticks(&stat).ok_or_else(|| bad("stat", &stat))?;
    let switches = |key: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":"));
        value.and_then(|value| value.trim().parse().ok()).ok_or_else(|| bad("status", &status))
    };
    Ok(ThreadUsage {
        tid,
        cpu,
        run_delay,
        user: ticks::to_duration(user),
        system: ticks::to_duration(system),
        voluntary_switches: switches("voluntary_ctxt_switches")?,
        involuntary_switches: switches("nonvoluntary_ctxt_switches")?,
    })
}

/// Returns the run delay of a thread of any process so far. A delay that is going on is not part of it.
///
/// # Errors
/// The thread has ended, or the kernel keeps no such statistics.
pub fn run_delay(pid: u32, tid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"))?;
    parse_schedstat(&text).map(|(_, delay)| delay).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Parses the CPU time and the run delay: the first two fields of /proc/PID/task/TID/schedstat, in nanoseconds
/// (Documentation/scheduler/sched-stats.rst).
pub(super) fn parse_schedstat(text: &str) -> Option<(Duration, Duration)> {
    let mut fields = text.split_ascii_whitespace();
    let mut nanoseconds = || Some(Duration::from_nanos(fields.next()?.parse().ok()?));
    Some((nanoseconds()?, nanoseconds()?))
}

/// Parses fields 14 and 15 of proc_pid_stat(5). The second field, the name, may contain spaces and parentheses, so
/// counting starts after its last parenthesis.
fn user_and_system_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::clocks;
    use super::*;
    use crate::wait::busy_wait;
    use std::process;

    #[test]
    fn the_threads_of_the_calling_process_are_found_with_their_cpu_time() {
        let usage = std::thread::spawn(|| {
            let own = fs::read_link("/proc/thread-self").unwrap();
            let tid: u32 = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
            busy_wait(Duration::from_millis(50));
            let exact = clocks::current_thread();
            let all = threads(process::id()).unwrap();
            (all.into_iter().find(|usage| usage.tid == tid).expect("the calling thread"), exact)
        });
        let (usage, exact) = usage.join().unwrap();
        assert!(usage.cpu.abs_diff(exact) < Duration::from_millis(20), "{usage:?}, CPU clock {exact:?}");
    }

    #[test]
    fn no_such_process_is_not_found() {
        assert_eq!(threads(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn schedstat_is_read_to_the_nanosecond_or_refused() {
        let read = parse_schedstat("1000000001 7 3\n");
        assert_eq!(read, Some((Duration::new(1, 1), Duration::from_nanos(7))));
        for text in ["", "\n", "5", "5 x 1", "x 5 1", "-5 5 1", "5 99999999999999999999 1"] {
            assert_eq!(parse_schedstat(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194304 90 0 0 0 123 45 0 0 20 0 1 0 5 0 0";
        assert_eq!(user_and_system_ticks(stat), Some((123, 45)));
        assert_eq!(user_and_system_ticks("7 (a R 1"), None);
    }
}
