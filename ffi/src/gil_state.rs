//! The meter of this copy, as the functions of busy_gil.h share it, and the copy of the library that serves instead of it.

use crate::gil_copy::OtherCopy;
use crate::status::{BUSY_BAD_OPTION, BUSY_GIL_NOT_HELD, BUSY_GIL_OFF, BUSY_GIL_REFUSED, BUSY_OK, busy_status};
use busy_gil::{ForkLock, Meter, Refusal, Snapshot, Window};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
#[cfg(unix)]
use std::sync::Once;

pub(crate) struct State {
    /// One meter for each start that has not been stopped yet.
    pub(crate) meters: Vec<Meter>,
    /// True if one more meter records the process for `busy record`.
    pub(crate) is_recording: bool,
    /// The number of threads that are starting a meter, which is not among the meters yet.
    pub(crate) starting: usize,
    /// The open windows by their numbers.
    windows: BTreeMap<u32, Window>,
    /// The number of the window that was opened last.
    last_window: u32,
    /// True in a forked child until it opens a window. Some windows may have been closed by the fork.
    is_forked: bool,
    /// The copy to which the calls are forwarded, and the number of starts that it has got and that have not been
    /// stopped yet. Then this copy has no meter.
    pub(crate) other: Option<(OtherCopy, usize)>,
    /// The number of those starts that a thread is stopping at this moment.
    pub(crate) stopping: usize,
    pub(crate) reason: String,
}

pub(crate) static STATE: ForkLock<State> = ForkLock::new(State {
    meters: Vec::new(),
    is_recording: false,
    starting: 0,
    windows: BTreeMap::new(),
    last_window: 0,
    is_forked: false,
    other: None,
    stopping: 0,
    reason: String::new(),
});

/// Makes fork(2) wait for the lock, so that a child never inherits it locked by a thread that the child does not have. The
/// meter's own handlers come first, so this lock may be held while a meter is dropped. Later calls do nothing.
#[cfg(unix)]
pub(crate) fn register_fork_handlers() {
    static ONCE: Once = Once::new();
    extern "C" fn before() {
        STATE.before_fork();
    }
    extern "C" fn in_parent() {
        // SAFETY: `before` has run in this thread, which has the lock.
        drop(unsafe { STATE.after_fork() });
    }
    extern "C" fn in_child() {
        // SAFETY: as above.
        if let Some(mut state) = unsafe { STATE.after_fork() } {
            state.is_forked = true;
            // The child lacks these threads. A start that the other copy has stopped for one of them counts here until
            // this copy is stopped once more, which then reports that the meter is off.
            state.stopping = 0;
            if mem::take(&mut state.starting) > 0 {
                // The child lacks these threads. Some of them may have started the meter.
                Meter::keep_at_most(state.meters.len() + usize::from(state.is_recording));
            }
        }
    }
    ONCE.call_once(|| {
        busy_gil::register_fork_handlers();
        // SAFETY: pthread_atfork(3) gets functions that stay mapped, because the library is never unmapped. It fails only
        // for lack of memory; even then, a fork does harm only in the middle of another thread's call.
        unsafe { _ = libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

#[cfg(not(unix))]
pub(crate) fn register_fork_handlers() {}

/// Registers the handlers when the library is loaded. A fork then runs the handlers of libraries that are loaded later
/// before these handlers take the locks. So those may wait for the GIL while its holder waits for one of the locks.
/// busy_gil_start() registers them too, since a static linker may leave this out.
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(all(unix, not(target_vendor = "apple")), unsafe(link_section = ".init_array"))]
#[cfg(all(unix, not(test)))]
#[used]
static REGISTER: extern "C" fn() = {
    extern "C" fn register() {
        register_fork_handlers();
    }
    register
};

impl State {
    /// Adds a window, and returns its number: one that was not used for as long as possible, since a forked child may close
    /// a window of a thread that it does not have.
    pub(crate) fn add_window(&mut self, window: Window) -> u32 {
        if mem::take(&mut self.is_forked) {
            self.windows.retain(|_, window| window.is_open());
        }
        loop {
            self.last_window = self.last_window.wrapping_add(1).max(1);
            if let Entry::Vacant(place) = self.windows.entry(self.last_window) {
                place.insert(window);
                return self.last_window;
            }
        }
    }

    /// Closes the window with that number. Returns false if it is not open.
    pub(crate) fn close_window(&mut self, number: u32) -> bool {
        self.windows.remove(&number).is_some_and(|window| window.is_open())
    }

    /// Closes all windows.
    pub(crate) fn close_windows(&mut self) {
        self.windows.clear();
    }

    /// Returns the other copy that serves, if there is one, and counts one more start that it gets. Counting comes
    /// before the start, so that a stop in another thread can't end the forwarding in between.
    pub(crate) fn forward(&mut self) -> Option<OtherCopy> {
        let (other, starts) = self.other.as_mut()?;
        *starts += 1;
        Some(*other)
    }

    /// Returns the other copy, if it serves and has a start that no other thread is stopping. The caller stops that copy
    /// once, and then calls [`Self::end_forwarded_stop`]. The start counts until then: a child that is forked in between
    /// could not stop a start that it does not know.
    pub(crate) fn begin_forwarded_stop(&mut self) -> Option<OtherCopy> {
        let (other, _) = self.other.filter(|(_, starts)| self.stopping < *starts)?;
        self.stopping += 1;
        Some(other)
    }

    /// Ends what [`Self::begin_forwarded_stop`] began.
    pub(crate) fn end_forwarded_stop(&mut self) {
        self.stopping -= 1;
        self.unforward();
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
    let (found, checked) = metered(|meter, windows| {
        if window == 0 {
            return Ok((meter.snapshot(), Ok(())));
        }
        let open = windows.get(&window).ok_or(BUSY_BAD_OPTION)?;
        Ok((open.read().ok_or(BUSY_BAD_OPTION)?, open.check()))
    })?;
    checked.map_err(|refusal| refused(&refusal))?;
    Ok(found)
}

/// Returns what `read` reads from the running meter and the open windows, unless another tool may have made it wrong. The
/// meter does not stop meanwhile.
pub(crate) fn metered<T>(
    read: impl FnOnce(&Meter, &BTreeMap<u32, Window>) -> Result<T, busy_status>,
) -> Result<T, busy_status> {
    let state = STATE.lock();
    let meter = state.meters.first().ok_or(BUSY_GIL_OFF)?;
    let figures = read(meter, &state.windows)?;
    let disturbance = meter.disturbance();
    drop(state);
    // Without the lock, as the reason may wait for a library that is being loaded, which may call this function.
    disturbance.map_or(Ok(figures), |disturbance| Err(refused(&disturbance.into())))
}
