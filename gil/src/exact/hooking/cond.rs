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

/// The addresses of glibc's own functions. They must not be called by name, since this library may be part of the very
/// object that is redirected.
pub(super) static REAL_SIGNAL: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_TIMEDWAIT: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_WAIT: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_INIT: AtomicUsize = AtomicUsize::new(0);

// "C-unwind": a wait is a cancellation point (pthreads(7)), from which glibc unwinds through the frames of these.
pub(super) type Signal = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type TimedWait = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, *const c_void) -> c_int;
type Wait = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int;
type Init = unsafe extern "C-unwind" fn(*mut c_void, *const c_void) -> c_int;

/// pthread_cond_signal. Passes the stack pointer to [`book_signal`] as the second argument.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn signal() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {book}", book = sym book_signal);
}

unsafe extern "C-unwind" fn book_signal(cond: *mut c_void, stack: *const usize) -> c_int {
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
    // SAFETY: resolved before anything was redirected; the argument is the caller's.
    unsafe { std::mem::transmute::<usize, Signal>(REAL_SIGNAL.load(Relaxed))(cond) }
}

/// pthread_cond_timedwait. On a GIL's `cond` it is the wait for that GIL, or a part of it (`take_gil`).
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

/// pthread_cond_wait. On a GIL's `switch_cond` a thread that dropped the GIL on request waits until another one has
/// acquired it (`drop_gil`, FORCE_SWITCHING).
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

/// pthread_cond_init. On a known GIL's `cond`, that GIL is being created again.
pub(super) unsafe extern "C-unwind" fn init(cond: *mut c_void, attributes: *const c_void) -> c_int {
    if let Some((gil, Meaning::Release)) = GILS.by_cond(cond as usize) {
        gil.created_anew(&OPEN, pool::session(), clock::ticks());
    }
    // SAFETY: as above.
    unsafe { std::mem::transmute::<usize, Init>(REAL_INIT.load(Relaxed))(cond, attributes) }
}
