use crate::boundary;
use crate::gil_copy::OtherCopy;
use crate::gil_state::{
    STATE, forwarded, metered, refused, refused_by, register_fork_handlers, result, snapshot, started_by,
};
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_GIL_OFF, BUSY_GIL_REFUSED, BUSY_NO_SUCH_THREAD, BUSY_NO_WINDOWS, BUSY_NULL_POINTER,
    busy_status,
};
use busy_gil::{GilTotals, Histograms, Meter, Refusal, Snapshot, ThreadTotals};
use std::cell::RefCell;
use std::ffi::c_char;

/// The totals of one GIL. Initialise the struct with BUSY_GIL_TOTALS_INIT, then set `gil` and `window` to select what
/// busy_gil_snapshot() reports. The snapshot writes all fields except `size`, `gil` and `window`, so the struct may be
/// used for further snapshots without initialising it again.
///
/// Times are in nanoseconds. The totals cover an interval that ends at `at_ns`. A hold or a wait counts only for the
/// part that lies in the interval, so one that is still going on counts up to `at_ns`. An acquire, a release or a drop
/// counts if it happened in the interval.
#[repr(C)]
pub struct busy_gil_totals {
    /// Set by the caller: sizeof(busy_gil_totals). BUSY_GIL_TOTALS_INIT sets it.
    pub size: usize,
    /// Set by the caller: the index of the GIL. Index 0 always exists: it is the GIL under which the session was
    /// started. The other indexes, up to `gils - 1`, are the GILs of interpreters that have their own (CPython 3.12 and
    /// later). The GIL of an interpreter that has ended stays among them as long as a window is open that was opened
    /// before. When the meter meets another GIL or forgets one, the indexes above 0 may change; `interpreter` identifies
    /// a GIL.
    pub gil: u32,
    /// Set by the caller: 0 for the interval since the session began, or the number of an open window, from
    /// busy_gil_window_open(), for the interval since the window was opened.
    pub window: u32,
    /// The number of GILs that `gil` can select, at least 1. To learn it, take a snapshot of index 0.
    pub gils: u32,
    /// 1 if the fields from `metered_ns` to `longest_wait_ns` are valid. 0 if they are not, because the meter has not
    /// seen any acquire, release or drop of this GIL in this session yet: either one thread has held it all
    /// the time, or no thread has held it. For index 0 it is always 1.
    pub metered: u32,
    /// The id of the interpreter that owns this GIL; 0 is the main interpreter.
    pub interpreter: i64,
    /// The time of this snapshot on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The length of the interval. If the meter saw this GIL for the first time only after the session began or the
    /// window was opened, the interval begins at that first time. If the GIL has been destroyed, the interval ends at the
    /// first reading after that.
    pub metered_ns: u64,
    /// The time for which any thread held the GIL, at most `metered_ns`.
    pub held_ns: u64,
    /// The time for which threads waited for the GIL, summed over all threads.
    pub waited_ns: u64,
    /// The number of times that a thread acquired the GIL.
    pub acquisitions: u64,
    /// The number of times that a thread released the GIL voluntarily.
    pub voluntary_releases: u64,
    /// The number of times that a thread dropped the GIL (see Terms above).
    pub forced_drops: u64,
    /// The longest hold.
    pub longest_hold_ns: u64,
    /// The longest wait.
    pub longest_wait_ns: u64,
    /// The number of the session. It grows with each new session. Subtract counts only if they belong to one session.
    pub session: u64,
    /// The number of GILs that have no index and are missing in all snapshots, because the process has had more than 1024
    /// GILs at the same time; normally 0.
    pub unlisted_gils: u64,
    /// The number of threads that have no row, because there was no memory for them; normally 0. Their figures are
    /// missing in all snapshots.
    pub unlisted_threads: u64,
}

/// The totals of one thread with one GIL. Times are in nanoseconds. The interval is that of the busy_gil_totals.
#[repr(C)]
pub struct busy_gil_thread {
    /// The number of the row. It belongs to this thread with this GIL, and is never used again in the process. The system
    /// may use a thread id again, so match the rows of two snapshots by `id`, not by `tid`. Rows of later threads have
    /// higher numbers. 0 is the row of the threads that have ended and have no row of their own any more.
    pub id: u64,
    /// The thread id, as gettid(2) returns it; 0 if `id` is 0.
    pub tid: u32,
    /// The sum of those of BUSY_GIL_HOLDS, BUSY_GIL_WAITS, BUSY_GIL_ENDED and BUSY_GIL_NEW that are true at this moment.
    pub state: u32,
    /// The time for which the thread held the GIL.
    pub held_ns: u64,
    /// The time for which the thread waited for the GIL.
    pub waited_ns: u64,
    /// The number of times that the thread acquired the GIL, with or without a wait.
    pub acquisitions: u64,
    /// The number of times that the thread began to wait for the GIL.
    pub waits: u64,
    /// The number of times that the thread released the GIL voluntarily.
    pub voluntary_releases: u64,
    /// The number of times that the thread dropped the GIL, as in busy_gil_totals.
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
/// A value of busy_gil_thread.state: the thread has ended.
pub const BUSY_GIL_ENDED: u32 = 4;
/// A value of busy_gil_thread.state: the interval is that of a window, and the thread first held this GIL or waited for
/// it in this interval. A thread that existed before may have had the same `tid`.
pub const BUSY_GIL_NEW: u32 = 8;

/// The number of counts in each array of busy_gil_histograms.
pub const BUSY_GIL_BUCKETS: usize = 26;
const _: () = assert!(BUSY_GIL_BUCKETS == busy_gil::BUCKETS);

/// How many holds of one GIL, and how many waits for it, had which length. Initialise the struct with
/// BUSY_GIL_HISTOGRAMS_INIT, then set `gil` and `window` as in busy_gil_totals.
///
/// Index 0 of each array counts what was shorter than 1 us. Index k counts what took at least 2^(k-1) us and less than
/// 2^k us. The last index counts everything from 2^24 us (16.8 s) on. A hold is counted when it ends, a wait when it ends
/// with an acquire, each with its whole length, also if it began before the interval.
#[repr(C)]
pub struct busy_gil_histograms {
    /// Set by the caller: sizeof(busy_gil_histograms). BUSY_GIL_HISTOGRAMS_INIT sets it.
    pub size: usize,
    /// Set by the caller: the index of the GIL, as in busy_gil_totals.
    pub gil: u32,
    /// Set by the caller: 0 for the interval since busy_gil_histograms_keep() was first called in this session, or the
    /// number of an open window, as in busy_gil_totals.
    pub window: u32,
    /// The number of holds of each length.
    pub holds: [u64; BUSY_GIL_BUCKETS],
    /// The number of waits of each length.
    pub waits: [u64; BUSY_GIL_BUCKETS],
}

/// Starts the meter, or joins it if it is running. Each start that returns BUSY_OK needs one busy_gil_stop(), which any
/// thread may call.
///
/// If the meter is not running, the call begins a session: it releases the GIL and acquires it again a few times, to
/// learn and check how this CPython does so. Other Python threads may run meanwhile. If no thread waits for the GIL,
/// the call takes about a millisecond. If another thread is beginning a session, the call releases the GIL until that
/// thread is done, and acquires it again.
///
/// If another copy of libbusy in the same process is metering, that copy serves: until each of this copy's starts has
/// been stopped, its busy_gil_ functions forward to the other copy. If the two have different ABI versions, the call is
/// refused. If another tool has redirected CPython's calls before, its functions are called as before.
///
/// GIL: the calling thread must hold it. In a C extension, call the function outside of Py_BEGIN_ALLOW_THREADS and
/// Py_END_ALLOW_THREADS. From Python, call it through ctypes.PyDLL, which keeps the GIL; ctypes.CDLL releases it.
/// Blocking: yes; the call may wait for the GIL, for as long as other threads hold it. If the interpreter begins to shut
/// down meanwhile, the call does not return: the thread sleeps until the process ends.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time; each needs the GIL.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the meter is running.
/// - BUSY_GIL_NOT_HELD: the calling thread does not hold the GIL; busy_gil_reason() returns details. The meter is
///   unchanged. Up to CPython 3.11, this is also the status in a sub-interpreter that another thread has created.
/// - BUSY_GIL_REFUSED: there is no GIL that can be metered; busy_gil_reason() returns the reason. The meter is
///   unchanged.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_start() -> busy_status {
    boundary::status_uncancelled(|| {
        register_fork_handlers();
        // A statement of its own: the lock must not be held while the other copy waits for the GIL.
        let other = {
            let mut state = STATE.lock();
            let other = state.forward();
            state.starting += usize::from(other.is_none());
            other
        };
        if let Some(other) = other {
            return started_by(other);
        }
        let found = RefCell::new(None);
        let is_copy = |address| {
            *found.borrow_mut() = OtherCopy::at(address, busy_gil_start as *const () as usize);
            found.borrow().is_some()
        };
        // Without the lock: this call may release the GIL, and the next caller may wait for the lock while it holds the
        // GIL.
        let meter = Meter::start_unless(&is_copy);
        let mut state = STATE.lock();
        state.starting -= 1;
        match (meter, found.take()) {
            (Ok(meter), _) => state.meters.push(meter),
            // The GIL has been held since the other copy was found, so this copy has not been started since.
            (Err(Refusal::OtherCopy), Some(Ok(other))) => {
                state.other.get_or_insert((other, 0)).1 += 1;
                drop(state);
                return started_by(other);
            }
            (Err(Refusal::OtherCopy), Some(Err(reason))) => {
                state.reason = reason;
                return Err(BUSY_GIL_REFUSED);
            }
            (Err(refusal), _) => {
                drop(state);
                return Err(refused(&refusal));
            }
        }
        Ok(())
    })
}

/// Undoes one busy_gil_start(). The stop after which no start is left ends the session, closes all windows, and
/// ends the redirection of CPython's calls.
///
/// GIL: not needed. Other threads may hold the GIL or wait for it.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: one start is undone.
/// - BUSY_GIL_OFF: the meter is not running.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_stop() -> busy_status {
    boundary::status_uncancelled(|| {
        let mut state = STATE.lock();
        if let Some(other) = state.begin_forwarded_stop() {
            drop(state);
            let status = (other.stop)();
            STATE.lock().end_forwarded_stop();
            return result(status);
        }
        let meter = state.meters.pop().ok_or(BUSY_GIL_OFF)?;
        if state.meters.is_empty() {
            state.close_windows();
        }
        // Under the lock, so that no fork comes in between: the child would be metered without a start.
        drop(meter);
        Ok(())
    })
}

/// Writes the totals of one GIL to `*totals`, and the totals of each thread with this GIL to a row of `threads`. The
/// fields `totals->gil` and `totals->window` select the GIL and the interval.
///
/// The rows are those of all living threads that have held this GIL or waited for it in this session, also of threads
/// that did neither in the interval, and of threads that ended in the interval. They are sorted by `id`. If the system
/// has reused a thread id, several rows have the same `tid`. An ended thread has a row of its own as long as a window is
/// open that was opened before its end. But at most 1024 ended threads have one, those that ended last; all others are
/// summed up in the row with `id` 0. The sums of `held_ns`, `waited_ns`, `acquisitions`, `voluntary_releases` and
/// `forced_drops` over all rows are those of `*totals`.
///
/// All figures describe one moment, `at_ns`. The call takes some microseconds, and about 0.1 us for each row.
///
/// - `totals`: see busy_gil_totals; must not be NULL.
/// - `threads`: an array that receives the rows. It may be NULL if `capacity` is 0.
/// - `capacity`: the number of rows that `threads` has space for.
/// - `needed`: receives the number of rows that exist. It may be NULL. If more rows exist than `capacity`, the first
///   `capacity` rows are written, and the status is BUSY_OK.
///
/// Ownership: the caller owns `totals`, `threads` and `needed`; the library does not keep the pointers.
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time, each with a `totals` of its own.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the totals and the rows are written.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_GIL_REFUSED: since the session began, another tool in this process has redirected the same calls of CPython,
///   so the figures may be incomplete; or there was no memory for the longest hold and wait of the window.
///   busy_gil_reason() returns details. The next session is not affected, nor is the next window if there is memory.
/// - BUSY_BAD_OPTION: no GIL has the index `totals->gil`, or `totals->window` is neither 0 nor an open window.
/// - BUSY_BAD_SIZE: as for busy_wait_ns(), with `totals` in place of `options`.
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
    boundary::status_uncancelled(|| {
        if totals.is_null() || (threads.is_null() && capacity != 0) {
            return Err(BUSY_NULL_POINTER);
        }
        if let Some(other) = forwarded() {
            // SAFETY: the arguments of this call.
            return refused_by(other, unsafe { (other.snapshot)(totals.cast(), threads.cast(), capacity, needed) });
        }
        // SAFETY: the pointer is not NULL, so the header requires live totals.
        let busy_gil_totals { gil: which, window, .. } = unsafe { known_prefix(totals) }?;
        let snapshot = snapshot(window)?;
        let gil = snapshot.gils.get(which as usize).ok_or(BUSY_BAD_OPTION)?;
        for (index, thread) in gil.threads.iter().take(capacity).enumerate() {
            // SAFETY: the header requires space for `capacity` rows.
            unsafe { threads.add(index).write(row(thread)) };
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

/// Writes the row of the calling thread with the GIL of index 0 to `*thread`, for the interval since the session began.
/// The call takes less than a microsecond. The difference of two calls shows how long a piece of code held the GIL and
/// waited for it.
///
/// - `thread`: receives the row; must not be NULL.
///
/// Ownership: the caller owns `thread`.
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the row is written.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_NO_SUCH_THREAD: the calling thread has no row, because it has neither held this GIL nor waited for it in this
///   session, or because there was no memory for it.
/// - BUSY_GIL_REFUSED: as for busy_gil_snapshot().
/// - BUSY_NULL_POINTER: `thread` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_own_thread(thread: *mut busy_gil_thread) -> busy_status {
    boundary::status(|| {
        if thread.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        if let Some(other) = forwarded() {
            // SAFETY: the argument of this call.
            return refused_by(other, unsafe { (other.own_thread)(thread.cast()) });
        }
        let own = metered(|_, _| busy_gil::own_thread().ok_or(BUSY_NO_SUCH_THREAD))?;
        // SAFETY: the pointer is not NULL, so the header requires space for one row.
        unsafe { thread.write(row(&own)) };
        Ok(())
    })
}

/// Keeps the histograms of busy_gil_histograms_read() from now on, until the session ends. It has no effect if they are
/// kept already. A thread that releases and acquires the GIL takes some 10 ns longer for it while histograms are kept.
///
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: they are kept.
/// - BUSY_GIL_OFF: the meter is not running.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_histograms_keep() -> busy_status {
    boundary::status_uncancelled(|| {
        if let Some(other) = forwarded() {
            return result((other.histograms_keep)());
        }
        STATE.lock().meters.first().ok_or(BUSY_GIL_OFF)?.count_lengths();
        Ok(())
    })
}

/// Writes the histograms of one GIL to `*histograms`. The fields `histograms->gil` and `histograms->window` select the GIL
/// and the interval.
///
/// - `histograms`: see busy_gil_histograms; must not be NULL.
///
/// Ownership: the caller owns `histograms`.
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time, each with a `histograms` of its own.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the histograms are written.
/// - BUSY_GIL_OFF: the meter is not running, or the histograms have not been kept for the whole interval: call
///   busy_gil_histograms_keep() before busy_gil_window_open().
/// - BUSY_GIL_REFUSED: as for busy_gil_snapshot().
/// - BUSY_BAD_OPTION: no GIL has the index `histograms->gil`, or `histograms->window` is neither 0 nor an open window.
/// - BUSY_BAD_SIZE: as for busy_wait_ns(), with `histograms` in place of `options`.
/// - BUSY_NULL_POINTER: `histograms` is NULL.
///
/// After every status except BUSY_OK, nothing has been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_histograms_read(histograms: *mut busy_gil_histograms) -> busy_status {
    boundary::status_uncancelled(|| {
        if histograms.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        if let Some(other) = forwarded() {
            // SAFETY: the argument of this call.
            return refused_by(other, unsafe { (other.histograms_read)(histograms.cast()) });
        }
        // SAFETY: the pointer is not NULL, so the header requires live histograms.
        let busy_gil_histograms { size, gil: which, window, .. } = unsafe { known_prefix(histograms) }?;
        let snapshot = snapshot(window)?;
        let gil = snapshot.gils.get(which as usize).ok_or(BUSY_BAD_OPTION)?;
        let Histograms { holds, waits } = gil.histograms.clone().ok_or(BUSY_GIL_OFF)?;
        // SAFETY: they are live, as above, and as large as their first field states.
        unsafe { histograms.write(busy_gil_histograms { size, gil: which, window, holds, waits }) };
        Ok(())
    })
}

/// Opens a window: an interval that begins now and has counts, times, a longest hold and a longest wait of its own.
/// Writes the number of the window, never 0, to `*number`. Any number of windows can be open at once. In a forked child,
/// the windows that the forking thread has opened begin at the fork; the others are closed.
///
/// Ownership: the caller owns `number`.
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time. Any thread may use the window.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the window is open.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_NO_WINDOWS: there is no address space for another window. Windows are created in blocks of 4. A block takes
///   32 KB of address space, and 192 bytes of memory for each row of a thread. It is kept when windows are closed.
/// - BUSY_NULL_POINTER: `number` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_window_open(number: *mut u32) -> busy_status {
    boundary::status_uncancelled(|| {
        if number.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        if let Some(other) = forwarded() {
            // SAFETY: the argument of this call.
            return result(unsafe { (other.window_open)(number) });
        }
        let mut state = STATE.lock();
        let opened = state.meters.first().ok_or(BUSY_GIL_OFF)?.window().map_err(|_| BUSY_NO_WINDOWS)?;
        let opened = state.add_window(opened);
        // SAFETY: the pointer is not NULL, so the header requires space for one number.
        unsafe { number.write(opened) };
        Ok(())
    })
}

/// Closes the window with the number `number`. Other windows get this number again only after all other numbers.
///
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the window is closed.
/// - BUSY_BAD_OPTION: no window with this number is open. This includes the case that the meter is not running, because
///   the end of a session closes all windows.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_window_close(number: u32) -> busy_status {
    boundary::status_uncancelled(|| {
        if let Some(other) = forwarded() {
            return result((other.window_close)(number));
        }
        STATE.lock().close_window(number).then_some(()).ok_or(BUSY_BAD_OPTION)
    })
}

/// Writes to `text` the reason for the latest BUSY_GIL_REFUSED or BUSY_GIL_NOT_HELD that any thread received, and
/// returns the number of bytes that the whole text needs, including the terminating NUL. If there was no such status,
/// the text is empty and the function returns 1.
///
/// To get the whole text, call the function with a `capacity` of 0, then with the number of bytes that it returned. If
/// another thread receives such a status in between, the text changes, and the second call may return a larger number.
///
/// - `text`: receives at most `capacity` bytes. The last of them is always NUL; a longer text is cut. If `text` is NULL
///   or `capacity` is 0, nothing is written.
/// - `capacity`: the number of bytes that `text` has space for.
///
/// Ownership: the caller owns `text`.
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
/// Errors: if the library catches a defect of its own, the function returns 0.
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

fn row(thread: &ThreadTotals) -> busy_gil_thread {
    let states = [
        (thread.ended, BUSY_GIL_ENDED),
        (thread.holds && !thread.ended, BUSY_GIL_HOLDS),
        (thread.waits && !thread.ended, BUSY_GIL_WAITS),
        (thread.is_new, BUSY_GIL_NEW),
    ];
    busy_gil_thread {
        id: thread.id,
        tid: thread.tid,
        state: states.into_iter().filter(|(is_true, _)| *is_true).map(|(_, state)| state).sum(),
        held_ns: thread.held_ns,
        waited_ns: thread.waited_ns,
        acquisitions: thread.acquisitions,
        waits: thread.waits_begun,
        voluntary_releases: thread.voluntary_releases,
        forced_drops: thread.forced_drops,
        longest_hold_ns: thread.longest_hold_ns,
        longest_wait_ns: thread.longest_wait_ns,
    }
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
            longest_hold_ns: gil.longest_hold_ns,
            longest_wait_ns: gil.longest_wait_ns,
            session: snapshot.session,
            unlisted_gils: snapshot.unlisted_gils,
            unlisted_threads: snapshot.unlisted_threads,
        });
    }
}
