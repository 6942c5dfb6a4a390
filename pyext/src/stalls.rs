//! The reports of stalls, which libbusy makes, for busy/_stalls.py.

#![allow(unsafe_code, reason = "calls of libbusy, and capsules, for which PyO3 has no safe interface")]

use crate::gil_window::{checked, succeeded};
use crate::libbusy::libbusy;
use busy_loader::bindings::{
    BUSY_CANCELLED, BUSY_GIL_WAITERS, BUSY_TIMED_OUT, Bindings, busy_gil_stall, busy_gil_stalls,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &CStr = c"busy._busy.stalls";

/// The space for a stack: some 500 frames.
const TEXT: usize = 1 << 16;

/// The object of a capsule.
struct Owned {
    object: *mut busy_gil_stalls,
    /// The process that has opened it. A forked child must not use it.
    process: u32,
    /// True until its start is undone.
    is_started: AtomicBool,
}

/// The interpreter, the holder's thread id, the start of the hold on CLOCK_MONOTONIC, the held nanoseconds, the number of waiting threads, those that are listed, each
/// with its thread id and the nanoseconds that it waited, whether there is a stack, the stack or the reason, missed stalls.
type Stall = (i64, u32, u64, u64, u32, Vec<(u32, u64)>, bool, String, u64);

/// Starts the meter if needed, and begins to report the holds of that many nanoseconds. Returns a capsule, which ends the
/// reports when it is deallocated.
#[pyfunction]
pub fn stalls_open(py: Python<'_>, threshold_ns: u64) -> PyResult<Bound<'_, PyAny>> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: the calling thread holds the GIL.
    checked(busy, unsafe { busy.busy_gil_start() })?;
    let mut object = null_mut();
    // SAFETY: the pointer has space for the object.
    if let Err(error) = checked(busy, unsafe { busy.busy_gil_stalls_open(threshold_ns, &mut object) }) {
        // SAFETY: it undoes the start of above.
        unsafe { busy.busy_gil_stop() };
        return Err(error);
    }
    let owned = Box::into_raw(Box::new(Owned { object, process: std::process::id(), is_started: true.into() }));
    // SAFETY: attached. The capsule owns the box until its destructor frees it.
    let capsule = unsafe { ffi::PyCapsule_New(owned.cast(), NAME.as_ptr(), Some(free)) };
    // SAFETY: a new reference, or NULL with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, capsule) }.inspect_err(|_| {
        // SAFETY: the box of above, which no capsule owns.
        close(busy, *unsafe { Box::from_raw(owned) });
    })
}

/// Waits for the next stall, with the GIL released, for at most that many nanoseconds. Returns None after that time, and
/// when `stalls_stop` was called.
#[pyfunction]
pub fn stalls_next(py: Python<'_>, stalls: &Bound<'_, PyAny>, timeout_ns: u64) -> PyResult<Option<Stall>> {
    /// A pointer that another thread may use.
    struct Pointer(*mut busy_gil_stalls);
    // SAFETY: libbusy's functions may be called by any thread.
    unsafe impl Send for Pointer {}

    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    let object = Pointer(owned(stalls)?.object);
    // SAFETY: a struct of numbers, of which zeros are valid.
    let mut stall: busy_gil_stall = unsafe { std::mem::zeroed() };
    stall.size = size_of::<busy_gil_stall>();
    let mut text = vec![0u8; TEXT];
    let status = py.detach(|| {
        let Pointer(object) = { object };
        // SAFETY: the capsule, which the caller holds, keeps the object open. The struct and the text outlive the call.
        unsafe { busy.busy_gil_stalls_next(object, timeout_ns, &mut stall, text.as_mut_ptr().cast(), text.len()) }
    });
    if [BUSY_TIMED_OUT, BUSY_CANCELLED].map(|expected| Err(expected as i32)).contains(&succeeded(status)) {
        return Ok(None);
    }
    checked(busy, status)?;
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy().into_owned();
    let listed = (stall.listed as usize).min(BUSY_GIL_WAITERS as usize);
    let waiters = stall.waiter_tids.into_iter().zip(stall.waiter_ns).take(listed).collect();
    Ok(Some((
        stall.interpreter,
        stall.tid,
        stall.at_ns,
        stall.held_ns,
        stall.waiting,
        waiters,
        stall.has_stack != 0,
        text,
        stall.missed,
    )))
}

/// Makes all calls of `stalls_next` with this capsule return None, now and later.
#[pyfunction]
pub fn stalls_stop(stalls: &Bound<'_, PyAny>) -> PyResult<()> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: the capsule, which the caller holds, keeps the object open.
    checked(busy, unsafe { busy.busy_gil_stalls_stop(owned(stalls)?.object) })
}

/// Undoes the start of the parent's stalls in a forked child, before their capsule is deallocated, if it ever is: the frame
/// of a thread that the child lacks may refer to it. Does nothing in the process that has opened them.
#[pyfunction]
pub fn stalls_forget(stalls: &Bound<'_, PyAny>) -> PyResult<()> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    let owned = any_owned(stalls)?;
    if !owned.is_own() {
        owned.undo_start(busy);
    }
    Ok(())
}

fn owned<'a>(stalls: &'a Bound<'_, PyAny>) -> PyResult<&'a Owned> {
    let owned = any_owned(stalls)?;
    if owned.is_own() {
        Ok(owned)
    } else {
        Err(PyRuntimeError::new_err("these stalls belong to the parent process: open others"))
    }
}

/// Returns the object of a capsule, which a forked child may have inherited.
fn any_owned<'a>(stalls: &'a Bound<'_, PyAny>) -> PyResult<&'a Owned> {
    // SAFETY: attached; it fails for any object but a capsule of this name.
    let pointer = unsafe { ffi::PyCapsule_GetPointer(stalls.as_ptr(), NAME.as_ptr()) };
    if pointer.is_null() {
        return Err(PyErr::fetch(stalls.py()));
    }
    // SAFETY: the box of `stalls_open`, which lives as long as the capsule, and of which only an atomic changes.
    Ok(unsafe { &*pointer.cast() })
}

impl Owned {
    /// Returns true in the process that has opened the object.
    fn is_own(&self) -> bool {
        self.process == std::process::id()
    }

    fn undo_start(&self, busy: &Bindings) {
        if self.is_started.swap(false, Ordering::Relaxed) {
            // SAFETY: it undoes the start of `stalls_open`.
            unsafe { busy.busy_gil_stop() };
        }
    }
}

/// The destructor of the capsule.
unsafe extern "C" fn free(capsule: *mut ffi::PyObject) {
    // SAFETY: attached; the capsule has this name and owns the box.
    let owned = unsafe { Box::from_raw(ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast::<Owned>()) };
    if let Ok(busy) = libbusy() {
        close(busy, *owned);
    }
}

/// Closes the object and undoes its start, which a forked child has inherited. The GIL may be held: libbusy never waits for
/// the GIL while it holds a lock.
fn close(busy: &Bindings, owned: Owned) {
    if owned.is_own() {
        // SAFETY: nobody uses the object any more.
        unsafe { busy.busy_gil_stalls_close(owned.object) };
    }
    owned.undo_start(busy);
}
