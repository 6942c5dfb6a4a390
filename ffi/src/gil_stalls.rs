use crate::boundary;
use crate::gil_copy::OtherCopy;
use crate::gil_stall_reader::StallReader;
use crate::gil_state::{STATE, forwarded, refused_by, result};
use crate::options::known_prefix;
use crate::status::{BUSY_BAD_OPTION, BUSY_GIL_OFF, BUSY_NULL_POINTER, busy_status};
use busy_gil::{Stall, Stalls};
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;
use std::time::Duration;

/// The number of waiting threads that a busy_gil_stall lists.
pub const BUSY_GIL_WAITERS: usize = 8;

/// Reports stalls; see busy_gil_stalls_open().
pub struct busy_gil_stalls(Reporter);

enum Reporter {
    Own(StallReader),
    /// The object of another copy of the library.
    Of(OtherCopy, *mut c_void),
}

/// A stall: a hold of a GIL that made other threads wait. Initialise the struct with BUSY_GIL_STALL_INIT. Times are in
/// nanoseconds.
#[repr(C)]
pub struct busy_gil_stall {
    /// Set by the caller: sizeof(busy_gil_stall). BUSY_GIL_STALL_INIT sets it.
    pub size: usize,
    /// The id of the interpreter that owns the GIL; 0 is the main interpreter.
    pub interpreter: i64,
    /// The number of the holder's row, as in busy_gil_thread.
    pub id: u64,
    /// The start of the hold, on CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The length of the hold.
    pub held_ns: u64,
    /// The number of long holds before this one that came too fast to be reported.
    pub missed: u64,
    /// The holder's thread id, as gettid(2) returns it.
    pub tid: u32,
    /// The number of threads that waited when the hold ended.
    pub waiting: u32,
    /// 1 if the text is the holder's stack, 0 if it is the reason why there is none.
    pub has_stack: u32,
    /// The number of waiting threads that are listed, at most BUSY_GIL_WAITERS, those that waited for the longest first. A
    /// thread that began to wait within the last moments of the hold may be missing.
    pub listed: u32,
    /// Their thread ids.
    pub waiter_tids: [u32; BUSY_GIL_WAITERS],
    /// The part of the hold for which each of them waited.
    pub waiter_ns: [u64; BUSY_GIL_WAITERS],
}

/// Begins to report stalls: the holds that last for `threshold_ns` or longer and make other threads wait. Writes a new
/// object to `*stalls`, which busy_gil_stalls_close() frees. Any number of objects may exist. As long as one does, a hold of
/// at least its threshold costs some 30 ns more when it ends; shorter ones cost nothing more.
///
/// - `threshold_ns`: at least 1,000,000, a millisecond.
/// - `stalls`: receives the object; must not be NULL.
///
/// A forked child must not use its parent's objects: it opens its own.
///
/// Ownership: the caller owns the object, and frees it by busy_gil_stalls_close().
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the object is written.
/// - BUSY_GIL_OFF: the meter is not running.
/// - BUSY_BAD_OPTION: `threshold_ns` is too small.
/// - BUSY_NULL_POINTER: `stalls` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_stalls_open(threshold_ns: u64, stalls: *mut *mut busy_gil_stalls) -> busy_status {
    boundary::status_uncancelled(|| {
        if stalls.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        let reporter = if let Some(other) = forwarded() {
            let mut object = null_mut();
            // SAFETY: the pointer has space for the other copy's object.
            result(unsafe { (other.stalls_open)(threshold_ns, &mut object) })?;
            Reporter::Of(other, object)
        } else if threshold_ns < 1_000_000 {
            return Err(BUSY_BAD_OPTION);
        } else {
            if STATE.lock().meters.is_empty() {
                return Err(BUSY_GIL_OFF);
            }
            // Without the lock, since this takes one of the meter's.
            let stalls = Stalls::new(Duration::from_nanos(threshold_ns)).ok_or(BUSY_GIL_OFF)?;
            Reporter::Own(StallReader::new(stalls))
        };
        // SAFETY: the pointer is not NULL, so the header requires space for a pointer.
        unsafe { stalls.write(Box::into_raw(Box::new(busy_gil_stalls(reporter)))) };
        Ok(())
    })
}

/// Waits for the next stall to end, and writes it to `*stall`, and the holder's Python stack during the hold to `text`: a
/// line for each frame, the innermost first, in the form `FILE:LINE FUNCTION`. As many frames as fit are written. In CPython
/// 2.7 no stacks are read.
///
/// The first call with an object starts a thread, which ends with the object. It needs no GIL, samples the GIL four times
/// per threshold, the least one of all objects, within 40 to 1000 times per second, and reads a stack while the holder still
/// holds the GIL. Between two calls, it keeps the latest 16 stalls. A caller that waits for the GIL after the call is a
/// waiting thread like any other.
///
/// - `stalls`: an open object; must not be NULL.
/// - `timeout_ns`: the time after which the call returns BUSY_TIMED_OUT; UINT64_MAX for none.
/// - `stall`: must not be NULL.
/// - `text`: receives at most `capacity` bytes, the last of which is NUL. It may be NULL if `capacity` is 0.
///
/// Ownership: the caller owns `stall` and `text`.
/// GIL: must not be held, since the function waits for long.
/// Blocking: yes. Its first call with an object takes up to a second longer, in which it learns to read stacks.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time; one of them gets a stall.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: the stall is written.
/// - BUSY_TIMED_OUT: there was none.
/// - BUSY_CANCELLED: busy_gil_stalls_stop() was called.
/// - BUSY_GIL_OFF: the meter has been stopped.
/// - BUSY_GIL_REFUSED: as for busy_gil_snapshot(); and if the thread can't be created.
/// - BUSY_BAD_SIZE: as for busy_wait_ns(), with `stall` in place of `options`.
/// - BUSY_NULL_POINTER: `stalls` or `stall` is NULL, or `text` is NULL and `capacity` is not 0.
///
/// After every status except BUSY_OK, nothing has been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_stalls_next(
    stalls: *mut busy_gil_stalls,
    timeout_ns: u64,
    stall: *mut busy_gil_stall,
    text: *mut c_char,
    capacity: usize,
) -> busy_status {
    boundary::status_uncancelled(|| {
        if stalls.is_null() || stall.is_null() || (text.is_null() && capacity != 0) {
            return Err(BUSY_NULL_POINTER);
        }
        // SAFETY: the pointer is not NULL, so the header requires an open object.
        let own = match &unsafe { &*stalls }.0 {
            Reporter::Own(own) => own,
            Reporter::Of(other, of) => {
                // SAFETY: the arguments of this call, and an object of that copy.
                let status = unsafe { (other.stalls_next)(*of, timeout_ns, stall.cast(), text, capacity) };
                return refused_by(*other, status);
            }
        };
        // SAFETY: the pointer is not NULL, so the header requires a live stall.
        let size = unsafe { known_prefix(stall) }?.size;
        let found = own.next(Duration::from_nanos(timeout_ns))?;
        // SAFETY: the header requires a live stall, and space for `capacity` bytes.
        unsafe {
            write_text(&found.stack.clone().unwrap_or_else(|reason| vec![reason]), text, capacity);
            stall.write(converted(size, &found));
        }
        Ok(())
    })
}

/// Makes all calls of busy_gil_stalls_next() with this object return at once, now and later: with the stalls that have
/// ended until now, then with BUSY_CANCELLED.
///
/// GIL: not needed.
/// Blocking: only for a moment, for busy_gil_stalls_next() in another thread.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: they return.
/// - BUSY_NULL_POINTER: `stalls` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_stalls_stop(stalls: *mut busy_gil_stalls) -> busy_status {
    boundary::status(|| {
        // SAFETY: the header requires an open object, or NULL.
        match &unsafe { stalls.as_ref() }.ok_or(BUSY_NULL_POINTER)?.0 {
            // SAFETY: an object of that copy.
            Reporter::Of(other, of) => return result(unsafe { (other.stalls_stop)(*of) }),
            Reporter::Own(own) => own.stop(),
        }
        Ok(())
    })
}

/// Ends the reports of an object, and frees it. No thread uses it any more.
///
/// GIL: not needed.
/// Blocking: only for calls in other threads; see Blocking above.
/// Cancellation: pthread_cancel() takes effect after the call.
/// Threads: any number of threads may call it at the same time, each with an object of its own.
/// Signals: a signal handler must not call it.
///
/// Returns:
/// - BUSY_OK: it is freed.
/// - BUSY_NULL_POINTER: `stalls` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_gil_stalls_close(stalls: *mut busy_gil_stalls) -> busy_status {
    boundary::status_uncancelled(|| {
        if stalls.is_null() {
            return Err(BUSY_NULL_POINTER);
        }
        // SAFETY: the header requires an object of busy_gil_stalls_open() that nobody uses any more.
        match unsafe { Box::from_raw(stalls) }.0 {
            // SAFETY: an object of that copy.
            Reporter::Of(other, of) => result(unsafe { (other.stalls_close)(of) }),
            Reporter::Own(_) => Ok(()),
        }
    })
}

/// Writes as many whole lines as fit, and a NUL.
///
/// # Safety
/// `text` has space for `capacity` bytes.
unsafe fn write_text(lines: &[String], text: *mut c_char, capacity: usize) {
    let Some(space) = capacity.checked_sub(1) else { return };
    let mut written = String::new();
    for line in lines {
        let line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        if written.len() + line.len() + 1 > space {
            break;
        }
        written += &line;
        written.push('\n');
    }
    // SAFETY: no more than `capacity` bytes with the NUL.
    unsafe {
        text.copy_from_nonoverlapping(written.as_ptr().cast(), written.len());
        text.add(written.len()).write(0);
    }
}

fn converted(size: usize, stall: &Stall) -> busy_gil_stall {
    let (mut waiter_tids, mut waiter_ns) = ([0; BUSY_GIL_WAITERS], [0; BUSY_GIL_WAITERS]);
    for (place, waiter) in stall.waiters.iter().take(BUSY_GIL_WAITERS).enumerate() {
        (waiter_tids[place], waiter_ns[place]) = (waiter.tid, waiter.waited_ns);
    }
    busy_gil_stall {
        size,
        interpreter: stall.interpreter,
        id: stall.id,
        at_ns: stall.at_ns,
        held_ns: stall.held_ns,
        missed: stall.missed,
        tid: stall.tid,
        waiting: stall.waiting,
        has_stack: u32::from(stall.stack.is_ok()),
        listed: stall.waiters.len().min(BUSY_GIL_WAITERS) as u32,
        waiter_tids,
        waiter_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn as_many_whole_lines_are_written_as_fit() {
        let lines = ["a.py:1 f".to_owned(), "b.py:2 g\nh".to_owned()];
        let written = |capacity: usize| {
            let mut text = [b'#'; 30];
            // SAFETY: the text has space for 30 bytes.
            unsafe { write_text(&lines, text.as_mut_ptr().cast(), capacity) };
            assert!(text[capacity..].iter().all(|byte| *byte == b'#'), "{capacity}");
            if capacity == 0 {
                return None;
            }
            Some(CStr::from_bytes_until_nul(&text).unwrap().to_str().unwrap().to_owned())
        };
        assert_eq!(written(0), None);
        for (capacity, expected) in
            [(1, ""), (9, ""), (10, "a.py:1 f\n"), (20, "a.py:1 f\n"), (21, "a.py:1 f\nb.py:2 g h\n")]
        {
            assert_eq!(written(capacity).unwrap(), expected, "{capacity}");
        }
    }
}
