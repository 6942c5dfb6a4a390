//! The exact meter. [`meter`] starts and stops it. `counting` keeps the accounts, `hooking` redirects the calls and
//! reports the events to them, `state` and `fork` keep both whole in forked children. `clock`, `memory`, `python` and
//! `thread` are read by all of these and import none.

mod clock;
mod counting;
mod fork;
mod hooking;
mod memory;
mod meter;
mod python;
mod state;
mod thread;

pub use clock::clock_is_tsc;
pub use counting::window::Window;
pub use meter::Meter;
