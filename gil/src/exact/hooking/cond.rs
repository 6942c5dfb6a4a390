//! The functions that CPython 3 calls instead of pthread_cond_signal, _timedwait, _wait, _init and _destroy, and
//! pthread_mutex_lock, in the object that holds PyEval_SaveThread. They run under the GIL's mutexes: they make no system
//! call, allocate nothing and take no lock, except at a thread's first event. Each exists once in each set (see [`sets`]).

use super::super::clock;
use super::super::counting::gils::{GILS, Meaning};
use super::super::counting::pool;
use super::super::counting::slots::OPEN;
use super::sets::{self, Next};
use super::{calibrate, disturbance, stack};
use libc::c_void;
use std::arch::naked_asm;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// What the hooks call on. They must not call it by name, since this library may be linked into the object whose calls
/// are redirected.
pub(super) static NEXT_SIGNAL: Next = Next::new();
pub(super) static NEXT_TIMEDWAIT: Next = Next::new();
pub(super) static NEXT_WAIT: Next = Next::new();
pub(super) static NEXT_INIT: Next = Next::new();
pub(super) static NEXT_DESTROY: Next = Next::new();
pub(super) static NEXT_LOCK: Next = Next::new();

// "C-unwind": a wait is a cancellation point (pthreads(7)), from which glibc unwinds through the frames of these
// functions.
type Signal = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type TimedWait = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, *const c_void) -> c_int;
type Wait = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int;
type Lock = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type Init = unsafe extern "C-unwind" fn(*mut c_void, *const c_void) -> c_int;

/// Replaces pthread_cond_signal. Passes the stack pointer to [`record_signal`] as the second argument.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn signal<const SET: usize>() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {record}", record = sym record_signal::<SET>);
}

unsafe extern "C-unwind" fn record_signal<const SET: usize>(cond: *mut c_void, stack: *const usize) -> c_int {
    if !sets::is_metering(SET) {
        calibrate::note(SET, cond, Some(stack));
    } else {
        match GILS.by_cond(cond as usize) {
            Some((gil, Meaning::Acquire)) => {
                let now = clock::ticks();
                gil.acquired(pool::own(gil), &OPEN, now);
            }
            Some((gil, Meaning::Release)) => {
                let now = clock::ticks();
                // SAFETY: the stack pointer at `signal`'s entry.
                let is_forced = gil.is_drop_requested() && !unsafe { stack::is_save_thread(stack) };
                if is_forced {
                    // SAFETY: the first word is the return address.
                    disturbance::check_caller(unsafe { stack.read() });
                }
                gil.released(&OPEN, pool::session(), now, is_forced);
            }
            None => {}
        }
    }
    // SAFETY: the address of a function of this type was stored before any call was redirected; the argument comes from
    // the caller.
    unsafe { std::mem::transmute::<usize, Signal>(NEXT_SIGNAL.of(SET))(cond) }
}

/// Replaces pthread_cond_timedwait. A call with a GIL's `cond` is a wait for that GIL, or a part of one (`take_gil`).
pub(super) unsafe extern "C-unwind" fn timedwait<const SET: usize>(
    cond: *mut c_void,
    mutex: *mut c_void,
    deadline: *const c_void,
) -> c_int {
    // SAFETY: as above.
    let wait = || unsafe { std::mem::transmute::<usize, TimedWait>(NEXT_TIMEDWAIT.of(SET))(cond, mutex, deadline) };
    if !sets::is_metering(SET) {
        return wait();
    }
    let Some((gil, Meaning::Release)) = GILS.by_cond(cond as usize) else { return wait() };
    // Before the account, which a thread's first event creates.
    let now = clock::ticks();
    gil.waits(pool::own(gil), &OPEN, now);
    let switches = gil.switches();
    let result = wait();
    if result == libc::ETIMEDOUT {
        gil.timed_out(switches);
    }
    result
}

/// Replaces pthread_cond_wait. In a call with a GIL's `switch_cond`, a thread that dropped the GIL on request waits
/// until another thread has acquired it (`drop_gil`, FORCE_SWITCHING).
pub(super) unsafe extern "C-unwind" fn wait<const SET: usize>(cond: *mut c_void, mutex: *mut c_void) -> c_int {
    // SAFETY: as above.
    let wait = || unsafe { std::mem::transmute::<usize, Wait>(NEXT_WAIT.of(SET))(cond, mutex) };
    if !sets::is_metering(SET) {
        return wait();
    }
    let Some((gil, Meaning::Acquire)) = GILS.by_cond(cond as usize) else { return wait() };
    let now = clock::ticks();
    let account = pool::own(gil);
    gil.waits(account, &OPEN, now);
    let result = wait();
    let now = clock::ticks();
    gil.handed_over(account, &OPEN, now);
    result
}

/// Replaces pthread_cond_init. A call with a known GIL's `cond` creates that GIL again.
pub(super) unsafe extern "C-unwind" fn init<const SET: usize>(cond: *mut c_void, attributes: *const c_void) -> c_int {
    if sets::is_metering(SET)
        && let Some((gil, Meaning::Release)) = GILS.by_cond(cond as usize)
    {
        GILS.created_anew(gil, &OPEN, pool::session(), clock::ticks());
        pool::collect();
    }
    // SAFETY: as above.
    unsafe { std::mem::transmute::<usize, Init>(NEXT_INIT.of(SET))(cond, attributes) }
}

/// Replaces pthread_cond_destroy. A call with a known GIL's `cond` destroys that GIL (`destroy_gil`).
pub(super) unsafe extern "C-unwind" fn destroy<const SET: usize>(cond: *mut c_void) -> c_int {
    if sets::is_metering(SET) && GILS.destroyed(cond as usize, &OPEN, clock::ticks()) {
        pool::collect();
    }
    // SAFETY: as above.
    unsafe { std::mem::transmute::<usize, Signal>(NEXT_DESTROY.of(SET))(cond) }
}

/// Replaces pthread_mutex_lock.
pub(super) unsafe extern "C-unwind" fn lock<const SET: usize>(mutex: *mut c_void) -> c_int {
    // SAFETY: a mutex begins with a word that is 0 if nobody has locked it (`__lock`, glibc's struct_mutex.h).
    if sets::is_metering(SET) && unsafe { &*mutex.cast::<AtomicI32>() }.load(Relaxed) != 0 {
        return lock_taken(SET, mutex);
    }
    lock_next(SET, mutex)
}

/// Locks a mutex that is locked. If it is the GIL's, the thread already waits for the GIL (`take_gil`), unless it holds the
/// GIL (`drop_gil`). That mutex is free most of the time, but if the thread that has it loses its core, this wait is as long
/// as that thread's.
#[cold]
#[inline(never)]
fn lock_taken(set: usize, mutex: *mut c_void) -> c_int {
    let (session, now) = (pool::session(), clock::ticks());
    let result = lock_next(set, mutex);
    if let Some(gil) = GILS.by_mutex(mutex as usize)
        && sets::is_metering(set)
        && pool::session() == session
    {
        gil.waited_for_mutex(pool::own(gil), &OPEN, now);
    }
    result
}

#[inline]
fn lock_next(set: usize, mutex: *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe { std::mem::transmute::<usize, Lock>(NEXT_LOCK.of(set))(mutex) }
}
