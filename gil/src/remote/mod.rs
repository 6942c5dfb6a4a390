//! Samples the GIL of any CPython process, given its id: which thread holds the GIL, and the state of each thread.
//! Supports 2.7 and 3.6 to 3.15, on x86-64 Linux.
//!
//! The process is not stopped, nothing is injected, and its memory is not written. CPython's own variables are read
//! while it runs, through /proc/PID/mem, and the states of its threads through /proc/PID/task. This needs the right to
//! ptrace(2) the process: it must belong to the same user and, if Yama's ptrace_scope is 1, be a descendant of the
//! caller; or the caller must have CAP_SYS_PTRACE.
//!
//! Samples miss any hold that is shorter than the time between two of them. So shares are estimates, and no longest
//! hold is reported. If interpreters have their own GIL (3.12 on), only the main interpreter's is sampled; the others
//! are named.
//!
//! [`StackReader`] reads the Python stack of a thread: the file, the function and the line of each frame.

mod error;
mod holder_stack;
mod locate;
mod maps;
mod offsets;
mod place;
mod recorder;
mod remote_gil;
mod rights;
mod sample;
mod stack;
mod state_times;
mod target;
mod threads;
mod tid;
mod version;
mod window;

pub use error::RemoteError;
pub use holder_stack::HolderStack;
#[cfg(target_env = "gnu")]
pub(crate) use offsets::thread_id as thread_id_offset;
pub use recorder::{Rates, Recorder};
pub use remote_gil::RemoteGil;
pub use sample::{Holder, Sample};
pub use stack::{Frame, PythonThread, Stack, StackError, StackReader};
pub use threads::{State, ThreadState};
pub use window::{ThreadWindow, Window};
