//! Calls of CPython's C API that can fail. The exception stays in the thread state, where CPython keeps it, or is cleared.
//!
//! PyO3 would represent it as a `PyErr`. Raising or dropping a `PyErr` requires a thread that PyO3 counts as attached,
//! and PyO3 does not count a call through [`one_argument`](crate::one_argument). `Python::attach` does not help: it
//! calls PyGILState_Ensure, which knows only the thread state of the main interpreter. So in a subinterpreter (3.10,
//! 3.11), it would wait for the GIL that the calling thread itself holds. While the interpreter shuts down (`__del__`),
//! PyO3 panics there.
//!
//! Before 3.14, each of these calls may be the calling thread's last: if it acquires the GIL (PyEval_RestoreThread), or
//! runs Python code that drops the GIL (`__float__`, a signal handler, `__del__`), while the interpreter shuts down,
//! `take_gil` (Python/ceval_gil.c) ends the thread by pthread_exit(3). glibc then unwinds the stack, and aborts the
//! process at a `catch_unwind`, and where a value has to be dropped during a call that can't unwind ("C"). It passes
//! plain frames (Rust RFC 2945). So these functions are declared "C-unwind", and neither the functions of this file nor
//! their callers have anything to drop or to catch during a call. What may panic runs between the calls, inside
//! [`caught`].

#![allow(unsafe_code, reason = "calls of the C API, which are all in this module")]

use pyo3::prelude::*;
use pyo3::{Borrowed, ffi};
use std::ffi::{c_char, c_double, c_int, c_void};
use std::mem::{ManuallyDrop, needs_drop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

type Object = *mut ffi::PyObject;

// PyO3 declares these functions "C", so that a thread could not be unwound from them, and replaces PyEval_RestoreThread by
// a function of its own, which has something to drop.
unsafe extern "C-unwind" {
    fn PyErr_CheckSignals() -> c_int;
    fn PyErr_Fetch(kind: *mut Object, value: *mut Object, traceback: *mut Object);
    fn PyErr_NormalizeException(kind: *mut Object, value: *mut Object, traceback: *mut Object);
    fn PyErr_Restore(kind: Object, value: Object, traceback: Object);
    fn PyErr_SetObject(kind: Object, value: Object);
    fn PyErr_ExceptionMatches(kind: Object) -> c_int;
    fn PyEval_RestoreThread(state: *mut ffi::PyThreadState);
    fn PyEval_SaveThread() -> *mut ffi::PyThreadState;
    fn PyException_SetCause(exception: Object, cause: Object);
    fn PyException_SetTraceback(exception: Object, traceback: Object) -> c_int;
    fn PyFloat_AsDouble(number: Object) -> c_double;
    fn PyObject_GetAttrString(object: Object, name: *const c_char) -> Object;
    fn PyObject_RichCompareBool(one: Object, other: Object, operation: c_int) -> c_int;
    fn Py_DecRef(object: Object);
}

/// Runs `body`, which must not call CPython. Returns None if it panics. It is a frame of its own, which no call of CPython
/// is inside.
#[inline(never)]
pub fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    const { assert!(!needs_drop::<T>(), "the caller must have nothing to drop") };
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Raises the exception for a [`caught`] that returned None.
#[cold]
pub fn panicked(py: Python<'_>) -> Raised {
    raise(py, Exception::Runtime, || "busy panicked: this is a bug in busy, please report it".into())
}

/// Runs `body`, which must not call CPython, with the GIL released.
pub fn detached<T>(py: Python<'_>, body: impl FnOnce() -> T) -> Result<T, Raised> {
    // SAFETY: attached, as `py` shows.
    let state = unsafe { PyEval_SaveThread() };
    let result = caught(body);
    // SAFETY: the state that was attached before. If CPython ends the thread here, `result` needs no drop.
    unsafe { PyEval_RestoreThread(state) };
    result.ok_or_else(|| panicked(py))
}

/// Prepares this library's own unwinder for threads that CPython ends while PyO3 acquires the GIL, for example while it
/// creates a class. PyO3 lets such a thread sleep in a `Drop`, to which glibc's unwinder gets through this library's
/// `_Unwind_SetGR`. That function aborts until its table of register sizes is filled, at the first unwinding by this
/// library itself (libgcc/unwind-dw2.c, `uw_init_context_1`).
#[cfg(target_os = "linux")]
pub fn prepare_unwinder() {
    unsafe extern "C" fn stop(_: *mut c_void, _: *mut c_void) -> c_int {
        const END_OF_STACK: c_int = 5;
        END_OF_STACK
    }
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            visit: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
            argument: *mut c_void,
        ) -> c_int;
    }
    // SAFETY: the function is called once, for the innermost frame, and reads nothing.
    unsafe { _Unwind_Backtrace(stop, null_mut()) };
}

/// While it exists, the garbage collector does not run in this thread, which must keep the GIL. It protects PyO3's
/// conversions: before 3.12, creating a dict or a list may run the collector, the collector a `__del__`, and that may drop
/// the GIL.
pub struct NoCollection {
    was_enabled: bool,
}

impl NoCollection {
    /// Disables the collector.
    pub fn begin(_py: Python<'_>) -> Self {
        // SAFETY: attached.
        Self { was_enabled: unsafe { ffi::PyGC_Disable() } != 0 }
    }
}

impl Drop for NoCollection {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: attached, since the thread has kept the GIL.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

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
pub fn raise(_py: Python<'_>, exception: Exception, message: impl FnOnce() -> String) -> Raised {
    let text = caught(|| {
        let message = message();
        // SAFETY: attached; `message` is `len` bytes of UTF-8. No Python code runs: a str is not tracked by the garbage
        // collector.
        unsafe { ffi::PyUnicode_FromStringAndSize(message.as_ptr().cast(), message.len() as ffi::Py_ssize_t) }
    });
    match text {
        // SAFETY: attached; as_ptr() is a type; the string is released here.
        Some(text) if !text.is_null() => unsafe {
            PyErr_SetObject(exception.as_ptr(), text);
            Py_DecRef(text);
        },
        // MemoryError is set.
        Some(_) => {}
        // SAFETY: attached; NULL stands for no argument.
        None => unsafe { PyErr_SetObject(Exception::Runtime.as_ptr(), null_mut()) },
    }
    Raised(())
}

impl Raised {
    /// Returns true if it is an instance of `exception`.
    pub fn is(&self, _py: Python<'_>, exception: Exception) -> bool {
        // SAFETY: attached, and an exception is set.
        unsafe { PyErr_ExceptionMatches(exception.as_ptr()) != 0 }
    }

    /// Makes it the `__cause__` of the exception that `ours` raises. While `ours` runs, no exception is set.
    pub fn into_cause_of(self, py: Python<'_>, ours: impl FnOnce() -> Raised) -> Raised {
        let cause = take(py);
        let Self(()) = ours();
        let raised = take(py);
        // SAFETY: attached; take() gives a new reference to an exception each time. SetCause steals the first one.
        // Restore steals the second one, and the references to its type and its traceback.
        unsafe {
            PyException_SetCause(raised, cause);
            let kind = ffi::Py_TYPE(raised).cast();
            ffi::Py_INCREF(kind);
            PyErr_Restore(kind, raised, ffi::PyException_GetTraceback(raised));
        }
        Self(())
    }
}

/// Takes the exception out of the thread state, as PyErr_GetRaisedException does from 3.12 on. Returns a new reference to
/// the instance, with its traceback.
fn take(_py: Python<'_>) -> *mut ffi::PyObject {
    let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: attached, and an exception is set, so type and value are not NULL once normalised. This function owns all
    // three references. Py_DecRef accepts NULL.
    unsafe {
        PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        if !traceback.is_null() {
            PyException_SetTraceback(value, traceback);
        }
        Py_DecRef(kind);
        Py_DecRef(traceback);
    }
    value
}

/// Returns the value of a float, or the result of `__float__` or `__index__`.
#[inline]
pub fn as_f64(number: Borrowed<'_, '_, PyAny>) -> Result<f64, Raised> {
    // SAFETY: attached, as the existence of `number` shows.
    let value = unsafe { PyFloat_AsDouble(number.as_ptr()) };
    // SAFETY: attached.
    if value == -1.0 && !unsafe { ffi::PyErr_Occurred() }.is_null() { Err(Raised(())) } else { Ok(value) }
}

/// Runs the Python handlers of the signals that have arrived. Does nothing on a thread other than the main one.
pub fn check_signals(_py: Python<'_>) -> Result<(), Raised> {
    // SAFETY: attached.
    if unsafe { PyErr_CheckSignals() } == 0 { Ok(()) } else { Err(Raised(())) }
}

/// Returns true if `number < 0`, and false if they cannot be compared.
#[cold]
pub fn is_negative(number: Borrowed<'_, '_, PyAny>) -> bool {
    // SAFETY: attached; the zero is created and released here; an exception that is set here is cleared.
    unsafe {
        let zero = ffi::PyLong_FromLong(0);
        let less = if zero.is_null() { -1 } else { PyObject_RichCompareBool(number.as_ptr(), zero, ffi::Py_LT) };
        Py_DecRef(zero);
        if less < 0 {
            ffi::PyErr_Clear();
        }
        less == 1
    }
}

/// Returns the `__name__` of the type of `object`, or an empty string if it cannot be read. The caller drops the string inside
/// [`caught`].
#[cold]
pub fn type_name(object: Borrowed<'_, '_, PyAny>) -> ManuallyDrop<String> {
    // SAFETY: attached; `name` is created and released here, and its text is read before the release.
    unsafe {
        let name = PyObject_GetAttrString(ffi::Py_TYPE(object.as_ptr()).cast(), c"__name__".as_ptr());
        if name.is_null() {
            ffi::PyErr_Clear();
            return ManuallyDrop::new(String::new());
        }
        let mut length = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(name, &mut length);
        let mut copy = ManuallyDrop::new(String::new());
        if text.is_null() {
            ffi::PyErr_Clear();
        } else {
            let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length as usize);
            _ = caught(|| copy.push_str(&String::from_utf8_lossy(bytes)));
        }
        Py_DecRef(name);
        copy
    }
}
