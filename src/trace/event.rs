//! One event of a thread, as a recording has it.

use busy_gil::log::Kind;

/// One event of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The time; the number of missing events if the kind is [`Kind::Lost`].
    pub at: u64,
}
