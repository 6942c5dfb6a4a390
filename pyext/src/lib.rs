//! `busy._busy`, the compiled half of `import busy`: busy-core's wait as two Python functions, one that keeps the GIL
//! and one that gives it up; and the GIL meter's windows, for busy/_watch.py to tell of. It counts and waits by busy-core and meters
//! by busy-gil-meter, and knows nothing of the lab or of the C ABI.

mod capi;
mod gil_window;
mod nanoseconds;
mod one_argument;
mod seconds;
mod sigint;
mod wait;

/// Waits that spin on the CPU for an exact time, with and without the GIL.
#[pyo3::pymodule(gil_used = false)]
mod _busy {
    use crate::one_argument;
    use crate::wait::{WithLock, WithoutLock};
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::gil_window::{cpu_clocks, gil_not_meterable, gil_window};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        one_argument::add::<WithLock>(module)?;
        one_argument::add::<WithoutLock>(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
