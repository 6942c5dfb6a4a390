//! The CPU time of threads and cores, each from the most accurate clock that the kernel provides.
//!
//! | of | read from | resolution | |---|---|---| | the calling thread | CLOCK_THREAD_CPUTIME_ID | 1 ns | | another
//! thread of the calling process | its CPU clock, by thread id | 1 ns | | a whole process | its CPU clock, by process
//! id | 1 ns | | a thread of another process | /proc/PID/task/TID/schedstat | 1 ns while it does not run; up to one
//! tick (1 to 10 ms) late while it runs | | its user and system time | /proc/PID/task/TID/stat | one tick of USER_HZ
//! (10 ms) | | a core | /proc/stat | one tick of USER_HZ (10 ms) |
//!
//! [`Sampler`] reads the threads of one process, and the cores, repeatedly and at a low cost. [`threads()`] and
//! [`cores()`] read them once, with all their figures.

mod clocks;
#[cfg(target_os = "linux")]
mod cores;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod sampler;
#[cfg(target_os = "linux")]
mod threads;
#[cfg(target_os = "linux")]
mod ticks;

pub use clocks::{current_run_delay, current_thread, own_thread, process};
#[cfg(target_os = "linux")]
pub use cores::{CoreUsage, cores};
#[cfg(target_os = "linux")]
pub use descriptors::{DescriptorBudget, KeptFile};
#[cfg(target_os = "linux")]
pub use sampler::{Sample, Sampler, ThreadSample};
#[cfg(target_os = "linux")]
pub use threads::{ThreadUsage, run_delay, threads};
