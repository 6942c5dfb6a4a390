//! The core of busy: a busy wait that never ends early and counts its clock polls, a CPU load of a given size, the CPU
//! time of threads and cores, and deadlines at a steady rate.
//!
//! It depends neither on C and Python nor on the lab, which are built on it, and prints nothing.

pub mod clock;
pub mod cpu;
pub mod load;
pub mod pace;
pub mod tsc;
mod wait;

pub use tsc::{NoTsc, busy_wait_tsc};
pub use wait::{MAX_WAIT_NS, Waited, busy_wait, busy_wait_cancellable, busy_wait_while, busy_wait_whole_seconds};
