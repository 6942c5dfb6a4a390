//! Which holds are noted in the rings of the GILs (`super::long_holds`).

use super::super::clock::ticks;
use super::pool::REGISTRY;
use super::slots::OPEN;
use crate::fork_lock::ForkLock;

/// The lengths from which on holds are noted, one for each [`Noted`].
static LENGTHS: ForkLock<Vec<u64>> = ForkLock::new(Vec::new());

/// While it exists, holds of a length are noted.
#[derive(Debug)]
pub(crate) struct Noted(u64);

impl Noted {
    /// Notes the holds that last for at least `length` ticks.
    pub(crate) fn from(length: u64) -> Self {
        change(|lengths| lengths.push(length));
        Self(length)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        change(|lengths| _ = lengths.iter().position(|length| *length == self.0).map(|at| lengths.swap_remove(at)));
    }
}

/// Returns the least of these lengths, `u64::MAX` if there is none.
pub(crate) fn least() -> u64 {
    OPEN.noted()
}

fn change(body: impl FnOnce(&mut Vec<u64>)) {
    let mut lengths = LENGTHS.lock();
    body(&mut lengths);
    let _lists = REGISTRY.lock();
    OPEN.note_holds(lengths.iter().min().copied(), ticks);
}

/// Takes the lock until [`after_fork`]. The forking thread calls it before the fork.
pub(crate) fn before_fork() {
    LENGTHS.before_fork();
}

/// Opens the lock after a fork. A child notes no holds: it does not have the threads that read them.
///
/// # Safety
/// [`before_fork`] was called by this thread.
pub(crate) unsafe fn after_fork(is_child: bool) {
    // SAFETY: as above.
    if let Some(mut lengths) = unsafe { LENGTHS.after_fork() }
        && is_child
    {
        lengths.clear();
        OPEN.note_no_holds();
    }
}
