//! The accounts: how long each thread has held each GIL and waited for it, and how often. Imports run one way:
//! [`capacity`], [`single_writer`] and [`slots`], [`account`], [`gil`], [`gils`], [`pool`], [`read`], [`window`]. Nothing
//! here imports the redirected calls (`super::hooking`), which report the events.

pub(super) mod account;
mod capacity;
pub(super) mod gil;
pub(super) mod gils;
pub(super) mod pool;
pub(super) mod read;
mod single_writer;
pub(super) mod slots;
pub(super) mod window;
