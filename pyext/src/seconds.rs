//! The argument of both functions: any real number of seconds, into whole nanoseconds.

use crate::capi::{self, Exception, Raised};
use crate::nanoseconds::{self, Unfit};
use pyo3::prelude::*;

/// The nanoseconds of a Python number of seconds, rounded up: whatever has `__float__` or `__index__`.
#[inline]
pub fn to_nanoseconds(seconds: &Bound<'_, PyAny>) -> Result<u64, Raised> {
    let value = capi::as_f64(seconds).map_err(|raised| not_a_float(seconds, raised))?;
    nanoseconds::from_seconds(value).map_err(|why| unfit(seconds.py(), why, value))
}

#[cold]
fn unfit(py: Python<'_>, why: Unfit, value: f64) -> Raised {
    match why {
        Unfit::Negative => negative(py, &format!("{value:?}")),
        Unfit::NotFinite => {
            capi::raise(py, Exception::Value, &format!("expected a finite number of seconds, found {value:?}"))
        }
        Unfit::TooLong => too_long(py, &format!("{value:?}")),
    }
}

/// Says what was expected, where it is the type or the size that CPython objects to. What the object's own
/// `__float__` raised is kept: as it is, or as the cause.
#[cold]
fn not_a_float(seconds: &Bound<'_, PyAny>, raised: Raised) -> Raised {
    let py = seconds.py();
    if raised.is(py, Exception::Type) {
        raised.becomes_the_cause(py, || {
            let found = capi::type_name(seconds);
            let message = format!("expected a real number of seconds, such as 0.5, found {found}");
            capi::raise(py, Exception::Type, &message)
        })
    } else if raised.is(py, Exception::Overflow) {
        // Not shown by its digits: there are at least 309 of them.
        raised.becomes_the_cause(py, || {
            if capi::is_negative(seconds) {
                negative(py, "less than any float")
            } else {
                too_long(py, "more than any float")
            }
        })
    } else {
        raised
    }
}

fn negative(py: Python<'_>, found: &str) -> Raised {
    capi::raise(py, Exception::Value, &format!("expected zero or more seconds, found {found}"))
}

fn too_long(py: Python<'_>, found: &str) -> Raised {
    let most = nanoseconds::MAX / 1_000_000_000;
    let message = format!("expected at most {most} seconds (292 years), found {found}");
    capi::raise(py, Exception::Overflow, &message)
}
