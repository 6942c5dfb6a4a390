//! Calls of CPython's C API that can fail. The exception stays in the thread state, where CPython keeps it, or is cleared.
//!
//! PyO3 would represent it as a `PyErr`. Raising or dropping a `PyErr` requires a thread that PyO3 counts as attached,
//! and PyO3 does not count a call through [`one_argument`](crate::one_argument). `Python::attach` does not help: it
//! calls PyGILState_Ensure, which knows only the thread state of the main interpreter. So in a subinterpreter (3.10,
//! 3.11), it would wait for the GIL that the calling thread itself holds. While the interpreter shuts down (`__del__`),
//! PyO3 panics there.

#![allow(unsafe_code, reason = "calls of the C API, which are all in this module")]

use pyo3::ffi;
use pyo3::prelude::*;
use std::ptr::null_mut;

/// Proof that an exception is set in the calling thread's state, so the function that CPython called must return NULL.
#[must_use]
pub struct Raised(());

/// The exceptions that this module raises.
#[derive(Clone, Copy)]
pub enum Exception {
    Type,
    Value,
    Overflow,
    Runtime,
}

impl Exception {
    /// Returns its type, which lives as long as any interpreter.
    fn as_ptr(self) -> *mut ffi::PyObject {
        // SAFETY: libpython sets these pointers before it loads any module, and never changes them.
        unsafe {
            match self {
                Self::Type => ffi::PyExc_TypeError,
                Self::Value => ffi::PyExc_ValueError,
                Self::Overflow => ffi::PyExc_OverflowError,
                Self::Runtime => ffi::PyExc_RuntimeError,
            }
        }
    }
}

/// Raises `exception`, or MemoryError if there is no room for `message`.
#[cold]
pub fn raise(_py: Python<'_>, exception: Exception, message: &str) -> Raised {
    // SAFETY: attached; `message` is `len` bytes of UTF-8; as_ptr() is a type; the string is released here.
    unsafe {
        let text = ffi::PyUnicode_FromStringAndSize(message.as_ptr().cast(), message.len() as ffi::Py_ssize_t);
        if !text.is_null() {
            ffi::PyErr_SetObject(exception.as_ptr(), text);
            ffi::Py_DECREF(text);
        }
    }
    Raised(())
}

impl Raised {
    /// Returns true if it is an instance of `exception`.
    pub fn is(&self, _py: Python<'_>, exception: Exception) -> bool {
        // SAFETY: attached, and an exception is set.
        unsafe { ffi::PyErr_ExceptionMatches(exception.as_ptr()) != 0 }
    }

    /// Makes it the `__cause__` of the exception that `ours` raises. While `ours` runs, no exception is set.
    pub fn into_cause_of(self, py: Python<'_>, ours: impl FnOnce() -> Raised) -> Raised {
        let cause = take(py);
        let Self(()) = ours();
        let raised = take(py);
        // SAFETY: attached; take() gives a new reference to an exception each time. SetCause steals the first one.
        // Restore steals the second one, and the references to its type and its traceback.
        unsafe {
            ffi::PyException_SetCause(raised, cause);
            let kind = ffi::Py_TYPE(raised).cast();
            ffi::Py_INCREF(kind);
            ffi::PyErr_Restore(kind, raised, ffi::PyException_GetTraceback(raised));
        }
        Self(())
    }
}

/// Takes the exception out of the thread state, as PyErr_GetRaisedException does from 3.12 on. Returns a new reference to
/// the instance, with its traceback.
fn take(_py: Python<'_>) -> *mut ffi::PyObject {
    let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: attached, and an exception is set, so type and value are not NULL once normalised. This function owns all
    // three references.
    #[allow(deprecated, reason = "the replacement is not in the stable ABI of 3.10")]
    unsafe {
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        if !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        ffi::Py_DECREF(kind);
        ffi::Py_XDECREF(traceback);
    }
    value
}

/// Returns the value of a float, or the result of `__float__` or `__index__`.
#[inline]
pub fn as_f64(number: &Bound<'_, PyAny>) -> Result<f64, Raised> {
    // SAFETY: attached, as the existence of `number` shows.
    let value = unsafe { ffi::PyFloat_AsDouble(number.as_ptr()) };
    // SAFETY: attached.
    if value == -1.0 && !unsafe { ffi::PyErr_Occurred() }.is_null() { Err(Raised(())) } else { Ok(value) }
}

/// Runs the Python handlers of the signals that have arrived. Does nothing on a thread other than the main one.
pub fn check_signals(_py: Python<'_>) -> Result<(), Raised> {
    // SAFETY: attached.
    if unsafe { ffi::PyErr_CheckSignals() } == 0 { Ok(()) } else { Err(Raised(())) }
}

/// Returns true if `number < 0`, and false if they cannot be compared.
#[cold]
pub fn is_negative(number: &Bound<'_, PyAny>) -> bool {
    // SAFETY: attached; the zero is created and released here; an exception that is set here is cleared.
    unsafe {
        let zero = ffi::PyLong_FromLong(0);
        let less = if zero.is_null() { -1 } else { ffi::PyObject_RichCompareBool(number.as_ptr(), zero, ffi::Py_LT) };
        ffi::Py_XDECREF(zero);
        if less < 0 {
            ffi::PyErr_Clear();
        }
        less == 1
    }
}

/// Returns the `__name__` of the type of `object`, or "?" if it cannot be read.
#[cold]
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    // SAFETY: attached; `name` is created and released here, and its text is read before the release.
    unsafe {
        let name = ffi::PyObject_GetAttrString(ffi::Py_TYPE(object.as_ptr()).cast(), c"__name__".as_ptr());
        if name.is_null() {
            ffi::PyErr_Clear();
            return "?".into();
        }
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(name, &mut length);
        let text = if text.is_null() {
            ffi::PyErr_Clear();
            "?".into()
        } else {
            let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length as usize);
            String::from_utf8_lossy(bytes).into_owned()
        };
        ffi::Py_DECREF(name);
        text
    }
}
