//! Measures which threads hold Python's GIL and which threads wait for it: in the calling process exactly, from the
//! GIL's events ([`Meter`]); in any process by sampling (`remote`). The crate needs no C caller, no Python objects and
//! no lab.
//!
//! The exact meter: CPython signals a condition variable whenever a thread has released the GIL (`drop_gil`,
//! Python/ceval_gil.c), and another one whenever a thread has acquired it (`take_gil`), in each case from that thread
//! and under the GIL's mutex. The meter redirects those calls, and the call by which a thread waits, in the global
//! offset table of the object that contains `PyEval_SaveThread`. So it records all of them, including those of the eval
//! loop, and changes nothing else in the process. Python 2.7's GIL is a semaphore; there the calls on that semaphore
//! are redirected.
//!
//! A [`Sink`] sees every event with its time. [`log::Writer`] is one: it writes the events to a file that another process
//! reads at the same time ([`log::Reader`]).
//!
//! Reading needs no GIL. A stopped meter costs nothing, since the entries of the table are restored. The meter needs
//! Linux with glibc on x86-64; on other platforms [`Meter::start`] returns [`Refusal::Platform`].

#[allow(unsafe_code, reason = "a guard that outlives the function which takes the lock")]
mod fork_lock;
mod refusal;
mod snapshot;

pub use fork_lock::ForkLock;
pub use refusal::Refusal;
pub use snapshot::{BUCKETS, Counters, GilTotals, Histograms, Snapshot, Stall, ThreadTotals, Waiter};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod remote;

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "a frame with a personality routine of its own")]
pub mod ended_thread;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "redirects another library's calls")]
mod exact;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
pub use exact::{
    Disturbance, Event, Meter, PendingCall, Row, Sink, Stalls, Total, Window, clock_is_tsc, on_python, own_thread,
    register_fork_handlers,
};
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
pub mod log;

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
pub use unsupported::{Disturbance, Meter, Stalls, Window, clock_is_tsc, own_thread, register_fork_handlers};
