use crate::boundary;
use crate::options::known_prefix;
use crate::status::{
    BUSY_BAD_OPTION, BUSY_GIL_NOT_HELD, BUSY_GIL_OFF, BUSY_GIL_REFUSED, BUSY_NO_WINDOWS, BUSY_NULL_POINTER, busy_status,
};
use busy_gil::{ForkLock, GilTotals, Meter, Refusal, Snapshot, Window};
use std::ffi::c_char;
#[cfg(unix)]
use std::sync::Once;

/// One GIL of the process. Set it to BUSY_GIL_TOTALS_INIT, then `gil` and `window` to what you want to be told. Times in nanoseconds;
/// a hold or wait that goes on counts up to `at_ns`.
#[repr(C)]
pub struct busy_gil_totals {
    /// sizeof(busy_gil_totals); you set it.
    pub size: usize,
    /// Which GIL: 0 is the one that busy_gil_start() was called under, 1 to `gils` - 1 those of interpreters that have
    /// their own (CPython 3.12 and later), in the order in which they were met; you set it.
    pub gil: u32,
    /// Since when: 0 is since the metering began, else what busy_gil_window_open() gave; you set it.
    pub window: u32,
    /// How many GILs there are.
    pub gils: u32,
    /// 1 if the counts below mean anything; 0 as long as this GIL was held, or idle, ever since the metering began, so
    /// that nothing can be told.
    pub metered: u32,
    /// The id of the interpreter whose GIL it is; 0 is the main one.
    pub interpreter: i64,
    /// The time of this snapshot on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// For how long it has been metered, or the window has been open.
    pub metered_ns: u64,
    /// How long some thread held it.
    pub held_ns: u64,
    /// How long threads waited for it, all together.
    pub waited_ns: u64,
    /// How often it was acquired.
    pub acquisitions: u64,
    /// How often a thread gave it up by itself.
    pub voluntary_releases: u64,
    /// How often a thread gave it up because another one asked for it, or, in CPython 2.7, because its ticks were used up.
    pub forced_drops: u64,
    /// The longest hold.
    pub longest_hold_ns: u64,
    /// The longest wait.
    pub longest_wait_ns: u64,
    /// Grows when the metering begins, and in a forked child: counts of two sessions don't compare.
    pub session: u64,
    /// GILs that are not metered, since the process has had over 1024.
    pub unlisted_gils: u64,
}

/// One thread, as far as it had to do with one GIL. Times in nanoseconds; a hold or wait that goes on counts up to
/// the snapshot.
#[repr(C)]
pub struct busy_gil_thread {
    /// gettid(2). 0 stands for all threads beyond the 65536th together; their waits are not counted.
    pub tid: u32,
    /// BUSY_GIL_HOLDS, BUSY_GIL_WAITS, or 0.
    pub state: u32,
    /// How long it held the GIL.
    pub held_ns: u64,
    /// How long it waited for it.
    pub waited_ns: u64,
    /// How often it acquired it.
    pub acquisitions: u64,
    /// How often it had to wait.
    pub waits: u64,
    /// As in busy_gil_totals.
    pub voluntary_releases: u64,
    /// As in busy_gil_totals.
    pub forced_drops: u64,
    /// Its longest hold.
    pub longest_hold_ns: u64,
    /// Its longest wait.
    pub longest_wait_ns: u64,
}

/// The thread holds the GIL.
pub const BUSY_GIL_HOLDS: u32 = 1;
/// The thread waits for the GIL.
pub const BUSY_GIL_WAITS: u32 = 2;

struct State {
    /// One meter for each start that has not been stopped.
    meters: Vec<Meter>,
    windows: Vec<(u32, Window)>,
    reason: String,
}

static STATE: ForkLock<State> = ForkLock::new(State { meters: Vec::new(), windows: Vec::new(), reason: String::new() });

/// Starts metering, or joins in: each start wants one stop. Call it with the GIL held, as ctypes.PyDLL does and
/// ctypes.CDLL does not: the first start gives the GIL up and takes it again a few times, to learn and check how this
/// Python does that, within about a millisecond if nobody else wants it.
///
/// Blocking: as long as others keep the GIL meanwhile. Threads: safe from any that holds the GIL. Signals: not in a handler.
///
/// BUSY_OK. BUSY_GIL_NOT_HELD: the caller came without the GIL. BUSY_GIL_REFUSED: there is no GIL that can be metered;
/// busy_gil_reason() says why. After both everything is as it was.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_start() -> busy_status {
    boundary::status(|| {
        keep_whole_in_children();
        // Not under the lock: it may give the GIL up, and the next caller waits for the lock with it.
        let meter = Meter::start().map_err(refused)?;
        STATE.lock().meters.push(meter);
        Ok(())
    })
}

/// Takes one start back. The last one ends the metering and closes all windows: what Python calls is what it called before.
///
/// GIL: not needed. Blocking: no. Threads: safe from any, while others hold the GIL or wait for it. Signals: not in a handler.
///
/// BUSY_OK; BUSY_GIL_OFF: it was not started.
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

/// Writes what was counted so far to `totals`, of the GIL and since the moment that it names, and one row a thread to
/// `threads`, at most `capacity`. `needed` gets the number of rows that there are: if that is more, only the first ones
/// were written. In a forked child, everything counts from the fork.
///
/// NULL: `threads` may be NULL if `capacity` is 0; `needed` may be NULL. Ownership: all stay yours. GIL: not needed, and never
/// taken. Blocking: while another of these calls runs, microseconds. Threads: safe from any number at once. Signals: not in a handler.
///
/// BUSY_OK. BUSY_GIL_OFF: it was not started. BUSY_BAD_OPTION: there is no such GIL or window. BUSY_BAD_SIZE: `totals->size` is not
/// set. BUSY_NULL_POINTER. After these nothing was written.
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
        // SAFETY: not NULL, so by the header's word live totals.
        let busy_gil_totals { gil: which, window, .. } = unsafe { known_prefix(totals) }?;
        let snapshot = snapshot(window)?;
        let gil = snapshot.gils.get(which as usize).ok_or(BUSY_BAD_OPTION)?;
        for (index, row) in rows(gil).take(capacity).enumerate() {
            // SAFETY: by the header's word there is place for `capacity` rows.
            unsafe { threads.add(index).write(row) };
        }
        // SAFETY: NULL, or by the header's word a place for one number.
        if let Some(needed) = unsafe { needed.as_mut() } {
            *needed = gil.threads.len();
        }
        // SAFETY: as above; it is as large as it says.
        unsafe { write(totals, &snapshot, gil) };
        Ok(())
    })
}

/// Begins a stretch that has counts, times and a longest hold and wait of its own, and writes its number to `window`, never
/// 0. At most 16 may be open.
///
/// GIL: not needed. Blocking: no. Threads: safe from any number at once. Signals: not in a handler.
///
/// BUSY_OK; BUSY_GIL_OFF: it was not started; BUSY_NO_WINDOWS: all are open; BUSY_NULL_POINTER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_window_open(window: *mut u32) -> busy_status {
    boundary::status(|| {
        if window.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        let mut state = STATE.lock();
        let opened = state.meters.first().ok_or(BUSY_GIL_OFF)?.window().map_err(|_| BUSY_NO_WINDOWS)?;
        let is_free = |number: &u32| state.windows.iter().all(|(taken, _)| taken != number);
        let number = (1..).find(is_free).expect("few are open");
        state.windows.push((number, opened));
        // SAFETY: not NULL, so by the header's word a place for one number.
        unsafe { window.write(number) };
        Ok(())
    })
}

/// Ends a stretch. Its number may come again.
///
/// GIL: not needed. Blocking: no. Threads: safe from any number at once. Signals: not in a handler.
///
/// BUSY_OK; BUSY_BAD_OPTION: no such window is open.
#[unsafe(no_mangle)]
pub extern "C" fn busy_gil_window_close(window: u32) -> busy_status {
    boundary::status(|| {
        let windows = &mut STATE.lock().windows;
        let place = windows.iter().position(|(number, _)| *number == window).ok_or(BUSY_BAD_OPTION)?;
        windows.swap_remove(place);
        Ok(())
    })
}

/// Writes the words for the latest BUSY_GIL_REFUSED or BUSY_GIL_NOT_HELD of any thread to `text`, ended by NUL and cut to
/// `capacity` bytes; returns the number of bytes that the whole needs, the NUL included: 1 if there was none.
///
/// NULL: `text` may be NULL if `capacity` is 0. Ownership: `text` stays yours. Blocking: no. Threads: safe from any number at
/// once. Signals: not in a handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_reason(text: *mut c_char, capacity: usize) -> usize {
    boundary::count(|| {
        let reason = &STATE.lock().reason;
        if !text.is_null() && capacity > 0 {
            let length = reason.len().min(capacity - 1);
            // SAFETY: by the header's word there is place for `capacity` bytes.
            unsafe {
                text.copy_from_nonoverlapping(reason.as_ptr().cast(), length);
                text.add(length).write(0);
            }
        }
        reason.len() as u64 + 1
    }) as usize
}

/// A child must not inherit the lock from a thread that it does not have.
#[cfg(unix)]
fn keep_whole_in_children() {
    static ONCE: Once = Once::new();
    extern "C" fn before() {
        STATE.before_fork();
    }
    extern "C" fn after() {
        // SAFETY: `before` has run in this thread, which has the lock.
        drop(unsafe { STATE.after_fork() });
    }
    // SAFETY: pthread_atfork(3) with functions that stay: the library is never unmapped. Should it fail, which only want of
    // memory makes it do, a fork must come in the middle of another thread's call to do harm.
    ONCE.call_once(|| unsafe { _ = libc::pthread_atfork(Some(before), Some(after), Some(after)) });
}

#[cfg(not(unix))]
fn keep_whole_in_children() {}

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
    let (_, open) = state.windows.iter().find(|(number, _)| *number == window).ok_or(BUSY_BAD_OPTION)?;
    Ok(open.read())
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
    // SAFETY: as the caller promises; a longer struct of a newer header keeps its last fields.
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
