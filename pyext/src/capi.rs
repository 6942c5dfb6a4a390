//! Calls of CPython's C API that can fail: the exception stays in the thread state, where CPython keeps it, or goes.
//!
//! PyO3 would carry it about as a `PyErr`. To raise or drop one takes a thread that PyO3 counts as attached, which it
//! does not in a call by [`one_argument`](crate::one_argument). `Python::attach` would make it, by PyGILState_Ensure,
//! which is of no use here: that knows the thread state of the main interpreter only, so in another one (3.10, 3.11) it
//! waits for the GIL that its own thread has; and while the interpreter shuts down (`__del__`), PyO3 panics there.

#![allow(unsafe_code, reason = "calls of the C API; this is the one room for them")]

use pyo3::ffi;
use pyo3::prelude::*;
use std::ptr::null_mut;

/// An exception is set in the calling thread's state, and the function that CPython called is to return NULL.
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
    /// Its type, alive for as long as any interpreter.
    fn as_ptr(self) -> *mut ffi::PyObject {
        // SAFETY: libpython sets them before it loads any module, and never again.
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
    // SAFETY: attached; a string of `len` bytes of UTF-8, and a type; what is made here is also given up here.
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
    /// Is it one of `exception`'s kind?
    pub fn is(&self, _py: Python<'_>, exception: Exception) -> bool {
        // SAFETY: attached, and an exception is set.
        unsafe { ffi::PyErr_ExceptionMatches(exception.as_ptr()) != 0 }
    }

    /// Makes it the `__cause__` of what `ours` raises; while that runs, no exception is set.
    pub fn becomes_the_cause(self, py: Python<'_>, ours: impl FnOnce() -> Raised) -> Raised {
        let cause = take(py);
        let Self(()) = ours();
        let raised = take(py);
        // SAFETY: attached; take() gives a new reference to an exception each time. SetCause keeps the first; Restore
        // keeps the second, and those to its type and its traceback.
        unsafe {
            ffi::PyException_SetCause(raised, cause);
            let kind = ffi::Py_TYPE(raised).cast();
            ffi::Py_INCREF(kind);
            ffi::PyErr_Restore(kind, raised, ffi::PyException_GetTraceback(raised));
        }
        Self(())
    }
}

/// Takes the exception that is set, as PyErr_GetRaisedException does from 3.12 on: a new reference to its instance,
/// which has its traceback.
fn take(_py: Python<'_>) -> *mut ffi::PyObject {
    let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: attached, and an exception is set, so type and value are not NULL once normalised. All three are ours.
    #[allow(deprecated, reason = "what came instead is not in the stable ABI of 3.10")]
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

/// The value of a float, else what `__float__` or `__index__` answers.
#[inline]
pub fn as_f64(number: &Bound<'_, PyAny>) -> Result<f64, Raised> {
    // SAFETY: attached, as `number` says.
    let value = unsafe { ffi::PyFloat_AsDouble(number.as_ptr()) };
    // SAFETY: attached.
    if value == -1.0 && !unsafe { ffi::PyErr_Occurred() }.is_null() { Err(Raised(())) } else { Ok(value) }
}

/// Runs the handlers of the signals that have arrived. Does nothing on any but the main thread.
pub fn check_signals(_py: Python<'_>) -> Result<(), Raised> {
    // SAFETY: attached.
    if unsafe { ffi::PyErr_CheckSignals() } == 0 { Ok(()) } else { Err(Raised(())) }
}

/// Is `number < 0`? No, if it can't be compared.
#[cold]
pub fn is_negative(number: &Bound<'_, PyAny>) -> bool {
    // SAFETY: attached; the zero is made and given up here; an exception that is set here is cleared.
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

/// The `__name__` of the type of `object`; "?" if it has no readable one.
#[cold]
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    // SAFETY: attached; `name` is made and given up here, and its text read before that.
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
