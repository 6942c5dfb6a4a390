//! The functions that CPython 3 calls instead of pthread_cond_signal, _timedwait, _wait and _init, in the object that
//! holds PyEval_SaveThread. They run under the GIL's mutexes: they make no system call, allocate nothing and take no
//! lock, except at a thread's first event.

use super::super::clock;
use super::super::counting::gils::{GILS, Meaning};
use super::super::counting::pool;
use super::super::counting::slots::OPEN;
use super::stack;
use libc::c_void;
use std::arch::naked_asm;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The addresses of glibc's own functions. They must not be called by name, since this library may be linked into the
/// object whose calls are redirected.
pub(super) static REAL_SIGNAL: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_TIMEDWAIT: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_WAIT: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_INIT: AtomicUsize = AtomicUsize::new(0);

// "C-unwind": a wait is a cancellation point (pthreads(7)), from which glibc unwinds through the frames of these
// functions.
pub(super) type Signal = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type TimedWait = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, *const c_void) -> c_int;
type Wait = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int;
type Init = unsafe extern "C-unwind" fn(*mut c_void, *const c_void) -> c_int;

/// Replaces pthread_cond_signal. Passes the stack pointer to [`record_signal`] as the second argument.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn signal() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {record}", record = sym record_signal);
}

unsafe extern "C-unwind" fn record_signal(cond: *mut c_void, stack: *const usize) -> c_int {
    match GILS.by_cond(cond as usize) {
        Some((gil, Meaning::Acquire)) => {
            let now = clock::ticks();
            gil.acquired(pool::own(gil), &OPEN, now);
        }
        Some((gil, Meaning::Release)) => {
            let now = clock::ticks();
            // SAFETY: the stack pointer at `signal`'s entry.
            let is_forced = gil.is_drop_requested() && !unsafe { stack::is_save_thread(stack) };
            gil.released(&OPEN, pool::session(), now, is_forced);
        }
        None => {}
    }
    // SAFETY: the address was resolved before any call was redirected; the argument comes from the caller.
    unsafe { std::mem::transmute::<usize, Signal>(REAL_SIGNAL.load(Relaxed))(cond) }
}

/// Replaces pthread_cond_timedwait. A call with a GIL's `cond` is a wait for that GIL, or a part of one (`take_gil`).
pub(super) unsafe extern "C-unwind" fn timedwait(
    cond: *mut c_void,
    mutex: *mut c_void,
    deadline: *const c_void,
) -> c_int {
    // SAFETY: as above.
    let wait =
        || unsafe { std::mem::transmute::<usize, TimedWait>(REAL_TIMEDWAIT.load(Relaxed))(cond, mutex, deadline) };
    let Some((gil, Meaning::Release)) = GILS.by_cond(cond as usize) else { return wait() };
    pool::own(gil).begins_wait(clock::ticks());
    let switches = gil.switches();
    let result = wait();
    if result == libc::ETIMEDOUT {
        gil.timed_out(switches);
    }
    result
}

/// Replaces pthread_cond_wait. In a call with a GIL's `switch_cond`, a thread that dropped the GIL on request waits
/// until another thread has acquired it (`drop_gil`, FORCE_SWITCHING).
pub(super) unsafe extern "C-unwind" fn wait(cond: *mut c_void, mutex: *mut c_void) -> c_int {
    // SAFETY: as above.
    let wait = || unsafe { std::mem::transmute::<usize, Wait>(REAL_WAIT.load(Relaxed))(cond, mutex) };
    let Some((gil, Meaning::Acquire)) = GILS.by_cond(cond as usize) else { return wait() };
    let account = pool::own(gil);
    account.begins_wait(clock::ticks());
    let result = wait();
    account.ends_handover(&OPEN, clock::ticks());
    result
}

/// Replaces pthread_cond_init. A call with a known GIL's `cond` creates that GIL again.
pub(super) unsafe extern "C-unwind" fn init(cond: *mut c_void, attributes: *const c_void) -> c_int {
    if let Some((gil, Meaning::Release)) = GILS.by_cond(cond as usize) {
        gil.created_anew(&OPEN, pool::session(), clock::ticks());
    }
    // SAFETY: as above.
    unsafe { std::mem::transmute::<usize, Init>(REAL_INIT.load(Relaxed))(cond, attributes) }
}
