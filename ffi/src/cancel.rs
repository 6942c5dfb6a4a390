use crate::status::{BUSY_NULL_POINTER, BUSY_OK, busy_status};
use std::sync::atomic::{AtomicU32, Ordering};

/// A flag that ends waits and loads early. The caller owns it: declare it anywhere, initialise it with
/// BUSY_CANCEL_INIT, and keep it alive until every call that uses it has returned. One flag may serve any number of
/// calls. In shared memory, it also serves calls in other processes. Access it only through busy_cancel_set() and
/// busy_cancel_reset().
///
/// The flag is an atomic variable with relaxed order: it publishes no other memory. If a thread writes data before it
/// sets the flag, and the thread of the cancelled call reads them, the program must synchronise the two itself.
#[repr(C)]
pub struct busy_cancel {
    flag: u32,
}

/// The flag as a wait reads it.
pub(crate) struct Flag<'a>(&'a AtomicU32);

impl Flag<'_> {
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

impl busy_cancel {
    /// Returns the flag at `cancel`. For NULL it returns a flag that is never set.
    ///
    /// # Safety
    /// `cancel` is NULL, or points to a live, aligned `busy_cancel` for `'a`.
    pub(crate) unsafe fn flag<'a>(cancel: *const busy_cancel) -> Flag<'a> {
        static NEVER: AtomicU32 = AtomicU32::new(0);
        if cancel.is_null() {
            return Flag(&NEVER);
        }
        // SAFETY: the caller promises a live busy_cancel; its only field is only ever accessed as an atomic.
        Flag(unsafe { AtomicU32::from_ptr((&raw const (*cancel).flag).cast_mut()) })
    }
}

/// Sets the flag `cancel`. Every wait and every load that uses the flag then ends and returns BUSY_CANCELLED: those
/// that are running, and those that start before the flag is cleared by busy_cancel_reset(). A call whose time has
/// already passed returns BUSY_OK instead, and so does a call with a time of 0. A running wait ends within a few
/// microseconds if it has a CPU; each thread of a running load checks the flag at least every 10 ms. Setting the flag
/// twice is harmless.
///
/// Ownership: the caller owns `cancel`; see busy_cancel.
/// Blocking: no.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it.
///
/// Returns:
/// - BUSY_OK: the flag is set.
/// - BUSY_NULL_POINTER: `cancel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_cancel_set(cancel: *mut busy_cancel) -> busy_status {
    // SAFETY: the header requires a live busy_cancel or NULL.
    unsafe { store(cancel, 1) }
}

/// Clears the flag `cancel`, so that it can serve new calls. Clear it only after every call that uses the flag has
/// returned. If a call has not noticed the flag before it is cleared, that call continues.
///
/// Ownership: the caller owns `cancel`; see busy_cancel.
/// Blocking: no.
/// Threads: any number of threads may call it at the same time.
/// Signals: a signal handler may call it.
///
/// Returns:
/// - BUSY_OK: the flag is clear.
/// - BUSY_NULL_POINTER: `cancel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_cancel_reset(cancel: *mut busy_cancel) -> busy_status {
    // SAFETY: the header requires a live busy_cancel or NULL.
    unsafe { store(cancel, 0) }
}

unsafe fn store(cancel: *mut busy_cancel, value: u32) -> busy_status {
    if cancel.is_null() {
        return BUSY_NULL_POINTER;
    }
    // SAFETY: the pointer is not NULL, so the header requires a live busy_cancel.
    unsafe { busy_cancel::flag(cancel) }.0.store(value, Ordering::Relaxed);
    BUSY_OK
}
