//! Samples the GIL of any CPython process by its id: which thread holds it, and the state of each thread. 2.7 and 3.6
//! to 3.15, on x86-64 Linux.
//!
//! Nothing is stopped, injected or written. CPython's own variables are read while it runs, through /proc/PID/mem, and
//! the states of its threads through /proc/PID/task. This takes the right to ptrace(2) the process: it must belong to
//! the same user, or be a descendant where Yama's ptrace_scope is 1; or the caller has CAP_SYS_PTRACE.
//!
//! A sample can't see what is shorter than the time between two samples. So shares are estimates, and no longest hold
//! is reported. Where interpreters have a GIL of their own (3.12 on), the main interpreter's is sampled; the others are
//! named.

mod error;
mod locate;
mod maps;
mod offsets;
mod place;
mod recorder;
mod remote_gil;
mod rights;
mod sample;
mod state_times;
mod target;
mod threads;
mod tid;
mod version;
mod window;

pub use error::RemoteError;
pub use recorder::{Rates, Recorder};
pub use remote_gil::RemoteGil;
pub use sample::{Holder, Sample};
pub use threads::{State, ThreadState};
pub use window::{ThreadWindow, Window};
