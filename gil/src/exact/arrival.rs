//! Waits for the Python of a process that has just begun. A library that is loaded before the program starts
//! (LD_PRELOAD, ld.so(8)) can't start the meter: there is no GIL yet. So the meter's start becomes a pending call, which
//! CPython's main thread runs, with the GIL, as soon as it evaluates code.

use super::clock;
use super::hooking::first_acquire;
use super::hooking::got::Object;
use super::hooking::redirections::Redirections;
use super::python::{self, AddPendingCall, IsInitialized, PendingCall};
use super::state::STATE;
use crate::refusal::Refusal;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// What runs once Python is there, and the functions of Python by which it comes to run. They are looked up beforehand:
/// the hook must not take the dynamic linker's lock.
static START: OnceLock<Start> = OnceLock::new();

struct Start {
    call: PendingCall,
    add: AddPendingCall,
    is_initialized: IsInitialized,
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
    let is_initialized = python::is_initialized().ok_or(Refusal::NoPython("Py_IsInitialized"))?;
    _ = START.set(Start { call: start, add, is_initialized });
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
    first_acquire::call(add_if_initialized);
    Ok(Some(text))
}

/// Adds the call. Returns false if it is too early, or the queue is full.
fn add_if_initialized() -> bool {
    // SAFETY: Py_IsInitialized may be called at any time.
    START.get().is_some_and(|start| unsafe { (start.is_initialized)() } != 0 && start.add())
}

impl Start {
    fn add(&self) -> bool {
        // SAFETY: any thread may call it, without the GIL (Python/ceval.c).
        unsafe { (self.add)(self.call, null_mut()) == 0 }
    }
}
