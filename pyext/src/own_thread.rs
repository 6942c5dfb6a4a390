//! The calling thread's own figures, by the meter that libbusy carries.

#![allow(unsafe_code, reason = "calls of libbusy")]

use crate::gil_window::{checked, succeeded};
use crate::libbusy::{libbusy, libbusy_if_open};
use busy_loader::bindings::{Bindings, busy_gil_thread};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// True if [`own_times`] has started the meter.
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// Returns the `id` of the calling thread's row. None if the GIL is not metered, or the thread has no row.
#[pyfunction]
pub fn own_row() -> Option<u64> {
    let mut own = zeroed();
    // SAFETY: the struct outlives the call.
    succeeded(unsafe { libbusy_if_open()?.busy_gil_own_thread(&mut own) }).ok().map(|()| own.id)
}

/// Returns the nanoseconds for which the calling thread has held the GIL, and waited for it. The first call in a process
/// starts the meter, which is never stopped then.
#[pyfunction]
pub fn own_times() -> PyResult<(u64, u64)> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    if !IS_STARTED.load(Ordering::Relaxed) {
        start(busy)?;
    }
    let mut own = zeroed();
    // SAFETY: the struct outlives the call.
    checked(busy, unsafe { busy.busy_gil_own_thread(&mut own) })?;
    Ok((own.held_ns, own.waited_ns))
}

/// Starts the meter. Other threads may run meanwhile. If one of them starts it as well, the meter gets a start too many,
/// which does no harm.
#[cold]
fn start(busy: &Bindings) -> PyResult<()> {
    // SAFETY: the calling thread holds the GIL.
    checked(busy, unsafe { busy.busy_gil_start() })?;
    IS_STARTED.store(true, Ordering::Relaxed);
    Ok(())
}

fn zeroed() -> busy_gil_thread {
    // SAFETY: a struct of numbers, of which zeros are valid.
    unsafe { std::mem::zeroed() }
}
