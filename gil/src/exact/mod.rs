//! The exact meter. [`meter`] starts and stops it, [`arrival`] waits until it can be started. `counting` keeps the
//! accounts, `hooking` redirects the calls and reports the events to them, `state` and `fork` keep both consistent in
//! forked children; `stalls` reports holds that made others wait. `clock`, `memory`, `python` and `thread` are imported by all of these and import none of them.

mod arrival;
mod clock;
mod counting;
mod fork;
mod hooking;
mod memory;
mod meter;
mod python;
mod stalls;
mod state;
mod thread;

pub use arrival::on_python;
pub use clock::clock_is_tsc;
pub(crate) use clock::{Rate, Reading, base, reading, ticks};
pub use counting::figures::Total;
pub(crate) use counting::gils::GILS;
pub use counting::read::own_thread;
#[cfg(test)]
pub(crate) use counting::sink::TestRow;
pub use counting::sink::{Event, Row, Sink};
pub use counting::window::Window;
pub use fork::register_fork_handlers;
pub use hooking::disturbance::Disturbance;
pub(crate) use memory::keep_errno;
pub use meter::Meter;
pub use python::PendingCall;
pub use stalls::Stalls;
