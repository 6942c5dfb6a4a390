//! The log: what a recorded process leaves in memory that it shares with the recorder. [`layout`] is the format,
//! [`Writer`] fills a log from inside the process, as the sink of its meter, and [`Reader`] empties it from outside.
//!
//! A log is one file, which the process maps: a header, a slot for each row (a thread with a GIL), and a ring of events
//! for each slot. Each ring has one writer, the thread, and one reader. The totals in a slot are those of the meter's
//! account, so they are exact even if events are lost. A process may be killed at any instruction: the file has no state
//! that a reader could not read.

mod executed;
mod layout;
#[allow(unsafe_code, reason = "memory that is shared with another process")]
mod mapping;
mod reader;
mod scale;
#[cfg(test)]
mod tests;
mod totals;
mod writer;

pub use executed::mark_executed;
pub use layout::{Kind, LONGEST_RING, Status};
pub use reader::{Batch, Damaged, Header, HeldForks, Holder, Mark, Reader, Thread, Waiter};
pub use totals::Totals;
pub use writer::Writer;
