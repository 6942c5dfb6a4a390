//! `busy._busy`, the compiled half of `import busy`: busy-core's wait as two Python functions, one that keeps the GIL
//! and one that gives it up. It counts and waits by busy-core alone, and knows nothing of the lab or of the C ABI.

mod capi;
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

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        one_argument::add::<WithLock>(module)?;
        one_argument::add::<WithoutLock>(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
