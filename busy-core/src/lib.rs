//! The core of busy: a busy wait that never ends early and counts its clock polls, a CPU load of a given size, the CPU
//! time of threads and cores, and deadlines at a constant rate.
//!
//! It prints nothing, and depends neither on C and Python nor on the lab, which all depend on it.

pub mod clock;
pub mod cpu;
pub mod load;
pub mod pace;
pub mod rate;
pub mod tsc;
mod wait;

pub use tsc::{NoTsc, busy_wait_tsc};
pub use wait::{MAX_WAIT_NS, Waited, busy_wait, busy_wait_cancellable, busy_wait_while, busy_wait_whole_seconds};
