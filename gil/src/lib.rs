//! How each thread of a process stands to Python's GIL: of the own process by the GIL's own events, of any other by
//! sampling ([`remote`]). It knows nothing of C callers, of Python objects or of the lab.
//!
//! The exact meter: CPython signals a condition variable whenever a thread has released the GIL (`drop_gil`,
//! Python/ceval_gil.c) and another whenever one has acquired it (`take_gil`), both in the thread concerned and under the
//! GIL's own mutex. The meter redirects those calls, and the one by which a thread waits, in the global offset table of the
//! object that holds `PyEval_SaveThread`: so it sees all of them, those of the eval loop included, and nothing else in the
//! process changes. Python 2.7's GIL is a semaphore; there the calls on that semaphore are redirected.
//!
//! It never takes the GIL, and once stopped it costs nothing: the table's entries are what they were. Linux with glibc on
//! x86-64; elsewhere [`Meter::start`] says why not.

#[allow(unsafe_code, reason = "a guard that outlives the function which takes the lock")]
mod fork_lock;
mod refusal;
mod snapshot;

pub use fork_lock::ForkLock;
pub use refusal::Refusal;
pub use snapshot::{GilTotals, Snapshot, ThreadTotals};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod remote;

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "redirects another library's calls")]
mod exact;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
pub use exact::{Meter, Window, clock_is_tsc};

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
pub use unsupported::{Meter, Window, clock_is_tsc};
