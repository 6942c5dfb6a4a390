//! The functions that CPython 2.7 calls instead of sem_post, sem_wait, sem_trywait and sem_init. Its GIL is an ordinary
//! lock (`interpreter_lock`, Python/ceval.c), and 2.7's locks are semaphores (Python/thread_pthread.h): sem_post
//! releases them, and sem_wait and sem_trywait acquire them.
//!
//! A forked child creates a new lock (`PyEval_ReInitThreads`): the first semaphore on which the child waits among those
//! that it has initialised. It does so before it releases the parent's. If it releases that one first, Python has not
//! learnt of the fork, and goes on with that one.

use super::super::clock;
use super::super::counting::gils::GILS;
use super::super::counting::pool;
use super::super::counting::slots::OPEN;
use super::sets::{self, Next};
use super::{calibrate, disturbance, stack};
use libc::c_void;
use std::arch::naked_asm;
use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What the hooks call on.
pub(super) static NEXT_POST: Next = Next::new();
pub(super) static NEXT_WAIT: Next = Next::new();
pub(super) static NEXT_TRYWAIT: Next = Next::new();
pub(super) static NEXT_INIT: Next = Next::new();

/// True in a forked child until its new GIL is known.
static IS_SEARCHED: AtomicBool = AtomicBool::new(false);
/// The semaphores that the child has initialised. The GIL is one of the first three (`PyThread_ReInitTLS`, then two).
static NEW: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
static COUNT: AtomicUsize = AtomicUsize::new(0);

type OnSemaphore = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type Init = unsafe extern "C-unwind" fn(*mut c_void, c_int, c_uint) -> c_int;

fn call_on(next: &Next, set: usize, semaphore: *mut c_void) -> c_int {
    // SAFETY: the address of a function of this type was stored before any call was redirected; the argument comes from
    // the caller.
    unsafe { std::mem::transmute::<usize, OnSemaphore>(next.of(set))(semaphore) }
}

/// Replaces sem_post. Passes the stack pointer to [`record_post`] as the second argument.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn post<const SET: usize>() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {record}", record = sym record_post::<SET>);
}

unsafe extern "C-unwind" fn record_post<const SET: usize>(semaphore: *mut c_void, stack: *const usize) -> c_int {
    let gil = GILS.first();
    if !sets::is_metering(SET) {
        calibrate::note(SET, semaphore, Some(stack));
    } else if gil.is_at(semaphore as usize) {
        // SAFETY: the stack pointer at `post`'s entry.
        let is_forced = stack::is_known() && !unsafe { stack::is_save_thread(stack) };
        if is_forced {
            // SAFETY: the first word is the return address.
            disturbance::check_caller(unsafe { stack.read() });
        }
        if IS_SEARCHED.load(Relaxed) {
            IS_SEARCHED.store(false, Relaxed);
        }
        // Recorded before the real release: afterwards, another thread may record its acquire.
        gil.released(&OPEN, pool::session(), clock::ticks(), is_forced);
    }
    call_on(&NEXT_POST, SET, semaphore)
}

/// Replaces sem_wait.
pub(super) unsafe extern "C-unwind" fn wait<const SET: usize>(semaphore: *mut c_void) -> c_int {
    if !sets::is_metering(SET) || !is_gil(semaphore) {
        let result = call_on(&NEXT_WAIT, SET, semaphore);
        // If a signal interrupts the wait, CPython calls it again.
        if result == 0 && sets::is_metering(SET) && is_gil(semaphore) {
            // The metering began during the wait.
            record_acquire();
        } else if result == 0 {
            calibrate::note(SET, semaphore, None);
        }
        return result;
    }
    // SAFETY: errno belongs to the calling thread.
    let (errno, before) = unsafe { (libc::__errno_location(), *libc::__errno_location()) };
    let mut result = call_on(&NEXT_TRYWAIT, SET, semaphore);
    if result != 0 {
        let now = clock::ticks();
        // SAFETY: as above.
        unsafe { *errno = before };
        GILS.first().waits(pool::own(GILS.first()), &OPEN, now);
        // If a signal interrupts the wait, CPython calls sem_wait again, which counts as the same wait.
        result = call_on(&NEXT_WAIT, SET, semaphore);
    }
    if result == 0 {
        record_acquire();
    }
    result
}

/// Replaces sem_trywait.
pub(super) unsafe extern "C-unwind" fn trywait<const SET: usize>(semaphore: *mut c_void) -> c_int {
    let result = call_on(&NEXT_TRYWAIT, SET, semaphore);
    if result == 0 && !sets::is_metering(SET) {
        calibrate::note(SET, semaphore, None);
    } else if result == 0 && is_gil(semaphore) {
        record_acquire();
    }
    result
}

/// Replaces sem_init.
pub(super) unsafe extern "C-unwind" fn init<const SET: usize>(
    semaphore: *mut c_void,
    shared: c_int,
    value: c_uint,
) -> c_int {
    if IS_SEARCHED.load(Relaxed) && sets::is_metering(SET) {
        NEW[COUNT.fetch_add(1, Relaxed) % NEW.len()].store(semaphore as usize, Relaxed);
    }
    // SAFETY: as in `call_on`.
    unsafe { std::mem::transmute::<usize, Init>(NEXT_INIT.of(SET))(semaphore, shared, value) }
}

#[inline]
fn record_acquire() {
    let (gil, now) = (GILS.first(), clock::ticks());
    gil.acquired(pool::own(gil), &OPEN, now);
}

/// Records the acquire by which the calling thread holds the GIL, unless it was recorded. It was not if the thread began
/// to wait for the GIL before the metering began: the end of such a wait leads through none of the hooks.
pub(crate) fn joins() {
    if GILS.first().holder().is_none() {
        record_acquire();
    }
}

#[inline]
fn is_gil(semaphore: *mut c_void) -> bool {
    GILS.first().is_at(semaphore as usize) || (IS_SEARCHED.load(Relaxed) && is_new_gil(semaphore as usize))
}

#[cold]
fn is_new_gil(semaphore: usize) -> bool {
    let is_new = NEW.iter().any(|new| new.load(Relaxed) == semaphore);
    if is_new {
        IS_SEARCHED.store(false, Relaxed);
        GILS.first().moved_to(semaphore, &OPEN, pool::session(), clock::ticks());
    }
    is_new
}

/// Begins the search for the GIL that a forked child is about to create.
pub(crate) fn search_new_gil() {
    NEW.iter().for_each(|new| new.store(0, Relaxed));
    IS_SEARCHED.store(true, Relaxed);
}
