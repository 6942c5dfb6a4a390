//! The meter itself. `meter` starts and stops it: `python` tells what runs here, `got` finds the calls, `calibrate` learns
//! and checks what they mean, `hooks` and `semaphore` stand in for them, `ledger` keeps the accounts.

mod calibrate;
mod clock;
mod fork;
mod gils;
mod got;
mod hooks;
mod ledger;
mod memory;
mod meter;
mod python;
mod read;
mod semaphore;
mod stack;
mod thread;
mod window;

pub use clock::clock_is_tsc;
pub use meter::Meter;
pub use window::Window;
