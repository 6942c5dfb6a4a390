use std::ffi::{CStr, c_char};

/// What a function of this library answers: BUSY_OK, or the reason why not. Numbers keep their meaning for as long
/// as BUSY_ABI_MAJOR does; later versions may add codes, so treat an unknown one as a failure.
pub type busy_status = i32;

/// Done as asked.
pub const BUSY_OK: busy_status = 0;
/// The wait was ended by busy_cancel_set(). The result is filled all the same.
pub const BUSY_CANCELLED: busy_status = 1;
/// A pointer that must not be NULL was NULL.
pub const BUSY_NULL_POINTER: busy_status = 2;
/// A number is larger than the function's comment allows.
pub const BUSY_OUT_OF_RANGE: busy_status = 3;
/// The `size` of an options struct is none that this library knows: set it by the struct's _INIT macro.
pub const BUSY_BAD_SIZE: busy_status = 4;
/// The calling process has no thread of that id.
pub const BUSY_NO_SUCH_THREAD: busy_status = 5;
/// This operating system does not offer it.
pub const BUSY_UNSUPPORTED: busy_status = 6;
/// A defect inside libbusy was caught at its boundary; nothing was done. Please report it.
pub const BUSY_PANIC: busy_status = 7;
/// A field of an options struct has a value that it can't have.
pub const BUSY_BAD_OPTION: busy_status = 8;
/// The system gives no more threads.
pub const BUSY_NO_THREADS: busy_status = 9;
/// The GIL meter is not running.
pub const BUSY_GIL_OFF: busy_status = 10;
/// There is no GIL here that can be metered; busy_gil_reason() says why.
pub const BUSY_GIL_REFUSED: busy_status = 11;
/// The calling thread does not hold the GIL.
pub const BUSY_GIL_NOT_HELD: busy_status = 12;
/// All windows of the GIL meter are open.
pub const BUSY_NO_WINDOWS: busy_status = 13;

/// The meaning of a status, in a short English sentence without a full stop.
///
/// Ownership: static text, never freed. NULL: never returned, an unknown status gets a text too. Blocking: no.
/// Threads, signals: safe from any thread and from a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn busy_strerror(status: busy_status) -> *const c_char {
    text(status).as_ptr()
}

fn text(status: busy_status) -> &'static CStr {
    match status {
        BUSY_OK => c"done as asked",
        BUSY_CANCELLED => c"the wait was cancelled",
        BUSY_NULL_POINTER => c"a pointer is NULL that must not be: pass the address of a variable",
        BUSY_OUT_OF_RANGE => c"a number is too large: busy.h states the limit of each argument",
        BUSY_BAD_SIZE => c"an options struct has a size that this libbusy does not know: set it by its _INIT macro",
        BUSY_NO_SUCH_THREAD => c"this process has no thread of that id: pass gettid() of a live one, or 0",
        BUSY_UNSUPPORTED => c"this operating system does not offer it",
        BUSY_BAD_OPTION => c"a field of an options struct has a value that busy.h does not name",
        BUSY_NO_THREADS => c"the system gives no more threads: ask for fewer",
        BUSY_GIL_OFF => c"the GIL meter is not running: call busy_gil_start() first",
        BUSY_GIL_REFUSED => c"the GIL can't be metered here: busy_gil_reason() says why",
        BUSY_GIL_NOT_HELD => c"the caller does not hold the GIL: from Python, call by ctypes.PyDLL, not by CDLL",
        BUSY_NO_WINDOWS => c"all windows of the GIL meter are open: close one first",
        BUSY_PANIC => c"libbusy caught a defect of its own: please report it",
        _ => c"unknown status: it may come from a newer libbusy than this text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const LAST: busy_status = BUSY_NO_WINDOWS;

    #[test]
    fn every_status_has_a_text_of_its_own() {
        let known: HashSet<_> = (BUSY_OK..=LAST).map(text).collect();
        assert_eq!(known.len(), (LAST - BUSY_OK + 1) as usize);
        for unknown in [-1, LAST + 1, i32::MAX, i32::MIN] {
            assert!(!known.contains(text(unknown)));
        }
    }
}
