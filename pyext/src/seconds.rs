//! Converts the argument of both functions, any real number of seconds, to whole nanoseconds.

use crate::capi::{self, Exception, Raised};
use crate::nanoseconds::{self, Invalid};
use busy_core::MAX_WAIT_NS;
use pyo3::Borrowed;
use pyo3::prelude::*;
use std::mem::ManuallyDrop;

/// Converts a number of seconds, which may be any object with `__float__` or `__index__`, to nanoseconds, rounded up.
#[inline]
pub fn to_nanoseconds(seconds: Borrowed<'_, '_, PyAny>) -> Result<u64, Raised> {
    let value = capi::as_f64(seconds).map_err(|raised| not_a_float(seconds, raised))?;
    nanoseconds::from_seconds(value).map_err(|why| invalid(seconds.py(), why, value))
}

#[cold]
fn invalid(py: Python<'_>, why: Invalid, value: f64) -> Raised {
    match why {
        Invalid::Negative => negative(py, || format!("{value:?}")),
        Invalid::NotFinite => {
            capi::raise(py, Exception::Value, || format!("expected a finite number of seconds, found {value:?}"))
        }
        Invalid::TooLong => too_long(py, || format!("{value:?}")),
    }
}

/// Replaces a TypeError or an OverflowError by one that names the expected type or size, with the original exception as
/// its cause. Any other exception, which the `__float__` of the object raised, is not replaced.
#[cold]
fn not_a_float(seconds: Borrowed<'_, '_, PyAny>, raised: Raised) -> Raised {
    let py = seconds.py();
    if raised.is(py, Exception::Type) {
        raised.into_cause_of(py, || {
            let found = capi::type_name(seconds);
            capi::raise(py, Exception::Type, || {
                let found = ManuallyDrop::into_inner(found);
                let found = if found.is_empty() { "?" } else { &found };
                format!("expected a real number of seconds, such as 0.5, found {found}")
            })
        })
    } else if raised.is(py, Exception::Overflow) {
        // The message does not show the number, which has at least 309 digits.
        raised.into_cause_of(py, || {
            if capi::is_negative(seconds) {
                negative(py, || "a number below the range of float".into())
            } else {
                too_long(py, || "a number above the range of float".into())
            }
        })
    } else {
        raised
    }
}

fn negative(py: Python<'_>, found: impl FnOnce() -> String) -> Raised {
    capi::raise(py, Exception::Value, || format!("expected zero or more seconds, found {}", found()))
}

fn too_long(py: Python<'_>, found: impl FnOnce() -> String) -> Raised {
    let max = MAX_WAIT_NS / 1_000_000_000;
    capi::raise(py, Exception::Overflow, || format!("expected at most {max} seconds (292 years), found {}", found()))
}
