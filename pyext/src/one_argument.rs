//! Python functions of one argument through METH_O, the cheapest calling convention for them. PyO3 makes every function
//! with arguments METH_FASTCALL | METH_KEYWORDS, which costs 10 ns more per call: two thirds of the total cost of such
//! a call.
//!
//! The drawback: during such a call, PyO3 does not count the thread as attached. If the thread drops a `Py` or a
//! `PyErr`, PyO3 defers the decref for ever. So this module uses neither of them: [`capi`](crate::capi) raises
//! exceptions without them.

#![allow(unsafe_code, reason = "a method table is a C structure of C functions; this module defines the only one")]

use crate::capi::Raised;
use pyo3::prelude::*;
use pyo3::{Borrowed, ffi};
use std::ffi::CStr;
use std::mem::transmute;
use std::ptr::null_mut;

/// A Python function of one positional argument that returns a count.
pub trait OneArgument {
    /// Its name in Python.
    const NAME: &CStr;
    /// Its signature, as inspect reads it, and its docstring: `name(argument, /)\n--\n\n...`.
    const DOC: &CStr;

    /// Runs the body of the function. It must neither create nor drop a `Py` or a `PyErr`, must not panic, and must have
    /// nothing to drop while it calls CPython (see [`capi`](crate::capi)).
    fn call(py: Python<'_>, argument: Borrowed<'_, '_, PyAny>) -> Result<u64, Raised>;
}

/// Adds `F` to `module`, and its name to `__all__`.
pub fn add<F: OneArgument>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    type CFunction<Object = *mut ffi::PyObject> = unsafe extern "C-unwind" fn(Object, Object) -> Object;
    // SAFETY: the two types differ only in whether the function may unwind, which CPython does not need to know.
    let function = unsafe { transmute::<CFunction, ffi::PyCFunction>(entry::<F>) };
    let method = ffi::PyMethodDef {
        ml_name: F::NAME.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_O,
        ml_doc: F::DOC.as_ptr(),
    };
    // The table is leaked, since the function objects refer to it.
    let table = Box::leak(Box::new([method, ffi::PyMethodDef::zeroed()]));
    // SAFETY: attached, as the existence of `module` shows; the table ends with a zeroed entry and is never freed.
    if unsafe { ffi::PyModule_AddFunctions(module.as_ptr(), table.as_mut_ptr()) } != 0 {
        return Err(PyErr::fetch(module.py()));
    }
    // PyO3 does the same for the functions that it adds.
    module.index()?.append(F::NAME)
}

/// Calls `F` for CPython. Returns NULL if and only if an exception is set. It catches no panic, since it must let a thread
/// that CPython ends be unwound: `F` does.
unsafe extern "C-unwind" fn entry<F: OneArgument>(
    _module: *mut ffi::PyObject,
    argument: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls its functions attached.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: METH_O passes one object, which the caller owns until the call returns.
    let argument = unsafe { Borrowed::from_ptr(py, argument) };
    match F::call(py, argument) {
        // SAFETY: attached. An int is not tracked by the garbage collector, so no Python code runs.
        Ok(count) => unsafe { ffi::PyLong_FromUnsignedLongLong(count) },
        Err(Raised { .. }) => null_mut(),
    }
}
