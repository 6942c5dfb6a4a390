//! The state that all meters of the process share. They share one set of redirections, too.

use super::hooking::redirections::Redirections;
use crate::fork_lock::ForkLock;

pub(super) struct State {
    /// The number of running meters.
    pub(super) users: usize,
    /// The identity of the thread that starts the stopped meter, or 0. That thread releases the GIL from time to time,
    /// and must not hold the lock while it does.
    pub(super) starter: usize,
    /// True if the GIL is 2.7's.
    pub(super) is_semaphore: bool,
    /// The entries that are redirected, or could be.
    pub(super) redirections: Redirections,
}

pub(super) static STATE: ForkLock<State> =
    ForkLock::new(State { users: 0, starter: 0, is_semaphore: false, redirections: Redirections::none() });
