//! What CPython 2.7 calls instead: its GIL is a lock like any other (`interpreter_lock`, Python/ceval.c), and its locks are
//! semaphores (Python/thread_pthread.h): sem_post releases, sem_wait and sem_trywait acquire.
//!
//! A forked child makes itself a new lock (`PyEval_ReInitThreads`): the first semaphore that it waits for after it was
//! initialised in the child.

use super::{clock, gils, ledger, stack};
use libc::c_void;
use std::arch::naked_asm;
use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

pub(super) static REAL_POST: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_WAIT: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_TRYWAIT: AtomicUsize = AtomicUsize::new(0);
pub(super) static REAL_INIT: AtomicUsize = AtomicUsize::new(0);

/// In a forked child until its new GIL is known.
pub(super) static IS_SOUGHT: AtomicBool = AtomicBool::new(false);
/// Semaphores that the child has initialised; the GIL is among the first three (`PyThread_ReInitTLS`, then two).
static NEW: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
static COUNT: AtomicUsize = AtomicUsize::new(0);

pub(super) type OnSemaphore = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type Init = unsafe extern "C-unwind" fn(*mut c_void, c_int, c_uint) -> c_int;

fn real(function: &AtomicUsize, semaphore: *mut c_void) -> c_int {
    // SAFETY: resolved before anything was redirected; the argument is the caller's.
    unsafe { std::mem::transmute::<usize, OnSemaphore>(function.load(Relaxed))(semaphore) }
}

/// sem_post: hands the stack pointer on as the second argument.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn post() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {book}", book = sym book_post);
}

unsafe extern "C-unwind" fn book_post(semaphore: *mut c_void, stack: *const usize) -> c_int {
    if gils::main().is_at(semaphore as usize) {
        // Before it is given away: then others book. SAFETY: the stack pointer at `post`'s entry.
        gils::main().released(clock::ticks(), stack::is_known() && !unsafe { stack::is_save_thread(stack) });
    }
    real(&REAL_POST, semaphore)
}

pub(super) unsafe extern "C-unwind" fn wait(semaphore: *mut c_void) -> c_int {
    if !is_gil(semaphore) {
        return real(&REAL_WAIT, semaphore);
    }
    // SAFETY: the calling thread's own.
    let (errno, before) = unsafe { (libc::__errno_location(), *libc::__errno_location()) };
    let mut result = real(&REAL_TRYWAIT, semaphore);
    if result != 0 {
        // SAFETY: as above.
        unsafe { *errno = before };
        ledger::own(gils::main()).begins_wait(clock::ticks());
        // Interrupted by a signal, it returns and is called again: still the same wait.
        result = real(&REAL_WAIT, semaphore);
    }
    if result == 0 {
        gils::main().acquired(clock::ticks());
    }
    result
}

pub(super) unsafe extern "C-unwind" fn trywait(semaphore: *mut c_void) -> c_int {
    let result = real(&REAL_TRYWAIT, semaphore);
    if result == 0 && is_gil(semaphore) {
        gils::main().acquired(clock::ticks());
    }
    result
}

pub(super) unsafe extern "C-unwind" fn init(semaphore: *mut c_void, shared: c_int, value: c_uint) -> c_int {
    if IS_SOUGHT.load(Relaxed) {
        NEW[COUNT.fetch_add(1, Relaxed) % NEW.len()].store(semaphore as usize, Relaxed);
    }
    // SAFETY: as in `real`.
    unsafe { std::mem::transmute::<usize, Init>(REAL_INIT.load(Relaxed))(semaphore, shared, value) }
}

#[inline]
fn is_gil(semaphore: *mut c_void) -> bool {
    gils::main().is_at(semaphore as usize) || (IS_SOUGHT.load(Relaxed) && is_new_gil(semaphore as usize))
}

#[cold]
fn is_new_gil(semaphore: usize) -> bool {
    let is_it = NEW.iter().any(|new| new.load(Relaxed) == semaphore);
    if is_it {
        IS_SOUGHT.store(false, Relaxed);
        gils::main().moved_to(semaphore, clock::ticks());
    }
    is_it
}

/// A forked child: its GIL is about to be made anew.
pub(super) fn forked() {
    NEW.iter().for_each(|new| new.store(0, Relaxed));
    IS_SOUGHT.store(true, Relaxed);
}
