//! CPU clocks, read by clock_gettime(2): exact to the nanosecond, even while the thread runs.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Returns the CPU time of the calling thread (CLOCK_THREAD_CPUTIME_ID).
pub fn current_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the run delay of the calling thread: the time that it was runnable without a CPU. None on systems other than Linux,
/// and if the kernel keeps no schedstat (CONFIG_SCHED_INFO).
pub fn current_run_delay() -> Option<Duration> {
    read_run_delay()
}

/// Returns the CPU time of thread `tid` of the calling process; 0 is the calling thread.
///
/// The clock's id is the kernel's MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED), which pthread_getcpuclockid(3) computes
/// too (include/linux/posix-timers_types.h).
///
/// # Errors
/// InvalidInput if this process has no such thread; Unsupported on systems other than Linux.
pub fn own_thread(tid: u32) -> std::io::Result<Duration> {
    read_clock(tid, 4 | 2)
}

/// Returns the total CPU time of all threads of process `pid`, including ended ones; 0 is the calling process.
///
/// # Errors
/// InvalidInput if there is no such process; Unsupported on systems other than Linux.
pub fn process(pid: u32) -> std::io::Result<Duration> {
    read_clock(pid, 2)
}

#[cfg(target_os = "linux")]
fn read_clock(id: u32, kind: i32) -> std::io::Result<Duration> {
    // An id above the kernel's PID_MAX_LIMIT (2^22) would overflow the clock's id.
    let id = i32::try_from(id).ok().filter(|id| *id <= 1 << 22).ok_or(std::io::ErrorKind::InvalidInput)?;
    let clock = nix::time::ClockId::from_raw((!id << 3) | kind);
    let time = nix::time::clock_gettime(clock)?;
    Ok(Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32))
}

#[cfg(target_os = "linux")]
fn read_run_delay() -> Option<Duration> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    super::threads::parse_schedstat(&schedstat).map(|(_, run_delay)| run_delay)
}

#[cfg(not(target_os = "linux"))]
fn read_run_delay() -> Option<Duration> {
    None
}

#[cfg(not(target_os = "linux"))]
fn read_clock(_id: u32, _kind: i32) -> std::io::Result<Duration> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::wait::busy_wait;

    #[test]
    fn a_busy_thread_uses_cpu_and_both_of_its_clocks_agree() {
        let before = (current_thread(), own_thread(0).unwrap());
        busy_wait(Duration::from_millis(30));
        let used = (current_thread() - before.0, own_thread(0).unwrap() - before.1);
        assert!(used.0 > Duration::from_millis(1), "{used:?}");
        assert!(used.0.abs_diff(used.1) < Duration::from_millis(1), "{used:?}");
    }

    #[test]
    fn the_process_clock_covers_its_threads() {
        std::thread::spawn(|| busy_wait(Duration::from_millis(20))).join().unwrap();
        assert!(process(0).unwrap() > current_thread());
    }

    #[test]
    fn unknown_threads_are_refused() {
        assert!(own_thread(1 << 22).is_err());
        assert!(own_thread(u32::MAX).is_err());
        // Thread 1 belongs to another process, init, so this clock can't read it.
        assert!(own_thread(1).is_err() || std::process::id() == 1);
    }
}
