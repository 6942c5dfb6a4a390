//! Python functions of one argument by METH_O, the cheapest way in for one. PyO3 makes every function that takes
//! arguments a METH_FASTCALL | METH_KEYWORDS one, which costs 10 ns more a call: two thirds of all that this call costs.
//!
//! The price: PyO3 does not count this call as attached, and where it counts none it puts off every decref of a `Py` or
//! a `PyErr`, for ever. So there are none of these here: [`capi`](crate::capi) raises without them.

#![allow(unsafe_code, reason = "a method table is a C structure of C functions; this is the one room for them")]

use crate::capi::{self, Exception, Raised};
use pyo3::prelude::*;
use pyo3::{Borrowed, ffi};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

/// A function of one positional argument that counts something.
pub trait OneArgument {
    /// Its name in Python.
    const NAME: &CStr;
    /// Its signature, as inspect reads it, and its docstring: `name(argument, /)\n--\n\n...`.
    const DOC: &CStr;

    /// What it does. It neither makes nor drops a `Py` or a `PyErr`.
    fn call(py: Python<'_>, argument: &Bound<'_, PyAny>) -> Result<u64, Raised>;
}

/// Adds `F` to `module`, and its name to `__all__`.
pub fn add<F: OneArgument>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let method = ffi::PyMethodDef {
        ml_name: F::NAME.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: entry::<F> },
        ml_flags: ffi::METH_O,
        ml_doc: F::DOC.as_ptr(),
    };
    // Kept for ever: the function objects refer to it.
    let table = Box::leak(Box::new([method, ffi::PyMethodDef::zeroed()]));
    // SAFETY: attached, as `module` says; a table that ends by a zeroed entry and is never freed.
    if unsafe { ffi::PyModule_AddFunctions(module.as_ptr(), table.as_mut_ptr()) } != 0 {
        return Err(PyErr::fetch(module.py()));
    }
    // As PyO3's own way of adding does.
    module.index()?.append(F::NAME)
}

/// What CPython calls: no panic leaves it, and of NULL and an exception there are both or neither.
unsafe extern "C" fn entry<F: OneArgument>(
    _module: *mut ffi::PyObject,
    argument: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls its functions attached.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: METH_O gives one object, which the caller owns until the call returns.
    let argument = unsafe { Borrowed::from_ptr(py, argument) };
    let outcome = catch_unwind(AssertUnwindSafe(|| F::call(py, &argument))).unwrap_or_else(|_| {
        Err(capi::raise(py, Exception::Runtime, "busy panicked: this is a defect of busy, please report it"))
    });
    match outcome {
        // SAFETY: attached.
        Ok(count) => unsafe { ffi::PyLong_FromUnsignedLongLong(count) },
        Err(Raised { .. }) => null_mut(),
    }
}
