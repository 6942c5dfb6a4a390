//! The one place where Rust ends and C begins.

use crate::status::{BUSY_OK, BUSY_PANIC, busy_status};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body` for C: its error becomes the status, and a panic becomes [`BUSY_PANIC`] without a word on stderr.
#[inline]
pub(crate) fn status(body: impl FnOnce() -> Result<(), busy_status>) -> busy_status {
    match caught(body) {
        Some(Ok(())) => BUSY_OK,
        Some(Err(status)) => status,
        None => BUSY_PANIC,
    }
}

/// [`status`] for functions whose result is a plain count: a panic counts 0.
#[inline]
pub(crate) fn count(body: impl FnOnce() -> u64) -> u64 {
    caught(body).unwrap_or(0)
}

#[inline]
fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    // AssertUnwindSafe: the bodies write through their out-pointers only as their last step.
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Takes the panic message off stderr when the library is loaded, before any call: doing it at the first call would
/// make that one unsafe in a signal handler. libbusy.so has a standard library of its own, so no other Rust in
/// the process loses its messages. (Not in the unit tests, which are one program with what they test.)
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
