//! The exact meter. [`meter`] starts and stops it. `counting` keeps the accounts, `hooking` redirects the calls and
//! reports the events to them, `state` and `fork` keep both consistent in forked children. `clock`, `memory`, `python`
//! and `thread` are imported by all of these and import none of them.

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
pub use counting::read::own_thread;
pub use counting::window::Window;
pub use meter::Meter;
