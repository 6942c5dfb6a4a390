//! CPU time of threads and cores, each from the clock that does not lie about it.
//!
//! | whose | read from | resolution |
//! |---|---|---|
//! | the calling thread | CLOCK_THREAD_CPUTIME_ID | 1 ns |
//! | a thread of the own process | its CPU clock, by thread id | 1 ns |
//! | a whole process | its CPU clock, by process id | 1 ns |
//! | a thread of another process | /proc/PID/task/TID/schedstat | 1 ns while it does not run; up to one tick (1 to 10 ms) late while it does |
//! | its user and system share | /proc/PID/task/TID/stat | one tick of USER_HZ (10 ms) |
//! | a core | /proc/stat | one tick of USER_HZ (10 ms) |
//!
//! [`Sampler`] reads the threads and cores of one process again and again, cheaply; [`threads()`] and [`cores()`] read
//! all there is once.

mod clocks;
#[cfg(target_os = "linux")]
mod cores;
#[cfg(target_os = "linux")]
mod sampler;
#[cfg(target_os = "linux")]
mod threads;

pub use clocks::{current_thread, own_thread, process};
#[cfg(target_os = "linux")]
pub use cores::{CoreUsage, cores};
#[cfg(target_os = "linux")]
pub use sampler::{Sample, Sampler, ThreadSample};
#[cfg(target_os = "linux")]
pub use threads::{ThreadUsage, threads};

/// What `ticks` of /proc's user and system times are worth (USER_HZ; 10 ms each on every Linux of today).
#[cfg(target_os = "linux")]
fn ticks_to_duration(ticks: u64) -> std::time::Duration {
    std::time::Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second()))
}
