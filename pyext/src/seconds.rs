//! The argument of both functions: any real number of seconds, into whole nanoseconds.

use crate::nanoseconds::{self, Unfit};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The nanoseconds of a Python number of seconds, rounded up: whatever has `__float__` or `__index__`.
#[inline]
pub fn to_nanoseconds(seconds: &Bound<'_, PyAny>) -> PyResult<u64> {
    // PyFloat_AsDouble: reads a float's value, else asks __float__, then __index__.
    // The errors are made attached, since one_argument's callers are not by PyO3's count.
    let value: f64 = seconds.extract().map_err(|error| Python::attach(|_| not_a_float(seconds, error)))?;
    nanoseconds::from_seconds(value).map_err(|why| Python::attach(|_| unfit(why, value)))
}

#[cold]
fn unfit(why: Unfit, value: f64) -> PyErr {
    match why {
        Unfit::Negative => negative(&format!("{value:?}")),
        Unfit::NotFinite => PyValueError::new_err(format!("expected a finite number of seconds, found {value:?}")),
        Unfit::TooLong => too_long(&format!("{value:?}")),
    }
}

/// Says what was expected, where it is the type or the size that CPython objects to. What the object's own
/// `__float__` raised is kept: as it is, or as the cause.
#[cold]
fn not_a_float(seconds: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = seconds.py();
    let ours = if error.is_instance_of::<PyTypeError>(py) {
        let found = seconds.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("expected a real number of seconds, such as 0.5, found {found}"))
    } else if error.is_instance_of::<PyOverflowError>(py) {
        // Not shown by its digits: there are at least 309 of them.
        if seconds.lt(0).unwrap_or(false) { negative("less than any float") } else { too_long("more than any float") }
    } else {
        return error;
    };
    ours.set_cause(py, Some(error));
    ours
}

fn negative(found: &str) -> PyErr {
    PyValueError::new_err(format!("expected zero or more seconds, found {found}"))
}

fn too_long(found: &str) -> PyErr {
    let most = nanoseconds::MAX / 1_000_000_000;
    PyOverflowError::new_err(format!("expected at most {most} seconds (292 years), found {found}"))
}
