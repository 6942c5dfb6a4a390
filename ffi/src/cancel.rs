use crate::status::{BUSY_NULL_POINTER, BUSY_OK, busy_status};
use std::sync::atomic::{AtomicU32, Ordering};

/// A flag that ends waits before their time. It is yours: declare it anywhere (also in shared memory), initialise it
/// by BUSY_CANCEL_INIT, and keep it alive until every wait that was given it has returned. One flag may serve many
/// waits. Touch it only through the functions below.
#[repr(C)]
pub struct busy_cancel {
    flag: u32,
}

/// The flag as a wait looks at it.
pub(crate) struct Flag<'a>(&'a AtomicU32);

impl Flag<'_> {
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

impl busy_cancel {
    /// The flag at `cancel`; NULL gives one that is never set.
    ///
    /// # Safety
    /// `cancel` is NULL, or points to a live, aligned `busy_cancel` for `'a`.
    pub(crate) unsafe fn flag<'a>(cancel: *const busy_cancel) -> Flag<'a> {
        static NEVER: AtomicU32 = AtomicU32::new(0);
        if cancel.is_null() {
            return Flag(&NEVER);
        }
        // SAFETY: as the caller promises; the one field is only ever accessed as an atomic.
        Flag(unsafe { AtomicU32::from_ptr((&raw const (*cancel).flag).cast_mut()) })
    }
}

/// Ends every wait that was given `cancel`, running or to come, with BUSY_CANCELLED: a running one within a
/// few microseconds, if it has a CPU.
///
/// NULL: BUSY_NULL_POINTER. Blocking: no. Threads, signals: safe from any thread and from a signal handler; setting
/// it twice does no harm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_cancel_set(cancel: *mut busy_cancel) -> busy_status {
    // SAFETY: the header asks for a live busy_cancel or NULL.
    unsafe { store(cancel, 1) }
}

/// Makes `cancel` ready for new waits. Call it only after the waits that it cancelled have returned, or they may go on.
///
/// NULL: BUSY_NULL_POINTER. Blocking: no. Threads, signals: safe from any thread and from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_cancel_reset(cancel: *mut busy_cancel) -> busy_status {
    // SAFETY: the header asks for a live busy_cancel or NULL.
    unsafe { store(cancel, 0) }
}

unsafe fn store(cancel: *mut busy_cancel, value: u32) -> busy_status {
    if cancel.is_null() {
        return BUSY_NULL_POINTER;
    }
    // SAFETY: not NULL, so by the header's word a live busy_cancel.
    unsafe { busy_cancel::flag(cancel) }.0.store(value, Ordering::Relaxed);
    BUSY_OK
}
