//! A window of the GIL meter as a Python object, and the CPU clocks and run delays of threads: the base of busy/_watch.py and
//! busy/_check.py.

use crate::capi::NoCollection;
use busy_core::cpu;
use busy_gil::{GilTotals, Meter, Refusal, ThreadTotals, Window};
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::sync::{Mutex, PoisonError};

create_exception!(
    busy,
    GilNotMeterable,
    PyRuntimeError,
    "The GIL of this process cannot be metered; the message gives the reason and what to do."
);

/// Meters the GIL until `close()`, or until it is deallocated, with a longest hold and wait of its own.
#[pyclass(frozen, module = "busy._busy")]
pub struct GilWindow {
    open: Mutex<Option<Open>>,
}

/// The window and its meter. The order of the fields is the order in which they must be dropped.
struct Open {
    window: Window,
    _meter: Meter,
}

/// The totals of a window; a dict in Python.
#[derive(IntoPyObject)]
pub struct Reading {
    gil: GilRow,
    /// The threads that held the GIL or waited for it since the meter started, by native thread id.
    threads: HashMap<u32, ThreadRow>,
    /// The GILs of other interpreters.
    others: Vec<GilRow>,
}

/// One GIL in a window. Times are in nanoseconds; `metered_ns` is the length of the window.
#[pyclass(frozen, get_all, module = "busy._busy")]
pub struct GilRow {
    interpreter: i64,
    metered: bool,
    metered_ns: u64,
    held_ns: u64,
}

/// One thread in a window. Times are in nanoseconds.
#[pyclass(frozen, get_all, module = "busy._busy")]
#[derive(Default)]
pub struct ThreadRow {
    held_ns: u64,
    waited_ns: u64,
    acquisitions: u64,
    voluntary_releases: u64,
    forced_drops: u64,
    longest_hold_ns: u64,
    longest_wait_ns: u64,
}

/// Starts the meter if needed, and opens a window. The classes are not attributes of the module, because creating them
/// would add a tenth to the time of its import.
#[pyfunction]
pub fn gil_window(py: Python<'_>) -> PyResult<GilWindow> {
    let meter = Meter::start().map_err(not_meterable)?;
    match meter.window() {
        Ok(window) => Ok(GilWindow { open: Mutex::new(Some(Open { window, _meter: meter })) }),
        Err(refusal) => {
            released(py, || drop(meter));
            Err(not_meterable(refusal))
        }
    }
}

/// Returns the exception class GilNotMeterable, created on first use, and so are the other classes and the keys of
/// [`Reading`]. busy/_watch.py calls it while it is imported, so in one thread: PyO3 releases the GIL while it creates
/// them, and another thread could fork.
#[pyfunction]
pub fn gil_not_meterable(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let row = || GilRow { interpreter: 0, metered: false, metered_ns: 0, held_ns: 0 };
    let threads = HashMap::from([(0, ThreadRow::default())]);
    Reading { gil: row(), threads, others: vec![row()] }.into_pyobject(py)?;
    Bound::new(py, GilWindow { open: Mutex::new(None) })?;
    Ok(py.get_type::<GilNotMeterable>())
}

#[pymethods]
impl GilWindow {
    /// Returns the totals since the window was opened; in a forked child, since the fork.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let reading = self.reading()?;
        let _until_converted = NoCollection::begin(py);
        reading.into_pyobject(py)
    }

    /// Closes the window. Closing the last window of the process stops the meter.
    fn close(&self, py: Python<'_>) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        stop(py, open);
    }
}

impl GilWindow {
    fn reading(&self) -> PyResult<Reading> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = open.as_ref() else { return Err(PyValueError::new_err("this window is closed")) };
        let snapshot = open.window.read();
        let mut gils = snapshot.gils.iter();
        // The module refuses to load in an interpreter with a GIL of its own, so the first GIL is the caller's.
        let own = gils.next().ok_or_else(|| PyRuntimeError::new_err("the meter reports no GIL"))?;
        let mut threads: HashMap<u32, ThreadRow> = HashMap::new();
        for thread in &own.threads {
            threads.entry(thread.tid).or_default().add(thread);
        }
        Ok(Reading { gil: GilRow::new(own), threads, others: gils.map(GilRow::new).collect() })
    }
}

impl Drop for GilWindow {
    fn drop(&mut self) {
        if let Some(open) = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // If the interpreter has ended, attaching fails and `open` is dropped below: no thread is left to wait for.
            let mut open = Some(open);
            Python::try_attach(|py| stop(py, open.take()));
        }
    }
}

/// Closes the window with the GIL released: a thread that is just starting a meter may need the GIL to finish.
fn stop(py: Python<'_>, open: Option<Open>) {
    released(py, || drop(open));
}

/// Runs `body` with the GIL released.
fn released(_py: Python<'_>, body: impl FnOnce()) {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    crate::capi::detached_below_pyo3(_py, body);
    // No window can be opened on this platform.
    #[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
    body();
}

fn not_meterable(refusal: Refusal) -> PyErr {
    GilNotMeterable::new_err(refusal.to_string())
}

/// Returns the CPU time of each living thread of this process, in nanoseconds, by native thread id. The map is empty where
/// there is no /proc.
#[pyfunction]
pub fn cpu_clocks(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    by_tid(py, |tid| u64::try_from(cpu::own_thread(tid).ok()?.as_nanos()).ok())
}

/// Returns the run delay of each living thread of this process, in nanoseconds, by native thread id: the time that it was
/// runnable without a CPU. A delay that goes on is not included. The map is empty where the kernel does not report it.
#[pyfunction]
pub fn run_delays(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    by_tid(py, |tid| run_delay(&format!("/proc/self/task/{tid}/schedstat")))
}

/// Returns the run delay of the calling thread, as [`run_delays`] does; None where the kernel does not report it.
#[pyfunction]
pub fn own_run_delay() -> Option<u64> {
    run_delay("/proc/thread-self/schedstat")
}

fn by_tid(py: Python<'_>, nanoseconds: impl Fn(u32) -> Option<u64>) -> PyResult<Bound<'_, PyDict>> {
    let found: HashMap<u32, u64> = tids().filter_map(|tid| Some((tid, nanoseconds(tid)?))).collect();
    let _until_converted = NoCollection::begin(py);
    found.into_pyobject(py)
}

fn tids() -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok())
}

/// Reads the second field of a schedstat (Documentation/scheduler/sched-stats.rst).
fn run_delay(schedstat: &str) -> Option<u64> {
    // Three numbers of 20 digits at most.
    let mut text = [0; 64];
    let length = File::open(schedstat).ok()?.read(&mut text).ok()?;
    str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

impl GilRow {
    fn new(of: &GilTotals) -> Self {
        Self { interpreter: of.interpreter, metered: of.metered, metered_ns: of.metered_ns, held_ns: of.held_ns }
    }
}

impl ThreadRow {
    /// Adds another thread with the same id: the id of a thread that has ended may have been reused.
    fn add(&mut self, more: &ThreadTotals) {
        self.held_ns += more.held_ns;
        self.waited_ns += more.waited_ns;
        self.acquisitions += more.acquisitions;
        self.voluntary_releases += more.voluntary_releases;
        self.forced_drops += more.forced_drops;
        self.longest_hold_ns = self.longest_hold_ns.max(more.longest_hold_ns.unwrap_or(0));
        self.longest_wait_ns = self.longest_wait_ns.max(more.longest_wait_ns.unwrap_or(0));
    }
}
