//! `busy._busy`, the compiled half of `import busy`: busy-core's wait as two Python functions, one that holds the GIL
//! and one that releases it; the windows of the GIL meter, on which busy/_watch.py and busy/_check.py are built; its
//! counters, stalls and times of the calling thread; and the CPU clocks and run delays of threads. The meter itself is in
//! the libbusy of the package, so that there is one meter in a process. The module does not depend on the lab.

mod capi;
mod counters;
mod gil_window;
mod libbusy;
mod nanoseconds;
mod one_argument;
mod own_thread;
mod seconds;
mod sigint;
mod stalls;
mod thread_clocks;
mod wait;

/// Waits that spin on the CPU for an exact time and hold or release the GIL.
#[pyo3::pymodule(gil_used = false)]
mod _busy {
    use crate::one_argument;
    use crate::wait::{WithLock, WithoutLock};
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::counters::{counters_begin, counters_read};
    #[pymodule_export]
    use crate::gil_window::{gil_close, gil_close_orphan, gil_histograms, gil_open, gil_read, gil_rows};
    #[pymodule_export]
    use crate::own_thread::{own_row, own_times};
    #[pymodule_export]
    use crate::stalls::{stalls_forget, stalls_next, stalls_open, stalls_stop};
    #[pymodule_export]
    use crate::thread_clocks::{cpu_clocks, own_run_delay, run_delays};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        #[cfg(target_os = "linux")]
        crate::capi::prepare_unwinder();
        one_argument::add::<WithLock>(module)?;
        one_argument::add::<WithoutLock>(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
