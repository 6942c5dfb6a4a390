//! The CPU clocks and the run delays of threads, for busy/_watch.py.

use crate::capi::NoCollection;
use busy_core::cpu;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;

/// From this number of threads on, they are read with the GIL released, since that takes 50 us or more.
const MANY: usize = 10;

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

fn by_tid(py: Python<'_>, nanoseconds: impl Fn(u32) -> Option<u64> + Sync) -> PyResult<Bound<'_, PyDict>> {
    let tids: Vec<u32> = tids().collect();
    let read = || tids.iter().filter_map(|tid| Some((*tid, nanoseconds(*tid)?))).collect::<HashMap<u32, u64>>();
    let found = if tids.len() < MANY { read() } else { py.detach(read) };
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
