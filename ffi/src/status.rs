use std::ffi::{CStr, c_char};

/// The status that a function returns: BUSY_OK, BUSY_CANCELLED, or the reason why the call failed. A status keeps its
/// number for as long as BUSY_ABI_MAJOR stays the same. Later versions of the ABI may add statuses, so treat an unknown
/// one as a failure.
pub type busy_status = i32;

/// The call succeeded.
pub const BUSY_OK: busy_status = 0;
/// busy_cancel_set() ended the call early, and the result is written; or busy_gil_stalls_stop() ended it, and nothing is
/// written.
pub const BUSY_CANCELLED: busy_status = 1;
/// A pointer that must not be NULL was NULL.
pub const BUSY_NULL_POINTER: busy_status = 2;
/// A time is greater than BUSY_WAIT_MAX_NS.
pub const BUSY_OUT_OF_RANGE: busy_status = 3;
/// The field `size` of a struct has a value that this library does not accept, or a field that this library does not
/// know is not 0. Initialise the struct with its _INIT macro, which sets the size.
pub const BUSY_BAD_SIZE: busy_status = 4;
/// The calling process has no thread with the given id.
pub const BUSY_NO_SUCH_THREAD: busy_status = 5;
/// This machine or its operating system does not support the operation.
pub const BUSY_UNSUPPORTED: busy_status = 6;
/// The library caught a defect of its own, and the call had no effect. Please report it.
pub const BUSY_PANIC: busy_status = 7;
/// A field of a struct, or an argument, has a value that the function does not accept and for which there is no status
/// of its own.
pub const BUSY_BAD_OPTION: busy_status = 8;
/// The system could not create a thread.
pub const BUSY_NO_THREADS: busy_status = 9;
/// The meter of Python's global interpreter lock (GIL; see busy_gil.h) is not running.
pub const BUSY_GIL_OFF: busy_status = 10;
/// This process has no GIL that can be metered; busy_gil_reason() returns the reason.
pub const BUSY_GIL_REFUSED: busy_status = 11;
/// The calling thread does not hold the GIL; busy_gil_reason() returns details.
pub const BUSY_GIL_NOT_HELD: busy_status = 12;
/// There is no address space for another window; see busy_gil_window_open() in busy_gil.h.
pub const BUSY_NO_WINDOWS: busy_status = 13;
/// The time limit of the call has passed.
pub const BUSY_TIMED_OUT: busy_status = 14;

/// Returns the meaning of `status` as a short English text without a full stop.
///
/// Ownership: the text is static; do not free it.
/// NULL: never returned. An unknown status has a text too.
/// Blocking: no.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn busy_strerror(status: busy_status) -> *const c_char {
    text(status).as_ptr()
}

fn text(status: busy_status) -> &'static CStr {
    match status {
        BUSY_OK => c"success",
        BUSY_CANCELLED => c"the call was cancelled",
        BUSY_NULL_POINTER => c"a required pointer is NULL: pass the address of a variable",
        BUSY_OUT_OF_RANGE => c"a time is too long: the longest is BUSY_WAIT_MAX_NS, 292 years",
        BUSY_BAD_SIZE => c"a struct has a size that this libbusy does not accept: initialise it with its _INIT macro",
        BUSY_NO_SUCH_THREAD => c"this process has no thread with this id: pass the gettid() of a live thread, or 0",
        BUSY_UNSUPPORTED => c"this machine or its operating system does not support the operation",
        BUSY_BAD_OPTION => c"a field or an argument has a value that its comment in the header does not allow",
        BUSY_NO_THREADS => c"the system could not create a thread: request fewer threads",
        BUSY_GIL_OFF => c"the GIL meter is not running: call busy_gil_start() first",
        BUSY_GIL_REFUSED => c"this process has no GIL that can be metered: busy_gil_reason() returns the reason",
        BUSY_GIL_NOT_HELD => c"the calling thread does not hold the GIL: from Python, call by ctypes.PyDLL, not CDLL",
        BUSY_NO_WINDOWS => c"there is no address space for another window of the GIL meter: close one first",
        BUSY_TIMED_OUT => c"the time limit of the call has passed",
        BUSY_PANIC => c"libbusy caught a defect of its own: please report it",
        _ => c"unknown status: it may come from a newer libbusy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const LAST: busy_status = BUSY_TIMED_OUT;

    #[test]
    fn every_status_has_a_text_of_its_own() {
        let known: HashSet<_> = (BUSY_OK..=LAST).map(text).collect();
        assert_eq!(known.len(), (LAST - BUSY_OK + 1) as usize);
        for unknown in [-1, LAST + 1, i32::MAX, i32::MIN] {
            assert!(!known.contains(text(unknown)));
        }
    }
}
