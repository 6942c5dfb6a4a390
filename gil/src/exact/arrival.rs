//! Waits for the Python of a process that has just begun. A library that is loaded before the program starts
//! (LD_PRELOAD, ld.so(8)) can't start the meter: there is no GIL yet. So the meter's start becomes a pending call, which
//! CPython's main thread runs, with the GIL, as soon as it evaluates code.

use super::clock;
use super::hooking::first_acquire;
use super::hooking::got::Object;
use super::hooking::redirections::Redirections;
use super::python::{self, AddPendingCall, PendingCall};
use super::state::STATE;
use crate::refusal::Refusal;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What runs once Python is there, and the functions of Python by which it comes to run. They are looked up beforehand:
/// the hook must not take the dynamic linker's lock.
static START: OnceLock<Start> = OnceLock::new();

struct Start {
    call: PendingCall,
    add: AddPendingCall,
}

/// Makes the Python of this process call `start` as soon as its main thread evaluates code. The caller is the only
/// thread, before the program's main function. Returns the version that Python reports, or None if the process has no
/// Python: it is not linked with one, and is none.
///
/// # Errors
/// The first check that fails; then `start` is never called.
pub fn on_python(start: PendingCall) -> Result<Option<String>, Refusal> {
    let Some(save_thread) = python::symbol(c"PyEval_SaveThread") else { return Ok(None) };
    python::symbol(c"gnu_get_libc_version").ok_or(Refusal::NotGlibc)?;
    let text = python::version_text().ok_or(Refusal::NoPython("Py_GetVersion"))?;
    let version = python::numbers(&text);
    if !python::is_metered(version) {
        return Err(Refusal::Version(version.0, version.1));
    }
    let add = python::add_pending_call().ok_or(Refusal::NoPython("Py_AddPendingCall"))?;
    _ = START.set(Start { call: start, add });
    // The first reading of the clocks, so that the start need not wait until it is old enough.
    clock::base();
    if version < (3, 0) {
        // 2.7's queue of pending calls is static, and its lock does not exist before the first call (`Py_AddPendingCall`,
        // Python/ceval.c).
        START.get().into_iter().for_each(|start| _ = start.add());
        return Ok(Some(text));
    }
    let object = Object::holding(save_thread)
        .ok_or_else(|| Refusal::StaticallyBound("the C library", "a static executable".into()))?;
    let mut state = STATE.lock();
    state.redirections = Redirections::find(&object, false, &|_| false)?;
    if let Err(refusal) = state.redirections.calibrate() {
        state.redirections.restore();
        return Err(refusal);
    }
    first_acquire::call(add_at_the_second);
    Ok(Some(text))
}

/// Adds the call at the second acquire. Returns false before, or if the queue is full.
///
/// The call runs while Python is still initialising itself: afterwards, Python may acquire the GIL no more (`python -S -c`).
/// The queue's lock is created before the first acquire, and up to 3.8 just behind it (`PyEval_InitThreads`,
/// Python/ceval.c).
fn add_at_the_second() -> bool {
    static IS_SECOND: AtomicBool = AtomicBool::new(false);
    IS_SECOND.swap(true, Ordering::Relaxed) && START.get().is_some_and(Start::add)
}

impl Start {
    fn add(&self) -> bool {
        // SAFETY: any thread may call it, without the GIL (Python/ceval.c).
        unsafe { (self.add)(self.call, null_mut()) == 0 }
    }
}
