//! The sums over all threads, by the meter that libbusy carries, for busy/_counters.py.

#![allow(unsafe_code, reason = "calls of libbusy")]

use crate::gil_window::{checked, succeeded};
use crate::libbusy::libbusy;
use busy_loader::bindings::{BUSY_BAD_OPTION, BUSY_GIL_BUCKETS, busy_gil_counters};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The session, the number of GILs, the interpreter, whether it is metered; metered, held and waited nanoseconds;
/// acquires, drops on request; the histograms.
type Sums<'py> = (u64, u32, i64, bool, u64, u64, u64, u64, u64, Bound<'py, PyBytes>);

/// Starts the meter, which is never stopped then, with histograms. Other threads may run meanwhile. If one of them starts
/// it as well, the meter gets a start too many, which does no harm.
#[pyfunction]
pub fn counters_begin() -> PyResult<()> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: the calling thread holds the GIL.
    checked(busy, unsafe { busy.busy_gil_start() })?;
    // SAFETY: it takes no arguments.
    checked(busy, unsafe { busy.busy_gil_histograms_keep() })
}

/// Returns the sums of the GIL with the index `which`; None if there is none. The histograms are bytes, which few callers
/// look at: 26 numbers of holds and 26 of waits, as 8 bytes each.
#[pyfunction]
pub fn counters_read(py: Python<'_>, which: u32) -> PyResult<Option<Sums<'_>>> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: a struct of numbers, of which zeros are valid.
    let mut found: busy_gil_counters = unsafe { std::mem::zeroed() };
    (found.size, found.gil) = (size_of::<busy_gil_counters>(), which);
    // SAFETY: the struct outlives the call.
    let status = unsafe { busy.busy_gil_counters_read(&mut found) };
    if succeeded(status) == Err(BUSY_BAD_OPTION as i32) {
        return Ok(None);
    }
    checked(busy, status)?;
    let mut histograms = [[[0; 8]; BUSY_GIL_BUCKETS as usize]; 2];
    for (bytes, counts) in histograms.iter_mut().zip([&found.holds, &found.waits]) {
        bytes.iter_mut().zip(counts).for_each(|(bytes, count)| *bytes = count.to_ne_bytes());
    }
    Ok(Some((
        found.session,
        found.gils,
        found.interpreter,
        found.metered != 0,
        found.metered_ns,
        found.held_ns,
        found.waited_ns,
        found.acquisitions,
        found.forced_drops,
        PyBytes::new(py, histograms.as_flattened().as_flattened()),
    )))
}
