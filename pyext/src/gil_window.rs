//! Windows of the GIL meter, which libbusy carries, for busy/_gil.py.
//!
//! A window is a capsule, and its figures are tuples. A class or an exception of PyO3 would be created at its first use
//! in one of PyO3's one-time cells, which a child must not inherit half filled (see [`libbusy`](crate::libbusy)).

#![allow(unsafe_code, reason = "calls of libbusy, and capsules, for which PyO3 has no safe interface")]

use crate::capi::NoCollection;
use crate::libbusy::libbusy;
use busy_loader::bindings::{BUSY_GIL_NOT_HELD, BUSY_GIL_REFUSED, BUSY_OK, Bindings, busy_gil_thread, busy_gil_totals};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

const NAME: &CStr = c"busy._busy.window";

/// The interpreter of a GIL, whether it is metered, and the nanoseconds for which it was metered and held.
type Gil = (i64, bool, u64, u64);
/// The thread id, and the fields of busy_gil_thread in the order of busy/_gil.py.
type Thread = (u32, u64, u64, u64, u64, u64, u64, u64);

/// Starts the meter if needed, and opens a window. Returns a capsule, which closes the window when it is deallocated.
#[pyfunction]
pub fn gil_open(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: the calling thread holds the GIL.
    checked(busy, unsafe { busy.busy_gil_start() })?;
    let mut number = 0;
    // SAFETY: the number outlives the call.
    let opened = checked(busy, unsafe { busy.busy_gil_window_open(&mut number) });
    if let Err(error) = opened {
        // SAFETY: it undoes the start of above.
        unsafe { busy.busy_gil_stop() };
        return Err(error);
    }
    let window = Box::into_raw(Box::new(AtomicU32::new(number)));
    // SAFETY: attached. The capsule owns the box until its destructor frees it.
    let capsule = unsafe { ffi::PyCapsule_New(window.cast(), NAME.as_ptr(), Some(free)) };
    // SAFETY: a new reference, or NULL with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, capsule) }.inspect_err(|_| {
        close(window);
        // SAFETY: the box of above, which no capsule owns.
        drop(unsafe { Box::from_raw(window) });
    })
}

/// Returns the figures of the window since it was opened, or in a forked child since the fork: the caller's GIL, its
/// threads, and the GILs of other interpreters.
#[pyfunction]
pub fn gil_read<'py>(window: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    let number = number_of(window)?.load(Ordering::Relaxed);
    if number == 0 {
        return Err(PyValueError::new_err("this window is closed"));
    }
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // The module refuses to load in an interpreter with a GIL of its own, so the first GIL is the caller's.
    let (own, threads) = read(busy, number, 0)?;
    let others = (1..own.gils).filter_map(|index| Some(gil(&read(busy, number, index).ok()?.0)));
    let threads: Vec<Thread> = threads.iter().map(thread).collect();
    let others: Vec<Gil> = others.collect();
    let _until_converted = NoCollection::begin(window.py());
    (gil(&own), threads, others).into_pyobject(window.py())
}

/// Closes the window, if it is open. Closing the last window of the process stops the meter.
#[pyfunction]
pub fn gil_close(window: &Bound<'_, PyAny>) -> PyResult<()> {
    close(number_of(window)?);
    Ok(())
}

/// Returns the number of the window, 0 if it is closed.
fn number_of<'a>(window: &'a Bound<'_, PyAny>) -> PyResult<&'a AtomicU32> {
    // SAFETY: attached; it fails for any object but a capsule of this name.
    let pointer = unsafe { ffi::PyCapsule_GetPointer(window.as_ptr(), NAME.as_ptr()) };
    if pointer.is_null() {
        return Err(PyErr::fetch(window.py()));
    }
    // SAFETY: the box of `gil_open`, which lives as long as the capsule.
    Ok(unsafe { &*pointer.cast() })
}

/// The destructor of the capsule.
unsafe extern "C" fn free(capsule: *mut ffi::PyObject) {
    // SAFETY: attached; the capsule has this name and owns the box.
    let window = unsafe { Box::from_raw(ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr()).cast::<AtomicU32>()) };
    close(&*window);
}

/// Closes the window and undoes its start. The GIL may be held: libbusy never waits for the GIL while it holds a lock.
fn close(window: *const AtomicU32) {
    // SAFETY: the callers own the box or borrow it.
    let number = unsafe { &*window }.swap(0, Ordering::Relaxed);
    if let (1.., Ok(busy)) = (number, libbusy()) {
        // SAFETY: both only take and return numbers.
        unsafe {
            busy.busy_gil_window_close(number);
            busy.busy_gil_stop();
        }
    }
}

fn read(busy: &Bindings, window: u32, gil: u32) -> PyResult<(busy_gil_totals, Vec<busy_gil_thread>)> {
    let mut threads = Vec::with_capacity(16);
    loop {
        // SAFETY: a struct of numbers, of which zeros are valid.
        let mut totals: busy_gil_totals = unsafe { std::mem::zeroed() };
        (totals.size, totals.gil, totals.window) = (size_of::<busy_gil_totals>(), gil, window);
        let mut needed = 0;
        // SAFETY: `threads` has space for `capacity` rows.
        checked(busy, unsafe {
            busy.busy_gil_snapshot(&mut totals, threads.as_mut_ptr(), threads.capacity(), &mut needed)
        })?;
        if needed <= threads.capacity() {
            // SAFETY: the call has written that many rows.
            unsafe { threads.set_len(needed) };
            return Ok((totals, threads));
        }
        threads.reserve(needed + 16);
    }
}

/// Turns a status into a RuntimeError with the reason.
fn checked(busy: &Bindings, status: i32) -> PyResult<()> {
    if status == BUSY_OK as i32 {
        return Ok(());
    }
    let reason = if [BUSY_GIL_REFUSED, BUSY_GIL_NOT_HELD].contains(&(status as u32)) {
        // SAFETY: nothing is written if the capacity is 0.
        let mut text = vec![0u8; unsafe { busy.busy_gil_reason(null_mut(), 0) } + 1];
        // SAFETY: the buffer has space for its length.
        unsafe { busy.busy_gil_reason(text.as_mut_ptr().cast(), text.len()) };
        CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy().into_owned()
    } else {
        // SAFETY: a static text that is never NULL, as the header promises.
        unsafe { CStr::from_ptr(busy.busy_strerror(status)) }.to_string_lossy().into_owned()
    };
    Err(PyRuntimeError::new_err(reason))
}

fn gil(of: &busy_gil_totals) -> Gil {
    (of.interpreter, of.metered != 0, of.metered_ns, of.held_ns)
}

fn thread(of: &busy_gil_thread) -> Thread {
    let times = (of.held_ns, of.waited_ns, of.longest_hold_ns, of.longest_wait_ns);
    (of.tid, times.0, times.1, of.acquisitions, of.voluntary_releases, of.forced_drops, times.2, times.3)
}
