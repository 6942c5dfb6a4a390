//! The acquires of a Python that is being initialised, seen from the hook of pthread_cond_signal before any GIL was
//! calibrated.

use super::super::counting::gils::{LAST_HOLDER, SWITCH_COND};
use super::super::memory;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// The function that is called at each acquire until it returns true; 0 if none is awaited.
static THEN: AtomicUsize = AtomicUsize::new(0);

/// Makes `then` the function that is called, under the GIL's mutex and by the thread that acquires the GIL.
pub(crate) fn call(then: fn() -> bool) {
    THEN.store(then as usize, Relaxed);
}

/// Called when `cond` is signalled while no metering takes place.
#[inline]
pub(super) fn signalled(cond: usize) {
    if THEN.load(Relaxed) != 0 {
        look(cond);
    }
}

#[cold]
fn look(cond: usize) {
    // A GIL's `switch_cond` is signalled while `last_holder` is a thread state and `locked` is 1 (`take_gil`).
    let around = memory::words::<2>(cond.wrapping_sub(SWITCH_COND + LAST_HOLDER));
    if !around.is_some_and(|[holder, locked]| holder != 0 && locked as u32 == 1) {
        return;
    }
    let then = THEN.swap(0, Relaxed);
    // SAFETY: a function of this type, which `call` has stored.
    if then != 0 && !unsafe { std::mem::transmute::<usize, fn() -> bool>(then)() } {
        THEN.store(then, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    static CALLS: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn an_acquire_calls_the_function_until_it_succeeds() {
        let mut words = [0usize; 16];
        let cond = (&raw const words[14]) as usize;
        call(|| CALLS.fetch_add(1, Relaxed) == 1);
        signalled(cond);
        assert_eq!(CALLS.load(Relaxed), 0, "not held");
        (words[0], words[1]) = (7, 1);
        std::hint::black_box(&mut words);
        (0..4).for_each(|_| signalled(cond));
        assert_eq!(CALLS.load(Relaxed), 2);
    }
}
