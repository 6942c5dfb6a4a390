//! The state that all meters of the process share: one set of redirections serves them all.

use super::hooking::redirections::Redirections;
use crate::fork_lock::ForkLock;

pub(super) struct State {
    /// The number of meters.
    pub(super) users: usize,
    /// True while a thread starts the metering from rest. It releases the GIL meanwhile, and must not keep the lock
    /// then.
    pub(super) is_starting: bool,
    /// True if the GIL is 2.7's.
    pub(super) is_semaphore: bool,
    /// The entries that are redirected, or may be.
    pub(super) redirections: Redirections,
}

pub(super) static STATE: ForkLock<State> =
    ForkLock::new(State { users: 0, is_starting: false, is_semaphore: false, redirections: Redirections::none() });
