//! The boundary between Rust and C. A panic becomes a status here, and its message is not printed.

use crate::status::{BUSY_OK, BUSY_PANIC, busy_status};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body` and returns its status to C. A panic becomes [`BUSY_PANIC`] and prints nothing.
#[inline]
pub(crate) fn status(body: impl FnOnce() -> Result<(), busy_status>) -> busy_status {
    match caught(body) {
        Some(Ok(())) => BUSY_OK,
        Some(Err(status)) => status,
        None => BUSY_PANIC,
    }
}

/// Does what [`status`] does, for a body with a cancellation point (pthreads(7)), in which it blocks or uses a file. It is
/// not cancelled there: glibc would unwind the thread through frames of Rust, which abort the process.
pub(crate) fn status_uncancelled(body: impl FnOnce() -> Result<(), busy_status>) -> busy_status {
    let before = cancellation::set(cancellation::DISABLE);
    let status = status(body);
    cancellation::set(before);
    status
}

#[cfg(unix)]
mod cancellation {
    use std::ffi::c_int;

    /// PTHREAD_CANCEL_DISABLE of pthread.h.
    pub(super) const DISABLE: c_int = if cfg!(target_vendor = "apple") { 0 } else { 1 };

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }

    /// Sets whether the calling thread can be cancelled, and returns what was set before.
    pub(super) fn set(state: c_int) -> c_int {
        let mut before = state;
        // SAFETY: the pointer is valid. The function only fails for an unknown state.
        unsafe { pthread_setcancelstate(state, &mut before) };
        before
    }
}

#[cfg(not(unix))]
mod cancellation {
    pub(super) const DISABLE: () = ();

    pub(super) fn set(_: ()) {}
}

/// Runs `body` and returns its count to C. A panic becomes the count 0.
#[inline]
pub(crate) fn count(body: impl FnOnce() -> u64) -> u64 {
    caught(body).unwrap_or(0)
}

#[inline]
fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    // AssertUnwindSafe: each body writes through its out-pointers only as its last step.
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Silences panic messages when the library is loaded. Doing this at the first call instead would make that call unsafe
/// in a signal handler. libbusy.so has its own copy of the standard library, so other Rust code in the process keeps
/// its messages. The unit tests leave this out, because they are in one program with the code that they test.
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[cfg(not(test))]
#[used]
static SILENCE: extern "C" fn() = {
    extern "C" fn silence() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    silence
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::BUSY_OUT_OF_RANGE;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(status(|| panic!("must not be seen")), BUSY_PANIC);
        assert_eq!(count(|| panic!("must not be seen")), 0);
    }

    #[test]
    fn results_pass_unchanged() {
        assert_eq!(status(|| Ok(())), BUSY_OK);
        assert_eq!(status(|| Err(BUSY_OUT_OF_RANGE)), BUSY_OUT_OF_RANGE);
        assert_eq!(count(|| 7), 7);
    }
}
