use crate::boundary;
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_GIL_NOT_HELD, BUSY_GIL_OFF, BUSY_GIL_REFUSED, BUSY_NO_WINDOWS, BUSY_NULL_POINTER, busy_status,
};
use busy_gil::{ForkLock, GilTotals, Meter, Refusal, Snapshot, Window};
use std::ffi::c_char;
#[cfg(unix)]
use std::sync::Once;

/// The totals of one GIL. Initialise the struct with BUSY_GIL_TOTALS_INIT, then set `gil` and `window` to select what
/// busy_gil_snapshot() reports. All times are in nanoseconds. A hold or a wait that is still going on counts up to
/// `at_ns`.
#[repr(C)]
pub struct busy_gil_totals {
    /// Set by the caller: sizeof(busy_gil_totals).
    pub size: usize,
    /// Set by the caller: the index of the GIL, less than `gils`. Index 0 is the GIL under which busy_gil_start() was
    /// called. The others are the GILs of interpreters that have their own (CPython 3.12 and later), in the order in
    /// which the meter met them.
    pub gil: u32,
    /// Set by the caller: the number of an open window, from busy_gil_window_open(), to report the counts since it was
    /// opened; or 0 to report the counts since the metering began.
    pub window: u32,
    /// The number of GILs that `gil` can select.
    pub gils: u32,
    /// 1 if the counts below are valid. 0 if the meter has not seen any change of this GIL yet, because the GIL has
    /// been held, or has been idle, ever since the metering began.
    pub metered: u32,
    /// The id of the interpreter that owns this GIL; 0 is the main interpreter.
    pub interpreter: i64,
    /// The time of this snapshot on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The time for which this GIL has been metered, or for which the window has been open.
    pub metered_ns: u64,
    /// The time for which any thread held the GIL.
    pub held_ns: u64,
    /// The time for which threads waited for the GIL, summed over all threads.
    pub waited_ns: u64,
    /// The number of times that a thread acquired the GIL.
    pub acquisitions: u64,
    /// The number of times that a thread released the GIL voluntarily.
    pub voluntary_releases: u64,
    /// The number of times that a thread dropped the GIL because another thread requested it or, in CPython 2.7,
    /// because the thread had used up its ticks.
    pub forced_drops: u64,
    /// The longest hold.
    pub longest_hold_ns: u64,
    /// The longest wait.
    pub longest_wait_ns: u64,
    /// The number of the session. It grows when the metering begins, and in a forked child. Counts of two sessions
    /// can't be compared.
    pub session: u64,
    /// The number of GILs that are not metered because the process has had more than 1024.
    pub unlisted_gils: u64,
}

/// The totals of one thread with one GIL. All times are in nanoseconds. A hold or a wait that is still going on counts
/// up to the time of the snapshot.
#[repr(C)]
pub struct busy_gil_thread {
    /// The thread id, as gettid(2) returns it. The row with the id 0 sums up all threads beyond the 65536th; their
    /// waits are not counted.
    pub tid: u32,
    /// BUSY_GIL_HOLDS, BUSY_GIL_WAITS, or 0 if the thread neither holds the GIL nor waits for it.
    pub state: u32,
    /// The time for which the thread held the GIL.
    pub held_ns: u64,
    /// The time for which the thread waited for the GIL.
    pub waited_ns: u64,
    /// The number of times that the thread acquired the GIL.
    pub acquisitions: u64,
    /// The number of times that the thread had to wait for the GIL.
    pub waits: u64,
    /// As in busy_gil_totals.
    pub voluntary_releases: u64,
    /// As in busy_gil_totals.
    pub forced_drops: u64,
    /// The thread's longest hold.
    pub longest_hold_ns: u64,
    /// The thread's longest wait.
    pub longest_wait_ns: u64,
}

/// A value of busy_gil_thread.state: the thread holds the GIL.
pub const BUSY_GIL_HOLDS: u32 = 1;
/// A value of busy_gil_thread.state: the thread waits for the GIL.
pub const BUSY_GIL_WAITS: u32 = 2;

struct State {
    /// One meter for each start that has not been stopped yet.
    meters: Vec<Meter>,
    /// The open windows. The number of a window is its index, plus 1.
    windows: Vec<Option<Window>>,
    reason: String,
}

static STATE: ForkLock<State> = ForkLock::new(State { meters: Vec::new(), windows: Vec::new(), reason: String::new() });

/// Starts the meter. If it is running already, the caller joins it: each start needs one busy_gil_stop(). The calling
/// thread must hold the GIL. From Python, ctypes.PyDLL keeps it held during a call, and ctypes.CDLL releases it.
///
/// The first start releases the GIL and acquires it again a few times, to learn and check how this CPython does it.
/// This takes about a millisecond if no other thread wants the GIL.
///
/// Blocking: for as long as other threads hold the GIL meanwhile.
/// Threads: safe to call from any thread that holds the GIL.
/// Signals: not safe to call from a signal handler.
///
/// Returns:
/// - BUSY_OK: the meter is running.
/// - BUSY_GIL_NOT_HELD: the calling thread does not hold the GIL. Nothing has changed.
/// - BUSY_GIL_REFUSED: there is no GIL that can be metered; busy_gil_reason() returns the reason. Nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_start() -> busy_status {
    boundary::status(|| {
        register_fork_handlers();
        // Without the lock: this call may release the GIL, and the next caller may wait for the lock while it holds the
        // GIL.
        let meter = Meter::start().map_err(refused)?;
        STATE.lock().meters.push(meter);
        Ok(())
    })
}

/// Undoes one busy_gil_start(). The last stop ends the metering, closes all windows, and undoes the redirection of
/// CPython's calls.
///
/// GIL: not needed.
/// Blocking: no.
/// Threads: safe to call from any thread, also while other threads hold the GIL or wait for it.
/// Signals: not safe to call from a signal handler.
///
/// Returns:
/// - BUSY_OK: one start is undone.
/// - BUSY_GIL_OFF: the meter is not running.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_stop() -> busy_status {
    boundary::status(|| {
        let mut state = STATE.lock();
        let meter = state.meters.pop().ok_or(BUSY_GIL_OFF)?;
        if state.meters.is_empty() {
            state.windows.clear();
        }
        // The meter has a lock of its own, which must not be waited for under this one.
        drop(state);
        drop(meter);
        Ok(())
    })
}

/// Writes the totals of one GIL to `*totals`, and one row per thread to `threads`. The fields `totals->gil` and
/// `totals->window` select the GIL and the time at which the counts begin. In a forked child, all counts begin at the
/// fork.
///
/// - `totals`: see busy_gil_totals; must not be NULL.
/// - `threads`: an array that receives the rows. It may be NULL if `capacity` is 0.
/// - `capacity`: the number of rows that `threads` has space for.
/// - `needed`: receives the number of rows that exist. It may be NULL. If the number is greater than `capacity`, only
///   the first `capacity` rows are written.
///
/// Ownership: the caller owns `totals`, `threads` and `needed`; the library does not keep the pointers.
/// GIL: not needed, and never acquired.
/// Blocking: for some microseconds, if another of these functions is running.
/// Threads: safe to call from any number of threads at once.
/// Signals: not safe to call from a signal handler.
///
/// Returns:
/// - BUSY_OK: the totals and the rows are written.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_BAD_OPTION: no GIL has the index `totals->gil`, or `totals->window` is neither 0 nor an open window.
/// - BUSY_BAD_SIZE: `totals->size` is not set, or it breaks the rule for `options->size` in busy_wait_ns().
/// - BUSY_NULL_POINTER: `totals` is NULL, or `threads` is NULL and `capacity` is not 0.
///
/// After every status except BUSY_OK, nothing has been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_snapshot(
    totals: *mut busy_gil_totals,
    threads: *mut busy_gil_thread,
    capacity: usize,
    needed: *mut usize,
) -> busy_status {
    boundary::status(|| {
        if totals.is_null() || (threads.is_null() && capacity != 0) {
            return Err(BUSY_NULL_POINTER);
        }
        // SAFETY: the pointer is not NULL, so the header requires live totals.
        let busy_gil_totals { gil: which, window, .. } = unsafe { known_prefix(totals) }?;
        let snapshot = snapshot(window)?;
        let gil = snapshot.gils.get(which as usize).ok_or(BUSY_BAD_OPTION)?;
        for (index, row) in rows(gil).take(capacity).enumerate() {
            // SAFETY: the header requires space for `capacity` rows.
            unsafe { threads.add(index).write(row) };
        }
        // SAFETY: the header requires NULL or space for one number.
        if let Some(needed) = unsafe { needed.as_mut() } {
            *needed = gil.threads.len();
        }
        // SAFETY: the totals are live, as above, and as large as their first field states.
        unsafe { write(totals, &snapshot, gil) };
        Ok(())
    })
}

/// Opens a window: an interval that begins now and has counts, times, a longest hold and a longest wait of its own.
/// Writes the number of the window, never 0, to `*window`. Any number of windows can be open at once.
///
/// Ownership: the caller owns `window`.
/// GIL: not needed.
/// Blocking: no.
/// Threads: safe to call from any number of threads at once.
/// Signals: not safe to call from a signal handler.
///
/// Returns:
/// - BUSY_OK: the window is open.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_NO_WINDOWS: there is no address space for another window. 16 windows take 26 MB of it, and 384 bytes of
///   memory for each thread.
/// - BUSY_NULL_POINTER: `window` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_window_open(window: *mut u32) -> busy_status {
    boundary::status(|| {
        if window.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        let mut state = STATE.lock();
        let opened = state.meters.first().ok_or(BUSY_GIL_OFF)?.window().map_err(|_| BUSY_NO_WINDOWS)?;
        let index = state.windows.iter().position(Option::is_none).unwrap_or(state.windows.len());
        if index == state.windows.len() {
            state.windows.push(None);
        }
        state.windows[index] = Some(opened);
        // SAFETY: the pointer is not NULL, so the header requires space for one number.
        unsafe { window.write(index as u32 + 1) };
        Ok(())
    })
}

/// Closes the window with the number `window`. A later window may have the same number.
///
/// GIL: not needed.
/// Blocking: no.
/// Threads: safe to call from any number of threads at once.
/// Signals: not safe to call from a signal handler.
///
/// Returns:
/// - BUSY_OK: the window is closed.
/// - BUSY_BAD_OPTION: no window with this number is open.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_window_close(window: u32) -> busy_status {
    boundary::status(|| {
        let mut state = STATE.lock();
        let place = index(window).and_then(|index| state.windows.get_mut(index)).ok_or(BUSY_BAD_OPTION)?;
        place.take().map(drop).ok_or(BUSY_BAD_OPTION)
    })
}

/// Writes to `text` the reason for the latest BUSY_GIL_REFUSED or BUSY_GIL_NOT_HELD that any thread received, and
/// returns the number of bytes that the whole text needs, including the terminating NUL. If there was no such status,
/// the text is empty and the function returns 1.
///
/// - `text`: receives the text, cut to `capacity` bytes and always terminated by NUL. It may be NULL if `capacity` is
///   0.
/// - `capacity`: the number of bytes that `text` has space for.
///
/// Ownership: the caller owns `text`.
/// GIL: not needed.
/// Blocking: no.
/// Threads: safe to call from any number of threads at once.
/// Signals: not safe to call from a signal handler.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_reason(text: *mut c_char, capacity: usize) -> usize {
    boundary::count(|| {
        let reason = &STATE.lock().reason;
        if !text.is_null() && capacity > 0 {
            let length = reason.len().min(capacity - 1);
            // SAFETY: the header requires space for `capacity` bytes.
            unsafe {
                text.copy_from_nonoverlapping(reason.as_ptr().cast(), length);
                text.add(length).write(0);
            }
        }
        reason.len() as u64 + 1
    }) as usize
}

/// Makes fork(2) wait for the lock, so that a child never inherits it locked by a thread that the child does not have.
#[cfg(unix)]
fn register_fork_handlers() {
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
fn register_fork_handlers() {}

fn refused(refusal: Refusal) -> busy_status {
    STATE.lock().reason = refusal.to_string();
    if refusal == Refusal::NotHeld { BUSY_GIL_NOT_HELD } else { BUSY_GIL_REFUSED }
}

fn snapshot(window: u32) -> Result<Snapshot, busy_status> {
    let state = STATE.lock();
    let meter = state.meters.first().ok_or(BUSY_GIL_OFF)?;
    if window == 0 {
        return Ok(meter.snapshot());
    }
    let open = index(window).and_then(|index| state.windows.get(index)?.as_ref()).ok_or(BUSY_BAD_OPTION)?;
    Ok(open.read())
}

/// Returns the index of the window with that number.
fn index(window: u32) -> Option<usize> {
    (window as usize).checked_sub(1)
}

fn rows(gil: &GilTotals) -> impl Iterator<Item = busy_gil_thread> {
    gil.threads.iter().map(|thread| busy_gil_thread {
        tid: thread.tid,
        state: if thread.holds {
            BUSY_GIL_HOLDS
        } else if thread.waits {
            BUSY_GIL_WAITS
        } else {
            0
        },
        held_ns: thread.held_ns,
        waited_ns: thread.waited_ns,
        acquisitions: thread.acquisitions,
        waits: thread.waits_begun,
        voluntary_releases: thread.voluntary_releases,
        forced_drops: thread.forced_drops,
        longest_hold_ns: thread.longest_hold_ns.unwrap_or(0),
        longest_wait_ns: thread.longest_wait_ns.unwrap_or(0),
    })
}

/// # Safety
/// `totals` points to live totals.
unsafe fn write(totals: *mut busy_gil_totals, snapshot: &Snapshot, gil: &GilTotals) {
    // SAFETY: the caller promises live totals. In a longer struct of a newer header, the last fields keep their values.
    unsafe {
        let (size, which, window) = ((*totals).size, (*totals).gil, (*totals).window);
        totals.write(busy_gil_totals {
            size,
            gil: which,
            window,
            gils: snapshot.gils.len() as u32,
            metered: u32::from(gil.metered),
            interpreter: gil.interpreter,
            at_ns: gil.at_ns,
            metered_ns: gil.metered_ns,
            held_ns: gil.held_ns,
            waited_ns: gil.waited_ns,
            acquisitions: gil.acquisitions,
            voluntary_releases: gil.voluntary_releases,
            forced_drops: gil.forced_drops,
            longest_hold_ns: gil.longest_hold_ns.unwrap_or(0),
            longest_wait_ns: gil.longest_wait_ns.unwrap_or(0),
            session: snapshot.session,
            unlisted_gils: snapshot.unlisted_gils,
        });
    }
}
