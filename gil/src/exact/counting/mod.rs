//! The accounts: how long each thread has held each GIL and waited for it, and how often. Imports run one way:
//! [`atomic`], [`capacity`], [`interpreters`], [`single_writer`], [`slot_figures`], [`lock`] and [`figures`],
//! [`slots`], [`histogram`], [`account`], [`sink`], [`tally`], [`long_holds`], [`gil`] and [`blocks`], [`gils`], [`registry`], [`pool`],
//! [`barrier`], [`read`], [`window`], [`counters`], [`holds`]. Nothing here imports the redirected calls (`super::hooking`), which report the
//! events.

pub(super) mod account;
mod atomic;
mod barrier;
mod blocks;
mod capacity;
pub(super) mod counters;
pub(super) mod figures;
pub(super) mod gil;
pub(super) mod gils;
mod histogram;
pub(super) mod holds;
mod interpreters;
mod lock;
pub(super) mod long_holds;
pub(super) mod pool;
pub(super) mod read;
mod registry;
mod single_writer;
pub(super) mod sink;
mod slot_figures;
pub(super) mod slots;
pub(super) mod tally;
pub(super) mod window;
#[cfg(test)]
mod world;
