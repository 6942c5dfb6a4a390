//! The meter of this copy, as the functions of busy_gil.h share it, and the copy of the library that serves instead of it.

use crate::gil_copy::OtherCopy;
use crate::status::{BUSY_BAD_OPTION, BUSY_GIL_NOT_HELD, BUSY_GIL_OFF, BUSY_GIL_REFUSED, BUSY_OK, busy_status};
use busy_gil::{ForkLock, Meter, Refusal, Snapshot, Window};
#[cfg(unix)]
use std::sync::Once;

pub(crate) struct State {
    /// One meter for each start that has not been stopped yet.
    pub(crate) meters: Vec<Meter>,
    /// The open windows. The number of a window is its index, plus 1.
    pub(crate) windows: Vec<Option<Window>>,
    /// The copy to which the calls are forwarded, and the number of starts that it has got and that have not been
    /// stopped yet. Then this copy has no meter.
    pub(crate) other: Option<(OtherCopy, usize)>,
    pub(crate) reason: String,
}

pub(crate) static STATE: ForkLock<State> =
    ForkLock::new(State { meters: Vec::new(), windows: Vec::new(), other: None, reason: String::new() });

/// Makes fork(2) wait for the lock, so that a child never inherits it locked by a thread that the child does not have.
#[cfg(unix)]
pub(crate) fn register_fork_handlers() {
    static ONCE: Once = Once::new();
    extern "C" fn before() {
        STATE.before_fork();
    }
    extern "C" fn after() {
        // SAFETY: `before` has run in this thread, which has the lock.
        drop(unsafe { STATE.after_fork() });
    }
    // SAFETY: pthread_atfork(3) gets functions that stay mapped, because the library is never unmapped. It fails only for
    // lack of memory; even then, a fork does harm only in the middle of another thread's call.
    ONCE.call_once(|| unsafe { _ = libc::pthread_atfork(Some(before), Some(after), Some(after)) });
}

#[cfg(not(unix))]
pub(crate) fn register_fork_handlers() {}

impl State {
    /// Returns the other copy that serves, if there is one, and counts one more start that it gets. Counting comes
    /// before the start, so that a stop in another thread can't end the forwarding in between.
    pub(crate) fn forward(&mut self) -> Option<OtherCopy> {
        let (other, starts) = self.other.as_mut()?;
        *starts += 1;
        Some(*other)
    }

    /// Undoes one `forward`.
    pub(crate) fn unforward(&mut self) -> Option<OtherCopy> {
        let (other, starts) = self.other.as_mut()?;
        let other = *other;
        *starts -= 1;
        if *starts == 0 {
            self.other = None;
        }
        Some(other)
    }
}

/// Returns the copy to which calls are forwarded.
pub(crate) fn forwarded() -> Option<OtherCopy> {
    STATE.lock().other.map(|(other, _)| other)
}

/// Starts `other`, for which the start has been counted.
pub(crate) fn started_by(other: OtherCopy) -> Result<(), busy_status> {
    let status = (other.start)();
    if status != BUSY_OK {
        let reason = other.reason();
        let mut state = STATE.lock();
        state.unforward();
        state.reason = reason;
    }
    result(status)
}

/// Returns the status of a call of `other`. Takes over the reason of a refusal.
pub(crate) fn refused_by(other: OtherCopy, status: busy_status) -> Result<(), busy_status> {
    if status == BUSY_GIL_REFUSED {
        let reason = other.reason();
        STATE.lock().reason = reason;
    }
    result(status)
}

pub(crate) fn result(status: busy_status) -> Result<(), busy_status> {
    if status == BUSY_OK { Ok(()) } else { Err(status) }
}

pub(crate) fn refused(refusal: &Refusal) -> busy_status {
    STATE.lock().reason = refusal.to_string();
    if *refusal == Refusal::NotHeld { BUSY_GIL_NOT_HELD } else { BUSY_GIL_REFUSED }
}

pub(crate) fn snapshot(window: u32) -> Result<Snapshot, busy_status> {
    metered(|meter, windows| {
        if window == 0 {
            return Ok(meter.snapshot());
        }
        let open = index(window).and_then(|index| windows.get(index)?.as_ref()).ok_or(BUSY_BAD_OPTION)?;
        open.read().ok_or(BUSY_BAD_OPTION)
    })
}

/// Returns what `read` reads from the running meter and the open windows, unless another tool may have made it wrong. The
/// meter does not stop meanwhile.
pub(crate) fn metered<T>(
    read: impl FnOnce(&Meter, &[Option<Window>]) -> Result<T, busy_status>,
) -> Result<T, busy_status> {
    let state = STATE.lock();
    let meter = state.meters.first().ok_or(BUSY_GIL_OFF)?;
    let figures = read(meter, &state.windows)?;
    let disturbance = meter.disturbance();
    drop(state);
    // Without the lock, as the reason may wait for a library that is being loaded, which may call this function.
    disturbance.map_or(Ok(figures), |disturbance| Err(refused(&disturbance.into())))
}

/// Returns the index of the window with that number.
pub(crate) fn index(window: u32) -> Option<usize> {
    (window as usize).checked_sub(1)
}
