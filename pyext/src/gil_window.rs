//! Windows of the GIL meter, which libbusy carries, for busy/_gil.py.
//!
//! A window is a capsule, and its figures are tuples. A class or an exception of PyO3 would be created at its first use
//! in one of PyO3's one-time cells, which a child must not inherit half filled (see [`libbusy`](crate::libbusy)).

#![allow(unsafe_code, reason = "calls of libbusy, and capsules, for which PyO3 has no safe interface")]

use crate::capi::NoCollection;
use crate::libbusy::libbusy;
use busy_loader::bindings::{
    BUSY_BAD_OPTION, BUSY_GIL_BUCKETS, BUSY_GIL_ENDED, BUSY_GIL_NEW, BUSY_GIL_NOT_HELD, BUSY_GIL_REFUSED, BUSY_OK,
    Bindings, busy_gil_histograms, busy_gil_thread, busy_gil_totals,
};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const NAME: &CStr = c"busy._busy.window";
const ROWS_NAME: &CStr = c"busy._busy.rows";

/// The interpreter of a GIL, whether it is metered, and the nanoseconds for which it was metered and held.
type Gil = (i64, bool, u64, u64);
/// The number of holds or waits of each length.
type Counts = [u64; BUSY_GIL_BUCKETS as usize];
/// The fields of busy_gil_thread, in the order of busy/_gil.py; `ended` and `is_new` are from its state.
type Thread = (u64, u32, bool, bool, u64, u64, u64, u64, u64, u64, u64);

/// The number of rows in a piece: making their tuples takes some 20 us.
const PIECE: usize = 64;
/// From this number of rows on, a window is read with the GIL released, since that takes 50 us or more. With fewer rows,
/// the thread keeps the GIL: beside a thread that does not release it, to acquire it again would take a switch interval.
const MANY: usize = 512;

/// The most readings of the GILs of other interpreters. An interpreter takes far longer to begin than a reading, so few are
/// repeated more than once.
const READINGS: usize = 20;

/// The number of rows of the latest reading.
static ROWS: AtomicUsize = AtomicUsize::new(0);

/// Starts the meter if needed, and opens a window, with histograms if wanted. Returns a capsule, which closes the window when it is deallocated.
#[pyfunction]
pub fn gil_open(py: Python<'_>, histograms: bool) -> PyResult<Bound<'_, PyAny>> {
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: the calling thread holds the GIL.
    checked(busy, unsafe { busy.busy_gil_start() })?;
    let mut number = 0;
    // SAFETY: the number outlives the call.
    let open = || unsafe {
        succeeded(if histograms { busy.busy_gil_histograms_keep() } else { BUSY_OK as i32 })?;
        succeeded(busy.busy_gil_window_open(&mut number))
    };
    let opened = released_if_many(py, open).map_err(|status| error(busy, status));
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

/// Runs `body`, with the GIL released if there are many rows.
fn released_if_many<T: Send>(py: Python<'_>, body: impl FnOnce() -> T + Send) -> T {
    if ROWS.load(Ordering::Relaxed) < MANY { body() } else { py.detach(body) }
}

/// Returns the figures of the window since it was opened, or in a forked child since the fork: the caller's GIL, a
/// capsule of its threads, for [`gil_rows`], and the GILs of other interpreters.
#[pyfunction]
pub fn gil_read<'py>(window: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    let number = open_number_of(window)?;
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // The module refuses to load in an interpreter with a GIL of its own, so the first GIL is the caller's.
    let py = window.py();
    let (own, threads) = released_if_many(py, || read(busy, number, 0)).map_err(|status| error(busy, status))?;
    ROWS.store(threads.len(), Ordering::Relaxed);
    let others = if own.gils > 1 { others(busy, number).map_err(|status| error(busy, status))? } else { Vec::new() };
    let _until_converted = NoCollection::begin(py);
    let rows = Box::into_raw(Box::new(threads));
    // SAFETY: attached. The capsule owns the box until its destructor frees it.
    let capsule = unsafe { ffi::PyCapsule_New(rows.cast(), ROWS_NAME.as_ptr(), Some(free_rows)) };
    // SAFETY: a new reference, or NULL with an exception set.
    let capsule = unsafe { Bound::from_owned_ptr_or_err(py, capsule) }.inspect_err(|_| {
        // SAFETY: the box of above, which no capsule owns.
        drop(unsafe { Box::from_raw(rows) });
    })?;
    (gil(&own), capsule, others).into_pyobject(py)
}

/// Returns the figures of the GILs of other interpreters.
///
/// An interpreter that begins or ends between two calls moves the others to other indexes. So they are read until two readings
/// in a row have the same ones. As no id is used again, all of these existed between the two readings; and as there were
/// as many, no other one did.
fn others(busy: &Bindings, window: u32) -> Result<Vec<Gil>, i32> {
    let mut before: Vec<Gil> = Vec::new();
    for _ in 0..READINGS {
        let gils = read(busy, window, 0)?.0.gils;
        let mut now = Vec::new();
        for index in 1..gils {
            match read(busy, window, index) {
                Ok((totals, _)) => now.push(gil(&totals)),
                // There are fewer by now. If the window has been closed, the next reading of index 0 fails.
                Err(status) if status == BUSY_BAD_OPTION as i32 => break,
                Err(status) => return Err(status),
            }
        }
        now.sort_unstable();
        now.dedup_by_key(|gil| gil.0);
        if now.len() + 1 == gils as usize && now.iter().map(|gil| gil.0).eq(before.iter().map(|gil| gil.0)) {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Returns the next rows of a reading, from the row `start` on; none at its end. In pieces, so that other threads can get
/// the GIL in between.
#[pyfunction]
pub fn gil_rows<'py>(rows: &Bound<'py, PyAny>, start: usize) -> PyResult<Bound<'py, PyList>> {
    // SAFETY: attached; it fails for any object but a capsule of this name.
    let pointer = unsafe { ffi::PyCapsule_GetPointer(rows.as_ptr(), ROWS_NAME.as_ptr()) };
    if pointer.is_null() {
        return Err(PyErr::fetch(rows.py()));
    }
    // SAFETY: the box of `gil_read`, which lives as long as the capsule, and which nobody changes.
    let threads = unsafe { &*pointer.cast::<Vec<busy_gil_thread>>() };
    let _until_converted = NoCollection::begin(rows.py());
    PyList::new(rows.py(), threads.iter().skip(start).take(PIECE).map(thread).collect::<Vec<Thread>>())
}

/// Returns how many holds and how many waits of the caller's GIL had which length, since the window was opened with
/// histograms.
#[pyfunction]
pub fn gil_histograms(window: &Bound<'_, PyAny>) -> PyResult<(Counts, Counts)> {
    let number = open_number_of(window)?;
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    // SAFETY: a struct of numbers, of which zeros are valid.
    let mut found: busy_gil_histograms = unsafe { std::mem::zeroed() };
    (found.size, found.window) = (size_of::<busy_gil_histograms>(), number);
    // SAFETY: the struct outlives the call.
    checked(busy, unsafe { busy.busy_gil_histograms_read(&mut found) })?;
    Ok((found.holds, found.waits))
}

/// The destructor of the capsule of rows.
unsafe extern "C" fn free_rows(capsule: *mut ffi::PyObject) {
    // SAFETY: attached; the capsule has this name and owns the box.
    drop(unsafe {
        Box::from_raw(ffi::PyCapsule_GetPointer(capsule, ROWS_NAME.as_ptr()).cast::<Vec<busy_gil_thread>>())
    });
}

/// Closes the window, if it is open. Closing the last window of the process stops the meter.
#[pyfunction]
pub fn gil_close(window: &Bound<'_, PyAny>) -> PyResult<()> {
    close(number_of(window)?);
    Ok(())
}

/// Closes the window if a forked child has inherited it from a thread that the child lacks, and returns true then. libbusy
/// has closed its own window at the fork, but does not know that the start belongs to it.
#[pyfunction]
pub fn gil_close_orphan(window: &Bound<'_, PyAny>) -> PyResult<bool> {
    let number = number_of(window)?;
    let busy = libbusy().map_err(PyRuntimeError::new_err)?;
    let is_orphan = match number.load(Ordering::Relaxed) {
        0 => false,
        open => read(busy, open, 0).is_err_and(|status| status == BUSY_BAD_OPTION as i32),
    };
    if is_orphan {
        close(number);
    }
    Ok(is_orphan)
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

/// Returns the number of the window. Fails if it is closed: for libbusy, the number 0 means the whole session.
fn open_number_of(window: &Bound<'_, PyAny>) -> PyResult<u32> {
    match number_of(window)?.load(Ordering::Relaxed) {
        0 => Err(PyValueError::new_err("this window is closed")),
        number => Ok(number),
    }
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

fn read(busy: &Bindings, window: u32, gil: u32) -> Result<(busy_gil_totals, Vec<busy_gil_thread>), i32> {
    let mut threads = Vec::with_capacity(16);
    loop {
        // SAFETY: a struct of numbers, of which zeros are valid.
        let mut totals: busy_gil_totals = unsafe { std::mem::zeroed() };
        (totals.size, totals.gil, totals.window) = (size_of::<busy_gil_totals>(), gil, window);
        let mut needed = 0;
        // SAFETY: `threads` has space for `capacity` rows.
        succeeded(unsafe {
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

pub(crate) fn succeeded(status: i32) -> Result<(), i32> {
    if status == BUSY_OK as i32 { Ok(()) } else { Err(status) }
}

pub(crate) fn checked(busy: &Bindings, status: i32) -> PyResult<()> {
    succeeded(status).map_err(|status| error(busy, status))
}

/// Returns a RuntimeError with the reason for a status.
fn error(busy: &Bindings, status: i32) -> PyErr {
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
    PyRuntimeError::new_err(reason)
}

fn gil(of: &busy_gil_totals) -> Gil {
    (of.interpreter, of.metered != 0, of.metered_ns, of.held_ns)
}

fn thread(of: &busy_gil_thread) -> Thread {
    let [ended, is_new] = [BUSY_GIL_ENDED, BUSY_GIL_NEW].map(|state| of.state & state != 0);
    let (held, waited) = (of.held_ns, of.waited_ns);
    let counts = (of.acquisitions, of.voluntary_releases, of.forced_drops);
    let (hold, wait) = (of.longest_hold_ns, of.longest_wait_ns);
    (of.id, of.tid, ended, is_new, held, waited, counts.0, counts.1, counts.2, hold, wait)
}
